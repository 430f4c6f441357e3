"""Who gets in: certificates of every wrong kind, and right ones that stop being right while connected."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from central.ca import Authority, Issued, make_authority
from proto.channel import CLIENT_OPTIONS, TlsFiles, channel, from_rpc, preflight, probe
from proto.errors import Credential, NotAdmitted, Transient
from proto.v1 import node_pb2, node_pb2_grpc, status_pb2
from tests.support.central import Chain, TestCentral, running

STREAM = "hr-node/hr"
OUT_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCentral]:
    """One running central; every test brings its own certificates."""
    folder = tmp_path_factory.mktemp("central")
    yield from running(folder, f"sqlite:///{folder / 'central.db'}")


def knock(central: TestCentral, issued: Issued) -> Exception:
    """What a client hears that does not look at its own certificate first."""
    ca = (central.folder / "ca.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(ca, issued.key, issued.certificate)
    with grpc.secure_channel(central.target, credentials, CLIENT_OPTIONS) as line:
        stub = node_pb2_grpc.NodeStub(line)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Heartbeat(node_pb2.HeartbeatRequest(), timeout=5)
    return from_rpc(caught.value)


def test_a_certificate_of_another_authority_is_worth_nothing(central: TestCentral) -> None:
    """gRPC says only that the connection closed; preflight and probe say why."""
    stranger = make_authority("another").issue_node("hr-node")
    assert isinstance(knock(central, stranger), Transient)
    files = central.files(stranger, "stranger")
    with pytest.raises(Credential, match="CN=another, which is not in"):
        preflight(files)


def test_an_expired_certificate_is_named_with_its_day(central: TestCentral) -> None:
    """The node says so itself, before it connects."""
    old = central.authority.issue_node("hr-node", days=90, start=datetime.now(UTC) - timedelta(days=100))
    assert isinstance(knock(central, old), Transient)
    day = datetime.now(UTC) - timedelta(days=10)
    with pytest.raises(Credential, match=f"certificate expired on {day:%Y-%m-%d}"):
        central.client("old", old)


def test_a_certificate_from_the_future_points_at_the_clock(central: TestCentral) -> None:
    """The usual cause is a machine whose clock is wrong."""
    early = central.authority.issue_node("hr-node", start=datetime.now(UTC) + timedelta(days=2))
    with pytest.raises(Credential, match="clock"):
        central.client("early", early)


def test_a_key_that_belongs_to_another_certificate_is_noticed(central: TestCentral) -> None:
    """Files were mixed up."""
    one, two = central.authority.issue_node("a"), central.authority.issue_node("b")
    with pytest.raises(Credential, match="the key does not belong"):
        preflight(central.files(Issued(one.certificate, two.key), "mixed"))


@pytest.mark.parametrize("broken", ["ca", "certificate", "key"])
def test_a_file_that_is_missing_or_no_certificate_is_named(
    central: TestCentral, broken: str, tmp_path: Path
) -> None:
    """The message names the file."""
    good = central.files(central.authority.issue_node("hr-node"), "good")
    for path in (tmp_path / "nothing.pem", tmp_path / "noise.pem"):
        if path.name == "noise.pem":
            path.write_text("noise")
        names = {"ca": good.ca, "certificate": good.certificate, "key": good.key, broken: path}
        with pytest.raises(Credential) as caught:
            preflight(TlsFiles(**names))
        assert caught.value.where == str(path)


def test_a_signed_certificate_that_nobody_registered_is_refused(central: TestCentral) -> None:
    """The authority's signature alone opens nothing."""
    error = knock(central, central.authority.issue_node("hr-node"))
    assert isinstance(error, NotAdmitted)
    assert error.fix


def test_a_registered_key_under_another_name_is_refused(central: TestCentral) -> None:
    """The name in the certificate must be the one it was registered for."""
    pretender = central.authority.issue_node("tax-node")
    central.register("rent-node", pretender)
    assert isinstance(knock(central, pretender), NotAdmitted)


def test_an_operator_is_not_a_node(central: TestCentral) -> None:
    """Roles are not interchangeable."""
    operator = central.operator()
    with pytest.raises(grpc.RpcError) as caught:
        operator.desk.Heartbeat(node_pb2.HeartbeatRequest(), timeout=5)
    assert isinstance(from_rpc(caught.value), NotAdmitted)


def test_revoked_while_connected_is_out_within_five_seconds(central: TestCentral) -> None:
    """An open stream ends, and new calls on the same connection are refused."""
    node, chain = central.node("gone-node"), Chain("gone-node/hr")
    with node.push(chain) as push:
        push.send(*chain.events(1))
        push.until_accepted(1)
        central.registry.revoke("gone-node", "test", "lost laptop")
        began = time.monotonic()
        assert isinstance(push.fate(), NotAdmitted)
        assert time.monotonic() - began < OUT_WITHIN_S
    with pytest.raises(grpc.RpcError) as caught:
        node.desk.Heartbeat(node_pb2.HeartbeatRequest(), timeout=5)
    assert isinstance(from_rpc(caught.value), NotAdmitted)


def test_expired_while_connected_is_out_within_five_seconds(central: TestCentral) -> None:
    """Database time decides, not the handshake of half an hour ago."""
    issued = central.authority.issue_node("late-node")
    end_us = time.time_ns() // 1000 + 2_000_000
    central.registry.add("late-node", issued.identity.fingerprint, end_us, "test")
    with central.client("late-node", issued).push(Chain("late-node/hr")) as push:
        assert isinstance(push.fate(), NotAdmitted)
        assert time.time_ns() // 1000 - end_us < OUT_WITHIN_S * 1_000_000


def test_a_watching_operator_who_is_revoked_is_out_too(central: TestCentral) -> None:
    """Watching is a stream like any other."""
    issued = central.authority.issue_operator("guest")
    central.registry.add_operator("guest", issued.identity.fingerprint, issued.identity.not_after_us, "test")
    shown = central.client("guest", issued).status.WatchNodes(status_pb2.WatchNodesRequest(), timeout=30)
    next(shown)
    central.registry.revoke_operator("guest", "test", "left")
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        for _ in shown:
            pass
    assert isinstance(from_rpc(caught.value), NotAdmitted)
    assert time.monotonic() - began < OUT_WITHIN_S


def test_probe_says_what_the_handshake_came_to(central: TestCentral, tmp_path: Path) -> None:
    """Each cause has its own words."""
    good = central.files(central.authority.issue_node("hr-node"), "probe")
    with pytest.raises(Credential, match=r"[Hh]ostname mismatch|not valid for"):
        probe(central.target, good, server_name="elsewhere.example")
    other = make_authority("another")
    (tmp_path / "ca.pem").write_bytes(other.pem)
    stranger = other.issue_node("hr-node")
    stranger.write(tmp_path / "node.pem", tmp_path / "node.key")
    foreign = TlsFiles(tmp_path / "ca.pem", tmp_path / "node.pem", tmp_path / "node.key")
    with pytest.raises(Credential, match=r"certificate of 127.0.0.1:\d+ is refused"):
        probe(central.target, foreign)
    both = tmp_path / "both.pem"
    both.write_bytes(central.authority.pem + other.pem)
    with pytest.raises(Credential, match="hangs up on our certificate"):
        probe(central.target, TlsFiles(both, foreign.certificate, foreign.key))
    with pytest.raises(Transient, match="not reachable"):
        probe("127.0.0.1:1", good)


def test_probe_of_a_sound_connection_says_nothing(central: TestCentral) -> None:
    """No news is good news."""
    probe(central.target, central.files(central.authority.issue_node("hr-node"), "sound"), timeout_s=1.0)


def test_another_server_name_is_refused_by_the_client(central: TestCentral) -> None:
    """A server with the right CA but another name is not central."""
    files = central.files(central.authority.issue_node("hr-node"), "name")
    with channel(central.target, files, "elsewhere.example") as line:
        stub = node_pb2_grpc.NodeStub(line)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Heartbeat(node_pb2.HeartbeatRequest(), timeout=5)
    assert isinstance(from_rpc(caught.value), Transient)


def test_a_new_server_certificate_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    """Half a change keeps the old pair; the whole one is served at the next handshake, open streams go on."""
    for central in running(tmp_path, f"sqlite:///{tmp_path / 'central.db'}"):
        node, chain = central.node(), Chain(STREAM)
        with node.push(chain) as push:
            before = served(central)
            fresh = central.authority.issue_server(["localhost", "127.0.0.1"])
            (tmp_path / "server.pem").write_bytes(fresh.certificate)
            assert served(central) == before
            (tmp_path / "server.key").write_bytes(fresh.key)
            assert served(central) == x509.load_pem_x509_certificate(fresh.certificate).serial_number
            push.send(*chain.events(1))
            push.until_applied(1)


def served(central: TestCentral) -> int:
    """The serial number of the certificate central shows."""
    pem = ssl.get_server_certificate(("127.0.0.1", central.port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_two_authorities_can_be_trusted_while_one_replaces_the_other(tmp_path: Path) -> None:
    """The CA file may hold several; nodes of the old and of the new one work side by side."""
    for central in running(tmp_path, f"sqlite:///{tmp_path / 'central.db'}"):
        node = central.node()
        successor = make_authority("new CA")
        (tmp_path / "ca.pem").write_bytes(central.authority.pem + successor.pem)
        moved = central.client("hr-node", register(central, successor))
        for each in (node, moved):
            assert each.desk.Heartbeat(node_pb2.HeartbeatRequest(), timeout=5).next_s == 1


def register(central: TestCentral, authority: Authority) -> Issued:
    """A second certificate for the same node."""
    issued = authority.issue_node("hr-node")
    central.register("hr-node", issued)
    return issued
