"""What central does by the clock: forget what was kept long enough, look how long certificates last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from central.delivery import sent
from central.ledger import Ledger
from central.ledger.progress import streams
from central.log.checkpoints import mark
from central.registry import Registry
from central.store import writing
from proto.channel import identity_of_pem
from proto.errors import Credential
from proto.signing import Signer


def forget_old(engine: Engine, keep_days: int) -> int:
    """Drop batches that were applied, and deliveries that were acknowledged, longer ago than *keep_days*; how many.

    A little at a time, so that accepting never waits long for it.
    """
    ledger, total = Ledger(), 0
    before = datetime.now(UTC) - timedelta(days=keep_days)
    for stream in streams(engine):
        gone = 1
        while gone:
            with writing(engine) as connection:
                gone = ledger.prune(connection, stream.stream, int(before.timestamp() * 1_000_000))
            total += gone
    return total + sent.forget_old(engine, int(before.timestamp() * 1_000_000))


def checkpoint(engine: Engine, signer: Signer | None) -> None:
    """Sign where the log ends, for the nodes to keep; a platform without a signature has no witnesses."""
    if signer is not None:
        mark(engine, signer)


def certificate_ends(own: Path, registry: Registry) -> dict[str, int]:
    """When central's certificate and every admitted node's last one run out, microseconds since 1970."""
    try:
        mine = identity_of_pem(own.read_bytes(), str(own))
    except OSError as error:
        raise Credential(f"cannot be read: {error.strerror}", where=str(own)) from error
    nodes = {record.node: record.not_after_us for record in registry.nodes() if not record.revoked}
    return {"central": mine.not_after_us, **nodes}
