"""A cell becomes a value in canonical form, or the reason why it cannot.

Text stays as it is: leading zeros, full-width spaces and line breaks included. Everything else is read strictly; what
could be read in two ways is refused rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from agent.sources.dropfolder import reasons
from agent.sources.dropfolder.reasons import Unfit
from agent.sources.dropfolder.settings import ColumnRule
from proto.errors import Refused
from proto.values import Kind, from_text


class Numeric(NamedTuple):
    """A number in a workbook: its digits as stored, and the day it stands for."""

    text: str
    moment: datetime | None = None
    """When the cell is shown as a date or time, or could be: counted from the workbook's first day."""
    is_date: bool = False


class Faulty(NamedTuple):
    """A cell without a usable value."""

    reason: str


Cell = str | Numeric | Faulty | None
"""None is an empty cell of a workbook, or null in JSON."""

Convert = Callable[[Cell], bytes | None]

MOST_DIGITS: Final = 15
_SCIENTIFIC: Final = re.compile(r"[+-]?\d(\.\d+)?[eE]\+\d{2,3}", re.ASCII)
_DAY: Final = r"(?:(\d{4})([-/.])(\d{1,2})\2(\d{1,2})|(\d{4})年(\d{1,2})月(\d{1,2})日|(\d{4})(\d\d)(\d\d))"
_CLOCK: Final = r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?"
_DATE_TEXT: Final = re.compile(_DAY, re.ASCII)
_STAMP_TEXT: Final = re.compile(_DAY + r"(?:[ T]?" + _CLOCK + ")?", re.ASCII)
_TIME_TEXT: Final = re.compile(_CLOCK, re.ASCII)
_ZONE: Final = re.compile(r"(.*?)\s*(Z|[+-]\d\d:?\d\d)", re.ASCII)
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)
_PLAIN: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBERS: Final = frozenset({Kind.INT16, Kind.INT32, Kind.INT64, Kind.DECIMAL, Kind.FLOAT32, Kind.FLOAT64})
_MOMENTS: Final = frozenset({Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ})
_BOOLS: Final = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "是", "有", "真"), "t"),
    **dict.fromkeys(("0", "false", "f", "no", "n", "否", "无", "假"), "f"),
}


def convert(rule: ColumnRule, is_key: bool) -> Convert:
    """What turns a cell of this column into a value; it raises Unfit."""
    read = _reader(rule)
    null, required = frozenset(rule.null), rule.required or is_key
    check = _checks(rule)

    def converted(cell: Cell) -> bytes | None:
        if isinstance(cell, Faulty):
            raise Unfit(cell.reason)
        if cell is None or cell in null:
            if required:
                raise Unfit(reasons.EMPTY)
            return None
        if check is not None:
            check(cell.text if isinstance(cell, Numeric) else cell)
        try:
            return read(cell)
        except Refused:
            raise Unfit(reasons.NOT_VALUE) from None

    return converted


def _checks(rule: ColumnRule) -> Callable[[str], None] | None:
    """Length, form and allowed values; None when nothing is asked."""
    if not (rule.max_length or rule.pattern or rule.values):
        return None
    form, values = re.compile(rule.pattern) if rule.pattern else None, frozenset(rule.values)

    def check(text: str) -> None:
        if rule.max_length is not None and len(text) > rule.max_length:
            raise Unfit(reasons.TOO_LONG)
        if form is not None and not form.fullmatch(text):
            raise Unfit(reasons.NO_MATCH)
        if values and text not in values:
            raise Unfit(reasons.NOT_ALLOWED)

    return check


def _reader(rule: ColumnRule) -> Callable[[Cell], bytes]:
    kind = rule.kind
    if kind in _NUMBERS:
        return lambda cell: from_text(kind, _number(kind, cell, rule.thousands))
    if kind in _MOMENTS:
        return lambda cell: from_text(kind, _moment(rule, cell))
    if kind is Kind.BOOL:
        return lambda cell: from_text(kind, _bool(cell))
    if kind is Kind.TEXT:
        return _scientific_text if rule.scientific else _text
    return lambda cell: from_text(kind, _as_text(cell))


def _text(cell: Cell) -> bytes:
    text = _as_text(cell)
    # The length first: it tells nearly every cell apart, and this runs for each of them.
    if len(text) < 30 and "+" in text and _SCIENTIFIC.fullmatch(text):
        raise Unfit(reasons.SCIENTIFIC)
    return _utf8(text)


def _scientific_text(cell: Cell) -> bytes:
    return _utf8(_as_text(cell))


def _utf8(text: str) -> bytes:
    if "\0" in text:
        # No database behind us can hold one in a text.
        raise Unfit(reasons.NOT_VALUE)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Unfit(reasons.NOT_VALUE) from None


def _as_text(cell: Cell) -> str:
    """The text of a cell; a workbook's number only when the workbook can have kept all its digits."""
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, Numeric):
        raise Unfit(reasons.NOT_VALUE)
    if cell.is_date:
        raise Unfit(reasons.NOT_TEXT)
    if len(re.sub(r"[eE].*|\D", "", cell.text).lstrip("0")) > MOST_DIGITS or "E" in cell.text.upper():
        raise Unfit(reasons.LOST_DIGITS)
    return cell.text


def _number(kind: Kind, cell: Cell, thousands: bool) -> str:
    if isinstance(cell, Numeric):
        text = shortest(cell.text)
    elif isinstance(cell, str):
        text = cell.strip()
    else:
        raise Unfit(reasons.NOT_NUMBER)
    if thousands and _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    form = _PLAIN if kind not in (Kind.INT16, Kind.INT32, Kind.INT64) else _WHOLE
    if not form.fullmatch(text):
        raise Unfit(reasons.NOT_NUMBER)
    return text


def shortest(text: str) -> str:
    """A workbook's number as people see it: it is stored with 17 digits, of which 15 are meant."""
    if not ("." in text or "e" in text.lower()):
        return text
    number = float(text)
    shown = f"{number:.{MOST_DIGITS}g}"
    text = shown if float(shown) == number else repr(number)
    if "e" in text:
        text = f"{number:.0f}" if abs(number) >= 1 else f"{number:.30f}".rstrip("0")
    return text


def _bool(cell: Cell) -> str:
    text = cell.text if isinstance(cell, Numeric) else cell
    if not isinstance(text, str) or text.strip().casefold() not in _BOOLS:
        raise Unfit(reasons.NOT_BOOL)
    return _BOOLS[text.strip().casefold()]


def _moment(rule: ColumnRule, cell: Cell) -> str:
    if isinstance(cell, Numeric):
        return _of_serial(rule.kind, cell)
    if not isinstance(cell, str):
        raise Unfit(reasons.NOT_DATE)
    text = cell.strip()
    for form in rule.formats:
        try:
            return _shown(rule.kind, datetime.strptime(text, form))  # noqa: DTZ007 — a zone is in the form or nowhere
        except ValueError:
            continue
    if rule.kind is Kind.DATE:
        return _date(_DATE_TEXT.fullmatch(text))
    if rule.kind is Kind.TIME:
        return _clock(_TIME_TEXT.fullmatch(text), 1)
    zone = "" if rule.kind is Kind.TIMESTAMP else "+00"
    return _stamp(text) if not zone else _zoned(text)


def _of_serial(kind: Kind, cell: Numeric) -> str:
    if cell.moment is None or (kind is Kind.TIME and not cell.is_date):
        raise Unfit(reasons.NOT_DATE)
    if kind is Kind.DATE and cell.moment.time().isoformat() != "00:00:00":
        raise Unfit(reasons.NOT_DATE)
    if kind is Kind.TIMESTAMPTZ:
        # A workbook knows no zones, so it cannot say which moment is meant.
        raise Unfit(reasons.NOT_DATE)
    return _shown(kind, cell.moment)


def _shown(kind: Kind, moment: datetime) -> str:
    if kind is Kind.DATE:
        return moment.date().isoformat()
    if kind is Kind.TIME:
        return moment.time().isoformat()
    if kind is Kind.TIMESTAMP:
        return moment.replace(tzinfo=None).isoformat(" ")
    if moment.tzinfo is None:
        raise Unfit(reasons.NOT_DATE)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ") + "+00"


def _date(found: re.Match[str] | None) -> str:
    if found is None:
        raise Unfit(reasons.NOT_DATE)
    year, month, day = (
        found[1] or found[5] or found[8],
        found[3] or found[6] or found[9],
        found[4] or found[7] or found[10],
    )
    return f"{year}-{int(month):02}-{int(day):02}"


def _clock(found: re.Match[str] | None, first: int) -> str:
    if found is None:
        raise Unfit(reasons.NOT_DATE)
    hour, minute, second, part = (found[first + at] for at in range(4))
    return f"{int(hour):02}:{minute}:{second or '00'}" + (f".{part}" if part else "")


def _stamp(text: str) -> str:
    found = _STAMP_TEXT.fullmatch(text)
    date = _date(found)
    return f"{date} {_clock(found, 11)}" if found and found[11] else f"{date} 00:00:00"


def _zoned(text: str) -> str:
    found = _ZONE.fullmatch(text)
    if found is None:
        raise Unfit(reasons.NOT_DATE)
    try:
        moment = datetime.fromisoformat(_stamp(found[1]))
        minutes = 0 if found[2] == "Z" else int(found[2][1:3]) * 60 + int(found[2][-2:])
        moment += timedelta(minutes=minutes if found[2][0] == "-" else -minutes)
    except (ValueError, OverflowError):
        raise Unfit(reasons.NOT_DATE) from None
    return moment.isoformat(" ") + "+00"
