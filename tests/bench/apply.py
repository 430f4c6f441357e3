"""How fast deltas become rows: 80 % inserts, 15 % updates, 5 % deletes of 12 columns and about 300 bytes.

python -m tests.bench.apply [--base ROWS] [--changes ROWS] [--batch ROWS ...] [--only sqlite|postgres15|postgres18|mariadb]
"""

from __future__ import annotations

import argparse
import random
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine

from proto.batch import Delta, Frames
from proto.frames import ACCELERATED, pack
from proto.schema import Column, TableSchema
from proto.values import Kind, from_text
from replica.opening import open_replica
from replica.replica import Replica
from tests.support.mariadb import MariadbServer
from tests.support.postgres import Cluster

KINDS = (
    *(Kind.INT64, Kind.INT32, Kind.DECIMAL, Kind.TIMESTAMPTZ, Kind.BOOL, Kind.UUID),
    *(Kind.TEXT, Kind.TEXT, Kind.TEXT, Kind.DATE, Kind.FLOAT64, Kind.TEXT),
)
SCHEMA = TableSchema("population", tuple(Column(f"c{n}", kind) for n, kind in enumerate(KINDS)), ("c0",))
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB"}
MARIADB_SETTINGS = {"innodb_buffer_pool_size": "512M", "innodb_log_file_size": "1G"}
LOAD = 20_000


def row(number: int, version: int) -> bytes:
    """One frame."""
    return pack(
        [
            struct.pack(">q", number),
            struct.pack(">i", version),
            from_text(Kind.DECIMAL, f"{number}.25"),
            struct.pack(">q", number * 1_000_000),
            b"\x01",
            number.to_bytes(16, "big"),
            b"somebody %d" % number,
            b"street and number, floor and door " * 2,
            b"110101199001011234",
            struct.pack(">i", number % 20_000),
            struct.pack(">d", number / 3),
            None if number % 7 == 0 else b"a remark that is a little longer than the others",
        ]
    )


def framed(rows: list[bytes]) -> Frames:
    """A section of a delta."""
    return Frames(b"".join(rows), len(rows))


def base(rows: int) -> Iterator[Delta]:
    """What the table holds before."""
    for start in range(0, rows, LOAD):
        yield Delta(SCHEMA, inserts=framed([row(n, 0) for n in range(start, min(start + LOAD, rows))]))


def work(base_rows: int, changes: int, batch: int) -> list[Delta]:
    """The deltas to measure; updates and deletes are spread over the base."""
    updates, deletes = batch * 15 // 100, batch * 5 // 100
    inserts, count = batch - updates - deletes, changes // batch
    touched = random.Random(1).sample(range(base_rows), count * (updates + deletes))
    deltas = []
    for n in range(count):
        here = touched[n * (updates + deletes) : (n + 1) * (updates + deletes)]
        first = base_rows + n * inserts
        deltas.append(
            Delta(
                SCHEMA,
                inserts=framed([row(key, 1) for key in range(first, first + inserts)]),
                upserts=framed([row(key, 2) for key in here[:updates]]),
                deletes=framed([pack([struct.pack(">q", key)]) for key in here[updates:]]),
            )
        )
    return deltas


def measure(name: str, engine: Engine, options: argparse.Namespace) -> None:
    """Apply each size of batch to a fresh table, then read it back."""
    for batch in options.batch:
        replica = open_replica(engine, f"bench_{batch}")
        deltas = work(options.base, min(options.changes, batch * 2_000), batch)
        fill(engine, replica, options.base)
        took_s, cpu_s = timed(engine, replica, deltas)
        rows = sum(delta.rows for delta in deltas)
        print(
            f"{name:11} batch {batch:6}: {rows / took_s:9,.0f} rows/s  {took_s / len(deltas) * 1e3:8.2f} ms per batch"
            f"  our CPU {cpu_s / rows * 1e6:5.1f} µs per row"
        )
        read(name, engine, replica)
        with engine.begin() as connection:
            replica.drop(connection, SCHEMA.name)


def fill(engine: Engine, replica: Replica, rows: int) -> None:
    """Make the table and its base."""
    with engine.begin() as connection:
        replica.prepare(connection, SCHEMA)
        replica.apply(connection, base(rows))


def timed(engine: Engine, replica: Replica, deltas: list[Delta]) -> tuple[float, float]:
    """Seconds on the clock and of our own CPU, one transaction per delta."""
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for delta in deltas:
        with engine.begin() as connection:
            replica.prepare(connection, delta.schema)
            touched = replica.apply(connection, [delta])
            assert touched == delta.rows, (touched, delta.rows)
    return time.perf_counter() - began_s, time.process_time() - cpu_s


def read(name: str, engine: Engine, replica: Replica) -> None:
    """Scan and digest the whole table."""
    with engine.begin() as connection:
        began_s = time.perf_counter()
        rows = sum(page.count for page in replica.scan(connection, SCHEMA))
        scanned_s = time.perf_counter()
        replica.digest(connection, SCHEMA)
        ended_s = time.perf_counter()
    rates = f"scan {rows / (scanned_s - began_s):9,.0f} rows/s  digest {rows / (ended_s - scanned_s):9,.0f} rows/s"
    print(f"{name:11} {rates}  ({rows:,} rows)")


@contextmanager
def engines(only: str | None) -> Iterator[dict[str, Engine]]:
    """A database of each dialect; the servers do not wait for the disk, which is not what is measured."""
    with (
        Cluster(15, settings=SETTINGS) as p15,
        Cluster(18, settings=SETTINGS) as p18,
        MariadbServer(settings=MARIADB_SETTINGS) as mariadb,
        tempfile.TemporaryDirectory() as directory,
    ):
        urls = {
            "sqlite": f"sqlite:///{directory}/bench.db",
            "postgres15": p15.url(p15.new_database()),
            "postgres18": p18.url(p18.new_database()),
            "mariadb": mariadb.url(mariadb.new_database()),
        }
        yield {name: create_engine(url) for name, url in urls.items() if only in {None, name}}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=int, default=250_000)
    parser.add_argument("--changes", type=int, default=200_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[20, 1_000, 20_000])
    parser.add_argument("--only", choices=["sqlite", "postgres15", "postgres18", "mariadb"])
    options = parser.parse_args()
    print(f"frames {'compiled' if ACCELERATED else 'in Python'}; base {options.base:,} rows")
    with engines(options.only) as found:
        for name, engine in found.items():
            if name == "sqlite":
                with engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            measure(name, engine, options)
            engine.dispose()


if __name__ == "__main__":
    main()
