"""From facts to one state, one sentence, and whose move it is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from central.ledger import HeldTable
from central.status.board import Rates
from central.status.explain import (
    duration,
    explain,
    node_state,
    silence_of,
    stream_status,
    with_received,
    worst,
)
from central.status.facts import Held, NodeFacts, StreamFacts
from proto.batch import Head
from proto.states import State
from proto.v1 import node_pb2, status_pb2

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
NODE = NodeFacts("hr-node", NOW, last_seen_us=NOW - SECOND, not_after_us=NOW + 10**12)
REPORTED = node_pb2.StreamReport(
    stream="hr-node/hr", state="RUNNING", sentence="streaming", captured_seq=7, marker_us=NOW - 2 * SECOND
)
STREAM = StreamFacts("hr-node/hr", accepted_seq=7, applied_seq=7, reported=REPORTED)


def seen(stream: StreamFacts = STREAM, node: NodeFacts = NODE) -> status_pb2.CentralStream:
    """The stream as people see it, with a heartbeat of ten seconds."""
    return stream_status(stream, node, silence_of(node, 10))


def leg(stream: status_pb2.CentralStream, name: str) -> status_pb2.Leg:
    """One leg of it."""
    return next(each for each in stream.legs if each.name == name)


def test_idle_is_proven_by_a_marker_that_arrived() -> None:
    """Everything captured is visible, and the source was read to its end a moment ago."""
    assert seen().state == "IDLE"


@pytest.mark.parametrize(
    "stream",
    [
        replace(STREAM, reported=node_pb2.StreamReport(state="RUNNING", captured_seq=7)),
        replace(STREAM, reported=node_pb2.StreamReport(state="RUNNING", captured_seq=8, marker_us=NOW)),
        replace(STREAM, applied_seq=6),
        replace(
            STREAM, reported=node_pb2.StreamReport(state="RUNNING", captured_seq=7, marker_us=NOW - 10**9)
        ),
    ],
    ids=["no marker", "not all arrived", "not all visible", "old marker"],
)
def test_without_proof_it_is_running(stream: StreamFacts) -> None:
    """Silence is not proof."""
    assert seen(stream).state == "RUNNING"


def test_a_clock_that_is_wrong_does_not_spoil_the_proof() -> None:
    """The marker is told by the node's clock, an hour behind ours."""
    behind = -3600 * SECOND
    reported = node_pb2.StreamReport(state="RUNNING", captured_seq=7, marker_us=NOW + behind - SECOND)
    node = replace(NODE, clock_skew_us=behind)
    assert seen(replace(STREAM, reported=reported), node).state == "IDLE"


def test_a_silent_node_is_the_networks_move() -> None:
    """After three heartbeats; the time since is the lag."""
    node = replace(NODE, last_seen_us=NOW - 31 * SECOND)
    stream = seen(node=node)
    push = leg(stream, "push")
    assert (stream.state, push.state, push.whose_move, push.lag_us) == (
        "BACKING_OFF",
        "BACKING_OFF",
        "network",
        31 * SECOND,
    )
    assert push.sentence.startswith("not heard from since 2027-01-15")
    assert node_state(node, [stream], silence_of(node, 10))[0] == "BACKING_OFF"


def test_a_worse_state_is_not_hidden_by_silence() -> None:
    """A diverged stream stays diverged when its node falls silent as well."""
    node = replace(NODE, last_seen_us=0)
    stream = seen(replace(STREAM, intake=Held("DIVERGED", "DIVERGED", "two pasts", "release")), node)
    assert (stream.state, stream.code, stream.fix) == ("DIVERGED", "DIVERGED", "release")
    assert node_state(node, [stream], silence_of(node, 10)) == ("DIVERGED", "two pasts")


def test_a_held_table_at_the_node_is_shown_although_its_stream_runs() -> None:
    """It is out of the promise, so every place says so."""
    table = node_pb2.TableReport(
        table="people", state="QUARANTINE", sentence="a row does not fit", fix="see it"
    )
    reported = node_pb2.StreamReport(state="RUNNING", tables=[table])
    stream = seen(replace(STREAM, reported=reported))
    assert stream.state == "QUARANTINE"
    assert leg(stream, "capture").whose_move == "department"
    assert "people" in stream.sentence


def test_a_held_table_at_the_platform_is_shown_although_its_stream_runs() -> None:
    """With sentence and fix; the other tables' place is told as well (SD11.3)."""
    said = ("SCHEMA_HOLD", "SCHEMA_HOLD", "batch 5: 主键变了", "copy it afresh")
    table = HeldTable(
        "hr-node/hr", "人员", *said, NOW - 60 * SECOND, 5, b"5", Head(0, 4, b"4"), is_asked=True
    )
    other = replace(
        table, table="房屋", state="QUARANTINE", code="QUARANTINE", fix="mend the row", is_asked=False
    )
    stream = seen(replace(STREAM, tables=(table, other)))
    apply = leg(stream, "apply")
    assert (stream.state, stream.code, stream.fix) == ("QUARANTINE", "QUARANTINE", "mend the row")
    assert (apply.whose_move, apply.lag_us) == ("platform", 60 * SECOND)
    assert apply.sentence == "held: 人员, 房屋; of the other tables everything up to 7 is visible"
    assert [(each.table, each.held_seq, each.after_seq, each.retrying) for each in stream.held] == [
        ("人员", 5, 4, True),
        ("房屋", 5, 4, False),
    ]
    lines = explain(status_pb2.NodeStatus(node="hr-node", state=stream.state, streams=[stream]))
    [first, second] = [line for line in lines if " table " in line and "held since" in line]
    assert "what waits is being applied: batch 5: 主键变了: copy it afresh" in first
    assert second.startswith("hr-node/hr table 房屋: QUARANTINE, held since 2027-01-15")


def test_a_table_that_flows_and_leaves_something_to_people_is_the_departments_move() -> None:
    """It stays well, and says what is to be done."""
    table = node_pb2.TableReport(table="人员", state="RUNNING", fix="see rejected/")
    sentence = "changes are flowing; 人员: 3 rows of 增量-0103.csv were refused"
    reported = node_pb2.StreamReport(state="IDLE", sentence=sentence, tables=[table])
    capture = leg(seen(replace(STREAM, reported=reported)), "capture")
    assert (capture.state, capture.whose_move, capture.fix) == ("IDLE", "department", "see rejected/")
    assert capture.sentence == sentence


def test_what_waits_to_be_applied_is_timed_from_its_acceptance() -> None:
    """The platform's own delay has a number."""
    stream = seen(replace(STREAM, applied_seq=5, waiting_since_us=NOW - 4 * SECOND))
    assert leg(stream, "apply").lag_us == 4 * SECOND
    assert "2 accepted batches" in leg(stream, "apply").sentence


def test_the_push_leg_says_when_the_node_has_to_wait() -> None:
    """As the node last said, also when central itself refuses its batches; nothing of it once nothing waits (SD12.3)."""
    said = "exchange disk full in 31 h at the present rate; nothing is dropped, capture waits then"
    waiting = node_pb2.StreamReport(state="RUNNING", waiting_batches=3, full_in_us=1, horizon=said)
    assert leg(seen(replace(STREAM, reported=waiting)), "push").sentence.endswith(said)
    held = replace(STREAM, reported=waiting, intake=Held("DIVERGED", "DIVERGED", "two pasts", "release"))
    assert leg(seen(held), "push").sentence == f"two pasts; {said}"
    assert "full" not in leg(seen(), "push").sentence


def test_the_explanation_has_a_line_for_every_leg() -> None:
    """Which leg, how late, why, whose move, what to do."""
    stream = seen(replace(STREAM, apply=Held("QUARANTINE", "QUARANTINE", "batch 8 does not fit", "skip it")))
    node = status_pb2.NodeStatus(node="hr-node", state="QUARANTINE", sentence="s", streams=[stream])
    lines = explain(node)
    assert len(lines) == 4
    assert lines[3] == (
        "hr-node/hr apply: QUARANTINE, not late: batch 8 does not fit; the platform's move: skip it"
    )


GRANT = status_pb2.DeliveryStatus(
    grant="G-1", grant_state="active", resource="R", state="RUNNING", generation=2, seq=9, acknowledged_seq=7
)
GRANT.last_us = NOW - 5 * SECOND


def received(silence: bool = False, **said: object) -> tuple[status_pb2.Leg, list[str]]:
    """The consumer's leg of the grant, and the explanation's lines about it."""
    facts = {"G-1": node_pb2.ReceivedReport(grant="G-1", **said)} if said else {}  # type: ignore[arg-type]
    node = replace(NODE, received=facts, last_seen_us=NOW - (31 if silence else 1) * SECOND)
    each = status_pb2.DeliveryStatus()
    each.CopyFrom(GRANT)
    shown = with_received(each, node, silence_of(node, 10))
    lines = explain(status_pb2.NodeStatus(node="civil", state="RUNNING", deliveries=[shown]))
    return shown.received, lines


def test_a_grant_that_is_held_at_its_consumer_is_the_consumers_move() -> None:
    """Which leg, how late, why, whose move, what to do: central says what the consumer's node said."""
    held: dict[str, Any] = {
        "state": "SCHEMA_HOLD",
        "sentence": "the table 人员 has another key",
        "fix": "retry G-1",
    }
    found, lines = received(**held, generation=2, seq=7)
    assert (found.state, found.whose_move, found.lag_us) == ("SCHEMA_HOLD", "consumer", 5 * SECOND)
    assert lines[-1] == (
        "G-1 receive: SCHEMA_HOLD, 5.0 s late: the table 人员 has another key; 2 deliveries are not there yet; "
        "the consumer's move: retry G-1"
    )


def test_a_grant_that_arrived_is_nobodys_move() -> None:
    """Also when the receipt came and the node's next heartbeat has not."""
    found, lines = received(state="IDLE", sentence="delivery 9 arrived just now", generation=2, seq=9)
    assert (found.state, found.whose_move, found.lag_us) == ("IDLE", "nobody", 0)
    assert lines[-1] == "G-1 receive: IDLE, not late: delivery 9 arrived just now; nobody has to move"
    assert "copy 2 has not begun there" in received(state="RUNNING", generation=1, seq=40)[0].sentence


def test_a_consumer_that_says_nothing_is_not_called_well() -> None:
    """Not heard from: the network's move; heard, but not of this grant: the consumer's."""
    found, _ = received()
    assert (found.state, found.whose_move) == ("BACKING_OFF", "consumer")
    found, _ = received(silence=True, state="IDLE", sentence="all is there", generation=2, seq=9)
    assert (found.state, found.whose_move) == ("BACKING_OFF", "network")
    assert found.sentence.endswith("last said: all is there")


def test_of_a_grant_that_has_ended_nothing_is_awaited() -> None:
    """Its consumer's node says nothing of it any more."""
    ended = status_pb2.DeliveryStatus(grant="G-1", grant_state="revoked", seq=9)
    assert not with_received(ended, NODE, None).HasField("received")


def test_certificates_come_before_everything() -> None:
    """A node that may not connect has no other state."""
    assert node_state(replace(NODE, revoked=True), [seen()], None)[0] == "CREDENTIAL"
    assert "expired on" in node_state(replace(NODE, not_after_us=NOW - 1), [seen()], None)[1]


def test_the_worst_of_any_two_states_is_the_same_both_ways() -> None:
    """And a state that needs a person outranks one that heals by itself."""
    for one, two in itertools.product(State, repeat=2):
        assert worst((one.value, two.value)) == worst((two.value, one.value)) in {one.value, two.value}
    assert worst(("BACKING_OFF", "QUARANTINE")) == "QUARANTINE"
    assert worst(()) == "IDLE"


@pytest.mark.parametrize(
    ("length_us", "words"),
    [(1_500_000, "1.5 s"), (45 * SECOND, "45 s"), (150 * SECOND, "2 min"), (3 * 86400 * SECOND, "3 days")],
)
def test_lengths_of_time_are_said_as_people_say_them(length_us: int, words: str) -> None:
    """With one unit."""
    assert duration(length_us) == words


def test_rates_are_of_the_last_seconds() -> None:
    """An old burst is forgotten, a restart of counting is not a negative rate."""
    rates = Rates(window_s=10)
    rates.sample(0, {"a": (0, 0)})
    assert rates.of("a") == (0, 0)
    for second in range(1, 40):
        rates.sample(second, {"a": (min(second, 10) * 100, min(second, 10) * 1000)})
        if second == 10:
            assert rates.of("a") == (100, 1000)
    assert rates.of("a") == (0, 0)
    rates.sample(40, {"a": (0, 0)})
    assert rates.of("a") == (0, 0)
    assert rates.of("unknown") == (0, 0)
