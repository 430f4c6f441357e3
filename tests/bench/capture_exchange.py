"""The first hop alone: business PostgreSQL → capture → exchange database, without central.

    python -m tests.bench.capture_exchange [--changes N] [--size ROWS] [--sqlite | --mariadb] [--profile]

Prints rows per second of a first copy and of a backlog, and what our process spent of its core per row.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import structlog

from agent.capture import Capture
from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.source import PostgresqlSource
from agent.sources.source import Source
from agent.worker import run_worker
from proto.batch import Position
from tests.bench import workload
from tests.bench.apply import MARIADB_SETTINGS
from tests.support.mariadb import MariadbServer
from tests.support.postgres import Cluster

SIZE: Final = 1000
WAIT_S: Final = 600.0


def main() -> None:
    """Set up, measure, print."""
    arguments = _arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(15))
        business = cluster.new_database("business")
        with cluster.connect(business) as connection:
            workload.create(connection)
        engine = open_exchange(_address(arguments, cluster, stack), "bench")
        migrate(engine)
        exchange = Exchange(engine, "bench/hr", StoreLimits(min_free_bytes=0))
        dsn = f"host=127.0.0.1 port={cluster.port} dbname={business} user=postgres"
        settings = PostgresqlSettings.model_validate(
            {
                "kind": "postgresql",
                "name": "hr",
                "dsn": dsn,
                "tables": [{"table": f"public.{workload.TABLE}"}],
            }
        )
        _measure(
            Runs(PostgresqlSource(settings), exchange, arguments.profile),
            cluster,
            business,
            arguments.changes,
            arguments.size,
        )


def _address(arguments: argparse.Namespace, cluster: Cluster, stack: ExitStack) -> str:
    """Of an empty exchange database; on MariaDB as little waits for the disk as on PostgreSQL."""
    if arguments.sqlite:
        return f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/exchange.db"
    if arguments.mariadb:
        server = stack.enter_context(MariadbServer(settings=MARIADB_SETTINGS))
        return server.url(server.new_database("exchange"))
    return cluster.url(cluster.new_database("exchange"))


class Runs:
    """Runs capture until it is somewhere, and says what it cost."""

    def __init__(self, source: Source, exchange: Exchange, profile: bool) -> None:
        self._source = source
        self._exchange = exchange
        self._profile = profile

    def until(self, name: str, arrived: Callable[[Capture], bool]) -> None:
        """Capture until *arrived*, then print what it took."""
        capture = Capture(self._source, self._exchange, lambda _: None)
        stop = threading.Event()
        worker = threading.Thread(target=self._work, args=(capture, stop))
        before_s, began = _cpu_s(), time.monotonic()
        worker.start()
        while not arrived(capture) and time.monotonic() - began < WAIT_S and worker.is_alive():
            time.sleep(0.02)
        took, spent = time.monotonic() - began, _cpu_s() - before_s
        rows = capture.state.read().rows
        stop.set()
        capture.stop()
        worker.join()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{name:12} {rows:9} rows in {took:6.2f} s = {rows / took:8.0f} rows/s, "
            f"our CPU {spent / max(rows, 1) * 1e6:5.2f} µs/row, peak {peak} MiB, state {capture.state.read().state}"
        )

    def _work(self, capture: Capture, stop: threading.Event) -> None:
        if not self._profile:
            run_worker("capture", capture.step, stop, capture.state)
            return
        profiler = cProfile.Profile()
        profiler.runcall(run_worker, "capture", capture.step, stop, capture.state)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(14)


def _measure(runs: Runs, cluster: Cluster, business: str, changes: int, size: int) -> None:
    runs.until("first copy", _copied)
    with cluster.connect(business) as connection:
        workload.bulk(connection, changes // size, size, workload.BASE_ROWS)
        end = _lsn(connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()[0])
    runs.until("backlog", lambda capture: _passed(capture.state.read().position, end))


def _copied(capture: Capture) -> bool:
    tables = capture._exchange.tables()
    return bool(tables) and all(status.copy.copied for status in tables.values())


def _passed(position: Position, end: int) -> bool:
    return (
        bool(position)
        and _lsn(position.rpartition("/")[0].rpartition("/")[2] + "/" + position.rpartition("/")[2]) >= end
    )


def _lsn(text: str) -> int:
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=SIZE, help="changes per source transaction")
    parser.add_argument("--sqlite", action="store_true", help="exchange database in a SQLite file")
    parser.add_argument("--mariadb", action="store_true", help="exchange database on a MariaDB server")
    parser.add_argument("--profile", action="store_true", help="profile the committing thread")
    return parser.parse_args()


if __name__ == "__main__":
    main()
