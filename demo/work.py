"""A bureau at work while somebody looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event, Thread

from demo.bureaus.bureau import Work


@dataclass(slots=True)
class DayAtWork:
    """The bureau at work in a thread of its own."""

    day: Work
    pace_s: float
    error: BaseException | None = None
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Open the counters."""
        self._thread = Thread(target=self._work, name="bureau", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close them; raises what went wrong."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            while not self._stop.wait(self.pace_s):
                self.day.work()
        except BaseException as error:
            self.error = error
            raise
