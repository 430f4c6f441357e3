"""The values of a page, from the text the server prints to the very bytes that the stream gives, and keys back to SQL.

Floats are asked for as DOUBLE, because only that is printed with all its digits; everything else comes as stored.
"""

from __future__ import annotations

import datetime
import re
import struct
import uuid
from collections.abc import Callable
from typing import Final

from agent.sources.mysql.charsets import decoder
from agent.sources.mysql.connection import quoted
from agent.sources.mysql.reader import Unreadable
from agent.sources.mysql.shapes import Part
from agent.sources.mysql.types import Type
from proto.calendar import DAY_US
from proto.decimals import decimal_from_text
from proto.values import FLOATS, INTEGERS, Kind, to_plain

Read = Callable[[bytes], bytes | None]
_DAY_0: Final = datetime.date(2000, 1, 1).toordinal()
_ZERO_DATE: Final = re.compile(rb"0000-|\d{4}-00-|\d{4}-\d\d-00")
_INT64: Final = struct.Struct(">q")
_INT32: Final = struct.Struct(">i")
_REAL: Final = {Kind.FLOAT32: struct.Struct(">f"), Kind.FLOAT64: struct.Struct(">d")}
_CHOICES: Final = ("enum", "set")
_BARE: Final = frozenset({*INTEGERS, Kind.BOOL, Kind.DECIMAL})


def selected(part: Part) -> str:
    """The expression that brings a column's values."""
    name = quoted(part.name)
    return f"CAST({name} AS DOUBLE)" if part.type.kind in FLOATS else name


def ordered(part: Part) -> str:
    """What pages are ordered by: the column as the server compares it.

    An ENUM or SET has two orders, one for sorting and one for comparing; its text has one.
    """
    name = quoted(part.name)
    return f"CONVERT({name} USING utf8mb4) COLLATE utf8mb4_bin" if part.type.shown in _CHOICES else name


def literal(part: Part, value: bytes) -> str:
    """A key's value in a statement, compared as the column compares."""
    kind, each = part.type.kind, part.type
    if kind is Kind.BYTES:
        return f"X'{value.hex()}'"
    if each.shown in _CHOICES:
        return f"_utf8mb4 X'{value.hex()}' COLLATE utf8mb4_bin"
    if kind is Kind.TEXT:
        collation = f" COLLATE {part.collation}" if part.collation else ""
        return f"CONVERT(_utf8mb4 X'{value.hex()}' USING {each.charset}){collation}"
    if kind in FLOATS:
        text = repr(to_plain(kind, value))
        return text if "e" in text else f"{text}e0"
    text = str(to_plain(kind, value)).removesuffix("+00")
    quote = "b'" if each.shown == "bit" and kind is not Kind.BOOL else "'"
    return text if kind in _BARE else f"{quote}{text}'"


def reader(part: Part, *, zero_dates_are_null: bool) -> Read:
    """How a column's values are read."""
    read = _reader(part.type)
    if zero_dates_are_null and part.type.kind in _DATED:
        return lambda raw: None if _ZERO_DATE.match(raw) else read(raw)
    return read


def _reader(each: Type) -> Read:
    kind = each.kind
    if each.shown == "bit":
        return _bool_bit if kind is Kind.BOOL else _bits(each.size)
    if kind in INTEGERS:
        pack = INTEGERS[kind].pack
        return lambda raw: pack(int(raw))
    if kind in _REAL:
        pack_real = _REAL[kind].pack
        return lambda raw: pack_real(float(raw))
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    if each.shown == "geometry":
        return lambda raw: raw.hex().upper().encode()
    return _text("ascii" if each.native in ("inet4", "inet6") else each.charset or "utf8mb4")


def _text(charset: str) -> Read:
    decode = decoder(charset)

    def read(raw: bytes) -> bytes:
        try:
            return decode(raw)
        except UnicodeDecodeError:
            raise Unreadable("is not valid in the column's character set") from None

    return read


def _bool_bit(raw: bytes) -> bytes:
    return b"\x01" if int.from_bytes(raw) else b"\x00"


def _bits(count: int) -> Read:
    return lambda raw: f"{int.from_bytes(raw):0{count}b}".encode()


def _bytes(raw: bytes) -> bytes:
    return raw


def _decimal(raw: bytes) -> bytes:
    return decimal_from_text(raw.decode())


def _uuid(raw: bytes) -> bytes:
    return uuid.UUID(raw.decode()).bytes


def _date(raw: bytes) -> bytes:
    return _INT32.pack(_day(raw))


def _stamp(raw: bytes) -> bytes:
    return _INT64.pack(_day(raw) * DAY_US + _clock(raw[11:]))


def _interval(raw: bytes) -> bytes:
    moment = -_clock(raw[1:]) if raw[:1] == b"-" else _clock(raw)
    return _INT64.pack(moment) + bytes(8)


def _day(raw: bytes) -> int:
    """Days since 2000-01-01."""
    if _ZERO_DATE.match(raw):
        raise Unreadable("is a date without a year, month or day")
    try:
        return datetime.date(int(raw[:4]), int(raw[5:7]), int(raw[8:10])).toordinal() - _DAY_0
    except ValueError:
        raise Unreadable("is a date that is not in the calendar") from None


def _clock(raw: bytes) -> int:
    """Microseconds of ``838:59:59.999999``."""
    hours, minutes, rest = raw.split(b":")
    seconds, _, fraction = rest.partition(b".")
    part = int(fraction.ljust(6, b"0")) if fraction else 0
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + part


_DATED: Final = frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ})
_BY_KIND: Final[dict[Kind, Read]] = {
    Kind.BYTES: _bytes,
    Kind.DECIMAL: _decimal,
    Kind.UUID: _uuid,
    Kind.DATE: _date,
    Kind.TIMESTAMP: _stamp,
    Kind.TIMESTAMPTZ: _stamp,
    Kind.INTERVAL: _interval,
}
