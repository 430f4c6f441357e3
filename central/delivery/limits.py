"""The limits of a grant that a clock can check: reaching one makes delivery wait, never lose (SD25.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from central.delivery.cursor import Cursor, Standing
from central.sharing.terms import Limits
from proto.states import State

_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may still go now."""

    day: int
    """The local day, as a number."""
    rows_today: int
    """Delivered on it."""
    rows_left: int | None
    """None = not limited."""
    wait: Standing | None
    """Why nothing may go now."""

    def covers(self, rows: int) -> bool:
        """Whether *rows* more may go now; what exceeds a whole day's allowance goes on a day of its own."""
        return self.rows_left is None or rows <= self.rows_left or self.rows_today == 0


def allowance(limits: Limits, cursor: Cursor, now_us: int, zone: ZoneInfo) -> Allowance:
    """What *limits* leave to the grant at *now_us*."""
    local = datetime.fromtimestamp(now_us / _SECOND_US, UTC).astimezone(zone)
    day = local.date().toordinal()
    today = cursor.day_rows if cursor.day == day else 0
    left = None if limits.rows_per_day is None else max(0, limits.rows_per_day - today)
    wait = None
    if not limits.are_open(local.time()):
        wait = _paused("OUTSIDE_HOURS", f"the grant allows deliveries between {limits.hours} only")
    elif left == 0:
        wait = spent(limits, today)
    return Allowance(day, today, left, wait)


def spent(limits: Limits, rows_today: int) -> Standing:
    """The day's rows are used up, or the next delivery would be too much for what is left."""
    what = f"{rows_today} of {limits.rows_per_day} rows a day are delivered; the rest follows tomorrow"
    return _paused("DAY_IS_SPENT", what)


def _paused(code: str, sentence: str) -> Standing:
    return Standing(State.PAUSED, code, sentence, "nothing to do: it goes on by itself")
