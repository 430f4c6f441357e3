"""What happened, in an order nobody can change unseen: one chain of records per stream, one for the registry.

A record is written in the transaction of the action it records: neither exists without the other (fault P10). Its
digest covers the one before it, so a changed, removed or inserted record shows at :func:`verify`. No row values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from central.store import NowUs, now_us
from central.store.log import TOMBSTONES
from central.store.tables import AUDIT, AUDIT_HEADS
from proto.errors import Diverged
from proto.log import START, Fact, Record, canonical

REGISTRY: Final = "registry"
PAGE_RECORDS: Final = 1000

_HEAD = select(AUDIT_HEADS.c.n, AUDIT_HEADS.c.digest, NowUs().label("now")).where(
    AUDIT_HEADS.c.chain == bindparam("which")
)
_LOCKED_HEAD = _HEAD.with_for_update()
_MOVE = (
    update(AUDIT_HEADS)
    .where(AUDIT_HEADS.c.chain == bindparam("which"))
    .values(n=bindparam("last"), digest=bindparam("seal"))
)
_PAGE = (
    select(AUDIT)
    .where(AUDIT.c.chain == bindparam("which"), AUDIT.c.n > bindparam("after"))
    .order_by(AUDIT.c.n)
    .limit(PAGE_RECORDS)
)
_GRAVE = (
    select(TOMBSTONES.c.n, TOMBSTONES.c.digest)
    .where(TOMBSTONES.c.chain == bindparam("which"))
    .order_by(TOMBSTONES.c.n.desc())
    .limit(1)
)
__all__ = ["REGISTRY", "START", "Fact", "Record", "Tip", "append", "begins", "canonical", "chains", "heads"]
__all__ += ["record", "records", "tip", "verify"]


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of a chain, read under its lock, and the database's time."""

    chain: str
    n: int
    digest: bytes
    now_us: int


def record(connection: Connection, chain: str, event: str, **facts: Fact) -> int:
    """Add a record to *chain* in the caller's transaction; returns its number."""
    return append(connection, tip(connection, chain), event, facts)


def tip(connection: Connection, chain: str) -> Tip:
    """The end of *chain*, locked until the end of the transaction; begins it if need be."""
    head = connection.execute(_LOCKED_HEAD, {"which": chain}).one_or_none()
    if head is not None:
        return Tip(chain, head.n, bytes(head.digest), head.now)
    try:
        with connection.begin_nested():
            connection.execute(insert(AUDIT_HEADS), {"chain": chain, "n": 0, "digest": START})
    except IntegrityError:
        # Somebody else began it at this moment, and has committed: it is there, and it is locked for us now.
        head = connection.execute(_LOCKED_HEAD, {"which": chain}).one()
        return Tip(chain, head.n, bytes(head.digest), head.now)
    return Tip(chain, 0, START, now_us(connection))


def append(connection: Connection, tip: Tip, event: str, facts: dict[str, Fact]) -> int:
    """Add a record after *tip*; for those who have locked and read it together with something else."""
    return extend(connection, tip, [(event, facts)])


def extend(connection: Connection, tip: Tip, happened: Sequence[tuple[str, dict[str, Fact]]]) -> int:
    """The same for several records, at the cost of one; returns the number of the last."""
    rows, digest, n = [], tip.digest, tip.n
    for event, facts in happened:
        n += 1
        entry = Record(tip.chain, n, tip.now_us, event, canonical(facts))
        digest = entry.digest(digest)
        written = {"chain": tip.chain, "n": n, "at_us": tip.now_us, "event": event, "facts": entry.facts}
        rows.append({**written, "digest": digest})
    if rows:
        connection.execute(insert(AUDIT), rows)
        connection.execute(_MOVE, {"which": tip.chain, "last": n, "seal": digest})
    return n


def verify(connection: Connection, chain: str) -> int:
    """Walk what is kept of *chain*; returns how many records that is. Raises Diverged naming the first bad one."""
    return sum(1 for _ in records(connection, chain))


def records(connection: Connection, chain: str) -> Iterator[Record]:
    """Every record that is kept of *chain*, each checked before it is given; raises Diverged as :func:`verify`."""
    n, previous = begins(connection, chain)
    for row in _records(connection, chain, n):
        entry = Record(row.chain, row.n, row.at_us, row.event, row.facts)
        if row.n != n + 1 or entry.digest(previous) != row.digest:
            raise Diverged(f"record {n + 1} is missing or was changed", where=f"audit chain {chain}")
        previous, n = row.digest, row.n
        yield entry
    head = connection.execute(_HEAD, {"which": chain}).one_or_none()
    if (head.n, head.digest) != (n, previous) if head else n:
        raise Diverged(f"record {n + 1} is missing: the chain ends too early", where=f"audit chain {chain}")


def begins(connection: Connection, chain: str) -> tuple[int, bytes]:
    """Number and digest of the last record that was retired from *chain*: what the first kept one follows."""
    grave = connection.execute(_GRAVE, {"which": chain}).one_or_none()
    return (grave.n, bytes(grave.digest)) if grave else (0, START)


def heads(connection: Connection) -> dict[str, int]:
    """Every chain and the number of its last record."""
    rows = connection.execute(select(AUDIT_HEADS.c.chain, AUDIT_HEADS.c.n).order_by(AUDIT_HEADS.c.chain))
    return {row.chain: row.n for row in rows}


def chains(connection: Connection) -> list[str]:
    """The chains there are."""
    return list(connection.scalars(select(AUDIT_HEADS.c.chain).order_by(AUDIT_HEADS.c.chain)))


def _records(connection: Connection, chain: str, after: int) -> Iterator[Row[tuple[object, ...]]]:
    while page := connection.execute(_PAGE, {"which": chain, "after": after}).all():
        yield from page
        after = page[-1].n
