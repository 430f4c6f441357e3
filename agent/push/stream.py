"""One stream's push: connects, keeps a session going, notes what central has, and says how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from agent.exchange.exchange import Exchange
from agent.exchange.outbox import OutboxDamaged
from agent.link import Link
from agent.push.handover import Handover, Pace
from agent.push.session import Desk, Gate, OpenGate, Progress, PushLimits, Session
from agent.worker import StreamState
from proto.batch import SealedBatch
from proto.errors import (
    BatchCorrupt,
    Credential,
    Diverged,
    Gap,
    Halt,
    NotAdmitted,
    Poisoned,
    Refused,
    Transient,
)
from proto.states import State

TICK_S: Final = 0.5
ACKNOWLEDGE_S: Final = 1.0
"""How often at most the outbox learns what central has; a note that is lost is only made again."""

LOOK_S: Final = 0.1
_Error = TypeVar("_Error", bound=BaseException)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PushFacts:
    """How far push has come, for people."""

    connected: bool
    acknowledged_seq: int
    applied_seq: int
    newest_seq: int
    unacknowledged: int
    acknowledged_us: int


class Push:
    """The worker of one stream. :meth:`step` and :meth:`close` belong to one thread; the others to any."""

    def __init__(self, exchange: Exchange, door: Link, limits: PushLimits, gate: Gate | None = None) -> None:
        lock = threading.Lock()
        self.state = StreamState(exchange.stream)
        self._desk = Desk(
            exchange,
            door,
            limits,
            Handover(limits.memory_bytes),
            Pace(),
            Progress(),
            self.state,
            lock,
            threading.Condition(lock),
            gate or OpenGate(),
        )
        self._session: Session | None = None
        self._noted_seq, self._noted_at = 0, 0.0
        self.disagreement: Halt | None = None
        """Why central takes nothing of ours, until it said welcome again, or no longer needs what lies damaged here."""
        self._verdicts = 0

    def offer(self, batches: Sequence[SealedBatch]) -> None:
        """Batches that were just committed, in order: send them at once."""
        with self._desk.lock:
            self._desk.handover.offer(batches)
            self._desk.wake.notify_all()

    def step(self) -> bool:
        """Connect if need be, then watch for a moment. Raises Transient, Halt; True: call again at once."""
        try:
            self._keep_going()
        except Refused as error:
            self._drop()
            raise self._remembered(_halting(error)) from error
        except BaseException as error:
            self._drop()
            self._remembered(error)
            raise
        return True

    def ask_again(self, stop: threading.Event, within_s: float) -> Halt | None:
        """Connect once more if central refused, and wait for its answer; what it says against us, None for nothing."""
        before, until = self._verdicts, time.monotonic() + within_s
        self.state.try_again()
        while self.disagreement and self._verdicts == before and time.monotonic() < until:
            if stop.wait(LOOK_S):
                break
        return self.disagreement

    def pause(self, sentence: str = "") -> None:
        """Let nothing more leave until :meth:`resume`."""
        self.state.pause(sentence)
        if (session := self._session) is not None:
            session.give_up()
            session.stop_sending()

    def begin_again(self) -> None:
        """Drop the connection with whatever is under way, and begin another one; any thread."""
        if (session := self._session) is not None:
            session.begin_again()

    def resume(self) -> None:
        """Go on after a pause, or try again after a halt."""
        self.state.resume()

    def change(self, limits: PushLimits) -> None:
        """Go on within other limits, from the next batch on."""
        with self._desk.lock:
            self._desk.limits = limits
            self._desk.handover.limit_bytes = limits.memory_bytes

    def stop_waiting(self) -> None:
        """Make a :meth:`step` that waits for central's welcome return soon."""
        if (session := self._session) is not None:
            session.give_up()

    def close(self) -> None:
        """End cleanly: wait a little for what is under way, and note how far central is."""
        self._leave()

    def facts(self) -> PushFacts:
        """How far it is now."""
        session, progress = self._session, self._desk.progress
        return PushFacts(
            connected=session is not None and not session.is_over,
            acknowledged_seq=progress.acknowledged_seq,
            applied_seq=progress.applied_seq,
            newest_seq=self._desk.handover.newest,
            unacknowledged=session.unacknowledged if session else 0,
            acknowledged_us=progress.acknowledged_us,
        )

    def _keep_going(self) -> None:
        session = self._session or self._connect()
        session.tick(TICK_S)
        self._agree()
        self._note(ACKNOWLEDGE_S)
        if session.is_over or self.state.paused or session.wants_renewal():
            self._leave()

    def _connect(self) -> Session:
        self._session = session = Session(self._desk)
        session.start()
        self._agree()
        self.state.set(State.RUNNING, "sending to central")
        _log.info(
            "push_connected",
            stream=self._desk.exchange.stream,
            acknowledged=self._desk.progress.acknowledged_seq,
        )
        return session

    def _agree(self) -> None:
        """Central takes what is ours again; unless a batch that lies damaged here is still to be sent."""
        refused = self.disagreement
        damaged_seq = refused.seq if isinstance(refused, OutboxDamaged) else 0
        if self._desk.progress.acknowledged_seq >= damaged_seq:
            self.disagreement = None

    def _remembered(self, error: _Error) -> _Error:
        if isinstance(error, Diverged | Gap | Poisoned):
            self.disagreement = error
        self._verdicts += isinstance(error, Halt)
        return error

    def _leave(self) -> None:
        """End the session in peace."""
        if self._session is not None:
            self._session.drain()
        self._drop()
        self._note(0.0)

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
            _log.info(
                "push_disconnected",
                stream=self._desk.exchange.stream,
                acknowledged=self._desk.progress.acknowledged_seq,
            )

    def _note(self, at_most_every_s: float) -> None:
        """Tell the outbox how far central is, so that it can forget and a restart knows."""
        seq, now = self._desk.progress.acknowledged_seq, time.monotonic()
        if seq > self._noted_seq and now - self._noted_at >= at_most_every_s:
            self._noted_at = now
            if self._desk.exchange.acknowledge(seq):
                self._noted_seq = seq


def _halting(error: Refused) -> Exception:
    """What a refusal of central means for this stream: sending the same again would bring the same answer."""
    if isinstance(error, NotAdmitted):
        return Credential(
            error.what,
            where=error.where,
            fix=error.fix or "ask the platform to admit this node's certificate",
        )
    if error.code == "OUT_OF_ORDER":
        return Transient(error.what, where=error.where)
    word = "a damaged batch" if isinstance(error, BatchCorrupt) else "what we sent"
    return Poisoned(f"central refuses {word}: {error.what}", where=error.where, fix=error.fix)
