"""A few threads that take turns on many lanes: each lane has one step, then the others have theirs."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 60.0
T = TypeVar("T")


class Crew(Generic[T]):
    """Threads that call *turn* with whatever was :meth:`put`; every public method may be called from any thread."""

    def __init__(self, turn: Callable[[T], None], threads: int, name: str) -> None:
        self._turn = turn
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._threads = [
            # Daemon threads: a statement that hangs in the database must not keep a stopping process alive.
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def dismiss(self) -> None:
        """Begin nothing more; what is under way goes on."""
        self._stopping.set()
        for _ in self._threads:
            self._queue.put(None)

    def join(self, timeout_s: float) -> bool:
        """After :meth:`dismiss`: wait for what is under way; True when all threads ended in time."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is None:
                continue  # stopped before it was started
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def alive(self) -> bool:
        """True while every thread is there; food for the watchdog."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def is_dismissed(self) -> bool:
        """Whether nothing more is begun."""
        return self._stopping.is_set()

    def put(self, lane: T) -> None:
        """Let *lane* have a turn."""
        self._queue.put(lane)

    def _work(self) -> None:
        while (lane := self._queue.get()) is not None and not self._stopping.is_set():
            self._turn(lane)


def backoff_s(failures: int) -> float:
    """How long a lane that failed so often waits: longer each time, and never as long as another that failed with it."""
    ceiling = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(failures - 1, 10))
    return random.uniform(0, ceiling)  # noqa: S311 - jitter, no secret
