"""One connection to central's Push, from hello to its end.

Three threads meet here: gRPC's own pulls :meth:`Session.requests`, one reads central's replies, and the stream's
worker watches over both from :meth:`Session.tick`. Everything they share is guarded by one lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from agent.exchange.exchange import Exchange
from agent.link import Link
from agent.push.handover import Flight, Handover, Pace, size_of
from agent.worker import StreamState, now_us
from proto.batch import Head, SealedBatch
from proto.channel import PROTOCOL, parts
from proto.errors import Diverged, Gap, Refused, Transient, way_out
from proto.v1 import exchange_pb2

READ_BYTES: Final = 4 * 1024 * 1024
"""How much is read from the outbox at a time when push is behind."""


@dataclass(frozen=True, slots=True)
class PushLimits:
    """How much may be under way, and for how long."""

    window_batches: int = 64
    window_bytes: int = 32 * 1024 * 1024
    memory_bytes: int = 16 * 1024 * 1024
    """Batches handed over in memory; beyond it they are read from the outbox."""
    welcome_s: float = 15.0
    progress_s: float = 30.0
    """How long nothing may move while something is under way."""
    drain_s: float = 3.0
    """How long a clean end waits for acknowledgements still on their way."""


@dataclass(slots=True)
class Progress:
    """How far the stream has come, across connections."""

    acknowledged_seq: int = 0
    applied_seq: int = 0
    acknowledged_us: int = 0
    """When central last acknowledged anything, microseconds since 1970; 0 = not yet."""


@dataclass(slots=True)
class Desk:
    """What outlives a connection."""

    exchange: Exchange
    door: Link
    limits: PushLimits
    handover: Handover
    pace: Pace
    progress: Progress
    state: StreamState
    lock: threading.Lock
    wake: threading.Condition
    """Told when there may be something to send; on *lock*."""
    gate: Gate


class Gate(Protocol):
    """Whether what waits may leave by now."""

    def is_open(self) -> bool:
        """Asked before every part of a batch."""
        ...

    def heard(self, release: int, part: str) -> None:
        """What central said of its catalogue when the connection began."""
        ...


class OpenGate:
    """Where nothing is kept back."""

    def is_open(self) -> bool:
        """Always."""
        return True

    def heard(self, release: int, part: str) -> None:
        """Nobody wants to know."""


class Session:
    """A connection that sends every batch after central's head, in order, within the window."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._wake = desk.wake
        self._ended = threading.Condition(desk.lock)
        self._welcome: exchange_pb2.Welcome | None = None
        self._error: BaseException | None = None
        self._over = self._closing = False
        self._sent_seq: int | None = None
        """The last batch handed to gRPC; None until both heads were compared."""
        self._under_way: deque[tuple[int, int, int]] = deque()
        """Number, bytes and rows of each batch sent and not acknowledged."""
        self._under_way_bytes = 0
        self._flight = Flight(desk.pace)
        self._read: deque[SealedBatch] = deque()
        self._moved_at = time.monotonic()
        self._call = desk.door.push_session(self._requests(self._hello()))
        self._reader = threading.Thread(target=self._follow, name=f"acks-{desk.exchange.stream}", daemon=True)
        self._reader.start()

    @property
    def is_over(self) -> bool:
        """True when nothing more will come of it."""
        return self._over

    @property
    def unacknowledged(self) -> int:
        """How many batches are under way."""
        return len(self._under_way)

    def start(self) -> None:
        """Wait for central's welcome, compare where both chains end, and let batches go. Raises Gap, Diverged."""
        with self._desk.lock:
            self._ended.wait_for(lambda: self._welcome or self._over, self._desk.limits.welcome_s)
            welcome = self._welcome
        if welcome is None:
            raise self._error or Transient("central did not say welcome in time")
        theirs = Head(welcome.head.epoch, welcome.head.seq, welcome.head.digest)
        self._compare(theirs)
        self._desk.gate.heard(welcome.release, welcome.part)
        if self._desk.exchange.closing.seal_anew(theirs):
            self.begin_again()
        with self._desk.lock:
            # May be less than before: central was restored, and gets again what it lost (P6).
            self._desk.progress.acknowledged_seq = theirs.seq
            self._sent_seq = theirs.seq
            self._wake.notify_all()

    def tick(self, wait_s: float) -> None:
        """Wait a moment for the end; raises what ended it, or Transient when nothing moves any more."""
        with self._desk.lock:
            self._ended.wait_for(lambda: self._over, wait_s)
            error, over = self._error, self._over
        if self._is_outdated():
            self.begin_again()
            return
        if error is not None:
            raise error
        if over and not self._closing:
            raise Transient("central ended the connection")
        if self._is_stuck():
            raise Transient(f"central acknowledged nothing for {self._desk.limits.progress_s:.0f} s")

    def begin_again(self) -> None:
        """End without a word and without sending anything more: what may leave, or how it is sealed, is another now."""
        with self._desk.lock:
            self._closing = True
        self._end(None)

    def give_up(self) -> None:
        """Stop waiting for a welcome that has not come; any thread."""
        if self._welcome is None:
            self._end(Transient("stopped before central answered"))

    def wants_renewal(self) -> bool:
        """True when our certificate changed, so that a new connection is due."""
        return not self._call.is_current()

    def stop_sending(self) -> None:
        """Begin nothing more; any thread."""
        with self._desk.lock:
            self._closing = True
            self._wake.notify_all()

    def drain(self) -> None:
        """Send nothing more and wait a little for acknowledgements under way."""
        self.stop_sending()
        with self._desk.lock:
            self._ended.wait_for(lambda: self._over or not self._under_way, self._desk.limits.drain_s)

    def close(self) -> None:
        """End it now, whatever is under way."""
        with self._desk.lock:
            if self._under_way and not self._closing:
                self._desk.pace.lost()
        self._end(None)
        self._call.close()
        # It may be asking why the connection failed; nobody needs the answer any more.
        self._reader.join(timeout=1)

    def _hello(self) -> exchange_pb2.PushRequest:
        exchange = self._desk.exchange
        # Our incarnation begins here if capture has not begun it. A batch committed between the two questions only
        # makes the head older than it could be.
        now = exchange.start()
        self._epoch, self._head, self._oldest = now.epoch, now.head, exchange.oldest_seq()
        with self._desk.lock:
            self._desk.handover.newest = max(self._desk.handover.newest, now.head.seq)
        hello = exchange_pb2.Hello(
            protocol=PROTOCOL,
            stream=exchange.stream,
            epoch=now.epoch,
            incarnation=now.incarnation,
            head=exchange_pb2.ChainHead(epoch=now.head.epoch, seq=now.head.seq, digest=now.head.digest),
            oldest_seq=self._oldest,
        )
        return exchange_pb2.PushRequest(hello=hello)

    def _compare(self, theirs: Head) -> None:
        """Refuse to send unless central's chain is a beginning of ours that we can continue (P6, E7, E8)."""
        where = self._desk.exchange.stream
        fix = way_out(where)
        if theirs.seq > self._head.seq:
            raise Diverged(
                f"central holds batches up to {theirs.seq}, we only know {self._head.seq}: "
                "the exchange database was restored from an older copy",
                where=where,
                fix=fix,
            )
        ours = self._desk.exchange.head_at(theirs.seq) if theirs.seq else None
        if ours is not None and ours.digest != theirs.digest:
            raise Diverged(f"batch {theirs.seq} is another one at central than here", where=where, fix=fix)
        if theirs.seq + 1 < self._oldest:
            raise Gap(
                f"central needs batch {theirs.seq + 1}, the outbox begins at {self._oldest}",
                where=where,
                fix=fix,
            )

    def _requests(self, hello: exchange_pb2.PushRequest) -> Iterator[exchange_pb2.PushRequest]:
        """What gRPC's thread sends. An error here must end the session itself: gRPC would only log it."""
        try:
            yield hello
            while (batch := self._next()) is not None:
                yield from self._parts(batch)
        except GeneratorExit:
            # gRPC wants no more because the call is over; why it is over comes with its answers.
            raise
        except BaseException as error:  # noqa: BLE001 - raised by the worker's tick
            self._end(error)

    def _next(self) -> SealedBatch | None:
        """The batch to send now; waits for it and for room. None at the end."""
        with self._desk.lock:
            self._wake.wait_for(lambda: self._stops() or (self._has_more() and self._desk.gate.is_open()))
            if self._stops() or self._sent_seq is None:
                return None
            seq = self._sent_seq + 1
            batch = self._desk.handover.take(seq)
        if batch is None or batch.epoch != self._epoch:
            # What was sealed before an epoch began may have been sealed anew since.
            batch = self._from_outbox(seq)
        size = size_of(batch)
        with self._desk.lock:
            self._wake.wait_for(lambda: self._stops() or self._has_room(size))
            if self._stops():
                return None
            self._sent_seq = seq
            if not self._under_way:
                self._moved_at = time.monotonic()
            self._under_way.append((seq, size, batch.rows))
            self._under_way_bytes += size
        return batch

    def _from_outbox(self, seq: int) -> SealedBatch:
        while self._read and self._read[0].seq < seq:
            self._read.popleft()
        if not self._read or self._read[0].seq != seq:
            self._read = deque(self._desk.exchange.read_outbox(seq - 1, READ_BYTES))
        if not self._read or self._read[0].seq != seq:
            raise Gap(f"batch {seq} is no longer in the outbox", where=self._desk.exchange.stream)
        return self._read.popleft()

    def _parts(self, batch: SealedBatch) -> Iterator[exchange_pb2.PushRequest]:
        for part in parts(batch, self._desk.pace.part_bytes):
            if not self._may_go(len(part.part.payload)):
                return
            yield part

    def _may_go(self, size: int) -> bool:
        """Wait until the link can carry a part; False at the end."""
        with self._desk.lock:
            self._wake.wait_for(
                lambda: self._ends() or (self._flight.has_room(size) and self._desk.gate.is_open())
            )
            self._flight.sent(size)
            self._moved_at = time.monotonic()
            return not self._ends()

    def _stops(self) -> bool:
        return self._closing or self._ends()

    def _ends(self) -> bool:
        return self._over or self._is_outdated()

    def _is_outdated(self) -> bool:
        return self._desk.exchange.epoch != self._epoch

    def _has_more(self) -> bool:
        return self._sent_seq is not None and self._desk.handover.newest > self._sent_seq

    def _has_room(self, size: int) -> bool:
        """One batch may always go, however large."""
        limits, welcome = self._desk.limits, self._welcome
        if not self._under_way or welcome is None:
            return True
        batches = min(limits.window_batches, welcome.window_batches or limits.window_batches)
        return len(self._under_way) < batches and self._under_way_bytes + size <= self._window_bytes()

    def _window_bytes(self) -> int:
        theirs = self._welcome.window_bytes if self._welcome else 0
        return min(self._desk.limits.window_bytes, theirs or self._desk.limits.window_bytes)

    def _is_stuck(self) -> bool:
        with self._desk.lock:
            if not self._under_way:
                return False
            return time.monotonic() - self._moved_at > self._desk.limits.progress_s

    def _follow(self) -> None:
        """Read what central says until the call ends; its own thread."""
        try:
            for reply in self._call.replies():
                self._take_in(reply)
        except BaseException as error:  # noqa: BLE001 - whatever ends this thread is raised by the worker's tick
            self._end(error)
        else:
            self._end(None)

    def _take_in(self, reply: exchange_pb2.PushReply) -> None:
        with self._desk.lock:
            self._moved_at = time.monotonic()
            if reply.WhichOneof("body") == "welcome":
                if reply.welcome.protocol != PROTOCOL:
                    raise Refused(f"central speaks protocol {reply.welcome.protocol}, we speak {PROTOCOL}")
                self._welcome = reply.welcome
                self._ended.notify_all()
            else:
                self._acknowledge(reply.ack.seq, reply.ack.applied)
                self._flight.received(reply.ack.received_bytes, self._window_bytes())
                self._wake.notify_all()
                if self._closing:
                    self._ended.notify_all()

    def _acknowledge(self, seq: int, applied: int) -> None:
        progress = self._desk.progress
        size = rows = batches = 0
        while self._under_way and self._under_way[0][0] <= seq:
            _, its_size, its_rows = self._under_way.popleft()
            size, rows, batches = size + its_size, rows + its_rows, batches + 1
        if batches:
            self._under_way_bytes -= size
            self._desk.state.count(rows, size, batches)
        if seq > progress.acknowledged_seq:
            progress.acknowledged_seq, progress.acknowledged_us = seq, now_us()
        progress.applied_seq = max(progress.applied_seq, applied)

    def _end(self, error: BaseException | None) -> None:
        with self._desk.lock:
            if not self._over:
                self._over, self._error = True, error
            self._wake.notify_all()
            self._ended.notify_all()
