"""What triggers cost the business, and how fast a backlog of journal entries is read: ``python -m tests.bench.journal``.

Every number is the median of several rounds; with and without triggers take turns, so that a busy machine touches both.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from agent.sources.journal.install import execute, plan
from agent.sources.journal.source import JournalSource
from agent.sources.source import Limits
from tests.support.journal import JournalRig, MariadbJournal, PostgresJournal, SqliteJournal, settings
from tests.support.mariadb import MariadbServer
from tests.support.postgres import Cluster

ROUNDS: Final = 9
SINGLES: Final = 100
MANY: Final = 1_000
BACKLOG: Final = 100_000
INSERT: Final = "INSERT INTO person VALUES (%s, '张三', '北京市朝阳区')"


class Business:
    """One connection that inserts rows nobody else inserts."""

    def __init__(self, rig: JournalRig) -> None:
        self.rig = rig
        self._connection = rig.connect()
        self._statement = INSERT.replace("%s", rig.mark)
        self._next = 1

    def singles_ms(self) -> float:
        """Milliseconds of a transaction of one row."""
        began = time.perf_counter()
        for _ in range(SINGLES):
            self._insert(1)
        return (time.perf_counter() - began) * 1000 / SINGLES

    def many_ms(self) -> float:
        """Milliseconds of a transaction of a thousand rows."""
        began = time.perf_counter()
        self._insert(MANY)
        return (time.perf_counter() - began) * 1000

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _insert(self, rows: int) -> None:
        cursor = self._connection.cursor()
        for number in range(self._next, self._next + rows):
            cursor.execute(self._statement, (number,))
        self._next += rows
        self._connection.commit()


def cost(rig: JournalRig) -> Iterator[tuple[str, float, float]]:
    """What is inserted, milliseconds without triggers, milliseconds with them."""
    made = plan(rig.settings)
    business = Business(rig)
    measures: dict[str, Callable[[], float]] = {"1 row": business.singles_ms, "1,000 rows": business.many_ms}
    found: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in measures}
    for _ in range(ROUNDS):
        for at, statements in enumerate((made.remove(), made.install())):
            execute(rig.url, statements)
            for what, measure in measures.items():
                found[what][at].append(measure())
    business.close()
    for what, (without, with_them) in found.items():
        yield what, statistics.median(without), statistics.median(with_them)


def backlog(rig: JournalRig, folder: Path) -> tuple[float, float]:
    """Seconds that reading and keeping a backlog took, all together, and the part that reading took."""
    business = Business(rig)
    source = JournalSource(settings(rig.url, ["public.person"], page_rows=5_000))
    source.open("")
    for _ in range(BACKLOG // MANY):
        business.many_ms()
    business.close()
    kept = source.retained()
    print(f"{kept.bytes / BACKLOG:.0f} bytes an entry" if kept else "")
    engine = open_exchange(f"sqlite:///{folder / 'exchange.db'}", "bench")
    migrate(engine)
    exchange = Exchange(engine, "bench/hr", StoreLimits(min_free_bytes=0))
    exchange.start()
    exchange.know(schema.name for schema in source.schemas())
    began, reading_s = time.perf_counter(), 0.0
    while True:
        asked = time.perf_counter()
        batch = source.read(Limits(rows=20_000))
        reading_s += time.perf_counter() - asked
        if batch is None:
            break
        exchange.commit([batch])
        source.confirm(batch.position)
    took_s = time.perf_counter() - began
    source.close()
    exchange.close()
    engine.dispose()
    return took_s, reading_s


def main() -> None:
    """Each database in turn, safe on disk as a business has it."""
    with tempfile.TemporaryDirectory() as home, contextlib.ExitStack() as servers:
        folder = Path(home)
        postgres = servers.enter_context(Cluster(15, fsync=True))
        mariadb = servers.enter_context(MariadbServer(fsync=True))
        rigs: dict[str, JournalRig] = {
            "PostgreSQL 15": PostgresJournal(postgres, postgres.new_database("cost")),
            "MariaDB 10.11": MariadbJournal(mariadb, mariadb.new_database("cost")),
            "SQLite (WAL)": SqliteJournal(folder / "cost.db"),
        }
        for name, rig in rigs.items():
            for what, without, with_them in cost(rig):
                print(
                    f"| {name} | {what} | {without:.2f} ms | {with_them:.2f} ms | x{with_them / without:.2f} |"
                )
        took_s, reading_s = backlog(PostgresJournal(postgres, postgres.new_database("backlog")), folder)
        print(f"backlog: {BACKLOG / took_s:,.0f} rows/s, reading {reading_s:.1f} of {took_s:.1f} s")


if __name__ == "__main__":
    main()
