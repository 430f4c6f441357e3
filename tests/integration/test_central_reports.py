"""What nodes report, what operators see and ask for: over the wire, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from proto.channel import CLIENT_OPTIONS, from_rpc
from proto.errors import (
    NotAdmitted,
    Refused,
    Transient,
)
from proto.v1 import node_pb2, node_pb2_grpc, status_pb2
from tests.support.central import (
    Chain,
    NodeClient,
    TestCentral,
    eventually,
    running,
)

STREAM = "hr-node/hr"


@pytest.fixture(params=["sqlite", "postgresql"])
def central(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'central.db'}"
    else:
        server = request.getfixturevalue("postgres15")
        url = server.url(server.new_database("central"))
    yield from running(tmp_path, url)


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on SQLite, where the database does not matter."""
    yield from running(tmp_path, f"sqlite:///{tmp_path / 'central.db'}")


def status_of(central: TestCentral, operator: NodeClient, node: str = "hr-node") -> status_pb2.NodeStatus:
    """What an operator sees of a node."""
    reply: status_pb2.NodeStatus = operator.status.GetNode(status_pb2.GetNodeRequest(node=node), timeout=5)
    return reply


def heartbeat(node: NodeClient, report: node_pb2.HeartbeatRequest | None = None) -> node_pb2.HeartbeatReply:
    """One heartbeat; raises what central meant."""
    request = report or node_pb2.HeartbeatRequest(version="1", clock_us=time.time_ns() // 1000)
    try:
        reply: node_pb2.HeartbeatReply = node.desk.Heartbeat(request, timeout=5)
    except grpc.RpcError as error:
        raise from_rpc(error) from error
    return reply


def test_health_is_answered(lone: TestCentral) -> None:
    """The standard health service says SERVING."""
    stub = health_pb2_grpc.HealthStub(lone.node().channel)
    for service in ("", "exchange.v1.Exchange"):
        reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)  # type: ignore[attr-defined]
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_commands_go_out_with_heartbeats_until_they_are_answered(central: TestCentral) -> None:
    """An operator asks; the node hears it with every heartbeat until it has answered."""
    node, operator = central.node(), central.operator()
    command = node_pb2.Command(verb=node_pb2.Command.PAUSE, stream=STREAM)
    request = status_pb2.RequestCommandRequest(node="hr-node", command=command)
    number = operator.status.RequestCommand(request, timeout=5).id
    reply = heartbeat(node)
    assert [(each.id, each.verb, each.stream) for each in reply.commands] == [(number, command.verb, STREAM)]
    assert reply.next_s == 1
    assert abs(reply.clock_us - time.time_ns() // 1000) < 5_000_000
    assert len(heartbeat(node).commands) == 1
    assert not heartbeat(node, node_pb2.HeartbeatRequest(done_commands=[number])).commands


def report(**facts: object) -> node_pb2.HeartbeatRequest:
    """A heartbeat that speaks of one stream."""
    now = time.time_ns() // 1000
    stream = node_pb2.StreamReport(stream=STREAM, **facts)  # type: ignore[arg-type]
    return node_pb2.HeartbeatRequest(version="7", clock_us=now, streams=[stream])


def test_status_goes_from_unheard_to_running_to_idle_to_silent(central: TestCentral) -> None:
    """Idle is proven by the node's marker; silence is noticed after three heartbeats."""
    node, operator, chain_ = central.node(), central.operator(), Chain(STREAM)
    assert status_of(central, operator).sentence == "registered, never heard from"
    with node.push(chain_) as push:
        push.send(*chain_.events(3))
        push.until_applied(3)
        heartbeat(node, report(state="RUNNING", sentence="streaming at 7", captured_seq=3))
        seen = status_of(central, operator)
        assert (seen.state, seen.version, seen.streams[0].applied_seq) == ("RUNNING", "7", 3)
        assert seen.streams[0].rows == 9
        assert [leg.name for leg in seen.streams[0].legs] == ["capture", "push", "apply"]
        now = time.time_ns() // 1000
        heartbeat(node, report(state="RUNNING", captured_seq=3, acknowledged_seq=3, marker_us=now))
        assert status_of(central, operator).state == "IDLE"
    eventually(lambda: status_of(central, operator).state, "BACKING_OFF")
    assert status_of(central, operator).sentence.startswith("not heard from since")
    lines = operator.status.ExplainNode(status_pb2.ExplainNodeRequest(node="hr-node"), timeout=5).lines
    assert any("push: BACKING_OFF" in line and "the network's move" in line for line in lines)


def test_watching_shows_changes_as_they_come(central: TestCentral) -> None:
    """The server stream goes on and rates appear."""
    node, operator, chain_ = central.node(), central.operator(), Chain(STREAM)
    shown = operator.status.WatchNodes(status_pb2.WatchNodesRequest(interval_ms=500), timeout=30)
    assert [each.node for each in next(shown).nodes] == ["hr-node"]
    with node.push(chain_) as push:
        push.send(*chain_.events(5))
        push.until_applied(5)
        while not any(stream.rows_per_s for each in next(shown).nodes for stream in each.streams):
            push.send(*chain_.events(1))
    shown.cancel()


def test_a_node_reads_itself_and_nobody_else(lone: TestCentral) -> None:
    """Listing and watching are for operators, and so are commands."""
    node, other = lone.node(), lone.node("tax-node")
    assert status_of(lone, node).node == "hr-node"
    calls = (
        lambda: status_of(lone, other),
        lambda: node.status.ListNodes(status_pb2.ListNodesRequest(), timeout=5),
        lambda: next(node.status.WatchNodes(status_pb2.WatchNodesRequest(), timeout=5)),
        lambda: node.status.RequestCommand(status_pb2.RequestCommandRequest(node="hr-node"), timeout=5),
    )
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert isinstance(from_rpc(caught.value), NotAdmitted)
    operator = lone.operator()
    with pytest.raises(NotAdmitted):
        heartbeat(operator)


def test_a_node_cannot_speak_for_another(lone: TestCentral) -> None:
    """Not in hello, not in a report."""
    node = lone.node()
    lone.node("tax-node")
    with pytest.raises(Refused), node.push(Chain("tax-node/hr")):
        pass
    foreign = node_pb2.HeartbeatRequest(streams=[node_pb2.StreamReport(stream="tax-node/hr")])
    with pytest.raises(Refused, match="another node"):
        heartbeat(node, foreign)


def test_the_answer_to_a_plain_connection_is_none(lone: TestCentral) -> None:
    """Without a certificate nothing is answered at all."""
    trust = grpc.ssl_channel_credentials((lone.folder / "ca.pem").read_bytes())
    with grpc.secure_channel(lone.target, trust, CLIENT_OPTIONS) as bare:
        stub = node_pb2_grpc.NodeStub(bare)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Heartbeat(node_pb2.HeartbeatRequest(), timeout=5)
    assert isinstance(from_rpc(caught.value), Transient)
