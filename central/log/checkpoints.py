"""Checkpoints: the end of every chain, signed, once a minute; each covers the one before it (Art. 26).

Nodes are handed every checkpoint and keep some. A platform whose log ends earlier than it did, or tells another story,
contradicts what they hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, insert, or_, select, update

from central.store import now_us, reading, writing
from central.store.log import CHECKPOINTS, MARKED, MOVES, SIGNERS
from central.store.tables import AUDIT_HEADS
from proto.errors import Diverged
from proto.log import CHECKPOINT, START, Checkpoint, Signed, heads_digest
from proto.signing import Signer
from proto.v1 import node_pb2

QUIET_US: Final = 3600 * 1_000_000
"""A log to which nothing is added has a new checkpoint this often: it still says what the time is."""
MOST_TOLD: Final = 1000
"""In one heartbeat; a node that was away for long gets the rest with the next ones."""
_NEWEST: Final = select(CHECKPOINTS).order_by(CHECKPOINTS.c.n.desc()).limit(1)
_MOVED: Final = (
    select(AUDIT_HEADS.c.chain, AUDIT_HEADS.c.n, AUDIT_HEADS.c.digest, MARKED.c.n.label("before"))
    .outerjoin(MARKED, MARKED.c.chain == AUDIT_HEADS.c.chain)
    .where(
        or_(
            MARKED.c.chain.is_(None),
            AUDIT_HEADS.c.n != MARKED.c.n,
            AUDIT_HEADS.c.digest != MARKED.c.digest,
        ),
        AUDIT_HEADS.c.n > 0,
    )
    .order_by(AUDIT_HEADS.c.chain)
)
_GONE: Final = (
    select(MARKED.c.chain)
    .outerjoin(AUDIT_HEADS, AUDIT_HEADS.c.chain == MARKED.c.chain)
    .where(AUDIT_HEADS.c.chain.is_(None))
)


def mark(engine: Engine, signer: Signer) -> int:
    """Make a checkpoint if anything was added since the last; returns the newest one's number.

    Raises Diverged naming the chain when one is shorter than it was: that is never signed.
    """
    with writing(engine) as connection:
        last = connection.execute(_NEWEST.with_for_update()).one_or_none()
        moved, now = _moved(connection), now_us(connection)
        if last is not None and not moved and now < last.at_us + QUIET_US:
            return int(last.n)
        n, previous = (last.n + 1, bytes(last.digest)) if last else (1, START)
        _keep_moves(connection, n, moved)
        heads = {row.chain: (row.n, bytes(row.digest)) for row in connection.execute(select(MARKED))}
        made = Checkpoint(n, max(now, last.at_us if last else 0), previous, heads_digest(heads), len(heads))
        _keep(connection, made, signer)
    return n


class Checkpoints:
    """Those that were made, as nodes are told of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def after(self, known: int) -> list[node_pb2.SignedCheckpoint]:
        """What follows the checkpoint a node holds; the newest one for a node that holds none, or a later one than we."""
        with reading(self._engine) as connection:
            newest = connection.scalar(select(func.max(CHECKPOINTS.c.n))) or 0
            first = known + 1 if 0 < known <= newest else newest
            found = signed(connection, first, MOST_TOLD)
        told, before = [], ""
        for each in found:
            certificate = "" if each.certificate == before else each.certificate
            told.append(
                node_pb2.SignedCheckpoint(
                    content=each.content, signature=each.signature, certificate=certificate
                )
            )
            before = each.certificate
        return told


def signed(connection: Connection, first: int, most: int) -> list[Signed]:
    """Checkpoints from number *first* on, at most *most*."""
    found = (
        select(CHECKPOINTS.c.content, CHECKPOINTS.c.signature, SIGNERS.c.certificate)
        .join(SIGNERS, SIGNERS.c.fingerprint == CHECKPOINTS.c.signer)
        .where(CHECKPOINTS.c.n >= first)
        .order_by(CHECKPOINTS.c.n)
        .limit(most)
    )
    rows = connection.execute(found)
    return [Signed(bytes(row.content), bytes(row.signature), row.certificate) for row in rows]


def _moved(connection: Connection) -> Sequence[Any]:
    moved: Sequence[Any] = connection.execute(_MOVED).all()
    for row in moved:
        if row.before is not None and row.n <= row.before:
            raise Diverged(
                f"record {row.before} was there at the last checkpoint and is not now",
                where=f"audit chain {row.chain}",
                fix="restore the records; the nodes hold checkpoints that cover them",
            )
    gone = connection.scalars(_GONE).first()
    if gone is not None:
        raise Diverged(
            "the chain was there at the last checkpoint and is not now", where=f"audit chain {gone}"
        )
    return moved


def _keep_moves(connection: Connection, checkpoint: int, moved: Sequence[Any]) -> None:
    for row in moved:
        ends = {"n": row.n, "digest": bytes(row.digest)}
        connection.execute(insert(MOVES), {"checkpoint": checkpoint, "chain": row.chain, **ends})
        if row.before is None:
            connection.execute(insert(MARKED), {"chain": row.chain, **ends})
        else:
            connection.execute(update(MARKED).where(MARKED.c.chain == row.chain).values(**ends))


def _keep(connection: Connection, made: Checkpoint, signer: Signer) -> None:
    fingerprint = hashlib.sha256(signer.certificate_pem).hexdigest()
    if connection.scalar(select(SIGNERS.c.fingerprint).where(SIGNERS.c.fingerprint == fingerprint)) is None:
        certificate = signer.certificate_pem.decode()
        connection.execute(insert(SIGNERS), {"fingerprint": fingerprint, "certificate": certificate})
    connection.execute(
        insert(CHECKPOINTS),
        {
            "n": made.n,
            "at_us": made.at_us,
            "signer": fingerprint,
            "content": made.content,
            "digest": made.digest,
            "signature": signer.sign(CHECKPOINT, made.content),
        },
    )
