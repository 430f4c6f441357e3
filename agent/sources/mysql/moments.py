"""Dates and times of the binlog: packed into bits, with up to six digits after the second's point.

A date without a year, month or day (0000-00-00, 2024-00-00) and one that is not in the calendar are no dates; NULL
stands for the first ones where the plan says so.
"""

from __future__ import annotations

import datetime
from typing import Final

from agent.sources.mysql.reader import Read, Reader, Unreadable, Wanted, Way
from proto.calendar import DAY_US
from proto.values import Kind

_DAY_0: Final = datetime.date(2000, 1, 1).toordinal()
_UNIX_0_S: Final = 946_684_800
"""From 1970 to 2000."""
_SECOND_US: Final = 1_000_000
_HOURS_AT_MOST: Final = 838
_UNITS_US: Final = (1, 10_000, 100, 1)
"""What 1 means in a fraction of so many bytes."""


class _ZeroDate(Unreadable):
    """A date without a year, month or day."""


def date(wanted: Wanted) -> Reader:
    """DATE: 5 bits of day, 4 of month, 15 of year."""
    if wanted.kind is not Kind.DATE:
        raise wanted.refusal()
    return _reader(wanted, _date, Way.DATE)


def datetime2(wanted: Wanted) -> Reader:
    """DATETIME: a sign, 13 × year + month, day and clock."""
    if wanted.kind is not Kind.TIMESTAMP:
        raise wanted.refusal()
    digits = wanted.column.metadata
    return _reader(wanted, lambda raw: _datetime(raw, digits), Way.DATETIME)


def timestamp2(wanted: Wanted) -> Reader:
    """TIMESTAMP: seconds since 1970 UTC; 0 is the zero date."""
    if wanted.kind is not Kind.TIMESTAMPTZ:
        raise wanted.refusal()
    digits = wanted.column.metadata
    return _reader(wanted, lambda raw: _timestamp(raw, digits), Way.TIMESTAMP)


def time2(wanted: Wanted) -> Reader:
    """TIME: hours up to 838, before or after nothing; so it is an interval, or a time of day if every value is one."""
    digits = wanted.column.metadata
    if wanted.kind is Kind.INTERVAL:
        return _reader(wanted, lambda raw: _interval(_time(raw, digits)), Way.INTERVAL)
    if wanted.kind is Kind.TIME:
        return Reader(lambda raw: _of_a_day(_time(raw, digits)))
    raise wanted.refusal()


def old_datetime(wanted: Wanted) -> Reader:
    """DATETIME of a table made before MySQL 5.6: fourteen decimal digits."""
    if wanted.kind is not Kind.TIMESTAMP:
        raise wanted.refusal()
    return _reader(wanted, _old_datetime, Way.CALL)


def old_timestamp(wanted: Wanted) -> Reader:
    """TIMESTAMP of a table made before MySQL 5.6: the same number in the other order."""
    if wanted.kind is not Kind.TIMESTAMPTZ:
        raise wanted.refusal()
    return _reader(wanted, lambda raw: _timestamp(raw[::-1], 0), Way.CALL)


def old_time(wanted: Wanted) -> Reader:
    """TIME of a table made before MySQL 5.6: six decimal digits and a sign."""
    if wanted.kind is not Kind.INTERVAL:
        raise wanted.refusal()
    return Reader(lambda raw: _interval(_old_time(raw)))


def _reader(wanted: Wanted, read: Read, way: Way) -> Reader:
    """With NULL for a zero date where it is wanted; in the hot loop that is left to the function."""
    if not wanted.plan.zero_dates_are_null:
        return Reader(read, way, wanted.column.metadata)
    return Reader(lambda raw: _or_null(read, raw), way, wanted.column.metadata)


def _or_null(read: Read, raw: bytes) -> bytes | None:
    try:
        return read(raw)
    except _ZeroDate:
        return None


def _date(raw: bytes) -> bytes:
    packed = int.from_bytes(raw, "little")
    return _day(packed >> 9, packed >> 5 & 15, packed & 31).to_bytes(4, signed=True)


def _datetime(raw: bytes, digits: int) -> bytes:
    packed = int.from_bytes(raw[:5]) ^ 1 << 39
    days, clock = packed >> 17, packed & 0x1FFFF
    months, day = divmod(days, 32)
    moment = _day(*divmod(months, 13), day) * DAY_US
    moment += _clock(clock >> 12, clock >> 6 & 63, clock & 63)
    return (moment + _fraction(raw[5:], digits)).to_bytes(8, signed=True)


def _timestamp(raw: bytes, digits: int) -> bytes:
    second = int.from_bytes(raw[:4])
    fraction = _fraction(raw[4:], digits)
    if not second and not fraction:
        raise _ZeroDate("is a zero date")
    return ((second - _UNIX_0_S) * _SECOND_US + fraction).to_bytes(8, signed=True)


def _time(raw: bytes, digits: int) -> int:
    """Microseconds."""
    below = 8 * (len(raw) - 3)
    packed = int.from_bytes(raw) - (0x800000 << below)
    clock, part = divmod(abs(packed), 1 << below)
    moment = _clock(clock >> 12, clock >> 6 & 63, clock & 63, _HOURS_AT_MOST)
    moment += _fraction(part.to_bytes(below // 8), digits)
    return -moment if packed < 0 else moment


def _fraction(raw: bytes, digits: int) -> int:
    """Microseconds: the bytes hold the digits, one more where their number is odd."""
    part = int.from_bytes(raw) * _UNITS_US[len(raw)]
    if part >= _SECOND_US or len(raw) != (digits + 1) // 2:
        raise Unreadable("has a fraction over a second")
    return part


def _day(year: int, month: int, day: int) -> int:
    """Days since 2000-01-01."""
    if not (year and month and day):
        raise _ZeroDate("is a date without a year, month or day")
    try:
        return datetime.date(year, month, day).toordinal() - _DAY_0
    except ValueError:
        raise Unreadable("is a date that is not in the calendar") from None


def _clock(hour: int, minute: int, second: int, most: int = 23) -> int:
    """Microseconds."""
    if hour > most or minute > 59 or second > 59:
        raise Unreadable("is not on the clock")
    return ((hour * 60 + minute) * 60 + second) * _SECOND_US


def _interval(moment: int) -> bytes:
    return moment.to_bytes(8, signed=True) + bytes(8)


def _of_a_day(moment: int) -> bytes:
    if not 0 <= moment <= DAY_US:
        raise Unreadable("is no time of a day")
    return moment.to_bytes(8)


def _old_datetime(raw: bytes) -> bytes:
    date, clock = divmod(int.from_bytes(raw, "little"), 1_000_000)
    moment = _day(date // 10_000, date // 100 % 100, date % 100) * DAY_US
    return (moment + _decimal_clock(clock, 23)).to_bytes(8, signed=True)


def _old_time(raw: bytes) -> int:
    packed = int.from_bytes(raw, "little", signed=True)
    moment = _decimal_clock(abs(packed), _HOURS_AT_MOST)
    return -moment if packed < 0 else moment


def _decimal_clock(packed: int, most: int) -> int:
    return _clock(packed // 10_000, packed // 100 % 100, packed % 100, most)
