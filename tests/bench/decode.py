"""How fast messages become deltas, and frames other frames: Python against compiled, in CPU time of one core.

python -m tests.bench.decode [rows]
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable

from agent.sources.postgresql.pgoutput import Collector, Relation, TablePlan
from proto import frames
from proto.schema import Column, TableSchema
from proto.values import Kind, from_text
from tests.bench import binlog_workload
from tests.support import wire
from tests.support.oracle import python_frames

ROWS = 400_000
PER_TRANSACTION = 1_000
BATCH = 20_000
KINDS = (
    *(Kind.INT64, Kind.INT32, Kind.DECIMAL, Kind.TIMESTAMPTZ, Kind.BOOL, Kind.UUID),
    *(Kind.TEXT, Kind.TEXT, Kind.TEXT, Kind.DATE, Kind.FLOAT64, Kind.TEXT),
)
SCHEMA = TableSchema("population", tuple(Column(f"c{n}", kind) for n, kind in enumerate(KINDS)), ("c0",))


def row(number: int) -> list[wire.Value]:
    """One row of twelve columns and about 300 bytes."""
    return [
        struct.pack(">q", number),
        struct.pack(">i", number % 1000),
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


def messages(rows: int, per_transaction: int) -> list[bytes]:
    """Transactions of 80 % inserts, 15 % updates and 5 % deletes."""
    found = [wire.relation(1, SCHEMA.name, [(column.name, column.name == "c0") for column in SCHEMA.columns])]
    for number in range(rows):
        if number % per_transaction == 0:
            found.append(wire.begin(number + 1, xid=number))
        share = number % 20
        if share < 16:
            found.append(wire.insert(1, row(number)))
        elif share < 19:
            found.append(wire.update(1, row(number - share)))
        else:
            found.append(wire.delete(1, [*row(max(number - 25, 0))[:1], *[None] * 11]))
        if number % per_transaction == per_transaction - 1:
            found.append(wire.commit(number + 1, number + 2))
    return found


def plan(_: Relation) -> TablePlan:
    """Every column."""
    return TablePlan(SCHEMA, tuple(range(12)))


def collect(found: list[bytes], compiled: bool) -> None:
    """Feed as a reader would, a few hundred messages at a time, and drain at each full batch."""
    collector = Collector(plan, compiled=compiled)
    for at in range(0, len(found), 500):
        collector.feed(found[at : at + 500])
        if collector.rows >= BATCH:
            collector.take()
    collector.take()


def report(name: str, rows: int, slow: Callable[[], object], fast: Callable[[], object]) -> None:
    """Time both and print rows per second and CPU microseconds per row."""
    seconds = []
    for work in (slow, fast):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    cells = [f"{rows / spent:12,.0f} rows/s {spent / rows * 1e6:7.3f} µs/row" for spent in seconds]
    print(f"{name:28} python {cells[0]}   compiled {cells[1]}   × {seconds[0] / seconds[1]:.1f}")


def main(rows: int) -> None:
    """Measure and print."""
    for name, per_transaction in (("decode, 1,000 per commit", PER_TRANSACTION), ("decode, 1 per commit", 1)):
        found = messages(rows, per_transaction)
        size = sum(map(len, found)) / rows
        report(f"{name} ({size:.0f} B)", rows, lambda: collect(found, False), lambda: collect(found, True))  # noqa: B023
    found = list(binlog_workload.events(rows))
    name = f"binlog, 25 per event ({sum(map(len, found)) / rows:.0f} B)"
    report(
        name,
        rows,
        lambda: binlog_workload.collect(found, False, BATCH),
        lambda: binlog_workload.collect(found, True, BATCH),
    )
    oracle = python_frames()
    some = rows // 10
    data = b"".join(
        oracle.pack([field for field in row(n) if not isinstance(field, (str, wire.Form))])
        for n in range(some)
    )
    gone = set(oracle.keys(data, (0,))[::2])
    print(f"frames accelerated: {frames.ACCELERATED}")
    report("check", some, lambda: oracle.check(data, 12), lambda: frames.check(data, 12))
    report(
        "choose 6 of 12", some, lambda: oracle.choose(data, range(6)), lambda: frames.choose(data, range(6))
    )
    report("keys", some, lambda: oracle.keys(data, (0,)), lambda: frames.keys(data, (0,)))
    report(
        "without half",
        some,
        lambda: oracle.without(data, (0,), gone),
        lambda: frames.without(data, (0,), gone),
    )
    report("rows", some, lambda: oracle.rows(data, KINDS), lambda: frames.rows(data, KINDS))
    found_rows = oracle.rows(data, KINDS)
    report(
        "pack_rows",
        some,
        lambda: oracle.pack_rows(found_rows, KINDS),
        lambda: frames.pack_rows(found_rows, KINDS),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
