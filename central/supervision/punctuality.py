"""Judges every bound resource of the catalogue, and moves what follows from it. One look every few seconds."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select

from central.catalogue.published import Published, bound, newest_release
from central.policy.supervision import SupervisionPolicy
from central.store import now_us, reading, writing
from central.store.supervision import READS
from central.supervision.reads import Reads, chain_of, reads_of
from central.supervision.restrictions import Case, Restriction, advance
from central.supervision.spans import Span
from central.supervision.timeliness import Judgement, Rules, Shares, judge, limit_us_of, share
from central.supervision.uptime import excuses


@dataclass(frozen=True, slots=True)
class Standing:
    """How one resource stands."""

    resource: str
    name: str
    department: str
    stream: str
    table: str
    judgement: Judgement


class Punctualities:
    """Each method reads or writes in transactions of its own."""

    def __init__(self, engine: Engine, policy: SupervisionPolicy, reads: Reads) -> None:
        self._engine = engine
        self._policy = policy
        self._reads = reads
        self._bound: tuple[int, list[Published]] = (-1, [])

    def look(self) -> list[Restriction]:
        """Judge every resource now; returns what moved."""
        self._reads.settle()
        with reading(self._engine) as connection:
            standings = [standing(connection, each, self._policy) for each in self._resources(connection)]
        moved = []
        for each in standings:
            with writing(self._engine) as connection:
                change = advance(connection, _case(connection, each), self._policy, now_us(connection))
            if change is not None:
                moved.append(change)
        return moved

    def _resources(self, connection: Connection) -> list[Published]:
        release = newest_release(connection)
        if release != self._bound[0]:
            self._bound = (release, list(bound(connection)))
        return self._bound[1]


def page_of_bound(connection: Connection, after: str, department: str, count: int) -> list[Published]:
    """Bound resources in force with codes after *after*, of one department or of all."""
    return list(bound(connection, after, department, count))


def rules_of(policy: SupervisionPolicy) -> Rules:
    """As judging takes them."""
    return Rules(policy.due_share, policy.serious_factor)


def standing(connection: Connection, resource: Published, policy: SupervisionPolicy) -> Standing:
    """How *resource* stands now."""
    entry, now = resource.entry, now_us(connection)
    stream, table = (entry.binding.stream, entry.binding.table) if entry.binding else ("", "")
    limit = limit_us_of(entry.update_limit)
    reads = reads_of(connection, stream, table, now)
    since = reads[0].proven_us if reads else now
    found = judge(reads, limit, now, excuses(connection, entry.provider, since), rules_of(policy))
    return Standing(entry.code, entry.name, entry.provider, stream, table, found)


def shares(connection: Connection, resource: Published, window: Span) -> Shares:
    """Whose the late time of *resource* in *window* was."""
    entry = resource.entry
    if entry.binding is None:
        return Shares(0, 0, 0, 0)
    limit = limit_us_of(entry.update_limit)
    reads = reads_of(connection, entry.binding.stream, entry.binding.table, window.start_us - limit)
    return share(reads, limit, window, excuses(connection, entry.provider, window.start_us))


def _case(connection: Connection, each: Standing) -> Case:
    here = (READS.c.stream == each.stream, READS.c.table_name == each.table)
    record = connection.execute(select(func.max(READS.c.record)).where(*here)).scalar_one() or 0
    evidence = f"{chain_of(each.stream.partition('/')[0])} {record}"
    return Case(each.resource, each.name, each.department, each.judgement, evidence)
