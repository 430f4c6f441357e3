"""Tables that move away from their entries (Art. 17): found where they arrive and where they are held, told to whom it concerns.

A change is noticed in two ways: a node holds a table because its structure changed, or rows arrive in another shape than
the entry says. Either drafts a change notice: the registrar registers a new version or has the table mended, and whoever
has a live grant knows from which day on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, insert, select, update

from central.catalogue.arguments import DecideWhy, Nothing
from central.catalogue.contracts import kept_items
from central.catalogue.entry import Entry, Item, ShareType
from central.catalogue.gathering import today
from central.catalogue.keeping import notify, tell_consumers
from central.catalogue.published import Published, newest_release, published_of
from central.catalogue.rules.data import FITTING
from central.ledger import shape_of
from central.people import Actor, Role, Turn
from central.policy import Profile
from central.store import now_us, reading, writing
from central.store.changes import CHANGES
from central.store.sharing import SHAPES
from central.store.tables import NODES
from proto.errors import Refused
from proto.schema import TableSchema
from proto.states import State
from proto.v1 import node_pb2

OPEN: Final = "open"
HANDLED: Final = "handled"
ENDED: Final = "ended"
CLOCK: Final = Actor("clock", "the platform's clock", "", frozenset(), "clock")
KIND: Final = "table changed"
"""Of the departments' notices."""
OF_THE_CATALOGUE: Final = "NOT_CATALOGUED"
"""A hold that says nothing about the table."""
MOST: Final = 500
_SEES_ALL: Final = frozenset({Role.AUTHORITY, Role.TESTER})
Spot = tuple[str, str]
"""Stream and table."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A table as it was seen last; another one is worth a comparison."""

    release: int
    fingerprint: bytes = b""
    held: str = ""


class Drifts:
    """Compares tables with their entries, each only when something about it changed. For one thread."""

    def __init__(self, engine: Engine, profile: Profile) -> None:
        self._engine, self._profile = engine, profile
        self._compared: dict[Spot, Sight] = {}
        self._suspected: dict[str, str] = {}
        """Code to what was otherwise when it was compared last."""

    def look(self) -> int:
        """Compare what changed since the last call; returns how many notices were drafted, renewed or ended.

        Only what is the same in two looks counts: a release takes a moment to reach the nodes and come back as rows.
        """
        with reading(self._engine) as connection:
            seen = _seen(connection)
        changed: dict[str, list[str]] = defaultdict(list)
        for (stream, table), sight in seen.items():
            if self._compared.get((stream, table)) != sight:
                changed[stream].append(table)
        self._compared = dict(seen)
        return sum(self._compare(stream, tables, seen) for stream, tables in changed.items())

    def _compare(self, stream: str, tables: Sequence[str], seen: Mapping[Spot, Sight]) -> int:
        with writing(self._engine) as connection:
            turn = Turn(connection, self._engine, CLOCK, self._profile, now_us(connection), None)
            told, kept = 0, kept_items(connection, turn.now_us)
            for found in published_of(connection, stream):
                table = found.entry.binding.table if found.entry.binding else ""
                if table in tables:
                    shape = shape_of(connection, stream, table)
                    what = differences(_with(found.entry, kept), shape, seen[stream, table].held)
                    told += self._is_certain(found.entry.code, what, (stream, table)) and note(
                        turn, found, what
                    )
            return told

    def _is_certain(self, code: str, what: str, spot: Spot) -> bool:
        before, self._suspected[code] = self._suspected.get(code, ""), what
        if what != before:
            self._compared.pop(spot, None)
        return what == before


def differences(entry: Entry, shape: TableSchema | None, held: str) -> str:
    """What is otherwise than *entry* says, in one sentence; "" when nothing is."""
    parts = [f"the node holds the table: {held}"] if held else []
    return "; ".join([*parts, *(_shape_differences(entry, shape) if shape else ())])


def _shape_differences(entry: Entry, shape: TableSchema) -> Iterator[str]:
    items, there = entry.columns, {column.name: column for column in shape.columns}
    for name in there.keys() - items.keys():
        yield f"column {name} is new"
    for name, item in items.items():
        column = there.get(name)
        if column is None and item.share_type is not ShareType.NOT_SHARED:
            yield f"column {name} does not arrive any more"
        elif column is not None and str(column.kind) not in FITTING[item.type]:
            yield f"column {name} is {column.source_type or column.kind}, the entry says {item.type}"
    key = {name for name, item in items.items() if item.is_key}
    if key and shape.key and key != set(shape.key):
        yield f"the key is {', '.join(shape.key)}, the entry says {', '.join(sorted(key))}"


def _with(entry: Entry, kept: Mapping[str, tuple[Item, ...]]) -> Entry:
    """With the items that are still delivered for a while; whether they arrive is nobody's mistake."""
    more = kept.get(entry.code, ())
    optional = tuple(
        each.model_copy(update={"share_type": ShareType.NOT_SHARED, "is_key": False}) for each in more
    )
    return entry.model_copy(update={"items": entry.items + optional}) if more else entry


def note(turn: Turn, found: Published, what: str) -> bool:
    """Draft, renew or end the notice about an entry; says whether anything changed. What was handled stays so."""
    newest = _newest(turn.connection, found.entry.code)
    if newest is not None and newest.state != ENDED:
        if newest.what == what:
            return False
        _close(turn, newest, ENDED)
    elif not what:
        return False
    if what:
        _draft(turn, found, what, newest.n + 1 if newest else 1)
    return True


def changes(turn: Turn, _told: Nothing) -> list[dict[str, Any]]:
    """Notices that are open or were handled: of the own department, or all for the authority; newest first."""
    c = CHANGES.c
    query = select(CHANGES).where(c.state != ENDED)
    if not turn.actor.roles & _SEES_ALL:
        query = query.where(c.provider == turn.actor.department)
    rows = turn.connection.execute(query.order_by(c.since_us.desc(), c.code).limit(MOST))
    return [dict(row._mapping) for row in rows]


def handle(turn: Turn, told: DecideWhy) -> dict[str, Any]:
    """The registrar has dealt with a change: a new version is on its way, or the table is mended."""
    newest = _newest(turn.connection, told.code)
    if newest is None or newest.state != OPEN:
        raise Refused("no change of it is open", where=told.code, fix="exchange-central catalogue changes")
    turn.actor.demand_department(newest.provider, "handling a change")
    _close(turn, newest, HANDLED, who=turn.actor.person, opinion=told.opinion)
    turn.record("catalogue_change_handled", code=told.code, n=newest.n, opinion=told.opinion)
    next_step = "exchange-central catalogue changes"
    return {"code": told.code, "version": newest.version, "state": HANDLED, "next": next_step}


def open_changes(connection: Connection, codes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What moved away of these resources and is not mended: what, and since when, by code."""
    c = CHANGES.c
    query = select(c.code, c.what, c.since_us, c.state).where(c.code.in_(sorted(codes)), c.state != ENDED)
    return {
        row.code: {"what": row.what, "since_us": row.since_us, "state": row.state}
        for row in connection.execute(query)
    }


def _seen(connection: Connection) -> dict[Spot, Sight]:
    release = newest_release(connection)
    if not release:
        return {}
    held = dict(_held(connection))
    c = SHAPES.c
    shapes = {
        (row.stream, row.table_name): bytes(row.fingerprint)
        for row in connection.execute(select(c.stream, c.table_name, c.fingerprint))
    }
    return {
        spot: Sight(release, shapes.get(spot, b""), held.get(spot, ""))
        for spot in shapes.keys() | held.keys()
    }


def _held(connection: Connection) -> Iterator[tuple[Spot, str]]:
    for report in connection.scalars(select(NODES.c.report).where(NODES.c.revoked_us.is_(None))):
        for stream in node_pb2.HeartbeatRequest.FromString(report or b"").streams:
            for table in stream.tables:
                if table.state == State.SCHEMA_HOLD and table.code != OF_THE_CATALOGUE:
                    yield (stream.stream, table.table), table.sentence


def _newest(connection: Connection, code: str) -> Row[Any] | None:
    c = CHANGES.c
    return connection.execute(
        select(CHANGES).where(c.code == code).order_by(c.n.desc()).limit(1)
    ).one_or_none()


def _draft(turn: Turn, found: Published, what: str, n: int) -> None:
    entry, binding = found.entry, found.entry.binding
    row = {
        "code": entry.code,
        "n": n,
        "version": found.version,
        "provider": entry.provider,
        "stream": binding.stream if binding else "",
        "table_name": binding.table if binding else "",
        "what": what,
        "since_us": turn.now_us,
        "changed_us": turn.now_us,
        "state": OPEN,
    }
    turn.connection.execute(insert(CHANGES), row)
    turn.record("catalogue_table_changed", code=entry.code, n=n, what=what[:2000])
    since = f"since {today(turn):%Y-%m-%d}"
    notify(turn, entry.provider, KIND, entry.code, f"{entry.name}, {since}: {what}")
    tell_consumers(turn, entry.code, KIND, f"{entry.name} is otherwise at its provider {since}: {what}")


def _close(turn: Turn, row: Row[Any], state: str, **values: Any) -> None:
    c = CHANGES.c
    values |= {"state": state, "changed_us": turn.now_us, "ended_us": turn.now_us if state == ENDED else None}
    turn.connection.execute(update(CHANGES).where(c.code == row.code, c.n == row.n).values(**values))
