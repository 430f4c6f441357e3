"""Where the values of a row lie: a row is a bitmap of NULLs and then each value, of fixed size or after its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.sources.collapse import Absent
from agent.sources.mysql.tablemap import ColumnType, MapColumn
from proto.errors import Refused

Raw = bytes | None | Absent
"""A value as the binlog has it, NULL, or not told."""

_FIXED: Final = {
    ColumnType.TINY: 1,
    ColumnType.YEAR: 1,
    ColumnType.SHORT: 2,
    ColumnType.INT24: 3,
    ColumnType.DATE: 3,
    ColumnType.NEWDATE: 3,
    ColumnType.TIME: 3,
    ColumnType.LONG: 4,
    ColumnType.FLOAT: 4,
    ColumnType.TIMESTAMP: 4,
    ColumnType.LONGLONG: 8,
    ColumnType.DOUBLE: 8,
    ColumnType.DATETIME: 8,
    ColumnType.NULL: 0,
}
_MOMENTS: Final = {ColumnType.TIMESTAMP2: 4, ColumnType.DATETIME2: 5, ColumnType.TIME2: 3}
_BLOB_PREFIX: Final = {ColumnType.TINY_BLOB: 1, ColumnType.MEDIUM_BLOB: 3, ColumnType.LONG_BLOB: 4}
_COUNTED: Final = frozenset(
    (
        *(*_BLOB_PREFIX, ColumnType.BLOB, ColumnType.BLOB_COMPRESSED),
        *(ColumnType.GEOMETRY, ColumnType.JSON, ColumnType.VECTOR),
    )
)
_DIGIT_BYTES: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes that so many decimal digits take."""
_STRINGS: Final = (
    ColumnType.STRING,
    ColumnType.VARCHAR,
    ColumnType.VAR_STRING,
    ColumnType.VARCHAR_COMPRESSED,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The bytes a value takes: ``size`` of its own, or as many as the ``prefix`` bytes before it say."""

    size: int = 0
    prefix: int = 0


def layout_of(column: MapColumn) -> Layout:
    """How this column's values are laid out; Refused when its metadata makes no sense."""
    kind, metadata = column.type, column.metadata
    if kind in _FIXED:
        return Layout(_FIXED[kind])
    if kind in _MOMENTS and metadata <= 6:
        return Layout(_MOMENTS[kind] + (metadata + 1) // 2)
    if kind in _STRINGS:
        return Layout(prefix=1 if metadata < 256 else 2)
    if kind is ColumnType.NEWDECIMAL:
        return Layout(decimal_bytes(metadata))
    size = (metadata + 7) // 8 if kind is ColumnType.BIT else metadata
    if kind in (ColumnType.BIT, ColumnType.ENUM, ColumnType.SET) and 0 < size <= 8:
        return Layout(size)
    prefix = _BLOB_PREFIX.get(kind, metadata)
    if kind not in _COUNTED or not 0 < prefix <= 4:
        raise Refused("a table map of the binlog has a column of impossible size")
    return Layout(prefix=prefix)


def decimal_bytes(metadata: int) -> int:
    """The size of a packed decimal of this precision and scale."""
    precision, scale = metadata >> 8, metadata & 0xFF
    whole = precision - scale
    if whole < 0 or not 0 < precision <= 255:
        raise Refused("a table map of the binlog has a decimal of impossible size")
    return 4 * (whole // 9 + scale // 9) + _DIGIT_BYTES[whole % 9] + _DIGIT_BYTES[scale % 9]


def split(data: bytes, at: int, layouts: Sequence[Layout], present: Sequence[bool]) -> tuple[list[Raw], int]:
    """The values of the row at *at*, and where it ends; Refused when it is cut off."""
    nulls_at = at
    at += (sum(present) + 7) // 8
    if at > len(data):
        raise Refused("a row of the binlog is cut off")
    row: list[Raw] = []
    number = 0
    for told, layout in zip(present, layouts, strict=True):
        if not told:
            row.append(Absent.UNCHANGED)
            continue
        is_null = data[nulls_at + (number >> 3)] >> (number & 7) & 1
        number += 1
        if is_null:
            row.append(None)
            continue
        value, at = _value(data, at, layout)
        row.append(value)
    return row, at


def _value(data: bytes, at: int, layout: Layout) -> tuple[bytes, int]:
    start = at + layout.prefix
    end = start + (int.from_bytes(data[at:start], "little") if layout.prefix else layout.size)
    if start > len(data) or end > len(data):
        raise Refused("a row of the binlog is cut off")
    return data[start:end], end
