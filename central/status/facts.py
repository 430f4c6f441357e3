"""What central knows about its nodes at one moment, read in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, Engine, Row, and_, exists, func, or_, select

from central.ledger.tableholds import HeldTable, all_held
from central.store import now_us, reading
from central.store.tables import APPLIED, CERTIFICATES, LEDGER, NODES, STREAMS, TABLE_HOLDS
from proto.errors import ExchangeError
from proto.v1 import node_pb2

_Row = Row[Any, *tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Held:
    """Why a side of a stream does not move; *state* is RUNNING when it does."""

    state: str = "RUNNING"
    code: str = ""
    sentence: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One stream, seen from central's two tables and the node's last report."""

    stream: str
    accepted_seq: int = 0
    applied_seq: int = 0
    intake: Held = Held()
    apply: Held = Held()
    rows: int = 0
    bytes: int = 0
    last_commit_us: int = 0
    applied_at_us: int = 0
    waiting_since_us: int = 0
    """When the oldest batch that is not applied was accepted; 0 = none waits."""
    tables: tuple[HeldTable, ...] = ()
    """Those that are held, the first held first."""
    reported: node_pb2.StreamReport = field(default_factory=node_pb2.StreamReport)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node and its streams."""

    node: str
    now_us: int
    last_seen_us: int = 0
    clock_skew_us: int = 0
    not_after_us: int = 0
    revoked: bool = False
    version: str = ""
    streams: tuple[StreamFacts, ...] = ()
    received: Mapping[str, node_pb2.ReceivedReport] = field(default_factory=dict)
    """What it last said of each grant."""


def read_facts(engine: Engine, node: str | None = None) -> list[NodeFacts]:
    """Every node, or the one named; in order of names."""
    with reading(engine) as connection:
        moment = now_us(connection)
        wanted = select(NODES).order_by(NODES.c.node)
        nodes = connection.execute(wanted if node is None else wanted.where(NODES.c.node == node)).all()
        streams = _streams(connection, node)
        ends = _ends(connection)
        held = all_held(connection)
    return [_node(row, moment, (streams[row.node], held), ends.get(row.node, 0)) for row in nodes]


def counters(engine: Engine) -> dict[str, tuple[int, int]]:
    """Rows and bytes applied so far, by stream."""
    with reading(engine) as connection:
        rows = connection.execute(select(APPLIED.c.stream, APPLIED.c.rows, APPLIED.c.bytes)).all()
    return {row.stream: (row.rows, row.bytes) for row in rows}


_RETRIED: Final = (
    exists().where(TABLE_HOLDS.c.stream == STREAMS.c.stream, TABLE_HOLDS.c.asked == 1).correlate(STREAMS)
)


def behind(engine: Engine) -> list[str]:
    """The streams that have batches to apply, of a table to be tried again too, and no reason to wait for a person."""
    query = (
        select(STREAMS.c.stream)
        .join(APPLIED, APPLIED.c.stream == STREAMS.c.stream, isouter=True)
        .where(or_(STREAMS.c.head_seq > func.coalesce(APPLIED.c.seq, 0), _RETRIED))
        .where(func.coalesce(APPLIED.c.state, "RUNNING") != "QUARANTINE")
    )
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())


def held_by(error: ExchangeError) -> Held:
    """A failure as a reason to wait."""
    state = getattr(error, "state", "BACKING_OFF")
    return Held(str(state), error.code, error.what, error.fix)


def _streams(connection: Connection, node: str | None) -> dict[str, list[_Row]]:
    s, a, waiting = STREAMS.c, APPLIED.c, LEDGER.c
    query = (
        select(
            s.stream,
            s.node,
            s.head_seq,
            *(s[name].label(f"intake_{name}") for name in _HELD),
            *(a[name].label(f"apply_{name}") for name in _HELD),
            func.coalesce(a.seq, 0).label("applied_seq"),
            a.rows,
            a.bytes,
            a.last_commit_us,
            a.applied_at_us,
            waiting.accepted_at_us.label("waiting_since_us"),
        )
        .select_from(STREAMS)
        .join(APPLIED, a.stream == s.stream, isouter=True)
        .join(
            LEDGER, and_(waiting.stream == s.stream, waiting.seq == func.coalesce(a.seq, 0) + 1), isouter=True
        )
        .order_by(s.stream)
    )
    found: dict[str, list[_Row]] = defaultdict(list)
    for row in connection.execute(query if node is None else query.where(s.node == node)):
        found[row.node].append(row)
    return found


_HELD = ("state", "code", "sentence", "fix")


def _ends(connection: Connection) -> dict[str, int]:
    """By node, when its longest-lived valid certificate runs out."""
    c = CERTIFICATES.c
    query = select(c.name, func.max(c.not_after_us)).where(c.role == "node", c.revoked_us.is_(None))
    return {row[0]: row[1] for row in connection.execute(query.group_by(c.name))}


def _node(
    row: _Row, moment: int, here: tuple[list[_Row], Mapping[str, list[HeldTable]]], end: int
) -> NodeFacts:
    streams, held = here
    report = _report(row.report)
    reported = {stream.stream: stream for stream in report.streams}
    known = [
        replace(_stream(each, reported.pop(each.stream, None)), tables=tuple(held.get(each.stream, ())))
        for each in streams
    ]
    # A stream that never reached us is still worth a line: perhaps that is just what is wrong.
    known += [StreamFacts(name, reported=stream) for name, stream in sorted(reported.items())]
    return NodeFacts(
        node=row.node,
        now_us=moment,
        last_seen_us=row.last_seen_us or 0,
        clock_skew_us=row.clock_skew_us or 0,
        not_after_us=end,
        revoked=row.revoked_us is not None,
        version=report.version,
        streams=tuple(known),
        received={each.grant: each for each in report.received},
    )


def _stream(row: _Row, reported: node_pb2.StreamReport | None) -> StreamFacts:
    values = row._mapping
    return StreamFacts(
        stream=row.stream,
        accepted_seq=row.head_seq,
        applied_seq=row.applied_seq,
        intake=Held(*(values[f"intake_{name}"] or "" for name in _HELD)),
        apply=Held(*(values[f"apply_{name}"] or "" for name in _HELD)),
        rows=row.rows or 0,
        bytes=row.bytes or 0,
        last_commit_us=row.last_commit_us or 0,
        applied_at_us=row.applied_at_us or 0,
        waiting_since_us=row.waiting_since_us or 0,
        reported=reported or node_pb2.StreamReport(),
    )


def _report(data: bytes | None) -> node_pb2.HeartbeatRequest:
    try:
        return node_pb2.HeartbeatRequest.FromString(data or b"")
    except DecodeError:
        # Written by a release that spoke differently; the next heartbeat replaces it.
        return node_pb2.HeartbeatRequest()
