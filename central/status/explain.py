"""From facts to sentences: which leg, how late, why, whose move it is, what to do. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from central.ledger import HeldTable
from central.sharing import heard
from central.sharing.states import FLOWING
from central.status.facts import Held, NodeFacts, StreamFacts
from proto.states import MEANING, State
from proto.v1 import node_pb2, status_pb2

SILENT_HEARTBEATS: Final = 3
MARKER_FRESH_US: Final = 60_000_000
"""A source that was proven read to its end longer ago than this is not called idle."""

_BY_SEVERITY: Final = (
    State.IDLE,
    State.RUNNING,
    State.SNAPSHOT,
    State.BACKING_OFF,
    State.PAUSED,
    State.BLOCKED_DISK,
    State.SCHEMA_HOLD,
    State.QUARANTINE,
    State.CREDENTIAL,
    State.FENCED,
    State.GAP,
    State.DIVERGED,
)
_SEVERITY: Final = {state.value: place for place, state in enumerate(_BY_SEVERITY)}
_WELL: Final = frozenset({"", "RUNNING", "IDLE", "SNAPSHOT"})
_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Silence:
    """A node that was not heard from; *since_us* 0 = never."""

    since_us: int

    @property
    def sentence(self) -> str:
        """As people read it."""
        return (
            f"not heard from since {moment(self.since_us)}"
            if self.since_us
            else "registered, never heard from"
        )


def worst(states: Iterable[str]) -> str:
    """The state that most needs attention."""
    return max(states, key=lambda state: _SEVERITY.get(state, 0), default=State.IDLE.value)


def moment(at_us: int) -> str:
    """A point in time as people read it."""
    return f"{datetime.fromtimestamp(at_us / _SECOND, UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(length_us: int) -> str:
    """A length of time as people say it."""
    seconds = max(0, length_us) / _SECOND
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def silence_of(node: NodeFacts, heartbeat_s: int) -> Silence | None:
    """The node's silence when it has lasted too long."""
    if node.now_us - node.last_seen_us > SILENT_HEARTBEATS * heartbeat_s * _SECOND:
        return Silence(node.last_seen_us)
    return None


def stream_status(stream: StreamFacts, node: NodeFacts, silence: Silence | None) -> status_pb2.CentralStream:
    """Everything about one stream but its rates."""
    legs = [_capture(stream, silence), _push(stream, node, silence), _apply(stream, node)]
    state = worst(leg.state for leg in legs)
    first = next(leg for leg in legs if leg.state == state)
    if state == State.RUNNING and _is_idle(stream, node):
        state = State.IDLE.value
    sides: tuple[Held | HeldTable, ...] = (stream.intake, stream.apply, *stream.tables)
    held = next((side for side in sides if side.state == state), Held())
    return status_pb2.CentralStream(
        stream=stream.stream,
        state=state,
        code=held.code or (stream.reported.code if stream.reported.state == state else ""),
        sentence=MEANING[State.IDLE].sentence if state == State.IDLE else first.sentence,
        fix=first.fix,
        accepted_seq=stream.accepted_seq,
        applied_seq=stream.applied_seq,
        rows=stream.rows,
        bytes=stream.bytes,
        last_commit_us=stream.last_commit_us,
        applied_at_us=stream.applied_at_us,
        legs=legs,
        reported=stream.reported,
        held=[_held(each) for each in stream.tables],
    )


def node_state(
    node: NodeFacts, streams: Sequence[status_pb2.CentralStream], silence: Silence | None
) -> tuple[str, str]:
    """State and sentence of the whole node."""
    if node.revoked:
        return State.CREDENTIAL.value, "its certificates are revoked"
    if node.not_after_us <= node.now_us:
        return State.CREDENTIAL.value, f"its certificate expired on {moment(node.not_after_us)}"
    state = worst(stream.state for stream in streams)
    if silence is not None and worst((state, State.BACKING_OFF.value)) == State.BACKING_OFF:
        return State.BACKING_OFF.value, silence.sentence
    if not streams:
        return State.IDLE.value, "connected, without streams"
    first = next(stream for stream in streams if stream.state == state)
    return state, f"{first.stream}: {first.sentence}" if len(streams) > 1 else first.sentence


def explain(status: status_pb2.NodeStatus) -> list[str]:
    """One line per leg, after one for the node."""
    lines = [f"{status.node}: {status.state} — {status.sentence}"]
    for stream in status.streams:
        lines += [f"{stream.stream} {_line(leg)}" for leg in stream.legs]
        lines += [held_line(stream.stream, each) for each in stream.held]
    for each in status.deliveries:
        lines.append(delivery_line(each))
        if each.HasField("received"):
            lines.append(f"{each.grant} {_line(each.received)}")
    return [*lines, *status.notices]


def with_received(
    each: status_pb2.DeliveryStatus, node: NodeFacts, silence: Silence | None
) -> status_pb2.DeliveryStatus:
    """A grant's delivery together with its consumer's leg, as the node last said."""
    if each.grant_state not in FLOWING:
        # Of what has ended, nodes say nothing any more.
        return each
    sent = heard.Sent(each.generation, each.seq, each.acknowledged_seq, each.last_us)
    leg = heard.leg(node.received.get(each.grant), sent, node.now_us)
    if silence is not None:
        before = f", last said: {leg.sentence}" if each.grant in node.received else ""
        leg.state, leg.sentence, leg.whose_move = State.BACKING_OFF, f"{silence.sentence}{before}", "network"
        leg.fix = "check that the agent runs and that its network reaches this platform"
    each.received.CopyFrom(leg)
    return each


def delivery_line(each: status_pb2.DeliveryStatus) -> str:
    """One grant's delivery in a line."""
    late = f"{each.behind} batches and {duration(each.lag_us)} behind" if each.behind else "not behind"
    copied = f"; {each.rows_copied} of about {each.rows_expected} rows copied" if each.copying else ""
    why = each.sentence or _meaning(each.state)
    said = f"{each.grant} deliver {each.resource}: {each.state}, {late}{copied}: {why}"
    return said + (f": {each.fix}" if each.fix else "")


def held_line(stream: str, each: status_pb2.HeldTable) -> str:
    """One held table in a line."""
    waits = f"held since {moment(each.since_us)}, it shows the stream up to {each.after_seq}"
    doing = "; what waits is being applied" if each.retrying else ""
    return f"{stream} table {each.table}: {each.state}, {waits}{doing}: {each.sentence}: {each.fix}"


def _line(leg: status_pb2.Leg) -> str:
    late = f"{duration(leg.lag_us)} late" if leg.lag_us else "not late"
    move = "nobody has to move" if leg.whose_move == "nobody" else f"the {leg.whose_move}'s move"
    return f"{leg.name}: {leg.state}, {late}: {leg.sentence}; {move}" + (f": {leg.fix}" if leg.fix else "")


def _is_idle(stream: StreamFacts, node: NodeFacts) -> bool:
    """Proven, not guessed from silence: the source was read to its end and all of it arrived here."""
    reported = stream.reported
    # The marker is told by the node's clock.
    age_us = node.now_us + node.clock_skew_us - reported.marker_us
    arrived = reported.captured_seq == stream.accepted_seq == stream.applied_seq
    return bool(reported.marker_us) and age_us < MARKER_FRESH_US and arrived


def _capture(stream: StreamFacts, silence: Silence | None) -> status_pb2.Leg:
    reported = stream.reported
    if not reported.state:
        return _leg(
            "capture", State.BACKING_OFF, 0, "the node has not reported on it yet", "department", _ASK_AGENT
        )
    state, sentence, fix = reported.state, reported.sentence, reported.fix
    table = _worst_table(reported)
    if table is not None and worst((state, table.state)) == table.state != state:
        state, sentence, fix = table.state, f"table {table.table}: {table.sentence}", table.fix
    elif state in _WELL:
        # A table that flows and yet leaves something to people: the stream's sentence says what.
        fix = next((each.fix for each in reported.tables if each.fix), fix)
    if silence is not None:
        sentence = f"last said before it fell silent: {sentence}"
    whose = "nobody" if state in _WELL and not fix else "department"
    return _leg("capture", state, reported.source_lag_us, sentence or _meaning(state), whose, fix)


def _worst_table(reported: node_pb2.StreamReport) -> node_pb2.TableReport | None:
    held = [table for table in reported.tables if table.state not in _WELL]
    return max(held, key=lambda table: _SEVERITY.get(table.state, 0), default=None)


_ASK_AGENT: Final = "see 'exchange-agent status' on the department's server"


def _push(stream: StreamFacts, node: NodeFacts, silence: Silence | None) -> status_pb2.Leg:
    reported, held = stream.reported, stream.intake
    if held.state not in _WELL:
        sentence = _horizon(reported, held.sentence)
        return _leg("push", held.state, reported.push_lag_us, sentence, "platform", held.fix)
    if silence is not None:
        late_us = node.now_us - silence.since_us if silence.since_us else 0
        fix = "check that the agent runs and that its network reaches this platform"
        return _leg("push", State.BACKING_OFF, late_us, silence.sentence, "network", fix)
    waiting = reported.waiting_batches
    if not waiting:
        return _leg(
            "push", State.RUNNING, 0, f"accepted up to {stream.accepted_seq}, nothing is waiting", "nobody"
        )
    sentence = _horizon(reported, f"{waiting} batches ({reported.waiting_bytes} bytes) wait at the node")
    return _leg("push", State.RUNNING, reported.push_lag_us, sentence, "nobody")


def _horizon(reported: node_pb2.StreamReport, sentence: str) -> str:
    """When the node will have to wait, as it last said."""
    return f"{sentence}; {reported.horizon}" if reported.horizon else sentence


def _apply(stream: StreamFacts, node: NodeFacts) -> status_pb2.Leg:
    held = stream.apply
    lag_us = node.now_us - stream.waiting_since_us if stream.waiting_since_us else 0
    if held.state not in _WELL:
        whose = "nobody" if held.state == State.BACKING_OFF else "platform"
        return _leg("apply", held.state, lag_us, held.sentence, whose, held.fix)
    waiting = stream.accepted_seq - stream.applied_seq
    if waiting > 0:
        sentence = f"{waiting} accepted batches are not visible yet"
    else:
        sentence = f"everything up to {stream.applied_seq} is visible"
    if stream.tables:
        first = max(stream.tables, key=lambda each: _SEVERITY.get(each.state, 0))
        named = ", ".join(each.table for each in stream.tables)
        late_us = max(lag_us, node.now_us - first.since_us)
        said = f"held: {named}; of the other tables {sentence}"
        return _leg("apply", first.state, late_us, said, "platform", first.fix)
    return _leg("apply", State.RUNNING, lag_us, sentence, "nobody")


def _held(each: HeldTable) -> status_pb2.HeldTable:
    return status_pb2.HeldTable(
        table=each.table,
        state=each.state,
        code=each.code,
        sentence=each.sentence,
        fix=each.fix,
        since_us=each.since_us,
        held_seq=each.held_seq,
        after_seq=each.after.seq,
        retrying=each.is_asked,
    )


def _leg(name: str, state: str, lag_us: int, sentence: str, whose: str, fix: str = "") -> status_pb2.Leg:
    return status_pb2.Leg(
        name=name, state=str(state), lag_us=max(0, lag_us), sentence=sentence, whose_move=whose, fix=fix
    )


def _meaning(state: str) -> str:
    return MEANING[State(state)].sentence if state in State.__members__ else state
