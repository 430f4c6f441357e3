"""How fast a PostgreSQL source is read and decoded, alone: ``python -m tests.bench.capture [transactions] [size]``."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Final

from pydantic import SecretStr

from agent.sources.postgresql.connection import Connection, log_end
from agent.sources.postgresql.place import Place
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.source import PostgresqlSource
from agent.sources.settings import TableSettings
from agent.sources.source import Limits
from tests.bench import workload
from tests.support.postgres import Cluster

SINGLES: Final = 20_000


def source_of(cluster: Cluster, database: str) -> PostgresqlSource:
    """The population table of *database*."""
    table = TableSettings(table=f"public.{workload.TABLE}")
    return PostgresqlSource(
        PostgresqlSettings(
            kind="postgresql", name="bench", dsn=SecretStr(cluster.dsn(database)), tables=(table,)
        )
    )


def drain(source: PostgresqlSource, end: int) -> int:
    """Read until a commit after *end* came; the number of batches."""
    batches = 0
    while True:
        if batch := source.read(Limits()):
            batches += 1
            source.confirm(batch.position)
            if Place.parse(batch.position).lsn > end:
                return batches


def finish(connection: Connection, sentinel: int) -> int:
    """Commit one last row; the place in the log before it."""
    end = log_end(connection, "bench")
    workload.finish(connection, sentinel)
    return end


def copy(source: PostgresqlSource, rows: int) -> int:
    """Take a first copy of *rows* rows; the number of pages."""
    source.start_copy(workload.TABLE, b"")
    pages = seen = 0
    while True:
        source.read(Limits())
        for page in source.pages():
            pages, seen = pages + 1, seen + page.frames.count
            if page.is_last:
                assert seen == rows, seen
                return pages


def timed(name: str, count: int, act: Callable[[], int]) -> None:
    """Print how long it took."""
    started, cpu = time.perf_counter(), time.process_time()
    pieces = act()
    took, used = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    rate, each = count / took, used / count * 1e6
    print(
        f"{name}: {count} rows in {took:.1f} s = {rate:,.0f}/s, {each:.2f} us CPU per row, {pieces} pieces, peak {peak} MiB"
    )


def main(transactions: int, size: int) -> None:
    """A backlog, single-row transactions, and a first copy."""
    changes = transactions * size
    with Cluster(15, settings={"max_wal_size": "4GB"}) as cluster:
        database = cluster.new_database("capture")
        source = source_of(cluster, database)
        with cluster.connect(database) as connection:
            workload.create(connection)
            source.open("")
            workload.bulk(connection, transactions, size, start=1_000_000)
            connection.execute("CHECKPOINT")
            timed(
                f"backlog of {size}-row transactions",
                changes,
                lambda: drain(source, finish(connection, 20_000_001)),
            )
            singles = min(changes, SINGLES)
            workload.singles(connection, singles, start=10_000_000)
            timed(
                "backlog of single-row transactions",
                singles,
                lambda: drain(source, finish(connection, 20_000_002)),
            )
            row = connection.execute(f"SELECT count(*) FROM {workload.TABLE}").fetchone()
            rows = int(row[0]) if row else 0
            timed("first copy", rows, lambda: copy(source, rows))
        source.close()


if __name__ == "__main__":
    main(*(int(each) for each in (sys.argv[1:] or ["1000", "1000"])))
