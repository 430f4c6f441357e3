"""Two hundred nodes come back in the same second: none starves, heartbeats go first, memory stays as it was (G13)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from grpc import aio

from agent.worker import Backoff
from central.rpc.gate import GREETED_AT_ONCE, LATEST_S, SOONEST_S, Gate
from proto.channel import CLIENT_OPTIONS, PROTOCOL, from_rpc
from proto.errors import Busy, Transient
from proto.v1 import exchange_pb2, exchange_pb2_grpc, node_pb2, node_pb2_grpc
from tests.support.central import TestCentral, running

NODES = 200
ALL_BACK_S = 45.0
MEMORY_BYTES = 60 * 1024 * 1024
HEARTBEAT_S = 5.0


@pytest.fixture
def central(tmp_path: Path) -> Iterator[TestCentral]:
    """A central on SQLite, the slower of its databases."""
    yield from running(tmp_path, f"sqlite:///{tmp_path / 'central.db'}")


@dataclass
class Member:
    """One node of the herd: keeps a session with central open, as an agent does."""

    name: str
    target: str
    credentials: grpc.ChannelCredentials
    welcomes: int = 0
    turned_away: int = 0

    async def live(self) -> None:
        """Connect, stay until it ends, wait as an agent waits, and connect again."""
        backoff = Backoff()
        while True:
            try:
                await self._stay(backoff)
            except grpc.RpcError as error:
                meant = from_rpc(error)
                assert isinstance(meant, Transient), meant
                self.turned_away += isinstance(meant, Busy)
                await asyncio.sleep(backoff.after(meant))

    async def _stay(self, backoff: Backoff) -> None:
        async with aio.secure_channel(self.target, self.credentials, options=CLIENT_OPTIONS) as channel:
            call = exchange_pb2_grpc.ExchangeStub(channel).Push()
            with suppress(asyncio.InvalidStateError):
                await call.write(exchange_pb2.PushRequest(hello=self._hello()))
            async for _ in call:
                self.welcomes += 1
                backoff.reset()

    def _hello(self) -> exchange_pb2.Hello:
        return exchange_pb2.Hello(
            protocol=PROTOCOL, stream=f"{self.name}/hr", epoch=1, incarnation="one", oldest_seq=1
        )


def herd(central: TestCentral) -> list[Member]:
    """Nodes with certificates of their own."""
    ca = (central.folder / "ca.pem").read_bytes()
    members = []
    for number in range(NODES):
        issued = central.authority.issue_node(f"node-{number}")
        central.register(f"node-{number}", issued)
        tls = central.files(issued, f"node-{number}")
        credentials = grpc.ssl_channel_credentials(ca, tls.key.read_bytes(), tls.certificate.read_bytes())
        members.append(Member(f"node-{number}", central.target, credentials))
    return members


async def all_welcome(members: list[Member], times: int) -> float:
    """Wait until each was welcomed so many times; how long it took."""
    began = time.monotonic()
    while waiting := [each.name for each in members if each.welcomes < times]:
        assert time.monotonic() - began < ALL_BACK_S, f"{len(waiting)} of {NODES} starve: {waiting[:5]}"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def slowest_heartbeat(member: Member) -> float:
    """Heartbeats again and again until cancelled; returns the longest one took."""
    slowest = 0.0
    with suppress(asyncio.CancelledError):
        while True:
            began = time.monotonic()
            async with aio.secure_channel(member.target, member.credentials) as channel:
                with suppress(grpc.RpcError):
                    await node_pb2_grpc.NodeStub(channel).Heartbeat(node_pb2.HeartbeatRequest(), timeout=30)
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.2)
    return slowest


async def drill(central: TestCentral, members: list[Member]) -> tuple[float, float, int]:
    """Everybody comes, central is started anew, everybody comes back: how long, slowest heartbeat, memory grown."""
    tasks = [asyncio.create_task(each.live()) for each in members]
    await all_welcome(members, 1)
    before = psutil.Process().memory_info().rss
    await asyncio.to_thread(central.stop)
    await asyncio.to_thread(central.start)
    beats = asyncio.create_task(slowest_heartbeat(members[0]))
    took = await all_welcome(members, 2)
    grown = psutil.Process().memory_info().rss - before
    for task in (*tasks, beats):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return took, await beats, grown


def test_two_hundred_nodes_come_back_over_a_restarted_central(central: TestCentral) -> None:
    """Some are told to come again, and all are back soon."""
    members = herd(central)
    took, heartbeat, grown = asyncio.run(drill(central, members))
    turned_away = sum(each.turned_away for each in members)

    print(
        f"{took:.1f} s, {turned_away} turned away, heartbeat {heartbeat:.2f} s, {grown / 2**20:.0f} MiB more"
    )
    assert turned_away > 0, "the gate was never full, so this proved nothing"
    assert heartbeat < HEARTBEAT_S
    assert grown < MEMORY_BYTES


def test_the_more_are_turned_away_the_later_they_are_asked_to_come() -> None:
    """A line that nobody stands in; and whoever leaves makes room at once."""
    gate = Gate()
    for _ in range(GREETED_AT_ONCE):
        gate.__enter__()
    hints = []
    for _ in range(NODES):
        with pytest.raises(Busy) as caught, gate:
            raise AssertionError("the gate is full")
        hints.append(caught.value.retry_s)
    assert hints == sorted(hints)
    assert SOONEST_S < hints[0] < hints[-1] <= LATEST_S
    assert hints[-1] > NODES / GREETED_AT_ONCE

    gate.__exit__(None, None, None)
    with gate:
        pass
