"""How well each department kept its limits over a window of time: from the reads on record that came too late.

A read that goes on record says how long the one before it had been too old by then. So a window of weeks costs as much as
was late in it, not as much as was read; the plain reckoning over all reads (:func:`timeliness.share`) gives the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from central.policy.supervision import SupervisionPolicy
from central.store.supervision import NEWEST_READS, READS
from central.supervision.punctuality import FEW_STREAMS, Watched, standings
from central.supervision.spans import Span, both, total_us
from central.supervision.timeliness import Excuses, Punctuality, Shares, deadline_us, divide
from central.supervision.uptime import all_excuses

Place = tuple[str, str]
_NOTHING: Final = Shares(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Kept:
    """One department's resources over a window."""

    states: Mapping[Punctuality, int]
    """How many stand how, now."""
    watched_us: int
    """Time of all resources together since each was first read, excused time left out."""
    late: Shares

    @property
    def rate(self) -> float | None:
        """The share of the watched time that was on time; what the network or the platform cost is not held against it."""
        return 1 - self.late.department_us / self.watched_us if self.watched_us else None


@dataclass(frozen=True, slots=True)
class _Line:
    """What is known of one place."""

    first_us: int
    newest_us: int


def kept(
    connection: Connection, resources: Sequence[Watched], policy: SupervisionPolicy, window: Span
) -> dict[str, Kept]:
    """By department; those without a bound resource are left out."""
    lines, late_reads = _lines(connection, resources), _late_reads(connection, resources, window)
    since = min((each.newest_us for each in lines.values() if each.newest_us), default=window.start_us)
    before = min((row.before_us for rows in late_reads.values() for row in rows), default=since)
    excused = all_excuses(connection, min(since, before, window.start_us))
    states: dict[str, Counter[Punctuality]] = defaultdict(Counter)
    for stands in standings(connection, resources, policy):
        states[stands.department][stands.judgement.state] += 1
    whose = {department: excused.get(department, excused[""]) for department in states}
    clocks = {department: _Clock(window, found) for department, found in whose.items()}
    watched: Counter[str] = Counter()
    late: dict[str, list[Shares]] = defaultdict(list)
    for each in resources:
        line = lines.get(each.place)
        if line is None or not line.first_us:
            continue
        clock = clocks[each.department]
        watched[each.department] += clock.watched_us(line.first_us)
        late[each.department].append(clock.late(each.limit_us, line, late_reads.get(each.place, ())))
    return {name: Kept(found, watched[name], _sum(late[name])) for name, found in states.items()}


class _Clock:
    """The window as one department lived it."""

    def __init__(self, window: Span, excuses: Excuses) -> None:
        self._window, self._excuses, self._excused = window, excuses, excuses.all
        self._watched: dict[int, int] = {}

    def watched_us(self, first_us: int) -> int:
        """How much of the window counts for a resource that was first read at *first_us*."""
        start = max(self._window.start_us, first_us)
        if start not in self._watched:
            span = Span(start, self._window.end_us)
            self._watched[start] = span.length_us - total_us(both([span], self._excused))
        return self._watched[start]

    def late(self, limit_us: int, line: _Line, reads: Iterable[Row[Any]]) -> Shares:
        """Late time of one resource: before each read that came too late, and since the newest if that is too old now."""
        late, had_read = [], []
        for row in reads:
            late.append(Span(deadline_us(row.before_us, row.limit_us, self._excused), row.received_us))
            end = deadline_us(row.proven_us, row.limit_us, self._excused)
            had_read.append(Span(row.proven_us, end))
        late.append(Span(deadline_us(line.newest_us, limit_us, self._excused), self._window.end_us))
        inside = both(late, [self._window])
        return divide(inside, had_read, self._excuses) if inside else _NOTHING


def _lines(connection: Connection, resources: Sequence[Watched]) -> dict[Place, _Line]:
    here = NEWEST_READS.c
    query = select(here.stream, here.table_name, here.first_us, here.logged_us)
    if (streams := _few(resources)) is not None:
        query = query.where(here.stream.in_(streams))
    return {
        (row.stream, row.table_name): _Line(row.first_us, row.logged_us) for row in connection.execute(query)
    }


def _late_reads(
    connection: Connection, resources: Sequence[Watched], window: Span
) -> dict[Place, list[Row[Any]]]:
    query = select(READS).where(READS.c.late_us > 0, READS.c.received_us > window.start_us)
    if (streams := _few(resources)) is not None:
        query = query.where(READS.c.stream.in_(streams))
    found: dict[Place, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.stream, row.table_name].append(row)
    return found


def _few(resources: Sequence[Watched]) -> list[str] | None:
    streams = {each.place[0] for each in resources}
    return sorted(streams) if len(streams) <= FEW_STREAMS else None


def _sum(found: Sequence[Shares]) -> Shares:
    return Shares(
        department_us=sum(each.department_us for each in found),
        network_us=sum(each.network_us for each in found),
        platform_us=sum(each.platform_us for each in found),
        excused_us=sum(each.excused_us for each in found),
    )
