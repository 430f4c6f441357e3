"""The limits of a grant that a clock can check, in the policy's zone."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from central.delivery.cursor import Cursor, Place, Standing
from central.delivery.limits import allowance
from central.sharing.terms import Limits
from proto.batch import CHAIN_START

ZONE = ZoneInfo("Asia/Shanghai")
NEW = Cursor("G1", "civil", 1, 1, CHAIN_START, Place(), 0, b"", "", 0, 0, 0, Standing(), None)


def limited(**said: object) -> Limits:
    """The usual limits, and these."""
    return Limits.model_validate(said)


def at(clock: str, day: int = 3) -> int:
    """A moment of May 2026 in Shanghai, as the database tells it."""
    hour, minute = map(int, clock.split(":"))
    local = datetime(2026, 5, day, hour, minute, tzinfo=ZONE)
    return int(local.astimezone(UTC).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("hours", "clock", "flows"),
    [
        ("08:00-18:00", "07:59", False),
        ("08:00-18:00", "08:00", True),
        ("08:00-18:00", "18:00", False),
        ("22:00-06:00", "21:59", False),
        ("22:00-06:00", "23:30", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("00:00-00:00", "12:00", True),
    ],
)
def test_hours_are_local_and_may_pass_midnight(hours: str, clock: str, flows: bool):
    """The first minute counts, the last does not; the same twice is the whole day."""
    left = allowance(limited(hours=hours), NEW, at(clock), ZONE)
    assert (left.wait is None) is flows


def test_rows_of_another_day_do_not_count():
    """A day ends at local midnight."""
    limits = limited(rows_per_day=10)
    today = allowance(limits, NEW, at("23:59"), ZONE)
    spent = dataclasses.replace(NEW, day=today.day, day_rows=10)
    assert allowance(limits, spent, at("23:59"), ZONE).wait.code == "DAY_IS_SPENT"
    tomorrow = allowance(limits, spent, at("00:00", 4), ZONE)
    assert (tomorrow.wait, tomorrow.rows_left, tomorrow.day) == (None, 10, today.day + 1)


def test_what_exceeds_a_whole_day_has_a_day_of_its_own():
    """It would never go otherwise."""
    limits = limited(rows_per_day=10)
    fresh = allowance(limits, NEW, at("12:00"), ZONE)
    assert fresh.covers(5000)
    begun = allowance(limits, dataclasses.replace(NEW, day=fresh.day, day_rows=1), at("12:00"), ZONE)
    assert begun.covers(9)
    assert not begun.covers(10)
    assert allowance(limited(), NEW, at("12:00"), ZONE).covers(10**9)
