"""The one loop, the one backoff and the one place that waits; and what a worker says about itself."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from proto.errors import Busy, Halt, Transient
from proto.states import MEANING, State

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 60.0
CALM_S: Final = 30.0
"""A worker that ran this long before it failed starts again with short delays."""
PATIENCE_S: Final = 3.0
"""A question that is not answered for longer is no longer "running"."""
RETRY_S: Final[dict[State, float]] = {State.BLOCKED_DISK: 3.0, State.CREDENTIAL: 60.0}
"""When a parked stream tries again by itself; not sooner, so that no account is locked (C21). Others wait for resume."""
LOOK_S: Final = 0.2
_RATE_S: Final = 10.0
_HOPEFUL: Final = frozenset({State.RUNNING, State.IDLE, State.SNAPSHOT, State.PAUSED})
"""States that say nothing against a question on its way."""

log = structlog.get_logger()


class Backoff:
    """Full jitter: any delay up to a bound that doubles, so that a thousand agents do not come back at once."""

    def __init__(self, first_s: float = FIRST_DELAY_S, longest_s: float = LONGEST_DELAY_S) -> None:
        self._first = first_s
        self._longest = longest_s
        self._failures = 0

    def after_failure(self) -> float:
        """Seconds to wait before the next try."""
        bound = min(self._longest, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return random.uniform(bound / 10, bound)  # noqa: S311 — spreads load, keeps no secret

    def after(self, error: Transient) -> float:
        """Seconds to wait after *error*: about as long as it asks for, if it does."""
        hint_s = min(error.retry_s, self._longest) if isinstance(error, Busy) else 0.0
        # Being asked to wait is no failure: the next one is not punished for it.
        return random.uniform(hint_s / 2, hint_s * 3 / 2) if hint_s else self.after_failure()  # noqa: S311

    def reset(self) -> None:
        """It went well."""
        self._failures = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a worker says about itself at one moment."""

    state: State = State.RUNNING
    code: str = ""
    sentence: str = "starting"
    fix: str = ""
    since_us: int = 0
    rows: int = 0
    """Since the process started."""
    bytes: int = 0
    batches: int = 0
    rows_per_s: float = 0.0
    bytes_per_s: float = 0.0
    position: str = ""
    seq: int = 0
    last_commit_us: int = 0
    """Source time of the newest commit that went through."""
    kept_us: int = 0
    """When that was, by our clock."""
    lag_us: int = 0
    """From the commit at the source to the commit here, of the newest batch."""
    changed_us: int = 0
    """When rows went through last."""
    marker_us: int = 0
    """When the source was last proven read to its end."""
    retry_us: int = 0
    """When a failed or parked worker tries again by itself; 0 = not by itself."""


@dataclass(slots=True)
class _Meter:
    started_s: float = field(default_factory=time.monotonic)
    rows: int = 0
    bytes: int = 0


class StreamState:
    """The state of one worker of one stream; any thread may read it, pause it and resume it."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._lock = threading.Lock()
        self._now = Snapshot(since_us=now_us())
        self._meter = _Meter()
        self._resumed = threading.Event()
        self._pause: str | None = None
        self._asking: tuple[str, str, float] | None = None

    def read(self) -> Snapshot:
        """As it is now; rates fall to nothing when nothing comes."""
        with self._lock:
            self._measure()
            return self._impatient() or self._now

    @property
    def paused(self) -> bool:
        """Whether a person asked it to stop."""
        return self._pause is not None

    def pause(self, sentence: str = "") -> None:
        """Stop after what is under way; *sentence* says who asked for it."""
        self._pause = sentence
        self._resumed.clear()

    def resume(self) -> None:
        """Go on after a pause, or try again now after a halt."""
        self._pause = None
        self._resumed.set()

    def try_again(self) -> None:
        """Try again now after a halt; a pause stays."""
        if self._pause is None:
            self._resumed.set()

    def show_pause(self) -> None:
        """Say that people stopped it."""
        self.set(
            State.PAUSED, self._pause or "", fix=f"exchange-agent resume {self.stream.rpartition('/')[2]}"
        )

    def set(
        self, state: State, sentence: str = "", *, code: str = "", fix: str = "", retry_us: int = 0
    ) -> None:
        """Change the named state; its beginning is kept while it stays the same."""
        with self._lock:
            since = self._now.since_us if self._now.state == state else now_us()
            self._now = replace(
                self._now,
                state=state,
                code=code or state,
                sentence=sentence or MEANING[state].sentence,
                fix=fix,
                since_us=since,
                retry_us=retry_us,
            )

    @contextmanager
    def asking(self, what: str, fix: str) -> Iterator[None]:
        """Around a question that may never be answered: one that takes long is seen, whatever was well before it."""
        with self._lock:
            self._asking = (what, fix, time.monotonic())
        try:
            yield
        finally:
            with self._lock:
                self._asking = None

    def note(self, **facts: int | str) -> None:
        """Remember facts: position, seq, marker_us and so on."""
        with self._lock:
            self._now = replace(self._now, **facts)  # type: ignore[arg-type]

    def count(self, rows: int, size_bytes: int, batches: int = 1) -> None:
        """Rows went through."""
        with self._lock:
            self._now = replace(
                self._now,
                rows=self._now.rows + rows,
                bytes=self._now.bytes + size_bytes,
                batches=self._now.batches + batches,
                changed_us=now_us(),
            )
            self._measure()

    def attend(self) -> None:
        """What was asked before this moment is being done; only a later resume ends a wait."""
        self._resumed.clear()

    def wait_resumed(self, stop: threading.Event, seconds: float | None) -> None:
        """Wait for resume, stop, or *seconds*, whichever is first."""
        until = None if seconds is None else time.monotonic() + seconds
        while not stop.is_set() and not self._resumed.is_set():
            left = LOOK_S if until is None else min(LOOK_S, until - time.monotonic())
            if left <= 0:
                return
            stop.wait(left)

    def _impatient(self) -> Snapshot | None:
        """What to say of a question that is not answered; the reason of an earlier failure says more."""
        if self._asking is None or self._now.state not in _HOPEFUL:
            return None
        what, fix, since_s = self._asking
        waited_s = time.monotonic() - since_s
        if waited_s < PATIENCE_S:
            return None
        return replace(
            self._now,
            state=State.BACKING_OFF,
            code=State.BACKING_OFF,
            sentence=f"{what} for {waited_s:.0f} s now, without an outcome",
            fix=fix,
            since_us=now_us() - int(waited_s * 1_000_000),
        )

    def _measure(self) -> None:
        elapsed = time.monotonic() - self._meter.started_s
        if elapsed >= _RATE_S:
            rows, size = self._now.rows - self._meter.rows, self._now.bytes - self._meter.bytes
            self._now = replace(self._now, rows_per_s=rows / elapsed, bytes_per_s=size / elapsed)
            self._meter = _Meter(rows=self._now.rows, bytes=self._now.bytes)


def run_worker(
    name: str,
    step: Callable[[], bool],
    stop: threading.Event,
    state: StreamState | None = None,
    idle_s: float = 1.0,
) -> None:
    """Call *step* until told to stop; it says whether there may be more to do.

    Transient is tried again with backoff. Halt parks the stream until it heals or a person resumes it. Anything
    else is a bug and leaves through here.
    """
    state = state or StreamState(name)
    backoff = Backoff()
    while not stop.is_set():
        if state.paused:
            state.show_pause()
            state.wait_resumed(stop, None)
            continue
        state.attend()
        started = time.monotonic()
        try:
            more = step()
        except Transient as error:
            if time.monotonic() - started > CALM_S:
                backoff.reset()
            _back_off(name, error, backoff.after(error), state, stop)
        except Halt as halt:
            _park(name, halt, state, stop)
        else:
            backoff.reset()
            if not more:
                stop.wait(idle_s)


def now_us() -> int:
    """Our clock, microseconds since 1970."""
    return time.time_ns() // 1000


def _back_off(name: str, error: Transient, delay_s: float, state: StreamState, stop: threading.Event) -> None:
    log.warning("worker_retrying", worker=name, error=str(error), delay_s=round(delay_s, 2))
    retry_us = now_us() + int(delay_s * 1_000_000)
    state.set(State.BACKING_OFF, error.what, code=error.code, fix=error.fix, retry_us=retry_us)
    state.wait_resumed(stop, delay_s)


def _park(name: str, halt: Halt, state: StreamState, stop: threading.Event) -> None:
    delay_s = RETRY_S.get(halt.state)
    log.error("worker_parked", worker=name, state=halt.state, error=str(halt), retry_s=delay_s)
    retry_us = now_us() + int(delay_s * 1_000_000) if delay_s else 0
    state.set(halt.state, halt.what, code=halt.code, fix=halt.fix, retry_us=retry_us)
    state.wait_resumed(stop, delay_s)
