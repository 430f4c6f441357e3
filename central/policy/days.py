"""Working days: which days count when the law counts working days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from proto.process import Section

SATURDAY: Final = 5
MOST_DAYS: Final = 3660
_ONE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Due:
    """The end of the last working day of a time limit."""

    at_us: int
    unknown_years: tuple[int, ...]
    """Years it reaches into whose holidays the profile does not have: there only weekends were left out."""

    @property
    def note(self) -> str:
        """What whoever reads the day must know; "" when the calendar is whole."""
        if not self.unknown_years:
            return ""
        years = ", ".join(map(str, self.unknown_years))
        return f"weekends only: the profile has no holidays for {years}"


class CalendarYear(Section):
    """One year as the State Council's office arranged it."""

    year: int = Field(ge=2000, le=2100)
    off: tuple[date, ...]
    """Days off; those that fall on a weekend may be named too."""
    work: tuple[date, ...] = ()
    """Saturdays and Sundays that are worked (调休)."""

    @model_validator(mode="after")
    def _check(self) -> CalendarYear:
        for day in (*self.off, *self.work):
            if day.year != self.year:
                raise ValueError(f"{day} is not in {self.year}")
        for day in self.work:
            if day.weekday() < SATURDAY or day in self.off:
                raise ValueError(f"{day} is no weekend day that could be worked instead")
        return self


class CalendarPolicy(Section):
    """Time zone and holidays. A year that is not listed has weekends only, and every time limit in it says so."""

    timezone: str
    years: tuple[CalendarYear, ...] = ()

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is no time zone") from error
        return name

    @cached_property
    def zone(self) -> ZoneInfo:
        """The zone in which days begin and end."""
        return ZoneInfo(self.timezone)

    @cached_property
    def _years(self) -> dict[int, tuple[frozenset[date], frozenset[date]]]:
        return {each.year: (frozenset(each.off), frozenset(each.work)) for each in self.years}

    def is_working(self, day: date) -> bool:
        """Whether *day* counts."""
        off, work = self._years.get(day.year, (frozenset(), frozenset()))
        return day in work or (day.weekday() < SATURDAY and day not in off)

    def due(self, now_us: int, days: int) -> Due:
        """The end of the *days*-th working day after today; the day on which something arrives is not counted."""
        day = last = self.day_of(now_us)
        left = min(days, MOST_DAYS)
        while left > 0:
            last += _ONE
            left -= self.is_working(last)
        unknown = tuple(year for year in range(day.year, last.year + 1) if year not in self._years)
        return Due(self.end_of(last), unknown)

    def left(self, now_us: int, due_us: int) -> int:
        """Working days that are left after today; negative: so many have passed since."""
        today, last = self.day_of(now_us), self.day_of(due_us - 1)
        first, until = min(today, last), max(today, last)
        span = min((until - first).days, MOST_DAYS)
        count = sum(self.is_working(first + timedelta(days=n)) for n in range(1, span + 1))
        return count if last >= today else -count

    def day_of(self, at_us: int) -> date:
        """The day it is there."""
        return self.local(at_us).date()

    def local(self, at_us: int) -> datetime:
        """The time of day there."""
        return datetime.fromtimestamp(at_us / 1_000_000, UTC).astimezone(self.zone)

    def begin_of(self, day: date) -> int:
        """The first moment of *day*, microseconds since 1970."""
        begins = datetime(day.year, day.month, day.day, tzinfo=self.zone)
        return int(begins.timestamp()) * 1_000_000

    def end_of(self, day: date) -> int:
        """The first moment after *day*."""
        return self.begin_of(day + _ONE)
