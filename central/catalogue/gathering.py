"""Gathers what the rules ask about a page of entries: a fixed number of questions, however many entries there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from central.catalogue.differences import name_key
from central.catalogue.entry import Entry
from central.catalogue.keeping import IS_NEWEST, Kept
from central.catalogue.reported import reports_of
from central.catalogue.reported import table_in as reported_in
from central.catalogue.rules import Facts, Live, Offices
from central.catalogue.rules.facts import LiveColumn
from central.people import Role, Turn
from central.store.catalogue import ENTRIES, SHAPES
from central.store.names import room_of
from central.store.office import PERSON_ROLES, PERSONS
from central.store.tables import APPLIED
from proto.errors import Refused
from proto.v1 import node_pb2
from replica.looking import Seen, repeats, table_in, tables_in

SAMPLE_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds a page of entries."""

    names: Mapping[tuple[str, str], frozenset[str]]
    """Provider and plain name to the codes called so."""
    holders: Mapping[str, str]
    """Code to its provider, of every code that is named."""
    offices: Mapping[str, Offices]


def facts_of(turn: Turn, found: Sequence[Kept], *, data: bool = True, alone: bool = False) -> list[Facts]:
    """What is known about each of *found*; without *data* no table is looked at, *alone* nothing but the entries."""
    around = Around({}, {}, {}) if alone else _around(turn.connection, [each.entry for each in found])
    lives = _lives(turn.connection, found) if data else {}
    return [_facts(turn, each, around, lives.get(each.code)) for each in found]


def today(turn: Turn) -> datetime:
    """Now, in the zone the law counts days in."""
    moment = datetime.fromtimestamp(turn.now_us / 1_000_000, UTC)
    return moment.astimezone(ZoneInfo(turn.profile.calendar.timezone))


def _facts(turn: Turn, each: Kept, around: Around, live: Live | None) -> Facts:
    entry = each.entry
    named = (*entry.related, *entry.sources)
    holder = around.holders.get(entry.code, entry.provider)
    alike = around.names.get((entry.provider, name_key(entry.name)), frozenset()) - {entry.code}
    return Facts(
        entry,
        turn.profile.catalogue,
        today(turn).date(),
        turn.now_us,
        each.version,
        each.state,
        holder=holder if holder != entry.provider else "",
        same_name=tuple(sorted(alike)),
        unknown_codes=tuple(code for code in named if code not in around.holders),
        offices=around.offices.get(entry.provider, Offices()),
        verification=each.verification,
        registration_no=each.registration_no,
        level=turn.platform.level,
        live=live,
    )


def _around(connection: Connection, entries: Sequence[Entry]) -> Around:
    c = ENTRIES.c
    codes = {code for entry in entries for code in (entry.code, *entry.related, *entry.sources)}
    keys = {name_key(entry.name) for entry in entries}
    alike = select(c.provider, c.name_key, c.code).where(
        c.name_key.in_(keys), c.newest == IS_NEWEST, c.state != "withdrawn"
    )
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in connection.execute(alike):
        names[row.provider, row.name_key].add(row.code)
    held = connection.execute(select(c.code, c.provider).where(c.code.in_(codes)).distinct())
    return Around(
        {key: frozenset(value) for key, value in names.items()},
        {row.code: row.provider for row in held},
        offices_of(connection, {entry.provider for entry in entries}),
    )


def offices_of(connection: Connection, departments: Iterable[str]) -> dict[str, Offices]:
    """Who holds the three offices of the catalogue in each of *departments*."""
    roles = {Role.REGISTRAR: "registrars", Role.AUDITOR: "auditors", Role.RESOURCE_ADMIN: "administrators"}
    query = (
        select(PERSONS.c.department, PERSONS.c.person, PERSON_ROLES.c.role)
        .join(PERSON_ROLES, PERSON_ROLES.c.person == PERSONS.c.person)
        .where(
            PERSONS.c.department.in_(list(departments)),
            PERSONS.c.left_us.is_(None),
            PERSON_ROLES.c.role.in_([str(role) for role in roles]),
        )
    )
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in connection.execute(query):
        found[row.department][roles[Role(row.role)]].add(row.person)
    return {
        department: Offices(**{name: frozenset(people) for name, people in held.items()})
        for department, held in found.items()
    }


def _lives(connection: Connection, found: Sequence[Kept]) -> dict[str, Live]:
    bound = {each.code: each.entry.binding for each in found if each.entry.binding}
    streams = {binding.stream for binding in bound.values()}
    shapes = shapes_of(connection, streams, {binding.table for binding in bound.values()})
    tables = {stream: _tables(connection, stream) for stream in streams}
    reports = reports_of(connection, streams)
    updated = _updated(connection, reports, streams)
    lives: dict[str, Live] = {each.code: Live() for each in found}
    for each in found:
        if (binding := bound.get(each.code)) is None:
            continue
        shape, at_us = shapes.get((binding.stream, binding.table), (node_pb2.TableShape(), 0))
        answers = binding.table in tables[binding.stream]
        declared = tuple(item.column for item in each.entry.items if item.is_key)
        # Only where the two keys differ can the sample say anything: the platform's own key is unique anyway.
        odd = answers and shape.key and declared and set(declared) != set(shape.key)
        sampled = _sampled(connection, each.entry, declared) if odd else (0, 0)
        lives[each.code] = Live(
            {column.name: LiveColumn(column.kind, column.source_type) for column in shape.columns},
            tuple(shape.key),
            tuple(shape.captured),
            shape.trouble,
            at_us,
            answers,
            updated.get(binding.stream, 0),
            *sampled,
            reported_in(reports.get(binding.stream), binding.table),
        )
    return lives


def _sampled(connection: Connection, entry: Entry, key: tuple[str, ...]) -> tuple[int, int]:
    seen = platform_table(connection, entry)
    if entry.binding is None or seen is None or not set(key) <= set(seen.kinds):
        return (0, 0)
    return repeats(connection, room_of(entry.binding.stream), entry.binding.table, key, SAMPLE_ROWS)


def platform_table(connection: Connection, entry: Entry) -> Seen | None:
    """The platform's table behind *entry*; None when there is none yet."""
    if entry.binding is None:
        return None
    try:
        room = room_of(entry.binding.stream)
    except Refused:
        return None
    return table_in(connection, room, entry.binding.table)


def shapes_of(
    connection: Connection, streams: Iterable[str], tables: Iterable[str] | None = None
) -> dict[tuple[str, str], tuple[node_pb2.TableShape, int]]:
    """What nodes said last about these *tables*, or all tables, of *streams*, and when."""
    query = select(SHAPES).where(SHAPES.c.stream.in_(list(streams)))
    rows = connection.execute(query if tables is None else query.where(SHAPES.c.table_name.in_(list(tables))))
    return {
        (row.stream, row.table_name): (node_pb2.TableShape.FromString(row.shape), row.at_us) for row in rows
    }


def _tables(connection: Connection, stream: str) -> set[str]:
    try:
        return tables_in(connection, room_of(stream))
    except Refused:
        return set()


def _updated(
    connection: Connection, reports: Mapping[str, node_pb2.StreamReport], streams: Iterable[str]
) -> dict[str, int]:
    """When each stream last brought something, or was last proven read to its end."""
    wanted = set(streams)
    applied = select(APPLIED.c.stream, APPLIED.c.last_commit_us).where(APPLIED.c.stream.in_(wanted))
    newest = {row.stream: row.last_commit_us for row in connection.execute(applied)}
    for each in reports.values():
        newest[each.stream] = max(newest.get(each.stream, 0), each.marker_us)
    return newest
