"""Central's edge without a wire: assembly within bounds, lanes that do not stop each other, certificates that age."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from central.appliers import Appliers
from central.cli.template import Answers, render
from central.jobs import WARN_DAYS, Expiry, days_left
from central.rpc import exchange
from central.rpc.assembly import Assembler, Budget
from proto.batch import Head, SealedBatch
from proto.channel import MAX_PART_BYTES, parts
from proto.codec import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, seal
from proto.errors import Busy, ExchangeError, Poisoned, Refused, Transient
from proto.v1 import exchange_pb2
from tests.support.central import eventually

STREAM = "n/s"
DAY_US = 86_400_000_000


def batch(seq: int = 1, size: int = 10) -> SealedBatch:
    """A batch whose content does not matter."""
    return seal(STREAM, 1, Head(1, seq - 1), (b"header", bytes(size)))


def messages(of: SealedBatch) -> list[exchange_pb2.BatchPart]:
    """Its parts."""
    return [request.part for request in parts(of)]


def test_parts_become_the_batch_again_and_count_until_let_go() -> None:
    """Nothing is lost, and the budget knows what is held."""
    budget = Budget(10 * MAX_PART_BYTES)
    assembler, sent = Assembler(STREAM, budget), batch(size=2 * MAX_PART_BYTES + 5)
    came = [(assembler.add(each), assembler.unfinished) for each in messages(sent)]
    assert came == [(None, True), (None, True), (replace(sent, rows=0), False)]
    assert budget.used_bytes == len(sent.payload) + len(sent.header)
    assembler.close()
    assert budget.used_bytes == 0


def test_all_streams_together_stay_within_the_budget() -> None:
    """Beyond it a node is asked to come back; what was held is given back when its call ends."""
    budget = Budget(3 * MAX_PART_BYTES)
    one, two = Assembler("n/a", budget), Assembler("n/b", budget)
    large = messages(batch(size=2 * MAX_PART_BYTES))
    for part in large:
        one.add(part)
    with pytest.raises(Busy):
        for part in large:
            two.add(part)
    one.close()
    two.close()
    assert budget.used_bytes == 0


def part(**changes: object) -> exchange_pb2.BatchPart:
    """A well-formed first part of two, with *changes*."""
    fields: dict[str, object] = {
        "seq": 1,
        "epoch": 1,
        "digest": bytes(32),
        "header": b"h",
        "payload_bytes": 4,
        "payload": b"ab",
    }
    return exchange_pb2.BatchPart(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"header": b""},
        {"digest": b"short"},
        {"header": bytes(MAX_HEADER_BYTES + 1)},
        {"payload_bytes": MAX_PAYLOAD_BYTES + 1},
        {"payload_bytes": 2 * MAX_PART_BYTES, "payload": bytes(MAX_PART_BYTES + 1)},
        {"payload_bytes": 1},
    ],
    ids=str,
)
def test_a_first_part_that_breaks_a_bound_is_refused(bad: dict[str, object]) -> None:
    """Before memory is spent on what it claims."""
    with pytest.raises(Refused):
        Assembler(STREAM, Budget(2**30)).add(part(**bad))


@pytest.mark.parametrize(
    "bad",
    [
        {"seq": 2, "header": b""},
        {"epoch": 2, "header": b""},
        {},
        {"header": b"", "payload": b""},
        {"header": b"", "payload": b"abc"},
    ],
    ids=str,
)
def test_a_part_that_does_not_continue_the_batch_is_refused(bad: dict[str, object]) -> None:
    """Another batch may begin only when the last one is whole."""
    assembler = Assembler(STREAM, Budget(2**30))
    assert assembler.add(part()) is None
    with pytest.raises(Refused):
        assembler.add(part(**bad))


class Scripted:
    """A stepper that does what its script says; a ready batch counts as applied."""

    def __init__(self, script: Callable[[], None] = lambda: None, ledger: int = 0) -> None:
        self.applied_seq = 0
        self.given: list[tuple[int, ...]] = []
        self._script = script
        self._ledger = ledger

    def step(self, ready: Sequence[SealedBatch] = ()) -> bool:
        """One ready batch, or one of the ledger."""
        self.given.append(tuple(each.seq for each in ready))
        self._script()
        top = max([self._ledger, *(each.seq for each in ready)])
        self.applied_seq = min(self.applied_seq + 1, top)
        return self.applied_seq < top

    def stop(self) -> None:
        """Nothing to interrupt."""


def lanes(steppers: dict[str, Scripted], threads: int = 2, handover: int = 10_000) -> Appliers:
    """Running appliers."""
    made = Appliers(lambda stream: steppers[stream], threads, handover)
    made.start()
    return made


def test_batches_are_handed_over_in_memory_until_they_are_applied() -> None:
    """What a step did not take is given to the next one."""
    stepper = Scripted()
    heard: list[int] = []
    appliers = lanes({"a": stepper})
    appliers.listen("a", heard.append)
    appliers.wake("a", [batch(n) for n in (1, 2, 3)])
    eventually(lambda: stepper.applied_seq, 3)
    assert stepper.given == [(1, 2, 3), (2, 3), (3,)]
    eventually(lambda: heard[-1:], [3])
    assert appliers.stop(5)


def test_what_does_not_fit_in_memory_is_left_to_the_ledger() -> None:
    """The bound holds over all streams, and nothing is handed over after a hole."""
    stepper = Scripted(ledger=4)
    appliers = lanes({"a": stepper}, handover=40)
    appliers.wake("a", [batch(1, size=20), batch(2, size=30), batch(3, size=1)])
    eventually(lambda: stepper.applied_seq, 4)
    assert stepper.given[0] == (1,)
    assert appliers.stop(5)


def test_nothing_is_handed_over_after_a_hole() -> None:
    """A batch that another central accepted lies between; the ledger has it."""
    go = threading.Event()
    stepper = Scripted(lambda: (go.wait(10), None)[1], ledger=4)
    appliers = lanes({"a": stepper})
    appliers.wake("a", [batch(1)])
    appliers.wake("a", [batch(3)])
    appliers.wake("a", [batch(2), batch(4)])
    go.set()
    eventually(lambda: stepper.applied_seq, 4)
    assert all(b - a == 1 for given in stepper.given for a, b in itertools.pairwise(given))
    assert appliers.stop(5)


@pytest.mark.parametrize("error", [Poisoned("bad row"), Transient("away"), RuntimeError("bug")], ids=repr)
def test_one_bad_stream_does_not_stop_another(error: Exception) -> None:
    """Even with a single thread, and even when it is our own bug."""

    def fail() -> None:
        raise error

    good, bad = Scripted(), Scripted(fail)
    appliers = lanes({"good": good, "bad": bad}, threads=1)
    appliers.wake("bad", [batch(1)])
    appliers.wake("good", [batch(1), batch(2)])
    eventually(lambda: good.applied_seq, 2)
    eventually(lambda: appliers.trouble("bad") is not None)
    assert isinstance(appliers.trouble("bad"), ExchangeError)
    assert appliers.trouble("good") is None
    assert appliers.alive
    assert appliers.stop(5)


def test_a_failing_stream_waits_before_it_is_tried_again_and_recovers() -> None:
    """Sweeps do not hammer it; when the cause is gone so is the trouble."""
    broken = threading.Event()
    broken.set()

    def fail() -> None:
        if broken.is_set():
            raise Transient("away")

    stepper = Scripted(fail, ledger=1)
    appliers = lanes({"a": stepper})
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        appliers.sweep(["a"])
        threading.Event().wait(0.01)
    assert len(stepper.given) < 20
    broken.clear()
    appliers.retry("a")
    eventually(lambda: stepper.applied_seq, 1)
    eventually(lambda: appliers.trouble("a") is None)
    assert appliers.stop(5)


def test_stopping_waits_for_the_step_that_runs_and_no_longer_than_asked() -> None:
    """A statement that hangs cannot hold the process."""
    hang = threading.Event()
    stepper = Scripted(lambda: (hang.wait(10), None)[1])
    appliers = lanes({"a": stepper})
    appliers.wake("a", [batch(1)])
    eventually(lambda: len(stepper.given), 1)
    began = time.monotonic()
    assert not appliers.stop(0.2)
    assert time.monotonic() - began < 2
    hang.set()


@pytest.mark.parametrize(
    ("days", "step"), [(31, None), (29, 30), (14, 14), (8, 14), (6.5, 7), (0.5, 1), (-0.1, 0)]
)
def test_certificates_are_warned_about_in_steps(days: float, step: int | None) -> None:
    """30, 14, 7 and 1 days, and when it is over."""
    now = datetime.now(UTC)
    end_us = int((now + timedelta(days=days)).timestamp() * 1_000_000)
    assert days_left(end_us, now) == step
    assert step in {None, 0, *WARN_DAYS}


def test_each_step_is_warned_about_once() -> None:
    """And again when the next one is reached, and not after a renewal."""
    ends = {"hr-node": time.time_ns() // 1000 + 20 * DAY_US}
    expiry = Expiry(lambda: ends)
    with capture_logs() as logs:
        for days in (20, 20, 5, 300, 300):
            ends["hr-node"] = time.time_ns() // 1000 + days * DAY_US
            expiry.check()
    assert [(each["event"], each["days_left"]) for each in logs] == [
        ("certificate_runs_out", 30),
        ("certificate_runs_out", 7),
    ]


def test_a_full_window_pushes_back() -> None:
    """The wire is not read while the node is too far ahead."""
    asyncio.run(_fill_the_window())


def a_lane() -> exchange._Lane:
    """An open push with a window of two batches."""
    assembler = Assembler(STREAM, Budget(2**30))
    return exchange._Lane(exchange_pb2.Hello(stream=STREAM), exchange.Window(2, 2**30), assembler, 0)


async def _fill_the_window() -> None:
    lane = a_lane()
    await lane.put(batch(1))
    second = asyncio.create_task(lane.put(batch(2)))
    await asyncio.sleep(0)
    assert not second.done()
    assert [each.seq for each in await lane.next_group()] == [1, 2]
    await second


def test_a_batch_that_was_begun_must_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that hangs in the middle of one does not hold its memory for ever; between batches it may rest."""
    monkeypatch.setattr(exchange, "PROGRESS_DEADLINE_S", 0.05)

    async def requests(count: int) -> AsyncIterator[exchange_pb2.PushRequest]:
        for each in itertools.islice(parts(batch(size=2 * MAX_PART_BYTES)), count):
            yield exchange_pb2.PushRequest(part=each.part)
        await asyncio.sleep(0.3)

    with pytest.raises(Transient, match="no progress"):
        asyncio.run(exchange._receive(a_lane(), requests(1)))
    asyncio.run(exchange._receive(a_lane(), requests(2)))


def test_the_example_is_what_init_writes() -> None:
    """Nobody has to compare two explanations of the same settings."""
    example = Path(__file__).parents[2] / "config" / "central.example.yaml"
    assert example.read_text() == render(Answers())
