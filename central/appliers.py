"""Who applies what: one lane per stream, a few threads for all of them, and no stream that stops another.

A lane is woken with batches that were just accepted, so that they are not read again; what does not fit in memory
the applier reads from the ledger. Batches that another central process accepted are found by :meth:`Appliers.sweep`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from central.crew import Crew, backoff_s
from proto.batch import SealedBatch
from proto.errors import ExchangeError, Halt, Transient

_log = structlog.get_logger()


class Stepper(Protocol):
    """Applies one stream, a transaction at a time."""

    @property
    def applied_seq(self) -> int:
        """The last number that is visible in the platform's tables."""
        ...

    def step(self, ready: Sequence[SealedBatch] = ()) -> bool:
        """Apply what comes next; True when there may be more."""
        ...

    def stop(self) -> None:
        """Do not wait before another attempt; any thread may call it."""
        ...


@dataclass(slots=True)
class _Lane:
    stream: str
    stepper: Stepper | None = None
    ready: deque[SealedBatch] = field(default_factory=deque)
    queued: bool = False
    """Waiting for a thread, or in one."""
    again: bool = False
    """Woken while in a thread."""
    failures: int = 0
    not_before_s: float = 0.0
    trouble: ExchangeError | None = None
    listeners: list[Callable[[int], None]] = field(default_factory=list)


class Appliers:
    """Lanes of streams and the threads that work on them; every public method may be called from any thread."""

    def __init__(self, make: Callable[[str], Stepper], threads: int, handover_bytes: int) -> None:
        self._make = make
        self._room_bytes = handover_bytes
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()
        self._crew = Crew(self._turn, threads, "apply")

    def start(self) -> None:
        """Begin to work."""
        self._crew.start()

    def stop(self, timeout_s: float) -> bool:
        """Let running steps end, begin no other; True when all threads ended in time."""
        self._crew.dismiss()
        with self._lock:
            steppers = [lane.stepper for lane in self._lanes.values() if lane.stepper]
        for stepper in steppers:
            stepper.stop()
        return self._crew.join(timeout_s)

    @property
    def alive(self) -> bool:
        """True while every thread is there; food for the watchdog."""
        return self._crew.alive

    def wake(self, stream: str, batches: Sequence[SealedBatch] = ()) -> None:
        """There may be something to apply: *batches*, just accepted, or whatever the ledger holds."""
        with self._lock:
            lane = self._lanes.setdefault(stream, _Lane(stream))
            self._hand_over(lane, batches)
            self._enqueue(lane)

    def sweep(self, streams: Iterable[str]) -> None:
        """Wake every one of *streams* whose applier is not waiting for better times."""
        for stream in streams:
            self.wake(stream)

    def retry(self, stream: str) -> None:
        """A person mended something: forget the failures and try at once."""
        with self._lock:
            lane = self._lanes.setdefault(stream, _Lane(stream))
            lane.failures, lane.not_before_s = 0, 0.0
            self._enqueue(lane)

    def trouble(self, stream: str) -> ExchangeError | None:
        """Why the last step of *stream* failed; None when it did not."""
        with self._lock:
            lane = self._lanes.get(stream)
            return lane.trouble if lane else None

    def listen(self, stream: str, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call *listener* with each new applied number, from a thread; the answer ends that."""
        with self._lock:
            lane = self._lanes.setdefault(stream, _Lane(stream))
            lane.listeners.append(listener)

        def silence() -> None:
            with self._lock:
                lane.listeners.remove(listener)

        return silence

    def _hand_over(self, lane: _Lane, batches: Sequence[SealedBatch]) -> None:
        for batch in batches:
            follows = not lane.ready or lane.ready[-1].seq + 1 == batch.seq
            if not follows or _size(batch) > self._room_bytes or lane.trouble is not None:
                return
            lane.ready.append(batch)
            self._room_bytes -= _size(batch)

    def _enqueue(self, lane: _Lane) -> None:
        if lane.queued:
            lane.again = True
        elif time.monotonic() >= lane.not_before_s and not self._crew.is_dismissed:
            lane.queued = True
            self._crew.put(lane)

    def _turn(self, lane: _Lane) -> None:
        """One step of one lane; then the other lanes have their turn."""
        with self._lock:
            lane.again = False
            ready = tuple(lane.ready)
        before = lane.stepper.applied_seq if lane.stepper else -1
        try:
            lane.stepper = lane.stepper or self._make(lane.stream)
            more, trouble = lane.stepper.step(ready), None
        except ExchangeError as error:
            more, trouble = False, error
        except Exception as error:  # noqa: BLE001 - a bug met by one stream must not end the thread that serves the others
            more, trouble = False, _unforeseen(lane.stream, error)
        self._settle(lane, ready, more, trouble)
        after = lane.stepper.applied_seq if lane.stepper else -1
        if after != before:
            self._tell(lane, after)

    def _settle(
        self, lane: _Lane, ready: tuple[SealedBatch, ...], more: bool, trouble: ExchangeError | None
    ) -> None:
        applied = lane.stepper.applied_seq if lane.stepper else 0
        with self._lock:
            # What a finished step did not take from memory it will find in the ledger, if it is still its turn then.
            done = applied if more else max(applied, ready[-1].seq if ready else 0)
            while lane.ready and lane.ready[0].seq <= done:
                self._room_bytes += _size(lane.ready.popleft())
            self._note(lane, trouble)
            lane.queued = False
            if more or (lane.again and trouble is None):
                self._enqueue(lane)

    def _note(self, lane: _Lane, trouble: ExchangeError | None) -> None:
        if trouble is None:
            lane.failures, lane.not_before_s, lane.trouble = 0, 0.0, None
            return
        lane.failures += 1
        # A halted stream is looked at again as soon as somebody wakes it: looking is cheap, and a person waits for it.
        wait_s = 0.0 if isinstance(trouble, Halt) else backoff_s(lane.failures)
        lane.not_before_s = time.monotonic() + wait_s
        if type(lane.trouble) is not type(trouble) or str(lane.trouble) != str(trouble):
            _log.warning("apply_stopped", stream=lane.stream, error=str(trouble), wait_s=round(wait_s, 1))
        lane.trouble = trouble

    def _tell(self, lane: _Lane, applied: int) -> None:
        with self._lock:
            listeners = tuple(lane.listeners)
        for listener in listeners:
            listener(applied)


def _unforeseen(stream: str, error: Exception) -> Transient:
    _log.error("apply_failed_unforeseen", stream=stream, exc_info=error)
    return Transient(
        f"applying failed in an unforeseen way: {type(error).__name__}",
        where=stream,
        fix="see central's log for the event apply_failed_unforeseen",
    )


def _size(batch: SealedBatch) -> int:
    return len(batch.header) + len(batch.payload)
