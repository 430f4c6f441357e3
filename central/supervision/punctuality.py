"""Judges every bound resource of the catalogue, and moves what follows from it. One look every few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, select

from central.catalogue.published import Line, Published, bound_lines, newest_release
from central.policy import Profile
from central.policy.supervision import SupervisionPolicy
from central.store import now_us, reading, writing
from central.store.supervision import NEWEST_READS, READS
from central.supervision.effect import keep_effect
from central.supervision.reads import Reads, reads_of
from central.supervision.restrictions import (
    Case,
    Restriction,
    Step,
    advance_all,
    hold,
    lift,
    restrictions,
    wanted,
)
from central.supervision.sheet import chain_of
from central.supervision.spans import Span
from central.supervision.timeliness import Judgement, Rules, Shares, judge_newest, limit_us_of, share
from central.supervision.uptime import all_excuses, excuses

FEW_STREAMS: Final = 200
"""Of more, all newest reads are looked through at once."""
AT_ONCE: Final = 200
"""So many resources move in one transaction: people decide in between."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one resource stands."""

    resource: str
    name: str
    department: str
    stream: str
    table: str
    judgement: Judgement

    @property
    def place(self) -> tuple[str, str]:
        """Stream and table."""
        return self.stream, self.table


class Punctualities:
    """Each method reads or writes in transactions of its own."""

    def __init__(self, engine: Engine, profile: Profile, reads: Reads) -> None:
        self._engine = engine
        self._profile, self._policy = profile, profile.supervision
        self._reads = reads
        self._bound: tuple[int, list[Watched]] = (-1, [])

    def look(self) -> list[Restriction]:
        """Judge every resource now; returns what moved. A few queries, however many resources there are."""
        self._reads.settle()
        with reading(self._engine) as connection:
            judged = standings(connection, self._watched(connection), self._policy)
            steps = {each.resource: each.step for each in restrictions(connection)}
        due = []
        for each in judged:
            step = steps.get(each.resource, Step.NONE)
            if wanted(step, each.judgement, self._policy) is not step:
                due.append(each)
        gone = sorted(steps.keys() - {each.resource for each in judged})
        moved: list[Restriction] = []
        for at in range(0, len(due), AT_ONCE):
            moved += self._move(due[at : at + AT_ONCE])
        for at in range(0, len(gone), AT_ONCE):
            moved += self._forget(gone[at : at + AT_ONCE])
        keep_effect(self._engine, self._profile)
        return moved

    def _forget(self, resources: Sequence[str]) -> list[Restriction]:
        """What the catalogue holds no more cannot be late."""
        with writing(self._engine) as connection:
            hold(connection)
            still = {each.resource for each in restrictions(connection)}
            why, now = ({"who": "clock"}, "the catalogue holds the resource no more"), now_us(connection)
            return [lift(connection, each, why, now) for each in resources if each in still]

    def _move(self, seen: Sequence[Standing]) -> list[Restriction]:
        """Judged again under the lock: another central process may have moved some meanwhile."""
        resources = [
            Watched(each.resource, each.name, each.department, each.place, each.judgement.limit_us)
            for each in seen
        ]
        with writing(self._engine) as connection:
            hold(connection)
            now = standings(connection, resources, self._policy)
            return advance_all(connection, _cases(connection, now), self._policy, now_us(connection))

    def _watched(self, connection: Connection) -> list[Watched]:
        release = newest_release(connection)
        if release != self._bound[0]:
            self._bound = (release, [_watched(line) for line in bound_lines(connection)])
        return self._bound[1]


@dataclass(frozen=True, slots=True)
class Watched:
    """A bound resource, as much of it as it takes to judge it."""

    resource: str
    name: str
    department: str
    place: tuple[str, str]
    """Stream and table."""
    limit_us: int


def page_of_bound(connection: Connection, after: str, department: str, count: int | None) -> list[Watched]:
    """Bound resources in force with codes after *after*, of one department or of all."""
    return [_watched(line) for line in bound_lines(connection, after, department, count)]


def standings(
    connection: Connection, resources: Sequence[Watched], policy: SupervisionPolicy
) -> list[Standing]:
    """How each of *resources* stands now."""
    newest, now, rules = _newest(connection, resources), now_us(connection), rules_of(policy)
    since = min((each for each in newest.values() if each), default=now)
    excused = {each: spans.all for each, spans in all_excuses(connection, since).items()}
    usual = excused.get("", [])
    found = []
    for each in resources:
        spans = excused.get(each.department, usual)
        judged = judge_newest(newest.get(each.place, 0), each.limit_us, now, spans, rules)
        found.append(Standing(each.resource, each.name, each.department, *each.place, judged))
    return found


def _newest(connection: Connection, resources: Sequence[Watched]) -> dict[tuple[str, str], int]:
    """The newest read on record of each place: what is not on record yet was not due."""
    here = NEWEST_READS.c
    query = select(here.stream, here.table_name, here.logged_us)
    streams = {each.place[0] for each in resources}
    if len(streams) <= FEW_STREAMS:
        query = query.where(here.stream.in_(sorted(streams)))
    return {(row.stream, row.table_name): row.logged_us for row in connection.execute(query)}


def rules_of(policy: SupervisionPolicy) -> Rules:
    """As judging takes them."""
    return Rules(policy.due_share, policy.serious_factor)


def standing(connection: Connection, resource: Published, policy: SupervisionPolicy) -> Standing:
    """How *resource* stands now."""
    entry = resource.entry
    place = (entry.binding.stream, entry.binding.table) if entry.binding else ("", "")
    limit = limit_us_of(entry.update_limit)
    [found] = standings(connection, [Watched(entry.code, entry.name, entry.provider, place, limit)], policy)
    return found


def shares(connection: Connection, resource: Published, window: Span) -> Shares:
    """Whose the late time of *resource* in *window* was."""
    entry = resource.entry
    if entry.binding is None:
        return Shares(0, 0, 0, 0)
    limit = limit_us_of(entry.update_limit)
    reads = reads_of(connection, entry.binding.stream, entry.binding.table, window.start_us - limit)
    return share(reads, limit, window, excuses(connection, entry.provider, window.start_us))


def _watched(line: Line) -> Watched:
    place, limit = (line.stream, line.table), limit_us_of(line.update_limit)
    return Watched(line.code, line.name, line.provider, place, limit)


def _cases(connection: Connection, found: Sequence[Standing]) -> list[Case]:
    """With the record that each of them is judged by, found by its key however long the log has grown."""
    newest, read = NEWEST_READS.c, READS.c
    same = (read.stream == newest.stream) & (read.table_name == newest.table_name)
    query = (
        select(read.stream, read.table_name, read.record)
        .join(READS, same & (read.proven_us == newest.logged_us))
        .where(newest.stream.in_(sorted({each.stream for each in found})))
    )
    records = {(row.stream, row.table_name): row.record for row in connection.execute(query)}
    return [
        Case(
            each.resource,
            each.name,
            each.department,
            each.judgement,
            f"{chain_of(each.stream.partition('/')[0])} {records.get(each.place, 0)}",
        )
        for each in found
    ]
