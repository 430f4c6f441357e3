"""How far each stream has come at central, for people and for those who ask on their behalf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row, and_, select

from central.ledger.tableholds import HeldTable, all_held
from central.store import reading
from central.store.tables import APPLIED, LEDGER, STREAMS
from proto.states import State

_APPLIED: Final = [column.label(f"applied_{column.name}") for column in APPLIED.c]


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One stream at central."""

    stream: str
    node: str
    state: str
    """What stopped its intake, or else what stopped its apply, or else RUNNING."""
    code: str
    sentence: str
    fix: str
    evidence: str
    """Of a stopped intake: JSON with both ends' heads."""
    epoch: int
    accepted_seq: int
    accepted_digest: bytes
    accepted_at_us: int
    applied_seq: int
    applied_at_us: int
    position: str
    last_commit_us: int
    held_seq: int
    """The batch that cannot be applied and stops the whole stream; 0 = none."""
    held_digest: bytes
    tables: tuple[HeldTable, ...]
    """Those that are held, while the stream goes on."""
    rows: int
    bytes: int
    """Rows and bytes applied since the stream began."""


def streams(engine: Engine, node: str | None = None) -> list[StreamRecord]:
    """All streams, or those of one node, by name."""
    held = and_(LEDGER.c.stream == APPLIED.c.stream, LEDGER.c.seq == APPLIED.c.held_seq)
    statement = (
        select(STREAMS, *_APPLIED, LEDGER.c.digest.label("held_digest"))
        .join(APPLIED, APPLIED.c.stream == STREAMS.c.stream)
        .join(LEDGER, held, isouter=True)
    )
    if node is not None:
        statement = statement.where(STREAMS.c.node == node)
    with reading(engine) as connection:
        tables = all_held(connection)
        rows = connection.execute(statement.order_by(STREAMS.c.stream))
        return [_record(row, tables.get(row.stream, [])) for row in rows]


def _record(row: Row[Any], tables: Sequence[HeldTable]) -> StreamRecord:
    prefix = "applied_" if row.state == State.RUNNING else ""
    state, code, sentence, fix = (
        getattr(row, prefix + name) for name in ("state", "code", "sentence", "fix")
    )
    return StreamRecord(
        stream=row.stream,
        node=row.node,
        state=state,
        code=code,
        sentence=sentence,
        fix=fix,
        evidence=row.evidence,
        epoch=row.epoch,
        accepted_seq=row.head_seq,
        accepted_digest=row.head_digest,
        accepted_at_us=row.accepted_at_us,
        applied_seq=row.applied_seq,
        applied_at_us=row.applied_applied_at_us,
        position=row.applied_position,
        last_commit_us=row.applied_last_commit_us,
        rows=row.applied_rows,
        bytes=row.applied_bytes,
        held_seq=row.applied_held_seq,
        held_digest=bytes(row.held_digest or b""),
        tables=tuple(tables),
    )
