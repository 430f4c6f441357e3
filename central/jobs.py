"""What happens by the clock; the only file that knows apscheduler."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from proto.errors import ExchangeError

WARN_DAYS: Final = (30, 14, 7, 1)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every *every_s* seconds, and at start when it says so."""

    name: str
    run: Callable[[], object]
    every_s: float
    at_start: bool = False


def sparing(run: Callable[[], object], share: float = 0.1) -> Callable[[], object]:
    """*run*, but turns are left out so that it takes no more than *share* of the time, however long it takes."""
    not_before_s = 0.0

    def now_and_then() -> object:
        nonlocal not_before_s
        began_s = time.monotonic()
        if began_s < not_before_s:
            return None
        try:
            return run()
        finally:
            ended_s = time.monotonic()
            not_before_s = ended_s + (ended_s - began_s) * (1 / share - 1)

    return now_and_then


class Jobs:
    """Runs jobs in two threads; one that fails is reported and has its next turn."""

    def __init__(self, jobs: tuple[Job, ...]) -> None:
        self._running: set[str] = set()
        self._ended = threading.Condition()
        self._stopping = threading.Event()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        for job in jobs:
            first = {"next_run_time": datetime.now(UTC)} if job.at_start else {}
            self._scheduler.add_job(self._guarded(job), "interval", seconds=job.every_s, id=job.name, **first)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self, timeout_s: float) -> bool:
        """Start no more and let running ones end; True when all ended in time.

        One that goes on is told of in one line, now and when it ends: what it stands on is taken away meanwhile.
        """
        self._stopping.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        with self._ended:
            clean = self._ended.wait_for(lambda: not self._running, timeout_s)
            left = sorted(self._running)
        for name in left:
            _log.warning("job_left_running", job=name, waited_s=timeout_s)
        return clean

    def _guarded(self, job: Job) -> Callable[[], None]:
        told = ""

        def run() -> None:
            nonlocal told
            if not self._begins(job.name):
                return
            try:
                job.run()
                told = ""
            except ExchangeError as error:
                # Said once, not every few seconds until the database is back.
                if str(error) != told:
                    told = str(error)
                    _log.warning("job_failed", job=job.name, error=told)
            except Exception as error:  # noqa: BLE001 - the next turn may do better, and the other jobs go on
                if self._stopping.is_set():
                    # The database was closed under it; whatever it was at is done again after the next start.
                    _log.warning("job_ended_by_stop", job=job.name, error=type(error).__name__)
                else:
                    _log.exception("job_failed_unforeseen", job=job.name)
            finally:
                self._ends(job.name)

        return run

    def _begins(self, name: str) -> bool:
        """False when it is too late: what waits for a thread runs although the scheduler has stopped."""
        with self._ended:
            if not self._stopping.is_set():
                self._running.add(name)
            return not self._stopping.is_set()

    def _ends(self, name: str) -> None:
        with self._ended:
            self._running.discard(name)
            self._ended.notify_all()


def days_left(not_after_us: int, now: datetime) -> int | None:
    """The warning step a certificate has reached: 30, 14, 7, 1, 0 for expired; None while there is time."""
    left_s = not_after_us / 1_000_000 - now.timestamp()
    if left_s <= 0:
        return 0
    return min((days for days in WARN_DAYS if left_s <= days * 86400), default=None)


class Expiry:
    """Warns once per step about certificates that run out."""

    def __init__(self, ends: Callable[[], dict[str, int]]) -> None:
        self._ends = ends
        self._warned: dict[str, int] = {}

    def check(self) -> None:
        """Look at every certificate's end and warn of what has come closer since the last time."""
        now = datetime.now(UTC)
        for owner, end_us in self._ends().items():
            step = days_left(end_us, now)
            if step is None:
                self._warned.pop(owner, None)
            elif self._warned.get(owner) != step:
                self._warned[owner] = step
                end = datetime.fromtimestamp(end_us / 1_000_000, UTC)
                _log.warning("certificate_runs_out", owner=owner, not_after=end.isoformat(), days_left=step)
