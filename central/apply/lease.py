"""Who works for a stream: a row with owner, token and expiry by database time, checked in every transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Row, bindparam, or_, select, update

from central.ledger.tableholds import ASKED
from central.store import NowUs
from central.store.tables import APPLIED, STREAMS
from proto.batch import Head
from proto.errors import ExchangeError, Refused

LEASE_US: Final = 5_000_000
"""Short, because a dead process is missed that long; nothing depends on it being long enough."""

_MINE = (APPLIED.c.stream == bindparam("which"), APPLIED.c.token == bindparam("ours"))
_STATE = (APPLIED.c.state, APPLIED.c.sentence, APPLIED.c.fix, APPLIED.c.held_seq)
_ACCEPTED = (
    select(STREAMS.c.head_seq)
    .where(STREAMS.c.stream == bindparam("which"))
    .scalar_subquery()
    .label("accepted")
)
_TAKE = (
    update(APPLIED)
    .where(
        APPLIED.c.stream == bindparam("which"),
        or_(APPLIED.c.owner == bindparam("us"), APPLIED.c.owner == "", APPLIED.c.expires_us < NowUs()),
    )
    .values(
        owner=bindparam("us"),
        token=APPLIED.c.token + 1,
        expires_us=NowUs() + bindparam("ttl", type_=BigInteger),
    )
    .returning(APPLIED.c.token, APPLIED.c.seq)
)
_HOLD = (
    update(APPLIED)
    .where(*_MINE)
    .values(expires_us=NowUs() + bindparam("ttl", type_=BigInteger))
    .returning(APPLIED.c.seq, APPLIED.c.epoch, APPLIED.c.digest, *_STATE, _ACCEPTED, ASKED)
)
_LOOK = select(APPLIED.c.token, APPLIED.c.seq, *_STATE, _ACCEPTED, ASKED).where(
    APPLIED.c.stream == bindparam("which")
)

_LOCK = select(APPLIED).where(APPLIED.c.stream == bindparam("which")).with_for_update()


class LeaseLost(ExchangeError):
    """Another process works for this stream now."""

    code = "LEASE_LOST"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream's apply stands."""

    seq: int
    accepted: int
    """The last number the ledger holds."""
    state: str
    sentence: str
    fix: str
    held_seq: int
    asked: int | None
    """None = no table of it is held; 1 = what waits of one is to be applied again."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A lease checked, renewed and locked until the end of the transaction."""

    head: Head
    place: Place


def take(connection: Connection, stream: str, owner: str) -> tuple[int, int] | None:
    """Take the stream's lease if it is free, ours or expired; returns its token and the applied number."""
    asked = {"which": stream, "us": owner, "ttl": LEASE_US}
    row = connection.execute(_TAKE, asked).one_or_none()
    return (row.token, row.seq) if row else None


def hold(connection: Connection, stream: str, token: int) -> Hold:
    """Check, renew and lock our lease. Raises LeaseLost."""
    row = connection.execute(_HOLD, {"which": stream, "ours": token, "ttl": LEASE_US}).one_or_none()
    if row is None:
        raise LeaseLost("another process applies this stream now", where=stream)
    place = Place(row.seq, row.accepted, row.state, row.sentence, row.fix, row.held_seq, row.asked)
    return Hold(Head(row.epoch, row.seq, bytes(row.digest)), place)


def look(connection: Connection, stream: str) -> Place | None:
    """Where the stream stands, without touching anything; None if there is no such stream."""
    row = connection.execute(_LOOK, {"which": stream}).one_or_none()
    if row is None:
        return None
    return Place(row.seq, row.accepted, row.state, row.sentence, row.fix, row.held_seq, row.asked)


def lock(connection: Connection, stream: str) -> Row[Any]:
    """Keep whoever applies *stream* waiting until the end of the transaction. Raises Refused for an unknown stream."""
    row = connection.execute(_LOCK, {"which": stream}).one_or_none()
    if row is None:
        raise Refused("no such stream", where=stream)
    return row
