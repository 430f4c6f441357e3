"""The binlog's events as a server would write them, written down a second time so that a test can compare.

Values are given as the text PostgreSQL prints for them, so that what must come out is ``from_text`` of what went in.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.sources.mysql.binlog import Collector, EventType, Plan, PlanColumn
from proto.errors import TableHold
from proto.schema import Column, TableSchema
from proto.values import Kind

Text = str | None
TABLE_ID = 41
FULL = EventType.WRITE_ROWS_V1, EventType.UPDATE_ROWS_V1, EventType.DELETE_ROWS_V1


@dataclass(frozen=True)
class Sample:
    """A type of the server: its code and metadata in the map, what it becomes, and how a value is written."""

    name: str
    code: int
    metadata: bytes
    kind: Kind
    encode: Callable[[str], bytes]
    options: Mapping[str, object] = field(default_factory=dict)


def event(kind: int, body: bytes, *, checksum: bool = False, time_s: int = 1) -> bytes:
    """One event."""
    size = 19 + len(body) + (4 if checksum else 0)
    whole = struct.pack("<IBIIIH", time_s, kind, 7, size, 4711, 0) + body
    return whole + struct.pack("<I", zlib.crc32(whole)) if checksum else whole


def packed(number: int) -> bytes:
    """A number that says itself how long it is."""
    if number < 0xFB:
        return bytes([number])
    if number < 1 << 16:
        return b"\xfc" + number.to_bytes(2, "little")
    return b"\xfd" + number.to_bytes(3, "little")


def bitmap(flags: Iterable[bool]) -> bytes:
    """Bits, the lowest of each byte first."""
    found = list(flags)
    number = sum(1 << at for at, flag in enumerate(found) if flag)
    return number.to_bytes((len(found) + 7) // 8, "little")


def table_map(
    samples: Sequence[Sample], *, table_id: int = TABLE_ID, name: str = "t", optional: bytes = b""
) -> bytes:
    """A table is described."""
    text = name.encode()
    metadata = b"".join(sample.metadata for sample in samples)
    body = table_id.to_bytes(6, "little") + b"\1\0" + b"\4shop\0" + bytes([len(text)]) + text + b"\0"
    body += packed(len(samples)) + bytes(sample.code for sample in samples)
    body += packed(len(metadata)) + metadata + bitmap([True] * len(samples)) + optional
    return event(EventType.TABLE_MAP, body)


def row(samples: Sequence[Sample], values: Sequence[Text], present: Sequence[bool] | None = None) -> bytes:
    """One row, of the columns that are present."""
    shown = [
        (sample, value)
        for sample, value, told in zip(samples, values, present or [True] * len(samples), strict=True)
        if told
    ]
    nulls = bitmap(value is None for _, value in shown)
    return nulls + b"".join(sample.encode(value) for sample, value in shown if value is not None)


def rows(
    kind: EventType,
    count: int,
    data: bytes,
    *,
    images: Sequence[Sequence[bool]] = (),
    table_id: int = TABLE_ID,
) -> bytes:
    """Rows of a table of *count* columns; MariaDB's compressed kinds are compressed."""
    second = kind in (EventType.WRITE_ROWS, EventType.UPDATE_ROWS, EventType.DELETE_ROWS) or kind >= 169
    is_update = "UPDATE" in kind.name
    told = images or [[True] * count] * (1 + is_update)
    body = table_id.to_bytes(6, "little") + b"\1\0" + (b"\5\0abc" if second else b"") + packed(count)
    body += b"".join(map(bitmap, told))
    return event(kind, body + (deflated(data) if kind >= 166 else data))


def deflated(data: bytes) -> bytes:
    """As MariaDB compresses."""
    size = len(data).to_bytes(4).lstrip(b"\0") or b"\0"
    return bytes([0x80 | len(size)]) + size + zlib.compress(data)


class Books:
    """A collector of one table with its holds and questions."""

    def __init__(
        self, samples: Sequence[Sample], compiled: bool, *, key: Sequence[int] = (0,), name: str = "t"
    ) -> None:
        self.samples = samples
        self.schema = schema_of(samples, key, name)
        self.holds: list[TableHold] = []
        self.asked = 0
        self.collector = Collector(self._plan, self.holds.append, compiled=compiled)

    def _plan(self, _: object) -> Plan:
        self.asked += 1
        columns = [PlanColumn(at, **sample.options) for at, sample in enumerate(self.samples)]  # type: ignore[arg-type]
        return Plan(self.schema, tuple(columns))

    def add(self, *events: bytes) -> Books:
        """Take events in."""
        for each in events:
            self.collector.add(each)
        return self


def schema_of(samples: Sequence[Sample], key: Sequence[int], name: str = "t") -> TableSchema:
    """The table's schema; columns are named by their place."""
    columns = tuple(Column(f"c{at}", sample.kind) for at, sample in enumerate(samples))
    return TableSchema(name, columns, tuple(f"c{at}" for at in key))


def integer(size: int, signed: bool = True) -> Callable[[str], bytes]:
    """TINYINT to BIGINT."""
    return lambda text: int(text).to_bytes(size, "little", signed=signed)


def decimal(precision: int, scale: int) -> Callable[[str], bytes]:
    """DECIMAL, digit by digit."""
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)

    def encode(text: str) -> bytes:
        digits = text.lstrip("-").replace(".", "").lstrip("0").rjust(precision, "0")
        whole, fraction = digits[: precision - scale], digits[precision - scale :]
        lead = len(whole) % 9
        parts = [whole[:lead], *(whole[at : at + 9] for at in range(lead, len(whole), 9))]
        parts += [fraction[at : at + 9] for at in range(0, len(fraction), 9)]
        data = b"".join(int(part or "0").to_bytes(sizes[len(part)]) for part in parts)
        first = bytes([data[0] ^ 0x80]) + data[1:]
        return bytes(byte ^ 0xFF for byte in first) if text.startswith("-") else first

    return encode


def date(text: str) -> bytes:
    """DATE."""
    year, month, day = map(int, text.split("-"))
    return (year << 9 | month << 5 | day).to_bytes(3, "little")


def fraction(digits: int, text: str) -> bytes:
    """What stands after the second's point."""
    size = (digits + 1) // 2
    return int(text.ljust(6, "0")[: 2 * size] or "0").to_bytes(size)


def datetime(digits: int) -> Callable[[str], bytes]:
    """DATETIME, of text as ``2024-02-29 23:59:59.5``."""

    def encode(text: str) -> bytes:
        year, month, day, hour, minute, second, *part = map(str, re.split("[-: .]", text))
        number = 1 << 17 | int(year) * 13 + int(month)
        for bits, value in ((5, day), (5, hour), (6, minute), (6, second)):
            number = number << bits | int(value)
        return number.to_bytes(5) + fraction(digits, part[0] if part else "")

    return encode


def timestamp(digits: int) -> Callable[[str], bytes]:
    """TIMESTAMP, of seconds since 1970 with a fraction."""

    def encode(text: str) -> bytes:
        second, _, part = text.partition(".")
        return int(second).to_bytes(4) + fraction(digits, part)

    return encode


def time(digits: int) -> Callable[[str], bytes]:
    """TIME, of text as ``-838:59:59.5``."""

    def encode(text: str) -> bytes:
        clock, _, part = text.lstrip("-").partition(".")
        hour, minute, second = map(int, clock.split(":"))
        below = fraction(digits, part)
        number = int.from_bytes((hour << 12 | minute << 6 | second).to_bytes(3) + below)
        number = -number if text.startswith("-") else number
        return (number + (1 << 8 * len(below) + 23)).to_bytes(3 + len(below))

    return encode


def words(prefix: int, codec: str = "utf-8") -> Callable[[str], bytes]:
    """CHAR, VARCHAR and TEXT."""
    return lambda text: counted(prefix, text.encode(codec))


def raw(prefix: int) -> Callable[[str], bytes]:
    r"""BINARY, VARBINARY and BLOB, of text as ``\x00ff``; what ends in zeros is cut as the server cuts BINARY."""
    return lambda text: counted(prefix, bytes.fromhex(text[2:]))


def counted(prefix: int, data: bytes) -> bytes:
    """A string after its length."""
    return len(data).to_bytes(prefix, "little") + data


ID = Sample("INT", 3, b"", Kind.INT32, integer(4))
NAME = Sample("VARCHAR(40)", 15, b"\xa0\0", Kind.TEXT, words(1), {"charset": "utf8mb4"})
TINY = Sample("TINYINT", 1, b"", Kind.INT16, integer(1))
SAMPLES = (
    ID,
    NAME,
    TINY,
    Sample("TINYINT UNSIGNED", 1, b"", Kind.INT16, integer(1, False), {"unsigned": True}),
    Sample("SMALLINT", 2, b"", Kind.INT16, integer(2)),
    Sample("SMALLINT UNSIGNED", 2, b"", Kind.INT32, integer(2, False), {"unsigned": True}),
    Sample("MEDIUMINT", 9, b"", Kind.INT32, integer(3)),
    Sample("MEDIUMINT UNSIGNED", 9, b"", Kind.INT32, integer(3, False), {"unsigned": True}),
    Sample("INT UNSIGNED", 3, b"", Kind.INT64, integer(4, False), {"unsigned": True}),
    Sample("BIGINT", 8, b"", Kind.INT64, integer(8)),
    Sample("BIGINT UNSIGNED", 8, b"", Kind.DECIMAL, integer(8, False), {"unsigned": True}),
    Sample("BIGINT as decimal", 8, b"", Kind.DECIMAL, integer(8)),
    Sample("DECIMAL(65,30)", 246, b"\x41\x1e", Kind.DECIMAL, decimal(65, 30)),
    Sample("DECIMAL(10,2)", 246, b"\x0a\x02", Kind.DECIMAL, decimal(10, 2)),
    Sample("DECIMAL(9,9)", 246, b"\x09\x09", Kind.DECIMAL, decimal(9, 9)),
    Sample("DECIMAL(18,0)", 246, b"\x12\x00", Kind.DECIMAL, decimal(18, 0)),
    Sample("DATE", 10, b"", Kind.DATE, date),
    *(Sample(f"DATETIME({n})", 18, bytes([n]), Kind.TIMESTAMP, datetime(n)) for n in (0, 1, 3, 6)),
    *(Sample(f"TIME({n})", 19, bytes([n]), Kind.INTERVAL, time(n)) for n in (0, 2, 4, 5)),
    Sample("YEAR", 13, b"", Kind.INT16, lambda text: bytes([max(int(text) - 1900, 0)])),
    Sample("CHAR(200) gbk", 254, b"\xee\x90", Kind.TEXT, words(2, "gbk"), {"charset": "gbk"}),
    Sample("VARCHAR(400) latin1", 15, b"\x90\1", Kind.TEXT, words(2, "cp1252"), {"charset": "latin1"}),
    Sample("TEXT utf8mb4", 252, b"\2", Kind.TEXT, words(2), {"charset": "utf8mb4"}),
    Sample("JSON of MariaDB", 252, b"\4", Kind.JSON, words(4), {"charset": "utf8mb4"}),
    Sample("VARCHAR(9) gb18030", 15, b"\x24\0", Kind.TEXT, words(1, "gb18030"), {"charset": "gb18030"}),
    Sample("VARCHAR(9) utf16", 15, b"\x24\0", Kind.TEXT, words(1, "utf-16-be"), {"charset": "utf16"}),
    Sample("VARBINARY(300)", 15, b"\x2c\1", Kind.BYTES, raw(2)),
    Sample("MEDIUMBLOB", 252, b"\3", Kind.BYTES, raw(3)),
)
