"""What a node says about itself goes in, what central asks of it comes back; and its own part of the catalogue."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from central.rpc.answers import Context, answering
from central.rpc.identity import Doorkeeper, certificate_of
from proto.errors import Refused
from proto.v1 import node_pb2, node_pb2_grpc

MAX_REPORT_BYTES: Final = 1024 * 1024


class Reports(Protocol):
    """Where reports and commands lie; blocking."""

    def seen(self, node: str, report: node_pb2.HeartbeatRequest) -> None:
        """Keep the report."""
        ...

    def finish_commands(self, node: str, done: Iterable[int], refused: Iterable[int]) -> None:
        """Note the answers to commands."""
        ...

    def pending_commands(self, node: str) -> list[node_pb2.Command]:
        """What was not answered yet."""
        ...


class Attested(Protocol):
    """Where signed reads lie; blocking."""

    def take(
        self, node: str, certificate: bytes, clock_us: int, said: Sequence[node_pb2.Attestation]
    ) -> None:
        """Check and keep them; raises Refused."""
        ...

    def pace_s(self, node: str) -> int:
        """How often the node should prove its reads; 0 = as it likes."""
        ...


class Catalogue(Protocol):
    """What nodes get of the catalogue, and what they say of their tables; blocking."""

    def told(self, node: str) -> tuple[int, str]:
        """The number of the newest release, 0 = none yet; and the digest of the node's part of it."""
        ...

    def part(self, node: str) -> node_pb2.NodeCatalogue:
        """What is in force about the node's own streams, signed."""
        ...

    def keep(self, node: str, shapes: Iterable[node_pb2.TableShape]) -> None:
        """Keep how the node's tables are now."""
        ...


class Witnessed(Protocol):
    """The checkpoints of the log; blocking."""

    def after(self, known: int) -> list[node_pb2.SignedCheckpoint]:
        """What follows the one that a node holds."""
        ...


class NodeService(node_pb2_grpc.NodeServicer):
    """Translates between the wire and the registry."""

    def __init__(
        self,
        door: Doorkeeper,
        rooms: tuple[Reports, Attested, Catalogue, Callable[[str], Sequence[str]], Witnessed],
        run: Callable[..., Awaitable[Any]],
        heartbeat_s: int,
    ) -> None:
        self._door = door
        self._reports, self._reads, self._catalogue, self._notices, self._log = rooms
        self._run = run
        self._heartbeat_s = heartbeat_s

    async def Heartbeat(  # noqa: N802 - the wire's name
        self, request: node_pb2.HeartbeatRequest, context: Context
    ) -> node_pb2.HeartbeatReply:
        """Take the report, return what is asked of the node."""
        async with answering(context, "Heartbeat", self._door.note):
            node = await self._door.node(context)
            _check(node, request)
            reply: node_pb2.HeartbeatReply = await self._run(
                self._exchange, node, certificate_of(context), request
            )
            reply.clock_us, reply.next_s = time.time_ns() // 1000, self._heartbeat_s
            return reply
        raise AssertionError("a call that failed was aborted")

    async def GetCatalogue(  # noqa: N802 - the wire's name
        self, request: node_pb2.GetCatalogueRequest, context: Context
    ) -> node_pb2.NodeCatalogue:
        """The part of the newest release about the calling node's own streams."""
        del request
        async with answering(context, "GetCatalogue", self._door.note):
            node = await self._door.node(context)
            part: node_pb2.NodeCatalogue = await self._run(self._catalogue.part, node)
            return part
        raise AssertionError("a call that failed was aborted")

    def _exchange(
        self, node: str, certificate: bytes, request: node_pb2.HeartbeatRequest
    ) -> node_pb2.HeartbeatReply:
        self._reads.take(node, certificate, request.clock_us, request.attestations)
        shapes = list(request.shapes)
        # Evidence and descriptions have tables of their own: whoever reads the report has no use for them.
        request.ClearField("attestations")
        request.ClearField("shapes")
        self._reports.seen(node, request)
        self._catalogue.keep(node, shapes)
        self._reports.finish_commands(node, request.done_commands, request.refused_commands)
        release, part = self._catalogue.told(node)
        return node_pb2.HeartbeatReply(
            commands=self._reports.pending_commands(node),
            release=release,
            notices=self._notices(node),
            prove_s=self._reads.pace_s(node),
            part=part,
            checkpoints=self._log.after(request.checkpoint),
        )


def _check(node: str, request: node_pb2.HeartbeatRequest) -> None:
    if request.ByteSize() > MAX_REPORT_BYTES:
        raise Refused(f"a report of {request.ByteSize()} bytes, more than {MAX_REPORT_BYTES}", where=node)
    others = [each.stream[:80] for each in request.streams if not each.stream.startswith(f"{node}/")]
    if others:
        raise Refused("the report speaks of another node's stream", where=others[0])
