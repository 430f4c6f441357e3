"""What was delivered under each grant, how far it is and why it waits: for status, supervision and lists of grants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, and_, func, select

from central.catalogue.entry import DELIVERED
from central.delivery.cursor import Standing
from central.store import NowUs, reading
from central.store.deliveries import DELIVERIES
from central.store.grants import GRANTS
from central.store.tables import APPLIED, LEDGER
from proto.states import State
from proto.v1 import status_pb2

NEVER_CALLED: Final = Standing(
    State.IDLE, "NOT_CONNECTED", "the consumer has never called for it", "see that its node runs"
)
AWAY: Final = Standing(
    State.BACKING_OFF, "NOT_CONNECTED", "the consumer is not connected", "see that its node runs"
)
_D = DELIVERIES.c
_QUERY: Final = (
    select(
        *(GRANTS.c[name] for name in ("grant_id", "consumer", "resource", "stream", "table_name", "version")),
        GRANTS.c.state.label("grant_state"),
        *(column for column in _D if column.name not in {"grant_id", "consumer"}),
        func.coalesce(APPLIED.c.seq, 0).label("applied_seq"),
        LEDGER.c.accepted_at_us.label("waiting_since_us"),
        NowUs().label("now"),
    )
    .select_from(GRANTS)
    .join(DELIVERIES, _D.grant_id == GRANTS.c.grant_id, isouter=True)
    .join(APPLIED, APPLIED.c.stream == GRANTS.c.stream, isouter=True)
    .join(LEDGER, and_(LEDGER.c.stream == GRANTS.c.stream, LEDGER.c.seq == _D.source_seq + 1), isouter=True)
    .where(GRANTS.c.mode.in_(DELIVERED))
    .order_by(GRANTS.c.grant_id)
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """One grant's delivery."""

    grant: str
    version: int
    grant_state: str
    consumer: str
    resource: str
    stream: str
    table: str
    standing: Standing
    generation: int
    reason: str
    """Why the copy under way or done last was begun."""
    seq: int
    acked_seq: int
    source_seq: int
    behind: int
    """Batches of the provider that are visible on the platform and not delivered."""
    lag_us: int
    """How long the oldest of them has waited."""
    copying: bool
    rows_copied: int
    rows_expected: int
    deliveries: int
    rows: int
    bytes: int
    last_us: int
    """When something was last delivered; 0 = never."""
    commit_us: int
    """Source time of the newest change delivered."""


def delivered(
    connection: Connection, *, consumer: str | None = None, grants: Sequence[str] | None = None
) -> list[Delivered]:
    """Every grant whose rows are delivered, or one consumer's, or those named; ended ones too."""
    query = _QUERY
    if consumer is not None:
        query = query.where(GRANTS.c.consumer == consumer)
    if grants is not None:
        query = query.where(GRANTS.c.grant_id.in_(list(grants)))
    return [_delivered(row) for row in connection.execute(query)]


def delivery_status(engine: Engine, node: str | None = None) -> dict[str, list[status_pb2.DeliveryStatus]]:
    """By consumer, as the status RPC says it."""
    found: dict[str, list[status_pb2.DeliveryStatus]] = defaultdict(list)
    with reading(engine) as connection:
        for each in delivered(connection, consumer=node):
            found[each.consumer].append(_status(each))
    return found


def _delivered(row: Row[Any, *tuple[Any, ...]]) -> Delivered:
    standing = NEVER_CALLED if row.state is None else Standing(row.state, row.code, row.sentence, row.fix)
    # An idle grant was followed to the end, although that is written down only now and then.
    behind = 0 if standing.state == State.IDLE else max(0, row.applied_seq - (row.source_seq or 0))
    lag_us = max(0, row.now - row.waiting_since_us) if behind and row.waiting_since_us else 0
    return Delivered(
        grant=row.grant_id,
        version=row.version,
        grant_state=row.grant_state,
        consumer=row.consumer,
        resource=row.resource,
        stream=row.stream,
        table=row.table_name,
        standing=standing,
        generation=row.generation or 0,
        reason=row.reason or "",
        seq=row.seq or 0,
        acked_seq=row.acked_seq or 0,
        source_seq=row.source_seq or 0,
        behind=behind,
        lag_us=lag_us,
        copying=bool(row.copying) and bool(row.generation),
        rows_copied=row.rows_copied or 0,
        rows_expected=row.rows_expected or 0,
        deliveries=row.deliveries or 0,
        rows=row.rows or 0,
        bytes=row.bytes or 0,
        last_us=row.delivered_us or 0,
        commit_us=row.commit_us or 0,
    )


def _status(each: Delivered) -> status_pb2.DeliveryStatus:
    return status_pb2.DeliveryStatus(
        grant=each.grant,
        grant_state=each.grant_state,
        resource=each.resource,
        stream=each.stream,
        table=each.table,
        state=each.standing.state,
        code=each.standing.code,
        sentence=each.standing.sentence,
        fix=each.standing.fix,
        generation=each.generation,
        reason=each.reason,
        seq=each.seq,
        acknowledged_seq=each.acked_seq,
        source_seq=each.source_seq,
        behind=each.behind,
        lag_us=each.lag_us,
        copying=each.copying,
        rows_copied=each.rows_copied,
        rows_expected=each.rows_expected,
        deliveries=each.deliveries,
        rows=each.rows,
        bytes=each.bytes,
        last_us=each.last_us,
        commit_us=each.commit_us,
    )
