"""What became of the grants of everybody who is connected, in one question; and what is worth keeping of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from sqlalchemy import Engine, and_, bindparam, select, update

from central import audit
from central.catalogue.entry import DELIVERED
from central.catalogue.published import moment_of
from central.delivery import calls
from central.delivery.recalls import Recalling, chain_of, open_recalls
from central.delivery.visit import Lane
from central.sharing.states import FLOWING
from central.store import NowUs, now_us, reading, writing
from central.store.deliveries import DELIVERIES
from central.store.grants import GRANTS
from central.store.tables import APPLIED, NODES, TABLE_HOLDS
from proto.v1 import node_pb2

_HOLD: Final = and_(TABLE_HOLDS.c.stream == GRANTS.c.stream, TABLE_HOLDS.c.table_name == GRANTS.c.table_name)
_GRANTS: Final = (
    select(
        GRANTS.c.grant_id,
        GRANTS.c.consumer,
        GRANTS.c.stream,
        GRANTS.c.version,
        GRANTS.c.state,
        GRANTS.c.valid_from_us,
        GRANTS.c.valid_to_us,
        APPLIED.c.seq,
        TABLE_HOLDS.c.state.label("hold"),
        TABLE_HOLDS.c.after_seq,
        NowUs().label("now"),
        *(each.label(f"at_{n}") for n, each in enumerate(moment_of(GRANTS.c.resource, NowUs()))),
    )
    .join(APPLIED, APPLIED.c.stream == GRANTS.c.stream, isouter=True)
    .join(TABLE_HOLDS, _HOLD, isouter=True)
    .where(GRANTS.c.consumer.in_(bindparam("some", expanding=True)), GRANTS.c.mode.in_(DELIVERED))
    .order_by(GRANTS.c.grant_id)
)
_KEEP: Final = (
    update(DELIVERIES)
    .where(DELIVERIES.c.grant_id == bindparam("which"))
    .values(
        **{name: bindparam(f"new_{name}") for name in ("state", "code", "sentence", "fix", "acked_seq")},
        since_us=NowUs(),
    )
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One grant at this moment."""

    grant: str
    consumer: str
    stream: str
    may_flow: bool
    key: tuple[object, ...]
    """Differs when there may be something to do."""
    under: tuple[object, ...]
    """Of the catalogue: what was made under another one is not sent any more."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look finds."""

    now_us: int
    tokens: dict[str, int]
    grants: list[Seen]
    recalls: list[Recalling]


def look(engine: Engine, consumers: list[str]) -> Sight:
    """Everything about *consumers* that could change what is delivered to them."""
    asked = {"some": consumers}
    with reading(engine) as connection:
        moment = now_us(connection)
        recalls = open_recalls(connection, consumers)
        recalled = {each.grant for each in recalls}
        rows = connection.execute(_GRANTS, asked).all()
        tokens = calls.tokens(connection, consumers)
    grants = []
    for row in rows:
        phase = (row.now >= row.valid_from_us) + (row.now >= row.valid_to_us)
        may_flow = phase == 1 and row.state in FLOWING and row.grant_id not in recalled
        under = (row.at_0, row.at_1, row.at_2)
        key = (row.version, row.state, phase, may_flow, under, row.seq, row.hold, row.after_seq)
        grants.append(Seen(row.grant_id, row.consumer, row.stream, may_flow, key, under))
    return Sight(moment, tokens, grants, recalls)


def proven(engine: Engine, streams: Collection[str]) -> dict[str, tuple[int, int]]:
    """By stream: when its node last proved that it had read its source to the end, and what it had captured then."""
    nodes = {stream.partition("/")[0] for stream in streams}
    query = select(NODES.c.report).where(NODES.c.node.in_(nodes), NODES.c.report.is_not(None))
    with reading(engine) as connection:
        reports = connection.scalars(query).all()
    found: dict[str, tuple[int, int]] = {}
    for packed in reports:
        # What is no report here was none when it came: the registry keeps what it was sent.
        with suppress(DecodeError):
            for each in node_pb2.HeartbeatRequest.FromString(packed).streams:
                found[each.stream] = (each.marker_us, each.captured_seq)
    return found


def keep(engine: Engine, lanes: Iterable[Lane]) -> None:
    """Write down what the lanes are doing and how far they were acknowledged, where that changed."""
    lanes = list(lanes)
    _keep_receipts(engine, lanes)
    changed = [lane for lane in lanes if lane.written_down != (lane.standing, lane.acked_seq)]
    if not changed:
        return
    values = []
    for lane in changed:
        lane.written_down = (lane.standing, lane.acked_seq)
        said = lane.standing
        new = {"state": said.state, "code": said.code, "sentence": said.sentence, "fix": said.fix}
        values.append(
            {"which": lane.grant, "new_acked_seq": lane.acked_seq}
            | {f"new_{k}": str(v) for k, v in new.items()}
        )
    with writing(engine, durable=False) as connection:
        connection.execute(_KEEP, values)


def _keep_receipts(engine: Engine, lanes: Iterable[Lane]) -> None:
    """Put on record up to where consumers said that they have it: one record for however many deliveries (Art. 26)."""
    told = [(lane, (lane.generation, lane.acked_seq)) for lane in lanes if lane.acked_seq]
    new = sorted(
        ((lane, place) for lane, place in told if lane.acked_on_record != place),
        key=lambda each: each[0].visit.consumer,
    )
    if not new:
        return
    # By itself and in the order of the chains: whoever delivers locks a chain before a grant's row.
    with writing(engine, durable=False) as connection:
        for lane, (generation, seq) in new:
            chain, facts = chain_of(lane.visit.consumer), {"generation": generation, "seq": seq}
            audit.record(connection, chain, "acknowledged", grant=lane.grant, **facts)
    for lane, place in new:
        lane.acked_on_record = place
