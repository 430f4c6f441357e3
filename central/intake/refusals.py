"""Every refusal is on record, and none can fill the record.

The first of a node and a reason is written at once. Those that follow within a minute are counted in a row of their
own, and one record tells how many there were: at the next refusal after that minute, or when :meth:`Refusals.settle`
is called. The count is stored with each refusal, so a crash loses none. What stops a stream is always written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, bindparam, delete, insert, select, update

from central import audit
from central.intake.beginning import begin_stream
from central.intake.rules import OlderCopy
from central.store import NowUs, now_us, writing
from central.store.tables import EVIDENCE, REFUSALS, STREAMS
from proto.batch import SealedBatch
from proto.errors import Diverged, ExchangeError, Gap
from proto.states import State

WINDOW_US: Final = 60_000_000
SETTLED_AT_A_TIME: Final = 200

_STREAM: Final = select(STREAMS).where(STREAMS.c.stream == bindparam("which")).with_for_update()
_FREEZE: Final = update(STREAMS).where(
    STREAMS.c.stream == bindparam("which"), STREAMS.c.state == State.RUNNING
)
_MINE: Final = (
    REFUSALS.c.chain == bindparam("its_chain"),
    REFUSALS.c.node == bindparam("its_node"),
    REFUSALS.c.code == bindparam("its_code"),
)
_KNOWN: Final = select(REFUSALS, NowUs().label("now")).where(*_MINE).with_for_update()
_CHANGE: Final = update(REFUSALS).where(*_MINE)
_OVER: Final = (
    select(REFUSALS)
    .where(REFUSALS.c.since_us < bindparam("before"))
    .order_by(REFUSALS.c.since_us)
    .limit(SETTLED_AT_A_TIME)
    .with_for_update(skip_locked=True)
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
            count = _count(connection, (chain, refusal.node, error.code), facts, at_once=frozen)
            if count:
                number = audit.record(connection, chain, "refused", **facts, count=count)
                _keep_evidence(connection, chain, number, refusal.batch)

    def settle(self) -> int:
        """Put on record what was counted in minutes that are over; returns how many refusals that were."""
        with writing(self._engine) as connection:
            before = now_us(connection) - WINDOW_US
            over = connection.execute(_OVER, {"before": before}).all()
            for row in over:
                _settle(connection, row)
        return sum(row.times for row in over)


def _freeze(connection: Connection, stream: str, error: ExchangeError, facts: dict[str, audit.Fact]) -> bool:
    """Stop the stream's intake if this is a reason to; True when it was not stopped before."""
    if not isinstance(error, Diverged | Gap) or isinstance(error, OlderCopy):
        return False
    stopped = {"state": error.state, "code": error.code, "sentence": error.what, "fix": error.fix}
    evidence = json.dumps(facts, sort_keys=True)
    return bool(connection.execute(_FREEZE, {"which": stream, **stopped, "evidence": evidence}).rowcount)


def _count(
    connection: Connection, key: tuple[str, str, str], facts: dict[str, audit.Fact], *, at_once: bool
) -> int:
    """How many refusals to write down now: this one and those counted before it; 0 = it was only counted."""
    mine = dict(zip(("its_chain", "its_node", "its_code"), key, strict=True))
    known = connection.execute(_KNOWN, mine).one_or_none()
    if known is None:
        entry = dict(zip(("chain", "node", "code"), key, strict=True))
        connection.execute(
            insert(REFUSALS), {**entry, "since_us": now_us(connection), "times": 0, "facts": ""}
        )
        return 1
    if known.now - known.since_us < WINDOW_US and not at_once:
        connection.execute(_CHANGE, {**mine, "times": known.times + 1, "facts": audit.canonical(facts)})
        return 0
    connection.execute(_CHANGE, {**mine, "since_us": known.now, "times": 0, "facts": ""})
    return int(known.times) + 1


def _settle(connection: Connection, row: Row[Any]) -> None:
    mine = {"its_chain": row.chain, "its_node": row.node, "its_code": row.code}
    if not row.times:
        connection.execute(delete(REFUSALS).where(*_MINE), mine)
        return
    audit.record(connection, row.chain, "refused", **json.loads(row.facts), count=row.times)
    # The next minute begins with this record.
    connection.execute(_CHANGE, {**mine, "since_us": now_us(connection), "times": 0, "facts": ""})


def _keep_evidence(connection: Connection, chain: str, number: int, batch: SealedBatch | None) -> None:
    if batch is not None:
        blob = {"header": batch.header, "payload": batch.payload}
        connection.execute(insert(EVIDENCE), {"chain": chain, "n": number, **blob})


def _make_room(connection: Connection, refusal: Refusal) -> bool:
    """A stream that starts with a gap is there too: frozen, and seen by people."""
    begin_stream(connection, refusal.node, refusal.stream, {"epoch": 0, "incarnation": ""})
    return True
