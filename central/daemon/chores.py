"""What central does by the clock: forget what was kept long enough, look how long certificates last."""

from __future__ import annotations

import getpass
import hashlib
import json
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, select

from central.apply.holding import give_up_old
from central.audit import Fact, canonical, record
from central.delivery import sent
from central.ledger import Ledger
from central.ledger.progress import streams
from central.log.checkpoints import mark
from central.policy import Profile
from central.registry import Registry
from central.settings import Settings
from central.store import writing
from central.store.tables import AUDIT
from central.supervision.uptime import PLATFORM
from proto.channel import identity_of_pem
from proto.errors import Credential
from proto.process import Section
from proto.signing import Signer

IN_FORCE: Final = "settings_in_force"


def forget_old(engine: Engine, keep_days: int, held_days: int) -> int:
    """Drop batches that were applied, and deliveries that were acknowledged, longer ago than *keep_days*; how many.

    What a held table waits for stays until *held_days* after it was held. A little at a time, so that accepting never
    waits long for it.
    """
    ledger, total = Ledger(), 0
    now = datetime.now(UTC)
    before = now - timedelta(days=keep_days)
    give_up_old(engine, int((now - timedelta(days=max(keep_days, held_days))).timestamp() * 1_000_000))
    for stream in streams(engine):
        gone = 1
        while gone:
            with writing(engine) as connection:
                gone = ledger.prune(connection, stream.stream, int(before.timestamp() * 1_000_000))
            total += gone
    return total + sent.forget_old(engine, int(before.timestamp() * 1_000_000))


def settings_in_force(engine: Engine, settings: Settings, profile: Profile) -> None:
    """Put the settings and the policy on record when they are others than at the last start, as digests (Art. 26).

    Secrets are left out: a digest of a password could be tried against a list of passwords.
    """
    now: dict[str, Fact] = {
        "settings": _digest(settings),
        "policy": profile.name,
        "policy_digest": _digest(profile),
        "version": version("exchange-node"),
    }
    said = select(AUDIT.c.facts).where(AUDIT.c.chain == PLATFORM, AUDIT.c.event == IN_FORCE)
    with writing(engine) as connection:
        last = connection.scalar(said.order_by(AUDIT.c.n.desc()).limit(1))
        before = json.loads(last) if last else {}
        if {name: before.get(name) for name in now} != now:
            record(connection, PLATFORM, IN_FORCE, **now, who=f"process of {getpass.getuser()}")


def _digest(said: Section) -> str:
    return hashlib.sha256(canonical(said.model_dump(mode="json")).encode()).hexdigest()


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
