"""Whose call delivers to a consumer: the newest one, whichever central process it reached (as with apply's lease)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from central.store import NowUs, now_us
from central.store.deliveries import PULLS
from proto.errors import Halt, Transient
from proto.states import State

BACKWARD_US: Final = 5_000_000
"""A clock of the database that went back further than this decides about no grant (fault P8)."""

_MINE = (PULLS.c.consumer == bindparam("which"), PULLS.c.token == bindparam("ours"))
_HOLD: Final = select(PULLS.c.receipts, PULLS.c.seen_us, NowUs().label("now")).where(*_MINE).with_for_update()
_STAMP: Final = update(PULLS).where(*_MINE).values(receipts=bindparam("given"), seen_us=bindparam("seen"))
_SEEN: Final = (
    update(PULLS)
    .where(PULLS.c.consumer.in_(bindparam("some", expanding=True)), PULLS.c.seen_us < bindparam("seen"))
    .values(seen_us=bindparam("seen"))
)
_TOKENS: Final = select(PULLS.c.consumer, PULLS.c.token).where(
    PULLS.c.consumer.in_(bindparam("some", expanding=True))
)


class CallOver(Transient):
    """A newer call of the same node delivers now."""

    code = "CALL_OVER"


class ClockWentBack(Halt):
    """The database's clock says less than it said before, so it cannot judge whether a grant has run out."""

    code = "CLOCK_WENT_BACK"
    state = State.PAUSED


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right of one call to deliver to its node, until a newer call takes it."""

    consumer: str
    token: int


@dataclass(frozen=True, slots=True)
class Held:
    """A ticket checked and locked until the end of the transaction."""

    receipts: int
    """Given to this consumer so far."""
    now_us: int


def open_call(connection: Connection, consumer: str, owner: str, incarnation: str) -> Ticket:
    """Take over the deliveries to *consumer*."""
    row = connection.execute(
        select(PULLS.c.token).where(PULLS.c.consumer == consumer).with_for_update()
    ).one_or_none()
    now = now_us(connection)
    said = {"token": (row.token if row else 0) + 1, "owner": owner, "incarnation": incarnation[:64]}
    if row is None:
        connection.execute(insert(PULLS), {"consumer": consumer, **said, "opened_us": now, "seen_us": now})
    else:
        connection.execute(update(PULLS).where(PULLS.c.consumer == consumer).values(**said, opened_us=now))
    return Ticket(consumer, int(said["token"]))


def hold(connection: Connection, ticket: Ticket) -> Held:
    """Check and lock our ticket. Raises CallOver, and ClockWentBack."""
    row = connection.execute(_HOLD, {"which": ticket.consumer, "ours": ticket.token}).one_or_none()
    if row is None:
        raise CallOver("a newer call of this node took over", where=ticket.consumer)
    demand_forward(row.now, row.seen_us, ticket.consumer)
    return Held(row.receipts, row.now)


def stamp(connection: Connection, ticket: Ticket, held: Held, receipts: int) -> None:
    """Note the number of the last receipt, and what the clock said."""
    connection.execute(
        _STAMP, {"which": ticket.consumer, "ours": ticket.token, "given": receipts, "seen": held.now_us}
    )


def tokens(connection: Connection, consumers: Sequence[str]) -> dict[str, int]:
    """The token of each consumer's newest call."""
    found = connection.execute(_TOKENS, {"some": list(consumers)})
    return {row.consumer: row.token for row in found}


def note_clock(connection: Connection, consumers: Sequence[str], seen_us: int) -> None:
    """The database's clock said *seen_us*: nothing earlier will be believed for *consumers*."""
    connection.execute(_SEEN, {"some": list(consumers), "seen": seen_us})


def trust_clock(connection: Connection) -> bool:
    """A person has looked at the database's clock: what it says now is believed again. False when all were believing it."""
    ahead = update(PULLS).where(PULLS.c.seen_us > NowUs() + BACKWARD_US).values(seen_us=NowUs())
    return connection.execute(ahead).rowcount > 0


def demand_forward(now: int, seen_us: int, where: str) -> None:
    """Raise ClockWentBack when *now* is too far before *seen_us*."""
    if now < seen_us - BACKWARD_US:
        raise ClockWentBack(
            f"the database's clock went back by {(seen_us - now) // 1_000_000} s",
            where=where,
            fix="set the clock of the database server right; deliveries go on once it has caught up",
        )
