"""The one loop: what it does with each kind of error, and that it wakes at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from agent.belt import Belt, Ended
from agent.worker import LONGEST_DELAY_S, RETRY_S, Backoff, StreamState, run_worker
from proto.errors import Credential, DiskBlocked, Diverged, Halt, Transient
from proto.states import State

SOON_S = 10.0


class Worker:
    """A worker whose steps come from a script; it stops itself when the script is at its end."""

    def __init__(self, *script: BaseException | bool) -> None:
        self.stop = threading.Event()
        self.state = StreamState("n/s")
        self.states: list[State] = []
        self._script: Iterator[BaseException | bool] = iter(script)
        self.thread = threading.Thread(target=run_worker, args=("w", self._step, self.stop, self.state, 0.01))
        self.thread.daemon = True

    def _step(self) -> bool:
        self.states.append(self.state.read().state)
        turn = next(self._script, None)
        if turn is None:
            self.stop.set()
            return False
        if isinstance(turn, BaseException):
            raise turn
        return turn


def until(what: Callable[[], bool]) -> None:
    """Wait until *what* holds."""
    deadline = time.monotonic() + SOON_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_delays_double_up_to_a_minute_and_are_spread() -> None:
    """A thousand agents do not come back in the same second."""
    backoff = Backoff(first_s=1.0)
    delays = [backoff.after_failure() for _ in range(40)]
    bounds = [min(LONGEST_DELAY_S, 2.0**n) for n in range(40)]

    assert all(bound / 10 <= delay <= bound for delay, bound in zip(delays, bounds, strict=True))
    assert len({round(delay, 6) for delay in delays[10:]}) > 20
    backoff.reset()
    assert backoff.after_failure() <= 1.0


def test_a_passing_failure_is_tried_again() -> None:
    """And says so while it waits."""
    worker = Worker(True, Transient("no"), Transient("no"), False, True)
    worker.thread.start()
    worker.thread.join(SOON_S)

    assert worker.states[2:4] == [State.BACKING_OFF, State.BACKING_OFF]
    assert len(worker.states) == 6


@pytest.mark.parametrize("halt", [Diverged("x", fix="y"), Halt("x", fix="y"), Credential("x", fix="y")])
def test_a_halt_waits_for_a_person(halt: Halt) -> None:
    """It is visible, it does not hammer, and resume tries again at once."""
    worker = Worker(halt, True)
    worker.thread.start()
    until(lambda: worker.state.read().state == halt.state)
    now = worker.state.read()
    assert (now.sentence, now.fix, now.code) == ("x", "y", halt.code)
    assert (now.retry_us > 0) == (halt.state in RETRY_S)
    time.sleep(0.3)
    assert len(worker.states) == 1

    worker.state.resume()
    worker.thread.join(SOON_S)
    assert len(worker.states) == 3


def test_a_full_disk_is_looked_at_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It heals without a person."""
    monkeypatch.setitem(RETRY_S, State.BLOCKED_DISK, 0.05)
    worker = Worker(DiskBlocked("full"), True)
    worker.thread.start()
    worker.thread.join(SOON_S)

    assert len(worker.states) == 3


def test_a_stop_ends_any_wait_at_once() -> None:
    """Also of a parked stream."""
    worker = Worker(Diverged("x"))
    worker.thread.start()
    until(lambda: worker.state.read().state == State.DIVERGED)
    worker.stop.set()
    worker.thread.join(2.0)

    assert not worker.thread.is_alive()


def test_anything_else_is_a_bug_and_leaves() -> None:
    """The caller ends the daemon."""
    with pytest.raises(ZeroDivisionError):
        run_worker("w", lambda: bool(1 // 0), threading.Event())


def test_a_state_keeps_when_it_began_and_measures_what_flows() -> None:
    """Rates are per second of the last measurement; an unchanged state keeps its beginning."""
    state = StreamState("n/s")
    state.set(State.RUNNING, "one")
    since = state.read().since_us
    state.set(State.RUNNING, "two")
    state.count(10, 100)
    state.note(position="7", lag_us=3)

    now = state.read()

    assert (now.since_us, now.sentence, now.rows, now.bytes, now.position, now.lag_us) == (
        since,
        "two",
        10,
        100,
        "7",
        3,
    )
    assert now.changed_us > 0


def test_a_belt_holds_as_much_as_it_has_room_for() -> None:
    """What is full says so in time; what is taken makes room; what arrived makes it idle."""
    belt: Belt[int] = Belt(2, 10, int)
    assert belt.put(1, 0)
    assert belt.put(2, 0)
    assert not belt.put(3, 0.01)
    assert belt.take() == 1
    assert belt.take_more(lambda item: item > 5) == []
    assert belt.take_more(lambda item: item < 5) == [2]
    before = (belt.idle, belt.wait_idle(0.01))
    belt.done()
    assert (before, belt.idle, belt.wait_idle(0.01)) == ((False, False), True, True)


def test_a_heavy_thing_lies_alone() -> None:
    """One of any weight fits on an empty belt; beside another only what is light enough."""
    belt: Belt[int] = Belt(2, 10, int)
    assert belt.put(50, 0)
    assert not belt.put(1, 0.01)
    belt.take()
    assert belt.put(4, 0)
    assert not belt.put(7, 0.01)
    assert belt.put(6, 0)


def test_a_closed_belt_gives_what_it_has_and_then_the_first_cause() -> None:
    """Whoever fails first ends both."""
    belt: Belt[int] = Belt(2, 10, int)
    cause = Transient("the link broke")
    belt.put(1, 0)
    belt.close(cause)
    belt.close(ValueError("later"))

    with pytest.raises(Ended):
        belt.put(2, 0)
    assert belt.take() == 1
    with pytest.raises(Ended) as ended:
        belt.take()
    assert ended.value.cause is cause
