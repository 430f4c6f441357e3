"""One grant on one open call: each step makes at most one delivery, in one transaction.

A step first looks, in a transaction that changes nothing, and makes the delivery from what it saw; then the delivery is
put on record if the grant and the cursor are still what they were (:mod:`central.delivery.booking`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from central.catalogue.reported import deletes_of
from central.delivery import booking, calls, cursor, sent
from central.delivery.booking import Dispatch, Order, Outdated, Withheld
from central.delivery.cursor import Cursor, Place, Standing
from central.delivery.lens import Lens, Lenses
from central.delivery.limits import Allowance, allowance, spent
from central.delivery.parcel import Packer, Parcel, Reshaped
from central.delivery.snapshot import Snapshot
from central.delivery.stretch import (
    MOST_ROWS,
    Applied,
    Lost,
    Want,
    applied_of,
    demand_unbroken,
    look_ahead,
    stretch,
)
from central.ledger import Damaged
from central.sharing.contract import Contract
from central.sharing.permits import Permit, permit
from central.store import now_us, reading, writing
from central.store.names import room_of
from proto.batch import CHAIN_START
from proto.errors import Credential, ExchangeError, Refused
from proto.signing import Signer
from proto.states import State
from proto.v1 import exchange_pb2
from replica.opening import open_replica

FIRST_PAGE_ROWS: Final = 2_000
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Of a page of a first copy, before compression."""
FOLLOW_BATCHES: Final = 256
"""So many batches that hold nothing for a grant are passed over before that is written down."""
WRITE_DOWN_S: Final = 30.0
"""How far the ledger was followed without finding anything is written down so often, at most."""
ASK_AGAIN_S: Final = 30.0
"""How often the provider's last word on deletes is looked up; it changes with the settings of its agent."""
_RUNNING: Final = Standing(State.RUNNING)
_COPYING: Final = Standing(State.SNAPSHOT)
_IDLE: Final = Standing(State.IDLE)


@dataclass(frozen=True, slots=True)
class Post:
    """What all couriers of a process share."""

    engine: Engine
    signer: Signer | None
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a step."""

    standing: Standing
    permit: Permit | None = None
    """The grant as it was seen."""
    reason: str = ""
    """Why the generation under way was begun."""
    contract: Contract | None = None
    """What it follows of the catalogue."""
    deletes: str = ""
    """What the consumer is to know of deletes at the source."""
    dispatch: Dispatch | None = None
    source_seq: int = 0
    """How far the provider's stream was followed."""
    more: bool = False


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A new generation is due."""

    applied: Applied
    rows: int
    reason: str


_Find = Standing | Place | _Fresh | Parcel
"""Why nothing can be done; up to where there was nothing; what is to be done."""


class Unsigned(Credential):
    """What is not signed would be refused by its consumer, so it is not made."""

    code = "NOT_SIGNED"


class Courier:
    """Delivers one grant; one thread at a time may call it."""

    def __init__(
        self, post: Post, ticket: calls.Ticket, grant: str, received: exchange_pb2.Received | None
    ) -> None:
        self.grant = grant
        self._post = post
        self._ticket = ticket
        self._received = received or exchange_pb2.Received(grant=grant)
        self._lenses = Lenses()
        self._order: Order | None = None
        self._ahead: Place | None = None
        self._fresh_because = ""
        self.met: tuple[int, int] | None = None
        """Generation and delivery where the consumer was found to be; None = not yet compared."""
        self._page_is_due = True
        self._page_rows = FIRST_PAGE_ROWS
        self._snapshot: Snapshot | None = None
        self._permit: Permit | None = None
        self._lens: Lens | None = None
        self._reason = ""
        self._deletes, self._deletes_at_s = "", -ASK_AGAIN_S
        self._write_down_at_s = time.monotonic() + WRITE_DOWN_S

    def close(self) -> None:
        """Forget what was put aside."""
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None

    def step(self, *, may_send: bool) -> Step:
        """Make the next delivery if there is one and *may_send*. Raises CallOver, Transient and what the ledger raises."""
        if self.met is None:
            self._meet()
        try:
            with reading(self._post.engine) as connection:
                order = self._order_for(connection)
                found = order if isinstance(order, Standing) else self._find(connection, order, may_send)
            return self._carry_out(order, found)
        except (Withheld, Outdated):
            # Judged again from the start, which also says why.
            return self._said(_RUNNING, more=True)
        except (Lost, Reshaped, Damaged) as error:
            # What the ledger cannot give is in the platform's table.
            self._fresh_because = error.what
            return self._said(_RUNNING, more=True)

    def go_back(self, seq: int) -> None:
        """What was made after delivery *seq* never left; make it anew."""
        with writing(self._post.engine) as connection:
            calls.hold(connection, self._ticket)
            now = cursor.read(connection, self.grant)
            if now is not None and seq < now.seq and not self._rewind(connection, now, seq):
                self._fresh_because = "what was made ready for the consumer was withdrawn"
        self.close()
        self._ahead = None

    def _meet(self) -> None:
        """Compare where the consumer is with what was sent, and go on right after it."""
        with writing(self._post.engine) as connection:
            calls.hold(connection, self._ticket)
            now = cursor.read(connection, self.grant)
            met = (0, 0)
            if now is None:
                cursor.make(connection, self.grant, self._ticket.consumer)
            elif now.generation:
                self._fresh_because = self._compare(connection, now)
                met = (0, 0) if self._fresh_because else (now.generation, self._received.seq)
            if not self._received.generation:
                # A consumer that knows nothing of the grant holds nothing either.
                cursor.change(connection, self.grant, hold_state="")
        self.met = met

    def _compare(self, connection: Connection, now: Cursor) -> str:
        """ "" when the consumer's place was found; else why it must begin anew."""
        said = self._received
        seq = said.seq if said.generation else 0
        if said.generation not in (0, now.generation):
            return f"the consumer is in copy {said.generation}, and the last one is {now.generation}"
        if seq == now.seq and (not seq or said.digest == now.digest):
            cursor.change(connection, self.grant, acked_seq=seq)
            return ""
        if seq >= now.seq or not self._rewind(connection, now, seq, bytes(said.digest)):
            return f"the consumer is at delivery {seq}, which is not one that can be gone on from"
        return ""

    def _rewind(self, connection: Connection, now: Cursor, seq: int, digest: bytes | None = None) -> bool:
        following = sent.find(connection, self.grant, now.generation, seq + 1)
        if following is None:
            return False
        start = Place(following.from_seq, following.from_digest)
        at = sent.Sent(0, CHAIN_START, start, 0, b"")
        if seq:
            found = sent.find(connection, self.grant, now.generation, seq)
            if found is None or (digest is not None and found.digest != digest):
                return False
            at = found
        booking.rewind(connection, now, at, following)
        return True

    def _order_for(self, connection: Connection) -> Order | Standing:
        """Under what the next delivery is made, or why none can be."""
        found = cursor.read(connection, self.grant)
        granted = self._permit = permit(connection, self.grant)
        now = now_us(connection)
        if found is None:
            raise Refused("the grant's cursor is gone", where=self.grant)
        self._reason = found.reason
        self._look_up_deletes(connection, granted)
        if why := booking.withheld(connection, granted, now) or found.hold:
            return why
        try:
            _ = self._signer
            lens = self._lens = self._lenses.of(connection, granted, now)
        except ExchangeError as error:
            return replace(Standing.of(error), state=str(getattr(error, "state", State.PAUSED)))
        if lens is None:
            return Standing(State.IDLE, "", "the provider has not sent this table yet")
        left = allowance(granted.terms.limits, found, now, self._post.zone)
        if left.wait is not None:
            return left.wait
        self._order = Order(granted, lens, found, self._ahead or found.place, left)
        return self._order

    def _look_up_deletes(self, connection: Connection, granted: Permit) -> None:
        if time.monotonic() - self._deletes_at_s >= ASK_AGAIN_S:
            self._deletes = deletes_of(connection, granted.stream, granted.table)
            self._deletes_at_s = time.monotonic()

    def _find(self, connection: Connection, order: Order, may_send: bool) -> _Find:
        if reason := self._reason_to_begin(order.cursor, order.lens):
            return self._begin(connection, order, reason)
        return self._look(connection, order) if may_send else _RUNNING

    def _reason_to_begin(self, found: Cursor, lens: Lens) -> str:
        if not found.generation:
            return "first delivery"
        if found.fingerprint != lens.fingerprint:
            return "the grant, the catalogue or the provider's table changed"
        if not lens.stored.key and found.place.copy_key is not None and found.seq and self._snapshot is None:
            return "the first copy of a table without a key was interrupted"
        return self._fresh_because

    def _begin(self, connection: Connection, order: Order, reason: str) -> _Fresh:
        applied = applied_of(connection, order.permit.stream, order.permit.table)
        replica = open_replica(self._post.engine, room_of(order.permit.stream))
        return _Fresh(applied, replica.count(connection, order.lens.stored), reason)

    def _look(self, connection: Connection, order: Order) -> _Find:
        """The next page or the next changes, in turn."""
        stream, place = order.permit.stream, order.followed
        replica = open_replica(self._post.engine, room_of(stream))
        packer = Packer(connection, replica, order.lens, replace(order.cursor, place=place))
        if place.copy_key is not None and not order.lens.stored.key:
            return self._sheet(packer, stream)
        applied = applied_of(connection, stream, order.permit.table)
        demand_unbroken(stream, place, applied)
        is_behind = place.source_seq < applied.seq
        if place.copy_key is not None and not place.is_open and (self._page_is_due or not is_behind):
            self._page_is_due = False
            return self._page(packer, stream, order.allowance)
        self._page_is_due = True
        entries = look_ahead(connection, stream, place, applied)
        if not entries:
            return applied.hold or _IDLE
        most = min(MOST_ROWS, order.allowance.rows_left or MOST_ROWS)
        want = Want(order.permit.table, most, place.is_open, order.lens.bound.is_identity)
        return packer.changes(stretch(entries, want))

    def _page(self, packer: Packer, stream: str, left: Allowance) -> _Find:
        asked = min(self._page_rows, left.rows_left or self._page_rows)
        key = packer.cursor.place.copy_key or b""
        page = packer.replica.page(packer.connection, packer.lens.stored, key, asked)
        # Asked after the page: what it shows is not newer than this, so following the ledger up to here mends it.
        applied = applied_of(packer.connection, stream, packer.lens.stored.name)
        demand_unbroken(stream, packer.cursor.place, applied)
        if packer.cursor.place.source_seq > applied.seq:
            return Standing(State.BACKING_OFF, "", "the platform applies what it had applied before", "")
        if page:
            self._page_rows = max(100, min(MOST_ROWS, PAGE_BYTES * page.count // max(1, len(page.data))))
        return packer.page(page, asked, applied.seq)

    def _sheet(self, packer: Packer, stream: str) -> Parcel:
        if self._snapshot is None or packer.cursor.seq == 0:
            self.close()
            self._snapshot = Snapshot(self._post.engine, stream, packer.replica, packer.lens.stored)
        page, is_last = self._snapshot.take()
        return packer.sheet(page, is_last, self._snapshot.taken_at)

    def _carry_out(self, order: Order | Standing, found: _Find) -> Step:
        if isinstance(order, Standing):
            return self._said(order)
        match found:
            case Standing():
                if self._ahead is not None and time.monotonic() >= self._write_down_at_s:
                    self.write_down()
                return self._said(self._idle_or(order, found))
            case Place():
                return self._follow(order, found)
            case _Fresh():
                return self._begun(order, found)
            case Parcel():
                return self._dispatch(order, found)

    def _begun(self, order: Order, fresh: _Fresh) -> Step:
        with writing(self._post.engine) as connection:
            booking.begin(connection, self._ticket, order, (fresh.applied, fresh.rows), fresh.reason)
        self.close()
        self._fresh_because, self._ahead, self._page_is_due = "", None, True
        self._reason = fresh.reason
        return self._said(_COPYING, more=True)

    def _dispatch(self, order: Order, parcel: Parcel) -> Step:
        if not order.allowance.covers(parcel.rows):
            return self._said(spent(order.permit.terms.limits, order.allowance.rows_today))
        with writing(self._post.engine) as connection:
            dispatch = booking.book(connection, self._ticket, self._signer, order, parcel)
        self._ahead = None
        return self._said(_COPYING if parcel.place.copying else _RUNNING, dispatch, more=True)

    def _follow(self, order: Order, place: Place) -> Step:
        """Nothing for this grant up to *place*."""
        was = order.cursor.place
        self._ahead = place
        if place.copy_key != was.copy_key or place.source_seq - was.source_seq >= FOLLOW_BATCHES:
            self.write_down()
        return self._said(_COPYING if place.copying else _RUNNING, more=True)

    def write_down(self) -> None:
        """Keep how far the ledger was followed."""
        order, place = self._order, self._ahead
        if order is None or place is None:
            return
        with writing(self._post.engine, durable=False) as connection:
            calls.hold(connection, self._ticket)
            cursor.move(connection, order.cursor, place.values)
        self._ahead = None
        self._write_down_at_s = time.monotonic() + WRITE_DOWN_S

    def _idle_or(self, order: Order, standing: Standing) -> Standing:
        return _COPYING if standing is _IDLE and order.followed.copying else standing

    @property
    def _signer(self) -> Signer:
        if self._post.signer is None:
            raise Unsigned(
                "the platform has nothing to sign deliveries with",
                where=self.grant,
                fix="name certificate and key under 'signing' in central.yaml",
            )
        return self._post.signer

    def _said(self, standing: Standing, dispatch: Dispatch | None = None, *, more: bool = False) -> Step:
        contract = self._lens.contract if self._lens else None
        order = self._order
        followed = self._ahead or (order.followed if order else None)
        source_seq = dispatch.message.source_seq if dispatch else followed.source_seq if followed else 0
        return Step(standing, self._permit, self._reason, contract, self._deletes, dispatch, source_seq, more)
