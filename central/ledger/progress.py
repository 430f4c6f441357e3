"""How far each stream has come at central, for people and for those who ask on their behalf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row, select

from central.store import reading
from central.store.tables import APPLIED, STREAMS
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
    rows: int
    bytes: int
    """Rows and bytes applied since the stream began."""
    held_seq: int
    """The batch that cannot be applied; 0 = none."""
    held_table: str


def streams(engine: Engine, node: str | None = None) -> list[StreamRecord]:
    """All streams, or those of one node, by name."""
    statement = select(STREAMS, *_APPLIED).join(APPLIED, APPLIED.c.stream == STREAMS.c.stream)
    if node is not None:
        statement = statement.where(STREAMS.c.node == node)
    with reading(engine) as connection:
        return [_record(row) for row in connection.execute(statement.order_by(STREAMS.c.stream))]


def _record(row: Row[Any]) -> StreamRecord:
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
        held_table=row.applied_held_table,
    )
