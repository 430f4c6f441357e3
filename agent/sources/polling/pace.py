"""How little the source is disturbed: rows per second over time, and the hours in which it may be asked at all."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

from agent.sources.polling.settings import LoadSettings, is_open

_BURST_S: Final = 1.0
_MINUTE: Final = timedelta(minutes=1)


class Pace:
    """Rows that may be read now. What was read beyond it is waited for afterwards, so the mean is kept exactly."""

    def __init__(self, load: LoadSettings) -> None:
        self._load = load
        self._free_at_s = 0.0

    def spent(self, rows: int) -> None:
        """*rows* rows were read."""
        if self._load.rows_per_s is not None:
            earliest = time.monotonic() - _BURST_S
            self._free_at_s = max(self._free_at_s, earliest) + rows / self._load.rows_per_s

    def wait_s(self) -> float:
        """Seconds until more may be read."""
        return max(0.0, self._free_at_s - time.monotonic())

    def closed(self) -> str:
        """Why nothing may be read now, in words; empty when it may."""
        windows, now = self._load.windows, datetime.now().astimezone()
        if is_open(windows, now):
            return ""
        return f"outside the hours it may be asked ({', '.join(windows)}), goes on {_opening(windows, now):%H:%M}"


def _opening(windows: tuple[str, ...], now: datetime) -> datetime:
    """The next whole minute that lies in a window."""
    moment = now.replace(second=0, microsecond=0) + _MINUTE
    while not is_open(windows, moment):
        moment += _MINUTE
    return moment
