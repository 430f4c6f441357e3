"""One picture of a stream for people: the same words in the CLI, in the heartbeat and at central."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent.worker import Snapshot, now_us
from proto.states import MEANING, State
from proto.v1 import node_pb2

if TYPE_CHECKING:
    # Only for its types: whoever asks for a status should not wait for a database library to load.
    from agent.exchange import Horizon, Reception, Sizes, TableStatus
    from agent.sources.source import Fading, Remark

WORST_FIRST: Final = (
    State.FENCED,
    State.DIVERGED,
    State.GAP,
    State.CREDENTIAL,
    State.BLOCKED_DISK,
    State.QUARANTINE,
    State.SCHEMA_HOLD,
    State.PAUSED,
    State.BACKING_OFF,
    State.SNAPSHOT,
    State.RUNNING,
    State.IDLE,
)
FLOWING: Final = frozenset({State.RUNNING, State.SNAPSHOT, State.IDLE})


@dataclass(frozen=True, slots=True)
class View:
    """What the workers of one stream say, gathered at one moment."""

    stream: str
    capture: Snapshot
    push: Snapshot
    sizes: Sizes
    captured_seq: int
    acknowledged_seq: int
    acknowledged_us: int
    """When central last acknowledged anything; 0 = not since the process started."""
    tables: Mapping[str, TableStatus]
    retained_bytes: int = 0
    fading: Fading | None = None
    """The source's log may soon be gone before it was read."""
    horizon: Horizon | None = None
    """When no more may wait for central, at the present rate."""
    retention_given_up_us: int = 0
    """When batches were last forgotten before their time, for room; 0 = not since the process started."""
    looking_proves: bool = True
    """Whether finding nothing new at the source says anything about the department's data."""
    captured: frozenset[str] | None = None
    """The tables in the settings; others were captured once and are not shown. None = all."""
    deletes_every_s: Mapping[str, float | None] = field(default_factory=dict)
    """How often deletes are found, by table; 0 = with every other change, None = never."""
    remarks: Mapping[str, Remark] = field(default_factory=dict)
    """What the source leaves to people, by table; the table flows nevertheless."""
    read_at: Mapping[str, int] = field(default_factory=dict)
    """Where looking proves nothing: when the newest of each table came."""


def report(view: View) -> node_pb2.StreamReport:
    """The stream in the words of the contract."""
    worst = min((view.push, view.capture), key=lambda worker: WORST_FIRST.index(worker.state))
    flows = worst.state in FLOWING
    waiting = max(0, view.captured_seq - view.acknowledged_seq)
    now, horizon = now_us(), view.horizon if waiting else None
    return node_pb2.StreamReport(
        stream=view.stream,
        state=_flowing_state(view, waiting) if flows else worst.state,
        code="" if flows else worst.code,
        sentence=_with_fading(view, _flow_sentence(view) if flows else _trouble(worst, view)),
        fix=("" if flows else _way_out(worst, view)) or (view.fading.fix if view.fading else ""),
        position=view.capture.position,
        captured_seq=view.captured_seq,
        acknowledged_seq=view.acknowledged_seq,
        waiting_batches=waiting,
        waiting_bytes=view.sizes.waiting_bytes if waiting else 0,
        source_lag_us=max(0, view.capture.lag_us),
        push_lag_us=max(0, now - view.sizes.oldest_waiting_us)
        if waiting and view.sizes.oldest_waiting_us
        else 0,
        marker_us=view.capture.marker_us,
        read_us=_read_us(view),
        retained_log_bytes=view.retained_bytes,
        rows=view.capture.rows,
        bytes=view.capture.bytes,
        rows_per_s=view.capture.rows_per_s,
        bytes_per_s=view.capture.bytes_per_s,
        full_in_us=horizon.left_us(now) if horizon else 0,
        horizon=horizon.sentence(now) if horizon else "",
        tables=[_table(table, view) for table in _shown(view)],
    )


def _read_us(view: View) -> int:
    """A busy stream is never found empty: what it brought last proves as much, by the earlier of both clocks.

    A moment to come is a clock that was set back, or the source's that runs ahead, and proves nothing.
    """
    if not view.looking_proves:
        return 0
    capture, now = view.capture, now_us()
    moments = (capture.marker_us, min(capture.last_commit_us, capture.kept_us))
    return max((moment for moment in moments if moment <= now), default=0)


def _trouble(worst: Snapshot, view: View) -> str:
    """Why it does not flow, and what the other hop has to say: a stream that central refuses also fills its outbox."""
    other = _other(worst, view)
    if other.state in FLOWING or other.sentence == worst.sentence:
        return worst.sentence
    return f"{worst.sentence}; {'push' if other is view.push else 'capture'}: {other.sentence}"


def _way_out(worst: Snapshot, view: View) -> str:
    """Two troubles have two remedies."""
    other = _other(worst, view)
    fixes = (worst.fix, "" if other.state in FLOWING else other.fix)
    return "; ".join(dict.fromkeys(filter(None, fixes)))


def _other(worst: Snapshot, view: View) -> Snapshot:
    return view.push if worst is view.capture else view.capture


def _flowing_state(view: View, waiting: int) -> State:
    tables = _shown(view)
    if any(table.wants_copy for table in tables):
        return State.SNAPSHOT
    # Idle is proven, not assumed: the source was read to its end after its last change, and central has everything.
    return State.IDLE if view.capture.state is State.IDLE and not waiting else State.RUNNING


def _flow_sentence(view: View) -> str:
    parts = [view.capture.sentence or MEANING[view.capture.state].sentence]
    if view.acknowledged_us:
        parts.append(f"batch {view.acknowledged_seq} acknowledged {ago(view.acknowledged_us)}")
    if view.retention_given_up_us:
        parts.append(
            f"batches central has were given up before their time {ago(view.retention_given_up_us)}: the disk is nearly full"
        )
    held = [table.name for table in _shown(view) if table.held]
    if held:
        parts.append(f"held: {', '.join(held)}")
    parts += [
        f"{table.name}: {view.remarks[table.name].sentence}"
        for table in _shown(view)
        if table.name in view.remarks
    ]
    return "; ".join(parts)


def _with_fading(view: View, sentence: str) -> str:
    """Said in every state: a stream that stands still is the one whose log goes."""
    return "; ".join(filter(None, (sentence, view.fading.sentence if view.fading else "")))


def received_report(row: Reception, pull: Snapshot) -> node_pb2.ReceivedReport:
    """One grant of another department, as it stands here; *pull* is the way on which it comes."""
    state, code, sentence, fix = _received_state(row, pull)
    return node_pb2.ReceivedReport(
        grant=row.grant_id,
        state=state,
        code=code,
        sentence=sentence,
        fix=fix,
        version=row.version,
        resource=row.resource,
        resource_name=row.resource_name,
        stream=row.stream,
        table=row.name,
        purpose=row.purpose,
        valid_to_us=row.valid_to_us,
        generation=row.generation,
        seq=row.seq,
        source_seq=row.source_seq,
        receipt=row.receipt,
        rows=row.rows,
        bytes=row.size_bytes,
        last_commit_us=row.last_commit_us,
        received_us=row.received_us,
        proven_us=row.proven_us,
        rows_copied=row.rows_copied,
        rows_expected=row.rows_expected,
        contract=row.contract,
        change=row.coming,
        change_us=row.coming_us,
    )


def _received_state(row: Reception, pull: Snapshot) -> tuple[State, str, str, str]:
    if row.held or not row.accepts:
        return row.state, row.code, row.why, row.fix
    if pull.state not in FLOWING:
        # What keeps all of them is said of each.
        return pull.state, pull.code, pull.sentence, pull.fix
    # Idle is proven, not assumed: the provider was looked at and had nothing more.
    still = State.IDLE if row.is_proven else State.RUNNING
    state = State.SNAPSHOT if row.copying else still
    arrived = (
        f"delivery {row.seq} arrived {ago(row.received_us)}" if row.received_us else MEANING[state].sentence
    )
    waiting = (
        f"; parts of a large transaction wait from {row.visible_seq + 1}" if row.seq > row.visible_seq else ""
    )
    return state, state, f"{arrived}{waiting}{f'; {row.sentence}' if row.sentence else ''}", ""


def ago(moment_us: int) -> str:
    """How long ago, in words short enough for a sentence."""
    seconds = max(0, (now_us() - moment_us) // 1_000_000)
    if seconds < 2:
        return "just now"
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word} ago"
    return f"{seconds} s ago"


def _shown(view: View) -> list[TableStatus]:
    return [table for name, table in view.tables.items() if view.captured is None or name in view.captured]


def _table(table: TableStatus, view: View) -> node_pb2.TableReport:
    remark, deletes_every_s = view.remarks.get(table.name), view.deletes_every_s.get(table.name, 0.0)
    return node_pb2.TableReport(
        table=table.name,
        state=table.state,
        code=table.code,
        sentence=f"{table.sentence}; {remark.sentence}" if remark else table.sentence,
        fix=table.fix or (remark.fix if remark else ""),
        rows_copied=table.copy.rows_copied,
        rows_expected=table.copy.rows_expected,
        read_us=0 if view.looking_proves else min(view.read_at.get(table.name, 0), now_us()),
        deletes=_deletes(deletes_every_s),
        compared_every_s=round(deletes_every_s or 0),
    )


def _deletes(every_s: float | None) -> node_pb2.TableReport.Deletes:
    if every_s is None:
        return node_pb2.TableReport.UNSEEN
    return node_pb2.TableReport.COMPARED if every_s else node_pb2.TableReport.SEEN
