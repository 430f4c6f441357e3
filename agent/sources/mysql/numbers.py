"""Numbers of the binlog: integers of every size, packed decimals, floats, bits and years."""

from __future__ import annotations

from typing import Final

from agent.sources.mysql.reader import Read, Reader, Unreadable, Wanted, Way
from agent.sources.mysql.rows import layout_of
from proto.decimals import decimal_from_text
from proto.values import Kind

INTEGER_BYTES: Final = {Kind.INT16: 2, Kind.INT32: 4, Kind.INT64: 8}
_FLOAT_BYTES: Final = {Kind.FLOAT32: 4, Kind.FLOAT64: 8}
_GROUP_DIGITS: Final = 9
_DIGIT_BYTES: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_YEAR_0: Final = 1900


def integer(wanted: Wanted) -> Reader:
    """TINYINT to BIGINT."""
    signed = not wanted.plan.unsigned
    if wanted.kind in INTEGER_BYTES:
        size = INTEGER_BYTES[wanted.kind]
        return Reader(_integer(size, signed), Way.INTEGER, size, not signed)
    if wanted.kind is Kind.BOOL:
        return Reader(_bool, Way.BOOL)
    if wanted.kind is Kind.DECIMAL:
        return Reader(_number(signed), Way.NUMBER, 0, not signed)
    raise wanted.refusal()


def real(wanted: Wanted) -> Reader:
    """FLOAT and DOUBLE: the same bits, in network order."""
    if _FLOAT_BYTES.get(wanted.kind) != layout_of(wanted.column).size:
        raise wanted.refusal()
    return Reader(lambda raw: raw[::-1], Way.FLOAT)


def decimal(wanted: Wanted) -> Reader:
    """DECIMAL: nine digits in four bytes, the first bit inverted, all others too if it is negative."""
    if wanted.kind is not Kind.DECIMAL:
        raise wanted.refusal()
    precision, scale = wanted.column.metadata >> 8, wanted.column.metadata & 0xFF
    return Reader(lambda raw: read_decimal(raw, precision, scale), Way.DECIMAL, precision, scale)


def bit(wanted: Wanted) -> Reader:
    """BIT: as bytes, as a number, as digits, or as yes and no when there is only one."""
    count = wanted.column.metadata
    if wanted.kind is Kind.BYTES:
        return Reader(lambda raw: raw, Way.BYTES)
    if wanted.kind in (Kind.TEXT, Kind.OTHER):
        return Reader(lambda raw: f"{int.from_bytes(raw):0{count}b}".encode())
    if wanted.kind is Kind.BOOL and count == 1:
        return Reader(_bool, Way.BOOL)
    if wanted.kind in INTEGER_BYTES:
        return Reader(_big_endian(INTEGER_BYTES[wanted.kind]))
    raise wanted.refusal()


def year(wanted: Wanted) -> Reader:
    """YEAR: counted from 1900; 0 is the year 0000."""
    if wanted.kind is not Kind.INT16:
        raise wanted.refusal()
    return Reader(_year, Way.YEAR)


def read_decimal(raw: bytes, precision: int, scale: int) -> bytes:
    """The canonical form of a packed decimal; it keeps the scale."""
    first = raw[0]
    negative = not first & 0x80
    raw = bytes([first ^ 0x80]) + raw[1:]
    if negative:
        raw = bytes(byte ^ 0xFF for byte in raw)
    whole = precision - scale
    # The short group stands at the outer end: first before the point, last after it.
    before = [whole % _GROUP_DIGITS, *[_GROUP_DIGITS] * (whole // _GROUP_DIGITS)]
    after = [*[_GROUP_DIGITS] * (scale // _GROUP_DIGITS), scale % _GROUP_DIGITS]
    digits: list[str] = []
    at = 0
    for count in (*before, *after):
        size = _DIGIT_BYTES[count]
        digits.append(_digits(int.from_bytes(raw[at : at + size]), count))
        at += size
    text = "".join(digits)
    return decimal_from_text(f"{'-' if negative else ''}{text[:whole] or '0'}.{text[whole:]}")


def _digits(group: int, count: int) -> str:
    if group >= 10**count:
        raise Unreadable("has a group of too many digits")
    return f"{group:0{count}}" if count else ""


def _integer(size: int, signed: bool) -> Read:
    def read(raw: bytes) -> bytes:
        try:
            return int.from_bytes(raw, "little", signed=signed).to_bytes(size, signed=True)
        except OverflowError:
            raise Unreadable("is out of range") from None

    return read


def _number(signed: bool) -> Read:
    return lambda raw: decimal_from_text(str(int.from_bytes(raw, "little", signed=signed)))


def _big_endian(size: int) -> Read:
    def read(raw: bytes) -> bytes:
        try:
            return int.from_bytes(raw).to_bytes(size, signed=True)
        except OverflowError:
            raise Unreadable("is out of range") from None

    return read


def _bool(raw: bytes) -> bytes:
    value = int.from_bytes(raw, "little")
    if value > 1:
        raise Unreadable("is neither 0 nor 1")
    return b"\x01" if value else b"\x00"


def _year(raw: bytes) -> bytes:
    return (_YEAR_0 + raw[0] if raw[0] else 0).to_bytes(2)
