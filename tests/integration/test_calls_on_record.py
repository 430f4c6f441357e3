"""What the running central does at its door is on record: who came, what was opened, delivered, received, refused (SD26.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import select

from central import audit
from central.counted import settle
from central.store import reading
from central.store.tables import AUDIT
from proto.channel import from_rpc
from proto.errors import ExchangeError, NotAdmitted, Refused
from proto.v1 import desk_pb2, desk_pb2_grpc, exchange_pb2, exchange_pb2_grpc, node_pb2, status_pb2
from tests.support.central import Chain, NodeClient, Push, TestCentral, eventually, running
from tests.support.pulling import Provider, Pull, caught_up, civil, granted

REASON = "设备更换"


@pytest.fixture
def central(tmp_path: Path) -> Iterator[TestCentral]:
    """A running central of this test alone."""
    yield from running(tmp_path, f"sqlite:///{tmp_path / 'central.db'}")


def said(central: TestCentral, event: str, chain: str = "") -> list[dict[str, Any]]:
    """Every record of *event*, oldest first."""
    with reading(central.engine) as connection:
        here = (AUDIT.c.event == event, *((AUDIT.c.chain == chain,) if chain else ()))
        rows = connection.execute(select(AUDIT).where(*here).order_by(AUDIT.c.at_us, AUDIT.c.n)).all()
    return [{"chain": row.chain, **json.loads(row.facts)} for row in rows]


def test_who_is_let_in_and_shut_out_is_on_record(central: TestCentral) -> None:
    """Added, first call of the day, a certificate retired, revoked, and the call after that (SD26.1)."""
    issued = central.authority.issue_node("hr-node")
    node = central.node("hr-node", issued)
    for _ in range(3):
        node.desk.Heartbeat(node_pb2.HeartbeatRequest())
    [came] = said(central, "came")
    assert (came["chain"], came["role"], came["name"]) == ("calls:hr-node", "node", "hr-node")
    central.registry.revoke("hr-node", "安全员", REASON)
    for _ in range(3):
        assert isinstance(_refused(node, "Heartbeat", node_pb2.HeartbeatRequest()), NotAdmitted)
    [refusal] = said(central, "refused")
    assert (refusal["call"], refusal["code"]) == ("Heartbeat", "NOT_ADMITTED")
    assert refusal["fingerprint"] == issued.identity.fingerprint
    assert refusal["uri"] == "urn:exchange:node:hr-node"
    assert [each["who"] for each in said(central, "node_revoked")] == ["安全员"]
    assert len(said(central, "node_added")) == 1


def _refused(client: NodeClient, call: str, request: Any, stub: Any = None) -> ExchangeError:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub or client.desk, call)(request, timeout=10)
    return from_rpc(caught.value)


def test_refusals_that_come_again_are_counted(central: TestCentral, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revoked node that calls every second fills no log: one record a minute, with how many there were."""
    stranger = central.client("hr-node", central.authority.issue_node("hr-node"))
    for _ in range(5):
        _refused(stranger, "Heartbeat", node_pb2.HeartbeatRequest())
    assert [each["count"] for each in said(central, "refused")] == [1]
    monkeypatch.setattr("central.counted.WINDOW_US", 0)
    assert settle(central.engine) >= 4
    assert [each["count"] for each in said(central, "refused")] == [1, 4]


def test_a_delivery_is_on_record_from_the_call_to_the_receipt(central: TestCentral) -> None:
    """Push opened, Pull opened, delivered, acknowledged."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil")
    with Pull(civil(central).channel, "civil") as pull:
        caught_up(central, pull, grant)
        receiver = pull.receivers[grant]
        eventually(lambda: [each["seq"] for each in said(central, "acknowledged")][-1:], [receiver.seq])
    opened = [(each["chain"], each["call"]) for each in said(central, "call_opened")]
    assert opened == [("calls:police", "Push"), ("calls:civil", "Pull")]
    chain = "delivery:civil"
    assert {each["grant"] for each in said(central, "delivered", chain)} == {grant}
    assert said(central, "acknowledged", chain)[-1]["generation"] == receiver.generation
    with reading(central.engine) as connection:
        for each in audit.chains(connection):
            audit.verify(connection, each)


def test_every_call_that_is_refused_is_on_record_once(central: TestCentral) -> None:
    """Whatever it was refused for, with the call and the certificate; what a room has written down is not written twice."""
    node, operator = central.node("hr-node"), central.operator()
    desk = desk_pb2_grpc.DeskStub(node.channel)
    others = node_pb2.HeartbeatRequest(streams=[node_pb2.StreamReport(stream="police/hr")])
    command = status_pb2.RequestCommandRequest(
        node="没有", command=node_pb2.Command(verb=node_pb2.Command.DESCRIBE)
    )
    tries = (
        ("Heartbeat", lambda: _refused(node, "Heartbeat", others)),
        ("ListNodes", lambda: _refused(node, "ListNodes", status_pb2.ListNodesRequest(), node.status)),
        ("GetNode", lambda: _refused(node, "GetNode", status_pb2.GetNodeRequest(node="police"), node.status)),
        (
            "ExplainNode",
            lambda: _refused(node, "ExplainNode", status_pb2.ExplainNodeRequest(node="x"), node.status),
        ),
        ("RequestCommand", lambda: _refused(operator, "RequestCommand", command, operator.status)),
        ("GetCatalogue", lambda: _refused(operator, "GetCatalogue", node_pb2.GetCatalogueRequest())),
        (
            "Verbs",
            lambda: _refused(
                operator, "Verbs", desk_pb2.VerbsRequest(), desk_pb2_grpc.DeskStub(operator.channel)
            ),
        ),
        ("Do", lambda: _refused(node, "Do", desk_pb2.DeskRequest(verb="share.inbox"), desk)),
        ("Push", lambda: _push(node, exchange_pb2.Hello(protocol=99, stream="hr-node/hr"))),
        ("Pull", lambda: _pull(node, exchange_pb2.PullHello(protocol=99))),
    )
    for call, refuse in tries:
        before = len(said(central, "refused"))
        error = refuse()
        assert isinstance(error, Refused), (call, error)
        # The same code from the same certificate within a minute is counted, and told by the settling of it.
        settle_now(central)
        new = said(central, "refused")[before:]
        assert [(each["call"], each["code"], each["count"]) for each in new] == [(call, error.code, 1)]


def settle_now(central: TestCentral) -> None:
    """As if the minute were over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("central.counted.WINDOW_US", 0)
        settle(central.engine)
        settle(central.engine)


def _push(node: NodeClient, hello: exchange_pb2.Hello) -> Exception:
    return Push(node.channel, hello).fate()


def _pull(node: NodeClient, hello: exchange_pb2.PullHello) -> Exception:
    call = exchange_pb2_grpc.ExchangeStub(node.channel).Pull(iter([exchange_pb2.PullRequest(hello=hello)]))
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    return from_rpc(caught.value)


def test_what_intake_and_the_desk_wrote_down_is_there_once(central: TestCentral) -> None:
    """A stream of another node; a person whom nobody knows."""
    node = central.node("hr-node")
    assert isinstance(node.push(Chain("police/hr")).fate(), Refused)
    assert [each["stream"] for each in said(central, "refused")] == ["police/hr"]
    stub = desk_pb2_grpc.DeskStub(node.channel)
    error = _refused(node, "Do", desk_pb2.DeskRequest(verb="share.inbox", person="陌生人"), stub)
    assert isinstance(error, NotAdmitted)
    [_, refusal] = said(central, "refused")
    assert (refusal["chain"], refusal["verb"], refusal["who"]) == ("decisions", "share.inbox", "")
