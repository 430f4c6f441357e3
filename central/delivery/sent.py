"""One row for each delivery, until it is acknowledged and old; the record in the audit chain stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select

from central.delivery import keys
from central.delivery.cursor import Place, place_of
from central.store import reading, writing
from central.store.deliveries import DELIVERIES, SENT

_WHICH = (SENT.c.grant_id == bindparam("which"), SENT.c.generation == bindparam("of"))
_FIND: Final = select(SENT).where(*_WHICH, SENT.c.seq == bindparam("at"))
_DROP_AFTER: Final = delete(SENT).where(*_WHICH, SENT.c.seq > bindparam("at"))
_DROP_OTHERS: Final = delete(SENT).where(SENT.c.grant_id == bindparam("which"))


@dataclass(frozen=True, slots=True)
class Sent:
    """What central remembers of one delivery."""

    seq: int
    digest: bytes
    place: Place
    """After it."""
    from_seq: int
    from_digest: bytes
    """Where the ledger had been followed to before it."""


def record(connection: Connection, values: dict[str, Any]) -> None:
    """Write one down."""
    connection.execute(insert(SENT), values)


def find(connection: Connection, grant: str, generation: int, seq: int) -> Sent | None:
    """Delivery *seq*; None when it never was, or is forgotten."""
    row = connection.execute(_FIND, {"which": grant, "of": generation, "at": seq}).one_or_none()
    if row is None:
        return None
    return Sent(row.seq, bytes(row.digest), place_of(row), row.from_seq, bytes(row.from_digest))


def drop_after(connection: Connection, grant: str, generation: int, seq: int) -> None:
    """Deliveries after *seq* will be made anew."""
    connection.execute(_DROP_AFTER, {"which": grant, "of": generation, "at": seq})


def drop_all(connection: Connection, grant: str) -> None:
    """Nobody comes back to what was delivered before."""
    connection.execute(_DROP_OTHERS, {"which": grant})


def forget_old(engine: Engine, before_us: int) -> int:
    """Forget deliveries that were acknowledged and made before *before_us*; returns how many.

    The acknowledged one stays: a consumer that comes back is compared with it. Each grant is a transaction.
    """
    c = DELIVERIES.c
    with reading(engine) as connection:
        rows = connection.execute(select(c.grant_id, c.generation, c.acked_seq).where(c.acked_seq > 1)).all()
    total = 0
    for row in rows:
        which = {"which": row.grant_id, "of": row.generation}
        old = (SENT.c.seq < row.acked_seq, SENT.c.at_us < before_us)
        with writing(engine) as connection:
            gone = connection.execute(delete(SENT).where(*_WHICH, *old), which).rowcount
            if gone:
                oldest = connection.execute(select(func.min(SENT.c.seq)).where(*_WHICH), which).scalar_one()
                keys.forget_gone(connection, row.grant_id, oldest)
        total += gone
    return total
