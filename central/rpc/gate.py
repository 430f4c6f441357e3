"""How many callers may be greeted at once: after a restart every node comes back in the same second (fault G13).

Whoever finds the gate full is told when to come again, later the more were turned away; nobody waits in line here, so
what a herd costs is bounded. Heartbeats do not pass through it.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from proto.errors import Busy

GREETED_AT_ONCE: Final = 24
"""A few for each thread that decides about a hello."""
SOONEST_S: Final = 1.0
LATEST_S: Final = 30.0


class Gate:
    """Lets a few through at a time. Lives on the event loop; use it as a context manager."""

    def __init__(self, width: int = GREETED_AT_ONCE) -> None:
        self._width = width
        self._inside = 0
        self._second, self._turned_away = 0.0, 0

    def __enter__(self) -> Self:
        if self._inside >= self._width:
            raise Busy(
                f"{self._width} nodes are being greeted at this moment",
                fix="nothing to do: the node comes back by itself",
                retry_s=self._hint_s(),
            )
        self._inside += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._inside -= 1

    def _hint_s(self) -> float:
        """As if those turned away within the last second stood in a line that moves by one width each second."""
        now = time.monotonic()
        if now - self._second > 1.0:
            self._second, self._turned_away = now, 0
        self._turned_away += 1
        return min(LATEST_S, SOONEST_S + self._turned_away / self._width)
