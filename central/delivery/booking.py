"""A delivery is put on record before its bytes leave: judged, numbered, signed, chained, in one transaction.

Whatever happens afterwards, what left central is on record with its grant, its version and its purpose (Art. 26, 31);
and what is on record and never arrived is made anew when the consumer says how far it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from central import audit
from central.catalogue.published import moment
from central.delivery import calls, cursor, keys, sent
from central.delivery.cursor import Cursor, Place, Standing
from central.delivery.lens import Lens
from central.delivery.limits import Allowance
from central.delivery.parcel import Parcel
from central.delivery.recalls import chain_of, recalled
from central.delivery.stretch import Applied
from central.sharing import traces
from central.sharing.permits import Permit, permit
from central.store import together
from central.store.deliveries import DELIVERIES
from proto import delivery
from proto.batch import CHAIN_START
from proto.errors import ExchangeError
from proto.signing import Signer
from proto.states import State
from proto.v1 import exchange_pb2


class Withheld(ExchangeError):
    """Nothing may flow under this grant now."""

    code = "NOT_GRANTED"
    state: Final = State.PAUSED


class Outdated(ExchangeError):
    """The grant changed while a delivery was made under it; it is made anew."""

    code = "OUTDATED"


@dataclass(frozen=True, slots=True)
class Order:
    """Under what a delivery is made."""

    permit: Permit
    lens: Lens
    cursor: Cursor
    """As it lies in the database."""
    followed: Place
    """How far the ledger was followed since, without finding anything."""
    allowance: Allowance


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A delivery on record, ready to leave."""

    message: exchange_pb2.Delivery
    """Without its payload."""
    payload: bytes
    continues: bool
    """It ends amid a source commit: the next one follows whatever the consumer has acknowledged."""

    @property
    def size(self) -> int:
        """Bytes on the wire, about."""
        return len(self.message.header) + len(self.payload)


def withheld(connection: Connection, found: Permit, now_us: int) -> Standing | None:
    """Why nothing may flow under *found* at *now_us*."""
    if number := recalled(connection, found.grant):
        return Standing(
            State.PAUSED, "RECALLED", f"what was delivered is recalled: {number}", "ask for a new grant"
        )
    if why := found.refusal(now_us):
        fix = f"exchange-central share explain {found.consumer} {found.resource}"
        return Standing(State.PAUSED, Withheld.code, why, fix)
    return None


def book(
    connection: Connection, ticket: calls.Ticket, signer: Signer, order: Order, parcel: Parcel
) -> Dispatch:
    """Put *parcel* on record as the next delivery. Raises CallOver, ClockWentBack, Withheld, Outdated, Transient."""
    held = _judged(connection, ticket, order)
    before = order.cursor
    place = delivery.Place(before.grant, before.generation, before.seq + 1)
    digest = delivery.chain(before.digest, place, parcel.header)
    receipt = f"{ticket.consumer}-{held.receipts + 1:09}"
    message = exchange_pb2.Delivery(
        grant=place.grant,
        generation=place.generation,
        seq=place.seq,
        digest=digest,
        receipt=receipt,
        signature=signer.sign(delivery.RECEIPT, delivery.signed(ticket.consumer, place, digest, receipt)),
        source_seq=parcel.place.source_seq,
        commit_us=parcel.commit_us,
        copying=parcel.place.copying,
        rows_copied=parcel.place.rows_copied,
        rows_expected=max(before.rows_expected, parcel.place.rows_copied),
        header=parcel.header,
        payload_bytes=len(parcel.payload),
    )
    dispatch = Dispatch(message, parcel.payload, parcel.place.is_open)
    _write(connection, ticket, held, order, (parcel, dispatch))
    return dispatch


def begin(
    connection: Connection, ticket: calls.Ticket, order: Order, start: tuple[Applied, int], reason: str
) -> None:
    """Begin a new generation: the consumer's table is emptied and copied afresh, and *reason* is on record.

    *start* is how far the ledger was applied before the first page is read, and how many rows are there.
    """
    _judged(connection, ticket, order)
    before, (applied, rows) = order.cursor, start
    cursor.move(
        connection,
        before,
        {
            **Place(applied.seq, applied.digest).values,
            "generation": before.generation + 1,
            "seq": 0,
            "digest": CHAIN_START,
            "rows_expected": rows,
            "fingerprint": order.lens.fingerprint,
            "reason": reason,
            "acked_seq": 0,
        },
    )
    sent.drop_all(connection, before.grant)
    keys.forget(connection, before.grant)
    facts: dict[str, audit.Fact] = {
        "grant": before.grant,
        "version": order.permit.version,
        "generation": before.generation + 1,
        "reason": reason,
    }
    audit.record(connection, chain_of(ticket.consumer), "fresh_copy_began", **facts)


def rewind(connection: Connection, before: Cursor, to: sent.Sent, following: sent.Sent) -> None:
    """The consumer is at *to*, and what was sent after it is made anew."""
    place = Place(
        **{**to.place.values, "source_seq": following.from_seq, "source_digest": following.from_digest}
    )
    values = {**place.values, "seq": to.seq, "digest": to.digest, "acked_seq": to.seq}
    cursor.move(connection, before, values)
    sent.drop_after(connection, before.grant, before.generation, to.seq)
    keys.back_to(connection, before.grant, to.seq)
    facts: dict[str, audit.Fact] = {
        "grant": before.grant,
        "generation": before.generation,
        "from_seq": to.seq + 1,
        "to_seq": before.seq,
    }
    audit.record(connection, chain_of(before.consumer), "delivered_again", **facts)


def _judged(connection: Connection, ticket: calls.Ticket, order: Order) -> calls.Held:
    held = calls.hold(connection, ticket)
    now = permit(connection, order.permit.grant)
    if why := withheld(connection, now, held.now_us):
        raise Withheld(why.sentence, where=now.grant, fix=why.fix)
    if now.version != order.permit.version:
        raise Outdated("the grant was changed meanwhile", where=now.grant)
    if moment(connection, now.resource, held.now_us) != order.lens.moment:
        raise Outdated("another release is in force meanwhile, or a contract's day has come", where=now.grant)
    return held


def _write(
    connection: Connection,
    ticket: calls.Ticket,
    held: calls.Held,
    order: Order,
    made: tuple[Parcel, Dispatch],
) -> None:
    parcel, dispatch = made
    message, before = dispatch.message, order.cursor
    tip = audit.tip(connection, chain_of(ticket.consumer))
    counts = {"rows": parcel.rows, "bytes": dispatch.size}
    cursor.move(connection, before, _moved(held, order, parcel, dispatch))
    with together(connection):
        sent.record(
            connection,
            {
                **parcel.place.values,
                **counts,
                "grant_id": before.grant,
                "generation": message.generation,
                "seq": message.seq,
                "digest": message.digest,
                "from_seq": order.followed.source_seq,
                "from_digest": order.followed.source_digest,
                "receipt": message.receipt,
                "at_us": held.now_us,
                "grant_version": order.permit.version,
                "release": order.lens.release,
                "fingerprint": order.lens.fingerprint,
            },
        )
        if parcel.keys is not None:
            parcel.keys.write(connection, message.seq)
        calls.stamp(connection, ticket, held, held.receipts + 1)
        n = audit.append(connection, tip, "delivered", _facts(order, parcel, message))
        record, form = (tip.chain, n, tip.now_us), order.lens.tracer.form
        traces.keep(connection, before.grant, record, form, (parcel.rows, parcel.traces))


def _moved(held: calls.Held, order: Order, parcel: Parcel, dispatch: Dispatch) -> dict[str, Any]:
    c = DELIVERIES.c
    return {
        **parcel.place.values,
        "seq": dispatch.message.seq,
        "digest": dispatch.message.digest,
        "deliveries": c.deliveries + 1,
        "rows": c.rows + parcel.rows,
        "bytes": c.bytes + dispatch.size,
        "delivered_us": held.now_us,
        "commit_us": parcel.commit_us or c.commit_us,
        "day": order.allowance.day,
        "day_rows": order.allowance.rows_today + parcel.rows,
    }


def _facts(order: Order, parcel: Parcel, message: exchange_pb2.Delivery) -> dict[str, audit.Fact]:
    return {
        "grant": order.permit.grant,
        "version": order.permit.version,
        "release": order.lens.release,
        "resource": order.permit.resource,
        "purpose": order.permit.terms.purpose,
        "generation": message.generation,
        "seq": message.seq,
        "first_source": order.followed.source_seq + 1,
        "last_source": message.source_seq,
        "rows": parcel.rows,
        "digest": message.digest.hex(),
        "receipt": message.receipt,
        "traces": traces.fact(parcel.traces),
    }
