"""Dates, times, timestamps and intervals: PostgreSQL's binary form and the text it prints for it.

DateStyle ISO, IntervalStyle postgres, time zone UTC. Python's own dates end at year 9999 and know no years
before 1, so the calendar here is counted in days (proleptic Gregorian, as PostgreSQL does).
"""

from __future__ import annotations

import re
import struct
from typing import Final, NoReturn

from proto.errors import Refused

INFINITY: Final = "infinity"
MINUS_INFINITY: Final = "-infinity"
_INT32_MAX, _INT32_MIN = 2**31 - 1, -(2**31)
_INT64_MAX, _INT64_MIN = 2**63 - 1, -(2**63)

DATE_FIRST, DATE_END = -2451545, 2145031949
"""Days since 2000-01-01 of 4714-11-24 BC and of the day after 5874897-12-31, as PostgreSQL limits them."""
STAMP_FIRST, STAMP_END = -211813488000000000, 9223371331200000000
DAY_US: Final = 86_400_000_000
_DAYS_0000_TO_2000: Final = 730_425  # from 0000-03-01 to 2000-01-01

_DAY: Final = struct.Struct(">i")
_STAMP: Final = struct.Struct(">q")
_INTERVAL: Final = struct.Struct(">qii")

_DATE_TEXT: Final = re.compile(r"(\d{4,7})-(\d\d)-(\d\d)( BC)?", re.ASCII)
_TIME_TEXT: Final = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?", re.ASCII)
_STAMP_TEXT: Final = re.compile(r"(\d{4,7}-\d\d-\d\d)[ T]([\d:.]+?)(\+00)?( BC)?", re.ASCII)
_INTERVAL_TEXT: Final = re.compile(
    r"(?:([+-]?\d+) years? ?)?(?:([+-]?\d+) mons? ?)?(?:([+-]?\d+) days? ?)?"
    r"(?:([+-]?)(\d{2,10}):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?",
    re.ASCII,
)


def date_text(data: bytes) -> str:
    """The text of a date."""
    days = _unpack(_DAY, data, "date")[0]
    if days == _INT32_MAX:
        return INFINITY
    if days == _INT32_MIN:
        return MINUS_INFINITY
    if not DATE_FIRST <= days < DATE_END:
        _refuse("date", "is out of range")
    date, era = _day_text(days)
    return date + era


def date_from_text(text: str) -> bytes:
    """The binary form of a date."""
    if text in (INFINITY, MINUS_INFINITY):
        return _DAY.pack(_INT32_MAX if text == INFINITY else _INT32_MIN)
    days = _day(text, "date")
    if not DATE_FIRST <= days < DATE_END:
        _refuse("date", "is out of range")
    return _DAY.pack(days)


def time_text(data: bytes) -> str:
    """The text of a time of day; 24:00:00 is one."""
    (moment,) = _unpack(_STAMP, data, "time")
    if not 0 <= moment <= DAY_US:
        _refuse("time", "is out of range")
    return _clock(moment)


def time_from_text(text: str) -> bytes:
    """The binary form of a time of day."""
    return _STAMP.pack(_time(text, "time"))


def stamp_text(data: bytes, zone: str = "") -> str:
    """The text of a timestamp; *zone* is ``+00`` for one with time zone."""
    (moment,) = _unpack(_STAMP, data, "timestamp")
    if moment == _INT64_MAX:
        return INFINITY
    if moment == _INT64_MIN:
        return MINUS_INFINITY
    if not STAMP_FIRST <= moment < STAMP_END:
        _refuse("timestamp", "is out of range")
    days, rest = divmod(moment, DAY_US)
    date, era = _day_text(days)
    return f"{date} {_clock(rest)}{zone}{era}"


def stamp_from_text(text: str, zone: str = "") -> bytes:
    """The binary form of a timestamp."""
    if text in (INFINITY, MINUS_INFINITY):
        return _STAMP.pack(_INT64_MAX if text == INFINITY else _INT64_MIN)
    found = _STAMP_TEXT.fullmatch(text)
    if found is None or (found[3] or "") != zone:
        _refuse("timestamp", "is malformed")
    moment = _day(found[1] + (found[4] or ""), "timestamp") * DAY_US + _time(found[2], "timestamp")
    if not STAMP_FIRST <= moment < STAMP_END:
        _refuse("timestamp", "is out of range")
    return _STAMP.pack(moment)


def interval_text(data: bytes) -> str:
    """The text of an interval, infinite ones included (PostgreSQL 17 and later print them so)."""
    moment, days, months = _unpack(_INTERVAL, data, "interval")
    if (moment, days, months) == (_INT64_MAX, _INT32_MAX, _INT32_MAX):
        return INFINITY
    if (moment, days, months) == (_INT64_MIN, _INT32_MIN, _INT32_MIN):
        return MINUS_INFINITY
    years = abs(months) // 12 * (-1 if months < 0 else 1)
    parts: list[str] = []
    before = False
    for number, unit in ((years, "year"), (months - 12 * years, "mon"), (days, "day")):
        if number:
            plus = "+" if before and number > 0 else ""
            parts.append(f"{plus}{number} {unit}{'' if number == 1 else 's'}")
            before = number < 0
    if moment or not parts:
        sign = "-" if moment < 0 else "+" if before else ""
        parts.append(sign + _clock(abs(moment)))
    return " ".join(parts)


def interval_from_text(text: str) -> bytes:
    """The binary form of an interval."""
    if text in (INFINITY, MINUS_INFINITY):
        limit32, limit64 = (_INT32_MAX, _INT64_MAX) if text == INFINITY else (_INT32_MIN, _INT64_MIN)
        return _INTERVAL.pack(limit64, limit32, limit32)
    found = _INTERVAL_TEXT.fullmatch(text)
    if not text or found is None or text.endswith(" "):
        _refuse("interval", "is malformed")
    years, months, days = (int(found[group] or 0) for group in (1, 2, 3))
    moment = _microseconds(found[5] or "0", found[6] or "0", found[7] or "0", found[8], "interval")
    try:
        return _INTERVAL.pack(-moment if found[4] == "-" else moment, days, years * 12 + months)
    except struct.error:
        _refuse("interval", "is out of range")


def _day_text(days: int) -> tuple[str, str]:
    """Year-month-day and the era of a day counted from 2000-01-01."""
    # Count in eras of 400 years from 1 March, so that the leap day is the last day of its year.
    era, day = divmod(days + _DAYS_0000_TO_2000, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month = month + 3 if month < 10 else month - 9
    year += 400 * era + (month <= 2)
    shown, suffix = (year, "") if year > 0 else (1 - year, " BC")
    return f"{shown:04}-{month:02}-{day + 1:02}", suffix


def _day(text: str, name: str) -> int:
    """The day counted from 2000-01-01."""
    found = _DATE_TEXT.fullmatch(text)
    if found is None:
        _refuse(name, "is malformed")
    shown, month, day = int(found[1]), int(found[2]), int(found[3])
    year = 1 - shown if found[4] else shown
    if shown == 0 or not 1 <= month <= 12 or not 1 <= day <= _month_days(year, month):
        _refuse(name, "is not in the calendar")
    era, year = divmod(year - (month <= 2), 400)
    month = month - 3 if month > 2 else month + 9
    return (
        era * 146_097 + year * 365 + year // 4 - year // 100 + (153 * month + 2) // 5 + day - 1
    ) - _DAYS_0000_TO_2000


def _month_days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _clock(moment: int) -> str:
    seconds, micros = divmod(moment, 1_000_000)
    fraction = f".{micros:06}".rstrip("0") if micros else ""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


def _time(text: str, name: str) -> int:
    found = _TIME_TEXT.fullmatch(text)
    if found is None:
        _refuse(name, "is malformed")
    moment = _microseconds(found[1], found[2], found[3], found[4], name)
    if moment > DAY_US:
        _refuse(name, "is out of range")
    return moment


def _microseconds(hours: str, minutes: str, seconds: str, fraction: str | None, name: str) -> int:
    if int(minutes) > 59 or int(seconds) > 59:
        _refuse(name, "is not on the clock")
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * 1_000_000 + int((fraction or "").ljust(6, "0"))


def _unpack(form: struct.Struct, data: bytes, name: str) -> tuple[int, ...]:
    if len(data) != form.size:
        _refuse(name, f"has {len(data)} bytes instead of {form.size}")
    return form.unpack(data)


def _refuse(name: str, what: str) -> NoReturn:
    raise Refused(f"a value for a {name} {what}")
