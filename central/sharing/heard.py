"""The consumer's leg of a grant: how far it is there, how late, why and whose move it is, as its node last said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, Row, select

from central.store import now_us
from central.store.deliveries import DELIVERIES
from central.store.tables import NODES
from proto.states import MEANING, State
from proto.v1 import node_pb2, status_pb2

NAME: Final = "receive"
WELL: Final = frozenset({State.RUNNING, State.IDLE, State.SNAPSHOT})
UNSAID: Final = "the node has not said anything of it yet"
_ASK: Final = "see 'exchange-agent received' on the consumer's server"


@dataclass(frozen=True, slots=True)
class Sent:
    """How far central has delivered a grant."""

    generation: int = 0
    seq: int = 0
    acked_seq: int = 0
    """What its consumer has acknowledged of that copy."""
    at_us: int = 0
    """When that was; 0 = nothing was."""


def received_by(report: bytes | None) -> dict[str, node_pb2.ReceivedReport]:
    """What a node's last heartbeat says of each grant."""
    try:
        return {each.grant: each for each in node_pb2.HeartbeatRequest.FromString(report or b"").received}
    except DecodeError:
        # Written by a release that spoke differently; the next heartbeat replaces it.
        return {}


def leg(said: node_pb2.ReceivedReport | None, sent: Sent, now: int) -> status_pb2.Leg:
    """From what the node said and what was sent; *now* by central's clock."""
    there = (said.generation, said.seq) if said is not None else (0, 0)
    is_behind = sent.acked_seq < sent.seq and there < (sent.generation, sent.seq)
    late_us = max(0, now - sent.at_us) if is_behind and sent.at_us else 0
    if said is None:
        if not is_behind:
            return status_pb2.Leg(name=NAME, state=State.IDLE, sentence=UNSAID, whose_move="nobody")
        return status_pb2.Leg(
            name=NAME,
            state=State.BACKING_OFF,
            lag_us=late_us,
            sentence=UNSAID,
            whose_move="consumer",
            fix=_ASK,
        )
    state = said.state if said.state in State.__members__ else State.RUNNING
    waits = f"; {_missing(there, sent)}" if is_behind else ""
    return status_pb2.Leg(
        name=NAME,
        state=state,
        lag_us=late_us,
        sentence=f"{said.sentence or MEANING[State(state)].sentence}{waits}",
        whose_move=_whose(state),
        fix=said.fix or ("" if state in WELL or state == State.BACKING_OFF else _ASK),
    )


def consumers_leg(connection: Connection, grant: Row[Any]) -> dict[str, Any]:
    """The leg of one grant's row, for JSON, and when its node was last heard."""
    d, n = DELIVERIES.c, NODES.c
    node = connection.execute(select(n.report, n.last_seen_us).where(n.node == grant.consumer)).one_or_none()
    at = connection.execute(
        select(d.generation, d.seq, d.acked_seq, d.delivered_us).where(d.grant_id == grant.grant_id)
    ).one_or_none()
    sent = Sent(at.generation or 0, at.seq or 0, at.acked_seq or 0, at.delivered_us or 0) if at else Sent()
    said = received_by(node.report if node else None).get(grant.grant_id)
    found = leg(said, sent, now_us(connection))
    names = ("state", "lag_us", "sentence", "whose_move", "fix")
    return {
        **{name: getattr(found, name) for name in names},
        "heard_us": (node.last_seen_us or 0) if node else 0,
    }


def _missing(there: tuple[int, int], sent: Sent) -> str:
    if there[0] != sent.generation:
        return f"copy {sent.generation} has not begun there"
    return f"{sent.seq - there[1]} deliveries are not there yet"


def _whose(state: str) -> str:
    if state in WELL:
        return "nobody"
    return "network" if state == State.BACKING_OFF else "consumer"
