"""A steady trickle of small transactions, and how long each takes from its commit to being visible."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Final

import psycopg

from tests.bench import workload

ROWS_PER_TRANSACTION: Final = 10
TRANSACTIONS_PER_S: Final = 50
GRACE_S: Final = 30.0
LOOK_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds from commit to visible, one per transaction, in commit order."""

    milliseconds: tuple[float, ...]

    def percentile(self, percent: int) -> float:
        """The value that *percent* % of the transactions do not exceed."""
        return statistics.quantiles(self.milliseconds, n=100, method="inclusive")[percent - 1]


def measure(
    connect_source: Callable[[], psycopg.Connection[Any]],
    connect_target: Callable[[], psycopg.Connection[Any]],
    table: str,
    start: int,
    seconds: float,
) -> Latencies:
    """Commit ten-row transactions at a steady rate for *seconds* and watch them arrive in *table*."""
    transactions = int(seconds * TRANSACTIONS_PER_S)
    last = start + transactions * ROWS_PER_TRANSACTION - 1
    arrivals: dict[int, float] = {}
    watcher = Thread(target=_watch, args=(connect_target, table, start, last, arrivals), name="bench-watch")
    watcher.start()
    commits = _write(connect_source, start, transactions)
    watcher.join(GRACE_S)
    seen = sorted(arrivals.items())
    if not seen or seen[-1][0] < last:
        raise RuntimeError(f"the trickle did not arrive: {seen[-1:] or 'nothing'} of {last}")
    return Latencies(tuple(1000 * delay for delay in _delays(commits, seen)))


def _write(
    connect: Callable[[], psycopg.Connection[Any]], start: int, transactions: int
) -> list[tuple[int, float]]:
    commits = []
    ticker = Event()
    with connect() as source:
        begun = time.monotonic()
        for number in range(transactions):
            ticker.wait(max(0.0, begun + number / TRANSACTIONS_PER_S - time.monotonic()))
            first = start + number * ROWS_PER_TRANSACTION
            last = first + ROWS_PER_TRANSACTION - 1
            source.execute(
                f"INSERT INTO {workload.TABLE} SELECT r.* FROM generate_series(%s::bigint, %s::bigint) n, "
                "LATERAL bench_record(n, 0) r",
                (first, last),
            )
            commits.append((last, time.monotonic()))
    return commits


def _watch(
    connect: Callable[[], psycopg.Connection[Any]],
    table: str,
    start: int,
    last: int,
    arrivals: dict[int, float],
) -> None:
    ticker = Event()
    newest = start - 1
    deadline: float | None = None
    with connect() as target:
        while newest < last and (deadline is None or time.monotonic() < deadline):
            row = target.execute(
                f"SELECT max(id) FROM {table} WHERE id BETWEEN %s AND %s", (start, last)
            ).fetchone()
            found = row[0] if row and row[0] is not None else newest
            if found > newest:
                arrivals[found] = time.monotonic()
                newest, deadline = found, time.monotonic() + GRACE_S
            ticker.wait(LOOK_S)


def _delays(commits: list[tuple[int, float]], seen: list[tuple[int, float]]) -> list[float]:
    delays, place = [], 0
    for last, committed in commits:
        while seen[place][0] < last:
            place += 1
        delays.append(max(0.0, seen[place][1] - committed))
    return delays
