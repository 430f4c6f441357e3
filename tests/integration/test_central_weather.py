"""Central when things around it fail: its database goes and comes back, its disk fills, it has a twin."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from central.daemon.chores import certificate_ends, forget_old
from demo.server import free_port
from proto.channel import from_rpc
from proto.errors import DiskBlocked, Transient
from proto.v1 import node_pb2
from tests.support.central import Chain, NodeClient, TestCentral, eventually, running
from tests.support.postgres import Cluster

STREAM = "hr-node/hr"


@pytest.fixture
def central(tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on SQLite."""
    yield from running(tmp_path, f"sqlite:///{tmp_path / 'central.db'}")


def health_of(node: NodeClient) -> int:
    """What the health service says."""
    stub = health_pb2_grpc.HealthStub(node.channel)
    status: int = stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status  # type: ignore[attr-defined]
    return status


def test_the_database_goes_away_and_comes_back(tmp_path: Path) -> None:
    """Nodes are told to come back, health says so, and afterwards every row is there once."""
    with Cluster(15) as server:
        for central in running(tmp_path, server.url(server.new_database("central"))):
            node, chain = central.node(), Chain(STREAM)
            with node.push(chain) as push:
                push.send(*chain.events(5))
                push.until_applied(5)
                server.stop("immediate")
                push.send(*chain.events(5))
                assert isinstance(push.fate(), Transient)
            eventually(partial(health_of, node), health_pb2.HealthCheckResponse.NOT_SERVING)
            with pytest.raises(grpc.RpcError) as caught:
                node.desk.Heartbeat(node_pb2.HeartbeatRequest(), timeout=15)
            assert isinstance(from_rpc(caught.value), Transient)
            server.start()
            central.engine.dispose()
            eventually(partial(health_of, node), health_pb2.HealthCheckResponse.SERVING)
            with node.push(chain) as push:
                assert push.welcome is not None
                push.send(*chain.batches[push.welcome.head.seq :])
                push.until_applied(10)
            assert [row[0] for row in central.rows(STREAM)] == list(range(30))


def test_two_centrals_on_one_database_share_the_work(tmp_path: Path, postgres15: Cluster) -> None:
    """Whoever accepts, one of them applies; the stream's rows are there once and in order."""
    url = postgres15.url(postgres15.new_database("central"))
    one, two = TestCentral(tmp_path / "one", url), TestCentral(tmp_path / "two", url)
    try:
        one.start()
        two.start()
        chain, nodes = Chain(STREAM), (one.node(), two.node())
        for turn in range(4):
            with nodes[turn % 2].push(chain) as push:
                push.send(*chain.events(10))
                push.until_accepted((turn + 1) * 10)
        eventually(lambda: [row[0] for row in one.rows(STREAM)], list(range(120)))
    finally:
        one.close()
        two.close()


def test_a_full_disk_stops_intake_and_nothing_else(tmp_path: Path) -> None:
    """Heartbeats and status go on, and nodes are told the reason."""
    central = TestCentral(tmp_path / "full", f"sqlite:///{tmp_path / 'central.db'}")
    central.least_free_bytes = 2**60
    central.start()
    try:
        node = central.node()
        with pytest.raises(DiskBlocked) as caught, node.push(Chain(STREAM)):
            pass
        assert str(tmp_path) in caught.value.where
        assert node.desk.Heartbeat(node_pb2.HeartbeatRequest(), timeout=5).next_s == 1
    finally:
        central.close()


def test_what_was_kept_long_enough_is_forgotten(central: TestCentral) -> None:
    """Applied batches go, the last one stays to chain on, and the stream goes on."""
    node, chain = central.node(), Chain(STREAM)
    with node.push(chain) as push:
        push.send(*chain.events(10))
        push.until_applied(10)
        assert forget_old(central.engine, 1, 1) == 0
        assert forget_old(central.engine, 0, 1) == 9
        push.send(*chain.events(1))
        push.until_applied(11)


def test_the_ends_of_all_certificates_are_known(central: TestCentral) -> None:
    """Central's own, and of each node that may connect."""
    central.node("hr-node")
    central.node("tax-node")
    central.registry.revoke("tax-node", "test", "left")
    ends = certificate_ends(central.folder / "server.pem", central.registry)
    assert set(ends) == {"central", "hr-node"}
    assert min(ends.values()) > time.time_ns() // 1000


def test_systemd_is_told_when_it_is_ready_alive_and_going(tmp_path: Path) -> None:
    """READY only once it listens, WATCHDOG while the loops turn, STOPPING first of all."""
    config = tmp_path / "central" / "central.yaml"
    base = [sys.executable, "-m", "central"]
    subprocess.run(
        [*base, "init", "--dir", str(config.parent), "--port", str(free_port())], check=True, timeout=60
    )
    door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    door.bind(str(tmp_path / "notify"))
    door.settimeout(30)
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000", "PATH": ""}
    process = subprocess.Popen(
        [*base, "serve", "-c", str(config)], env=environment, stdout=subprocess.DEVNULL
    )
    said = [door.recv(1000).decode() for _ in range(3)]
    process.terminate()
    while not said[-1].startswith("STOPPING=1"):
        said.append(door.recv(1000).decode())
    assert process.wait(10) == 0
    assert said[0].startswith("READY=1")
    assert set(said[1:-1]) == {"WATCHDOG=1"}
    door.close()
