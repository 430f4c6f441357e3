"""Working days as the law counts them: holidays, make-up workdays, and years nobody told us of."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from central.policy import profile_named
from central.policy.days import CalendarPolicy, CalendarYear

CALENDAR = profile_named().calendar


def at(text: str) -> int:
    """A moment in Shandong's time, microseconds since 1970."""
    return int(datetime.fromisoformat(f"{text}+08:00").timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("day", "works"),
    [
        ("2025-01-26", True),  # a Sunday that was worked before the Spring Festival
        ("2025-01-28", False),
        ("2025-02-05", True),
        ("2025-10-08", False),
        ("2025-10-11", True),  # a Saturday
        ("2025-10-12", False),
        ("2026-02-16", False),
        ("2026-02-28", True),
        ("2026-11-27", True),
        ("2026-11-28", False),
    ],
)
def test_holidays_and_make_up_workdays_count_as_arranged(day, works):
    """调休 turns weekends into workdays and workdays into holidays (SD22.2)."""
    assert CALENDAR.is_working(date.fromisoformat(day)) is works


@pytest.mark.parametrize(
    ("arrives", "days", "ends"),
    [
        ("2025-09-26 09:00:00", 1, "2025-09-28"),  # Friday; Sunday the 28th is worked
        ("2025-09-30 23:59:59", 1, "2025-10-09"),  # the whole golden week lies between
        ("2025-09-30 09:00:00", 3, "2025-10-11"),
        ("2026-11-27 09:00:00", 10, "2026-12-11"),
        ("2026-11-28 12:00:00", 1, "2026-11-30"),
    ],
)
def test_a_time_limit_ends_with_its_last_working_day(arrives, days, ends):
    """The day of arrival is not counted, and the last day is counted whole (SD22.2)."""
    due = CALENDAR.due(at(arrives), days)
    assert due.at_us == CALENDAR.end_of(date.fromisoformat(ends))
    assert due.note == ""
    assert CALENDAR.left(at(arrives), due.at_us) == days


def test_days_begin_where_the_platform_stands():
    """Eight hours before UTC: what arrives at 00:30 in Jinan arrives on that day."""
    late = int(datetime(2026, 11, 26, 16, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert CALENDAR.day_of(late) == date(2026, 11, 27)


def test_a_year_nobody_told_us_of_has_weekends_only_and_says_so():
    """A clock that used it carries the note."""
    due = CALENDAR.due(at("2026-12-28 10:00:00"), 10)
    assert due.unknown_years == (2027,)
    assert "no holidays for 2027" in due.note
    assert due.at_us == CALENDAR.end_of(date(2027, 1, 11))


def test_overdue_is_a_negative_number_of_days():
    """So that lists can be sorted by it."""
    due = CALENDAR.due(at("2025-09-26 09:00:00"), 1)
    assert CALENDAR.left(at("2025-09-28 20:00:00"), due.at_us) == 0
    assert CALENDAR.left(at("2025-09-30 09:00:00"), due.at_us) == -2


@pytest.mark.parametrize(
    "year",
    [
        {"year": 2027, "off": ["2026-01-01"]},
        {"year": 2027, "off": [], "work": ["2027-01-04"]},
        {"year": 2027, "off": ["2027-01-02"], "work": ["2027-01-02"]},
    ],
)
def test_a_mistyped_year_is_refused(year):
    """A date of another year, and a make-up day that is no weekend."""
    with pytest.raises(ValidationError):
        CalendarYear.model_validate(year)


def test_an_unknown_time_zone_is_refused():
    """At start, not at the first request."""
    with pytest.raises(ValidationError, match="no time zone"):
        CalendarPolicy(timezone="Asia/Jinan")


@pytest.mark.parametrize("name", ["sd-2015", "cn-2025"])
def test_both_profiles_say_where_their_days_come_from(name):
    """What was compared with a package, and not with the notices, is an open point."""
    assert any(
        "calendar: " in point and "chinesecalendar" in point for point in profile_named(name).open_points
    )
    assert {year.year for year in profile_named(name).calendar.years} == {2024, 2025, 2026}
