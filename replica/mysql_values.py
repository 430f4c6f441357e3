"""How each kind of value lies in MariaDB and MySQL, and how it is written in a statement.

Whole numbers, dates and times lie in columns of their own types. Decimals and floats lie as text: a DECIMAL column
gives every value the same number of places, a DOUBLE knows neither NaN nor the infinities nor −0, and both would
change such a value without a word. Floats of four bytes are written with the digits of the same eight-byte number,
so a column that widens need not be rewritten.
"""

from __future__ import annotations

import math
from typing import Final

from proto.floats import number
from proto.values import FLOATS, INTEGERS, Kind, check_value, to_text

TYPES: Final = {
    Kind.BOOL: "tinyint(1)",
    Kind.INT16: "smallint",
    Kind.INT32: "int",
    Kind.INT64: "bigint",
    Kind.FLOAT32: "varchar(32) of a float32",
    Kind.FLOAT64: "varchar(32) of a float64",
    Kind.DECIMAL: "mediumtext of a decimal",
    Kind.TEXT: "longtext",
    Kind.BYTES: "longblob",
    Kind.DATE: "date",
    Kind.TIME: "time(6)",
    Kind.TIMESTAMP: "datetime(6)",
    Kind.TIMESTAMPTZ: "datetime(6) in UTC",
    Kind.INTERVAL: "varchar(100) of an interval",
    Kind.JSON: "longtext of a json",
    Kind.JSONB: "longtext of a jsonb",
    Kind.UUID: "char(36)",
    Kind.OTHER: "longtext of another type",
}
"""The types as people are told; where two kinds lie in the same type, words tell them apart."""
ASCII: Final = frozenset({Kind.FLOAT32, Kind.FLOAT64, Kind.DECIMAL, Kind.INTERVAL, Kind.UUID})
"""Kinds whose text needs no more than one byte per character."""
FLOAT_KINDS: Final = frozenset(FLOATS)
WORDS: Final = frozenset({Kind.TEXT, Kind.JSON, Kind.OTHER})
CALENDAR: Final = frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ})
_YEAR_DIGITS: Final = 4


class Unholdable(Exception):
    """A value, valid in itself, that no column of ours can hold."""

    def __init__(self, column: int, why: str) -> None:
        super().__init__(why)
        self.column = column
        self.why = why


def literal(kind: Kind, data: bytes | None, column: int = 0) -> bytes:
    """A value as it is written in a statement, in UTF-8 and with backslash escapes. Raises Refused and Unholdable."""
    if data is None:
        return b"NULL"
    if kind in INTEGERS:
        return to_text(kind, data).encode()
    if kind is Kind.BOOL:
        return b"1" if to_text(kind, data) == "t" else b"0"
    if kind is Kind.BYTES:
        return b"_binary'" + escaped(data) + b"'"
    return b"'" + escaped(_word(kind, data, column)) + b"'"


def escaped(data: bytes) -> bytes:
    """Between quotes nothing but the quote, the backslash and NUL means more than itself."""
    return data.replace(b"\\", b"\\\\").replace(b"'", b"\\'").replace(b"\0", b"\\0")


def float_word(value: float) -> str:
    """The shortest digits that read back as the same eight-byte number."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value).removesuffix(".0")


def _word(kind: Kind, data: bytes, column: int) -> bytes:
    if kind in FLOATS:
        return float_word(number(FLOATS[kind], data)).encode()
    if kind in WORDS:
        check_value(kind, data)
        return data
    text = to_text(kind, data)
    if kind in CALENDAR and (text.endswith(("infinity", "BC")) or text.index("-") != _YEAR_DIGITS):
        raise Unholdable(column, "a date is infinite or outside the years 1 to 9999")
    return text.removesuffix("+00").encode() if kind is Kind.TIMESTAMPTZ else text.encode()
