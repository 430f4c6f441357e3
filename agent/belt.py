"""A short belt between two threads: one puts, one takes, and whoever fails first ends both."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Ended(Exception):
    """The belt was closed; ``cause`` is why, None for a clean end."""

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__("the belt was closed")
        self.cause = cause


class Belt(Generic[T]):
    """At most *room* things of together *weight* lie on it, or one of any weight.

    What was taken counts as on its way until :meth:`done`.
    """

    def __init__(self, room: int, weight: int, weigh: Callable[[T], int]) -> None:
        self._room = room
        self._weight = weight
        self._weigh = weigh
        self._items: deque[T] = deque()
        self._taken = False
        self._closed = False
        self._cause: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: T, timeout_s: float) -> bool:
        """Lay *item* on it; False when there was no room in time. Raises Ended when closed."""
        with self._changed:
            fits = self._changed.wait_for(lambda: self._closed or self._takes(item), timeout_s)
            if self._closed:
                raise Ended(self._cause)
            if not fits:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self) -> T:
        """The next thing; waits for it. Raises Ended when it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items))
            if not self._items:
                raise Ended(self._cause)
            self._taken = True
            self._changed.notify_all()
            return self._items.popleft()

    def take_more(self, fits: Callable[[T], bool]) -> list[T]:
        """What lies there already and fits, up to the first that does not."""
        with self._changed:
            more = []
            while self._items and fits(self._items[0]):
                more.append(self._items.popleft())
            self._changed.notify_all()
            return more

    def done(self) -> None:
        """What was taken has arrived."""
        with self._changed:
            self._taken = False
            self._changed.notify_all()

    def close(self, cause: BaseException | None = None) -> None:
        """Nothing more comes; what lies there may still be taken. The first cause stays."""
        with self._changed:
            if not self._closed:
                self._closed, self._cause = True, cause
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """Whether everything ever put has arrived."""
        with self._changed:
            return not self._items and not self._taken

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until everything has arrived; False when it did not in time, or never will."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while (self._items or self._taken) and not self._closed:
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    return False
            return not self._items and not self._taken

    def _takes(self, item: T) -> bool:
        if len(self._items) >= self._room:
            return False
        return not self._items or sum(map(self._weigh, self._items)) + self._weigh(item) <= self._weight
