"""Judges every bound resource of the catalogue, and moves what follows from it. One look every few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, func, select

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
    advance,
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
        moved = []
        for each in judged:
            step = steps.get(each.resource, Step.NONE)
            if wanted(step, each.judgement, self._policy) is not step:
                moved.append(self._move(each))
        gone = steps.keys() - {each.resource for each in judged}
        moved += map(self._forget, sorted(gone))
        keep_effect(self._engine, self._profile)
        return [each for each in moved if each is not None]

    def _forget(self, resource: str) -> Restriction | None:
        """What the catalogue holds no more cannot be late."""
        with writing(self._engine) as connection:
            hold(connection)
            if resource not in {each.resource for each in restrictions(connection)}:
                return None
            why = ("clock", "the catalogue holds the resource no more")
            return lift(connection, resource, why, now_us(connection))

    def _move(self, seen: Standing) -> Restriction | None:
        """Judged again under the lock: another central process may have moved it meanwhile."""
        with writing(self._engine) as connection:
            hold(connection)
            resource = Watched(seen.resource, seen.name, seen.department, seen.place, seen.judgement.limit_us)
            [now] = standings(connection, [resource], self._policy)
            return advance(connection, _case(connection, now), self._policy, now_us(connection))

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


def _case(connection: Connection, each: Standing) -> Case:
    here = (READS.c.stream == each.stream, READS.c.table_name == each.table)
    record = connection.execute(select(func.max(READS.c.record)).where(*here)).scalar_one() or 0
    evidence = f"{chain_of(each.stream.partition('/')[0])} {record}"
    return Case(each.resource, each.name, each.department, each.judgement, evidence)
