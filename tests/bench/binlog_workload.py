"""The bench's row of twelve columns and about 300 bytes as a MariaDB writes it into its binlog."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from agent.sources.mysql.binlog import Collector, Plan, PlanColumn
from proto.schema import TableSchema
from proto.values import Kind
from tests.support import binlog_model as model
from tests.support.binlog_model import Sample

UTF8 = {"charset": "utf8mb4"}
SAMPLES = (
    Sample("BIGINT", 8, b"", Kind.INT64, model.integer(8)),
    model.ID,
    Sample("DECIMAL(14,2)", 246, b"\x0e\2", Kind.DECIMAL, model.decimal(14, 2)),
    Sample("TIMESTAMP(6)", 17, b"\6", Kind.TIMESTAMPTZ, model.timestamp(6)),
    Sample("TINYINT(1)", 1, b"", Kind.BOOL, model.integer(1)),
    Sample(
        "BINARY(16)", 254, b"\xfe\x10", Kind.BYTES, lambda text: b"\x10" + struct.pack(">QQ", 7, int(text))
    ),
    *(Sample("VARCHAR(200)", 15, b"\x20\3", Kind.TEXT, model.words(2), UTF8) for _ in range(3)),
    Sample("DATE", 10, b"", Kind.DATE, model.date),
    Sample("DOUBLE", 5, b"\x08", Kind.FLOAT64, lambda text: struct.pack("<d", float(text))),
    Sample("VARCHAR(200)", 15, b"\x20\3", Kind.TEXT, model.words(2), UTF8),
)
SCHEMA = TableSchema("population", model.schema_of(SAMPLES, (0,)).columns, ("c0",))
PER_EVENT = 25
"""Rows in 8 KiB."""


def row(number: int) -> bytes:
    """One row, of the same values as pgoutput's."""
    texts = (f"somebody {number}", "street and number, floor and door " * 2, "110101199001011234")
    remark = None if number % 7 == 0 else "a remark that is a little longer than the others"
    first = (str(number), str(number % 1000), f"{number}.25", f"{number + 1}.5", "1", str(number))
    return model.row(SAMPLES, (*first, *texts, f"20{number % 90 + 10}-02-28", str(number / 3), remark))


def events(rows: int) -> Iterator[bytes]:
    """80 % inserts, 15 % updates and 5 % deletes."""
    yield model.table_map(SAMPLES)
    insert, update, delete = model.FULL
    for number, first in enumerate(range(0, rows, PER_EVENT)):
        found = [row(each) for each in range(first, first + PER_EVENT)]
        if number % 20 < 16:
            yield model.rows(insert, len(SAMPLES), b"".join(found))
        elif number % 20 < 19:
            yield model.rows(update, len(SAMPLES), b"".join(2 * each for each in found))
        else:
            yield model.rows(delete, len(SAMPLES), b"".join(found))


def collect(found: list[bytes], compiled: bool, batch: int) -> None:
    """Add as a reader would, and drain at each full batch."""
    columns = [
        PlanColumn(at, charset=str(each.options.get("charset", ""))) for at, each in enumerate(SAMPLES)
    ]
    plan = Plan(SCHEMA, tuple(columns))
    collector = Collector(lambda _: plan, _raise, compiled=compiled)
    for event in found:
        collector.add(event)
        if collector.rows >= batch:
            collector.drain()
    collector.drain()


def _raise(hold: Exception) -> None:
    raise hold
