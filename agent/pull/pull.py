"""The worker that receives: connects, brings in what comes, and says how far each grant is."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from agent.discretion import Discretion
from agent.exchange import Parcel, Received, Reception
from agent.exchange.receptions import LIFTED, GrantRefused, plain
from agent.link import Link
from agent.pull import letters
from agent.pull.assembly import Assembler
from agent.pull.session import Session
from agent.worker import StreamState
from proto.delivery import RECEIPT, signed
from proto.errors import (
    BatchCorrupt,
    Credential,
    ExchangeError,
    Halt,
    NotAdmitted,
    Refused,
    Transient,
    Unforeseen,
)
from proto.signing import SignatureWrong, Verifier
from proto.states import State
from proto.v1 import exchange_pb2

TICK_S: Final = 0.5
SHARED_DELIVERIES: Final = 64
SHARED_BYTES: Final = 1024 * 1024
"""Of one commit, as they came; a single larger delivery has its own."""
UNANNOUNCED: Final = "UNANNOUNCED"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PullLimits:
    """How much central may send without a receipt, and how long its welcome may take."""

    window_deliveries: int = 64
    window_bytes: int = 32 * 1024 * 1024
    welcome_s: float = 15.0


class Pull:
    """Everything granted to one node. :meth:`step` and :meth:`close` belong to one thread; the others to any."""

    def __init__(self, received: Received, door: Link, limits: PullLimits) -> None:
        self.state = StreamState(received.node)
        self._received, self._door, self._limits = received, door, limits
        self.discretion = Discretion(())
        """What central is not to know of why a grant stands still."""
        self._incarnation = secrets.token_hex(16)
        self._session: Session | None = None
        self._stopping = False
        self._verifier: Verifier | None = None
        self._parts = Assembler()
        self._whole: list[Parcel] = []
        """Deliveries put together and not yet committed."""
        self._spoken: set[str] = set()
        """Grants that central was reminded of on this connection."""
        self._renew = threading.Event()
        """Asks for a new connection: it begins with how things are."""

    @property
    def is_connected(self) -> bool:
        """Whether a call is open."""
        return self._verifier is not None

    def step(self) -> bool:
        """Connect if need be, then take in what comes for a moment. Raises Transient, Halt; True: again at once."""
        try:
            self._keep_going()
        except NotAdmitted as error:
            self._drop()
            fix = error.fix or "ask the platform to admit this node's certificate"
            raise Credential(error.what, where=error.where, fix=fix) from error
        except Refused as error:
            self._drop()
            # The next call begins with how things are here, which central compares with how they are there.
            raise Transient(
                f"central refuses our call: {error.what}", where=error.where, fix=error.fix
            ) from error
        except BaseException:
            self._drop()
            raise
        return True

    def retry(self, grant: str, who: str) -> Reception:
        """Let a held grant go on; central is told at the beginning of a new connection."""
        row = self._received.retry(grant, who)
        self._renew.set()
        self.state.try_again()
        return row

    def resume(self) -> None:
        """Try again now after a halt."""
        self.state.resume()

    def change(self, limits: PullLimits) -> None:
        """Go on within other limits, from the next connection on."""
        if limits != self._limits:
            self._limits = limits
            self._renew.set()

    def stop_waiting(self) -> None:
        """Make a :meth:`step` that waits for central return soon, also one that only begins to."""
        self._stopping = True
        if (session := self._session) is not None:
            session.give_up()

    def close(self) -> None:
        """End the connection; what is not committed comes again."""
        self._drop()

    # One connection

    def _keep_going(self) -> None:
        session = self._session or self._connect()
        until = time.monotonic() + TICK_S
        while (left := until - time.monotonic()) > 0 and not self._renew.is_set():
            reply = session.next(left)
            if reply is None:
                break
            while reply is not None:
                self._take(session, reply)
                reply = session.at_hand() if self._may_wait else None
            self._commit(session)
        self._show()
        if self._renew.is_set() or session.wants_renewal():
            self._drop()

    def _connect(self) -> Session:
        self._renew.clear()
        grants = list(self._received.start().values())
        self._received.demand_room()
        window = (self._limits.window_deliveries, self._limits.window_bytes)
        self._parts, self._whole, self._spoken = Assembler(), [], set()
        hello = letters.hello(grants, self._incarnation, window)
        self._session = session = Session(self._door, hello, self.discretion.keep_hold)
        if self._stopping:
            session.give_up()
        self._verifier = session.welcome(self._limits.welcome_s)
        _log.info("pull_connected", grants=len(grants))
        self._show()
        return session

    def _drop(self) -> None:
        session, self._session, connected = self._session, None, self._verifier is not None
        self._verifier = None
        if session is not None:
            session.close()
        if connected:
            _log.info("pull_disconnected")

    def _show(self) -> None:
        grants = [row for row in self._received.grants().values() if row.accepts]
        idle = all(row.is_proven for row in grants)
        sentence = "waiting for what is delivered" if grants else "nothing is granted to this node"
        self.state.set(State.IDLE if idle else State.RUNNING, sentence)

    # What central says

    def _take(self, session: Session, reply: exchange_pb2.PullReply) -> None:
        body = reply.WhichOneof("body")
        if body == "delivery":
            self._delivered(session, reply.delivery)
            return
        # Words stand in the order in which central says them.
        self._commit(session)
        match body:
            case "granted":
                with self._alone(reply.granted.grant):
                    self._granted(session, reply.granted)
            case "progress":
                proven = reply.progress
                self._received.progress(proven.grant, min(proven.source_seq, 2**63 - 1), proven.proven_us)
            case "recall":
                # Not answered until it is done: central asks again.
                with self._alone(reply.recall.grant):
                    self._recalled(session, reply.recall)
            case _:
                # A newer central says something we do not know: what we know goes on.
                _log.warning("pull_word_unknown")

    @contextmanager
    def _alone(self, grant: str) -> Iterator[None]:
        """Whatever one grant meets holds it alone."""
        try:
            yield
        except (Transient, Halt):
            raise
        except Exception as error:  # noqa: BLE001 - neither the others nor capture may stop for it
            problem = error if isinstance(error, ExchangeError) else Unforeseen.met(error, plain(grant, 80))
            _log.error("grant_failed", grant=plain(grant, 80), error=str(problem))
            self._received.hold(grant, problem)

    def _granted(self, session: Session, granted: exchange_pb2.Granted) -> None:
        before = self._received.grants().get(granted.grant)
        try:
            row = self._received.announce(letters.announced_of(granted))
        except GrantRefused as error:
            self._refuse_unknown(session, granted.grant, error)
            return
        except Refused as error:
            held = self._received.hold(granted.grant, error)
            if held is not None:
                session.send(letters.held(held))
            return
        if before is None or (before.said, before.version) != (row.said, row.version):
            _log.info(
                "grant_announced", grant=row.grant_id, said=row.said, version=row.version, place=row.place
            )
        self._remind(session, row)

    def _remind(self, session: Session, row: Reception) -> None:
        """Once on each connection: that a grant is held, or that it is no more; central may have lost either word."""
        if row.grant_id in self._spoken or not row.accepts:
            return
        self._spoken.add(row.grant_id)
        if row.held:
            session.send(letters.held(row))
        elif row.code == LIFTED:
            session.send(letters.lifted(row))

    def _delivered(self, session: Session, part: exchange_pb2.Delivery) -> None:
        row = self._received.grants().get(part.grant)
        if row is None:
            self._refuse_unknown(
                session, part.grant, Refused("a delivery came before its grant was announced")
            )
            return
        try:
            parcel = self._parts.add(part)
            if parcel is None or not row.accepts:
                return
            said = signed(self._received.node, parcel.place, parcel.digest, parcel.receipt)
            self._signer.demand(RECEIPT, said, parcel.signature)
        except (BatchCorrupt, SignatureWrong) as error:
            # What came before it is whole.
            self._commit(session)
            row = self._received.grants()[part.grant]
            if not row.held:
                self._tell(session, row, self._received.hold(part.grant, error))
            return
        self._whole.append(parcel)

    @property
    def _may_wait(self) -> bool:
        """Whether what is whole may share its commit with what is here already; nothing waits for what is to come."""
        size = sum(len(parcel.payload) for parcel in self._whole)
        return 0 < len(self._whole) < SHARED_DELIVERIES and size < SHARED_BYTES

    def _commit(self, session: Session) -> None:
        """Rows and cursors of what is whole, in one commit; then the receipts."""
        parcels, self._whole = self._whole, []
        if not parcels:
            return
        before = self._received.grants()
        for row in self._received.commit_all(parcels):
            self._tell(session, before[row.grant_id], row)

    def _tell(self, session: Session, before: Reception, now: Reception | None) -> None:
        """A receipt for what was committed, or why the grant does not go on."""
        if now is None or now.over:
            return
        if now.held:
            if not before.held:
                session.send(letters.held(now))
            return
        self.state.count(now.rows - before.rows, now.size_bytes - before.size_bytes)
        session.send(letters.receipt(now))

    def _recalled(self, session: Session, recall: exchange_pb2.Recall) -> None:
        rows = self._received.recall(recall.grant, plain(recall.recall, 200), plain(recall.reason))
        _log.warning("grant_recalled", grant=plain(recall.grant, 80), rows=rows)
        session.send(letters.recalled(recall, rows))
        row = self._received.grants().get(recall.grant)
        if row is not None and row.held:
            session.send(letters.held(row))

    def _refuse_unknown(self, session: Session, grant: str, error: ExchangeError) -> None:
        _log.error("grant_refused", grant=plain(grant, 80), error=str(error))
        session.send(letters.unknown(grant, error.what, getattr(error, "code", UNANNOUNCED)))

    @property
    def _signer(self) -> Verifier:
        if self._verifier is None:
            raise RuntimeError("a delivery was taken from a connection without a welcome")
        return self._verifier
