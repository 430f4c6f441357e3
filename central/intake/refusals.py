"""Every refusal is on record, and none can fill the record (:mod:`central.counted`). What stops a stream is always written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from central import audit, counted
from central.counted import Kind
from central.intake.beginning import begin_stream
from central.intake.rules import OlderCopy
from central.store import writing
from central.store.tables import EVIDENCE, STREAMS
from proto.batch import SealedBatch
from proto.errors import Diverged, ExchangeError, Gap
from proto.states import State

_STREAM: Final = select(STREAMS).where(STREAMS.c.stream == bindparam("which")).with_for_update()
_FREEZE: Final = update(STREAMS).where(
    STREAMS.c.stream == bindparam("which"), STREAMS.c.state == State.RUNNING
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is kept of one."""

    stream: str
    node: str
    facts: dict[str, audit.Fact]
    batch: SealedBatch | None = None


class Refusals:
    """The record of what intake refused; each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, error: ExchangeError, refusal: Refusal) -> None:
        """Put a refusal on record, and freeze the stream when its ends disagree."""
        with writing(self._engine) as connection:
            row = connection.execute(_STREAM, {"which": refusal.stream}).one_or_none()
            facts: dict[str, audit.Fact] = {"code": error.code, "what": error.what, "node": refusal.node}
            facts |= refusal.facts
            if row is not None:
                facts |= {"central_seq": row.head_seq, "central_digest": row.head_digest.hex()}
            owned = row is not None or (isinstance(error, Gap) and _make_room(connection, refusal))
            chain = refusal.stream if owned else audit.REGISTRY
            if not owned:
                facts["stream"] = refusal.stream[:80]
            frozen = _freeze(connection, refusal.stream, error, facts)
            number = counted.record(connection, Kind(chain, refusal.node, error.code), facts, at_once=frozen)
            if number:
                _keep_evidence(connection, chain, number, refusal.batch)
        error.is_on_record = True


def _freeze(connection: Connection, stream: str, error: ExchangeError, facts: dict[str, audit.Fact]) -> bool:
    """Stop the stream's intake if this is a reason to; True when it was not stopped before."""
    if not isinstance(error, Diverged | Gap) or isinstance(error, OlderCopy):
        return False
    stopped = {"state": error.state, "code": error.code, "sentence": error.what, "fix": error.fix}
    evidence = json.dumps(facts, sort_keys=True)
    return bool(connection.execute(_FREEZE, {"which": stream, **stopped, "evidence": evidence}).rowcount)


def _keep_evidence(connection: Connection, chain: str, number: int, batch: SealedBatch | None) -> None:
    if batch is not None:
        blob = {"header": batch.header, "payload": batch.payload}
        connection.execute(insert(EVIDENCE), {"chain": chain, "n": number, **blob})


def _make_room(connection: Connection, refusal: Refusal) -> bool:
    """A stream that starts with a gap is there too: frozen, and seen by people."""
    begin_stream(connection, refusal.node, refusal.stream, {"epoch": 0, "incarnation": ""})
    return True
