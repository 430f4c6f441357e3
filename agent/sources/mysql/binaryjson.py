"""MySQL's binary JSON becomes the text the server prints for it.

A document is a type and a value; arrays and objects hold the places of their entries, in two bytes each or, in large
ones, in four. Numbers, words and escapes are written as the server writes them, so a value that is copied with
``CAST(… AS CHAR)`` and one that is streamed have the same bytes.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Final, NoReturn

from agent.sources.mysql.numbers import read_decimal
from agent.sources.mysql.reader import Unreadable
from agent.sources.mysql.rows import decimal_bytes
from agent.sources.mysql.tablemap import ColumnType
from proto.decimals import decimal_text

_DEEPEST: Final = 100
"""The server refuses deeper ones."""
_LITERALS: Final = {0: "null", 1: "true", 2: "false"}
_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY = range(4)
_LITERAL, _DOUBLE, _STRING, _OPAQUE = 4, 11, 12, 15
_INTEGERS: Final = {5: (2, True), 6: (2, False), 7: (4, True), 8: (4, False), 9: (8, True), 10: (8, False)}
_NUMBER: Final = struct.Struct("<d")
_PLAIN_UP_TO: Final = 15
"""Digits before the point, or zeros after it, up to which the server writes a number without an exponent."""


def json_text(raw: bytes) -> bytes:
    """The text of a document; Unreadable when it is none."""
    if not raw:
        # The server logs an empty value for a column that was filled without a check; it prints null.
        return b"null"
    try:
        return _Document(len(raw)).value(raw[0], memoryview(raw)[1:], 0).encode()
    except (struct.error, IndexError, UnicodeError) as error:
        raise Unreadable("is not a JSON document") from error


class _Document:
    """Reads one document. Each value takes bytes of its own, so there are never more values than bytes."""

    def __init__(self, size: int) -> None:
        self._values_left = size

    def value(self, kind: int, data: memoryview, depth: int) -> str:
        self._values_left -= 1
        if depth > _DEEPEST or self._values_left < 0:
            raise Unreadable("is a JSON document that is too deep or refers to itself")
        if kind <= _LARGE_ARRAY:
            return self._container(kind, data, depth)
        if kind in _INTEGERS:
            size, signed = _INTEGERS[kind]
            return str(int.from_bytes(_part(data, 0, size), "little", signed=signed))
        return _SCALARS[kind](data) if kind in _SCALARS else _unknown()

    def _container(self, kind: int, data: memoryview, depth: int) -> str:
        width = 4 if kind in (_LARGE_OBJECT, _LARGE_ARRAY) else 2
        count, size = _number(data, 0, width), _number(data, width, width)
        data = _part(data, 0, size)
        is_object = kind in (_SMALL_OBJECT, _LARGE_OBJECT)
        names_at = 2 * width
        values_at = names_at + (count * (width + 2) if is_object else 0)
        # Checked first: every entry has its words in the document, so a number alone cannot make work.
        if values_at + count * (width + 1) > size:
            raise Unreadable("is a JSON document with more entries than bytes")
        found = [self._entry(data, values_at + at * (width + 1), width, depth + 1) for at in range(count)]
        if not is_object:
            return f"[{', '.join(found)}]"
        names = [_name(data, names_at + at * (width + 2), width) for at in range(count)]
        return "{" + ", ".join(f"{name}: {value}" for name, value in zip(names, found, strict=True)) + "}"

    def _entry(self, data: memoryview, at: int, width: int, depth: int) -> str:
        kind = data[at]
        small = kind == _LITERAL or (kind in _INTEGERS and _INTEGERS[kind][0] <= width)
        if small:
            return self.value(kind, data[at + 1 : at + 1 + width], depth)
        return self.value(kind, data[_number(data, at + 1, width) :], depth)


def _unknown() -> NoReturn:
    raise Unreadable("is a JSON document with an unknown type")


def _name(data: memoryview, at: int, width: int) -> str:
    start, size = _number(data, at, width), _number(data, at + width, 2)
    return _quoted(_part(data, start, size))


def _literal(data: memoryview) -> str:
    return _LITERALS[data[0]] if data[0] in _LITERALS else _unknown()


def _double(data: memoryview) -> str:
    return double_text(_NUMBER.unpack_from(data)[0])


def _string(data: memoryview) -> str:
    return _quoted(_counted(data, 0))


def _opaque(data: memoryview) -> str:
    kind, held = data[0], bytes(_counted(data, 1))
    if kind == ColumnType.NEWDECIMAL:
        digits = held[2 : 2 + decimal_bytes(held[0] << 8 | held[1])]
        return decimal_text(read_decimal(digits, held[0], held[1]))
    if kind in (ColumnType.DATE, ColumnType.DATETIME, ColumnType.TIMESTAMP, ColumnType.TIME):
        return f'"{_moment(kind, int.from_bytes(_part(memoryview(held), 0, 8), "little", signed=True))}"'
    return f'"base64:type{kind}:{base64.b64encode(held).decode()}"'


def _moment(kind: int, packed: int) -> str:
    sign, packed = ("-", -packed) if packed < 0 else ("", packed)
    clock, micros = packed >> 24, packed & 0xFFFFFF
    hour, minute, second = (
        clock >> 12 & (0x3FF if kind == ColumnType.TIME else 31),
        clock >> 6 & 63,
        clock & 63,
    )
    time = f"{hour:02}:{minute:02}:{second:02}.{micros:06}"
    if kind == ColumnType.TIME:
        return sign + time
    year, month = divmod(clock >> 22, 13)
    date = f"{year:04}-{month:02}-{clock >> 17 & 31:02}"
    return date if kind == ColumnType.DATE else f"{date} {time}"


def double_text(value: float) -> str:
    """The shortest digits, and ``.0`` for a whole number; the exponent without plus and zeros."""
    if not math.isfinite(value):
        raise Unreadable("is a JSON document with a number that is none")
    minus = "-" if math.copysign(1.0, value) < 0 else ""
    if value == 0:
        return f"{minus}0.0"
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    shown = (whole + fraction).lstrip("0")
    before = len(shown) - len(fraction) + int(power or 0)
    shown = shown.rstrip("0")
    if not -_PLAIN_UP_TO < before <= _PLAIN_UP_TO:
        tail = f".{shown[1:]}" if len(shown) > 1 else ""
        return f"{minus}{shown[0]}{tail}e{before - 1}"
    if before <= 0:
        return f"{minus}0.{'0' * -before}{shown}"
    return f"{minus}{shown[:before].ljust(before, '0')}.{shown[before:] or '0'}"


def _quoted(text: memoryview) -> str:
    return json.dumps(bytes(text).decode(), ensure_ascii=False)


def _number(data: memoryview, at: int, size: int) -> int:
    return int.from_bytes(_part(data, at, size), "little")


def _part(data: memoryview, at: int, size: int) -> memoryview:
    if at + size > len(data):
        raise Unreadable("is a JSON document that is cut off")
    return data[at : at + size]


def _counted(data: memoryview, at: int) -> memoryview:
    """A string after its length, seven bits of it in each byte, the lowest first."""
    size = shift = 0
    while True:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return _part(data, at, size)
        shift += 7
        if shift > 28:
            raise Unreadable("is a JSON document with an impossible length")


_SCALARS: Final = {_LITERAL: _literal, _DOUBLE: _double, _STRING: _string, _OPAQUE: _opaque}
