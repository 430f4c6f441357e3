"""The kinds of values and their one canonical binary form.

The form of each kind is the one PostgreSQL's send function writes: big-endian integers, base-10,000
numerics, microseconds since 2000-01-01, UTF-8 text, ``jsonb`` with its version byte. ``OTHER`` (arrays,
ranges, composites, enums, geometry …) is the value's UTF-8 text; its source type is named in the schema.

The text of a value is the one PostgreSQL prints (DateStyle ISO, IntervalStyle postgres, time zone UTC, floats
as short as they read back). Bytes or text that cannot be a value of the kind raise Refused, which never
repeats the value.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Final, NoReturn

from proto.calendar import (
    date_from_text,
    date_text,
    interval_from_text,
    interval_text,
    stamp_from_text,
    stamp_text,
    time_from_text,
    time_text,
)
from proto.decimals import check_decimal, decimal_from_text, decimal_text
from proto.errors import Refused
from proto.floats import FLOAT32, FLOAT64, float_from_text, float_text, from_number, number


class Kind(StrEnum):
    """What a column holds; decides the canonical binary form of its values."""

    BOOL = "bool"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    DECIMAL = "decimal"
    TEXT = "text"
    BYTES = "bytes"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    INTERVAL = "interval"
    JSON = "json"
    JSONB = "jsonb"
    UUID = "uuid"
    OTHER = "other"


Plain = int | float | str | bytes | None
"""A value as sinks without PostgreSQL's binary form take it; None is NULL."""

INTEGERS: Final = {
    Kind.INT16: struct.Struct(">h"),
    Kind.INT32: struct.Struct(">i"),
    Kind.INT64: struct.Struct(">q"),
}
FLOATS: Final = {Kind.FLOAT32: FLOAT32, Kind.FLOAT64: FLOAT64}
_BOOLS: Final = {b"\x00": "f", b"\x01": "t"}
_BOOL_WORDS: Final = {
    "t": b"\x01",
    "true": b"\x01",
    "1": b"\x01",
    "f": b"\x00",
    "false": b"\x00",
    "0": b"\x00",
}
_INTEGER: Final = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_JSONB_VERSION: Final = b"\x01"


def to_text(kind: Kind, data: bytes) -> str:
    """The text PostgreSQL prints for a value in its canonical form."""
    return _TO_TEXT[kind](data)


def from_text(kind: Kind, text: str) -> bytes:
    """The canonical form of a value from the text PostgreSQL prints for it."""
    return _FROM_TEXT[kind](text)


def check_value(kind: Kind, data: bytes) -> None:
    """Raise Refused when *data* cannot be a value of this kind, or is not in its one canonical form."""
    _CHECK[kind](data)


def to_plain(kind: Kind, data: bytes) -> Plain:
    """The value as plain Python: BOOL 0 or 1, INT* int, FLOAT* float, BYTES bytes, everything else its text."""
    if kind is Kind.BYTES:
        return data
    if kind is Kind.BOOL:
        return int(_bool_text(data) == "t")
    if kind in INTEGERS:
        return _integer(kind, data)
    if kind in FLOATS:
        return number(FLOATS[kind], data)
    return to_text(kind, data)


def from_plain(kind: Kind, value: Plain) -> bytes:
    """The canonical form of a plain Python value: the inverse of :func:`to_plain`."""
    if isinstance(value, bytes):
        if kind is not Kind.BYTES:
            _refuse(kind, "is bytes")
        return value
    if isinstance(value, str):
        return from_text(kind, value)
    if value is None:
        _refuse(kind, "is NULL")
    if kind in FLOATS:
        return from_number(FLOATS[kind], float(value))
    if isinstance(value, float):
        _refuse(kind, "is a float")
    return _from_integer(kind, value)


def _integer(kind: Kind, data: bytes) -> int:
    form = INTEGERS[kind]
    if len(data) != form.size:
        _refuse(kind, f"has {len(data)} bytes instead of {form.size}")
    value: int = form.unpack(data)[0]
    return value


def _from_integer(kind: Kind, value: int) -> bytes:
    if kind is Kind.BOOL and value in (0, 1):
        return b"\x01" if value else b"\x00"
    if kind not in INTEGERS:
        _refuse(kind, "is an integer")
    try:
        return INTEGERS[kind].pack(value)
    except struct.error:
        _refuse(kind, "is out of range")


def _integer_text(kind: Kind, data: bytes) -> str:
    return str(_integer(kind, data))


def _integer_from_text(kind: Kind, text: str) -> bytes:
    if not _INTEGER.fullmatch(text):
        _refuse(kind, "is malformed")
    return _from_integer(kind, int(text))


def _bool_text(data: bytes) -> str:
    if data not in _BOOLS:
        _refuse(Kind.BOOL, "is neither 0 nor 1")
    return _BOOLS[data]


def _bool_from_text(text: str) -> bytes:
    if text not in _BOOL_WORDS:
        _refuse(Kind.BOOL, "is neither true nor false")
    return _BOOL_WORDS[text]


def _utf8_text(kind: Kind, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"a value for {kind} is not UTF-8 at byte {error.start}") from None


def _utf8_from_text(kind: Kind, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        _refuse(kind, "holds half a character")


def _bytes_text(data: bytes) -> str:
    return "\\x" + data.hex()


def _bytes_from_text(text: str) -> bytes:
    if not text.startswith("\\x"):
        _refuse(Kind.BYTES, "does not start with \\x")
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        _refuse(Kind.BYTES, "is not hexadecimal")


def _jsonb_text(data: bytes) -> str:
    if data[:1] != _JSONB_VERSION:
        _refuse(Kind.JSONB, "has an unknown version")
    return _utf8_text(Kind.JSONB, data[1:])


def _jsonb_from_text(text: str) -> bytes:
    return _JSONB_VERSION + _utf8_from_text(Kind.JSONB, text)


def _uuid_text(data: bytes) -> str:
    if len(data) != 16:
        _refuse(Kind.UUID, f"has {len(data)} bytes instead of 16")
    return str(uuid.UUID(bytes=data))


def _uuid_from_text(text: str) -> bytes:
    if not _UUID.fullmatch(text):
        _refuse(Kind.UUID, "is malformed")
    return bytes.fromhex(text.replace("-", ""))


def _check_bytes(data: bytes) -> None:
    """Every string of bytes is a value."""


def _refuse(kind: Kind, what: str) -> NoReturn:
    raise Refused(f"a value for {kind} {what}")


_WORDS: Final = (Kind.TEXT, Kind.JSON, Kind.OTHER)

_TO_TEXT: Final[dict[Kind, Callable[[bytes], str]]] = {
    Kind.BOOL: _bool_text,
    **{kind: partial(_integer_text, kind) for kind in INTEGERS},
    **{kind: partial(float_text, width) for kind, width in FLOATS.items()},
    **{kind: partial(_utf8_text, kind) for kind in _WORDS},
    Kind.DECIMAL: decimal_text,
    Kind.BYTES: _bytes_text,
    Kind.DATE: date_text,
    Kind.TIME: time_text,
    Kind.TIMESTAMP: stamp_text,
    Kind.TIMESTAMPTZ: partial(stamp_text, zone="+00"),
    Kind.INTERVAL: interval_text,
    Kind.JSONB: _jsonb_text,
    Kind.UUID: _uuid_text,
}

_FROM_TEXT: Final[dict[Kind, Callable[[str], bytes]]] = {
    Kind.BOOL: _bool_from_text,
    **{kind: partial(_integer_from_text, kind) for kind in INTEGERS},
    **{kind: partial(float_from_text, width) for kind, width in FLOATS.items()},
    **{kind: partial(_utf8_from_text, kind) for kind in _WORDS},
    Kind.DECIMAL: decimal_from_text,
    Kind.BYTES: _bytes_from_text,
    Kind.DATE: date_from_text,
    Kind.TIME: time_from_text,
    Kind.TIMESTAMP: stamp_from_text,
    Kind.TIMESTAMPTZ: partial(stamp_from_text, zone="+00"),
    Kind.INTERVAL: interval_from_text,
    Kind.JSONB: _jsonb_from_text,
    Kind.UUID: _uuid_from_text,
}

_CHECK: Final[dict[Kind, Callable[[bytes], object]]] = {
    **_TO_TEXT,
    **{kind: partial(number, width) for kind, width in FLOATS.items()},
    Kind.DECIMAL: check_decimal,
    Kind.BYTES: _check_bytes,
}
