"""When the place for batches that wait for central will be full, at the rate it fills now.

Said only while batches wait and become more. The rate is counted from the lowest level of the last hour, so that a
stream that fills and drains as ever has no horizon, and one that central stopped taking has one after a minute.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

WINDOW_US: Final = 3_600_000_000
SHORTEST_US: Final = 60_000_000
"""What became more in less time says nothing about the hours to come."""
FAR_US: Final = 365 * 86_400_000_000
OUTBOX: Final = "what may wait for central"
VOLUME: Final = "exchange disk"


@dataclass(frozen=True, slots=True)
class Level:
    """How full it was at one moment."""

    at_us: int
    waiting_bytes: int
    outbox_bytes: int
    """What may wait for central at most."""
    spare_bytes: int | None = None
    """What could be used of the volume before capture has to wait; None where only its server knows."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """What is full first, and when."""

    what: str
    at_us: int

    def left_us(self, now_us: int) -> int:
        """How long that is from *now_us*; at least a microsecond, because it is not full yet."""
        return max(1, self.at_us - now_us)

    def sentence(self, now_us: int) -> str:
        """As people read it."""
        left = _words(self.left_us(now_us))
        return f"{self.what} full in {left} at the present rate; nothing is dropped, capture waits then"


def horizon(levels: Iterable[Level]) -> Horizon | None:
    """What *levels*, in order of time, come to; None while nothing waits, or it does not become more."""
    seen = list(levels)
    if not seen or not seen[-1].waiting_bytes:
        return None
    last = seen[-1]
    lowest = min(reversed(seen), key=lambda level: level.waiting_bytes)
    span_us, grown = last.at_us - lowest.at_us, last.waiting_bytes - lowest.waiting_bytes
    if span_us < SHORTEST_US or grown <= 0:
        return None
    ends = [(OUTBOX, last.outbox_bytes - last.waiting_bytes, grown)]
    if last.spare_bytes is not None:
        # Others fill the volume too, and our own rows take more room there than they take in the outbox.
        used = grown if lowest.spare_bytes is None else max(grown, lowest.spare_bytes - last.spare_bytes)
        ends.append((VOLUME, last.spare_bytes, used))
    what, left, used = min(ends, key=lambda end: end[1] / end[2])
    until_us = left * span_us // used
    # What is full already is said by the stream's state.
    return Horizon(what, last.at_us + until_us) if left > 0 and until_us <= FAR_US else None


class Gauge:
    """Remembers the levels of the last hour; any thread."""

    def __init__(self) -> None:
        self._levels: deque[Level] = deque()
        self._lock = threading.Lock()

    def note(self, level: Level) -> None:
        """How full it is now."""
        with self._lock:
            self._levels.append(level)
            while self._levels[0].at_us < level.at_us - WINDOW_US:
                self._levels.popleft()

    def horizon(self) -> Horizon | None:
        """What the levels so far come to."""
        with self._lock:
            return horizon(self._levels)


def _words(length_us: int) -> str:
    seconds = length_us // 1_000_000
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} s"
