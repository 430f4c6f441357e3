"""Status: what operators read and ask for. A node may read itself, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from central.ca import NODE_URI
from central.rpc.answers import Context, answering
from central.rpc.identity import Doorkeeper, caller
from proto.errors import NotAdmitted
from proto.v1 import node_pb2, status_pb2, status_pb2_grpc

SHORTEST_INTERVAL_S: Final = 0.5
LONGEST_INTERVAL_S: Final = 60.0


class Overview(Protocol):
    """Who knows how everything is; blocking."""

    def nodes(self) -> list[status_pb2.NodeStatus]:
        """Every node."""
        ...

    def node(self, name: str) -> status_pb2.NodeStatus:
        """One node; raises Refused."""
        ...


class Commands(Protocol):
    """Who passes requests on to nodes; blocking."""

    def request_command(self, node: str, command: node_pb2.Command, who: str = "") -> int:
        """Ask *node* to do something; returns the request's number."""
        ...


class StatusService(status_pb2_grpc.StatusServicer):
    """Translates between the wire and the board."""

    def __init__(
        self,
        door: Doorkeeper,
        answers: tuple[Overview, Commands, Callable[[status_pb2.NodeStatus], list[str]]],
        run: Callable[..., Awaitable[Any]],
        closing: asyncio.Event,
    ) -> None:
        self._door = door
        self._board, self._commands, self._explain = answers
        self._run = run
        self._closing = closing

    async def ListNodes(  # noqa: N802 - the wire's name
        self, request: status_pb2.ListNodesRequest, context: Context
    ) -> status_pb2.ListNodesReply:
        """Every node, for operators."""
        del request
        async with answering(context, "ListNodes", self._door.note):
            await self._door.operator(context)
            return status_pb2.ListNodesReply(nodes=await self._run(self._board.nodes))
        raise _unreachable()

    async def GetNode(  # noqa: N802 - the wire's name
        self, request: status_pb2.GetNodeRequest, context: Context
    ) -> status_pb2.NodeStatus:
        """One node, for operators and for itself."""
        async with answering(context, "GetNode", self._door.note):
            await self._may_read(request.node, context)
            status: status_pb2.NodeStatus = await self._run(self._board.node, request.node)
            return status
        raise _unreachable()

    async def ExplainNode(  # noqa: N802 - the wire's name
        self, request: status_pb2.ExplainNodeRequest, context: Context
    ) -> status_pb2.ExplainNodeReply:
        """One line per leg, for operators and for the node itself."""
        async with answering(context, "ExplainNode", self._door.note):
            await self._may_read(request.node, context)
            lines = self._explain(await self._run(self._board.node, request.node))
            return status_pb2.ExplainNodeReply(lines=lines)
        raise _unreachable()

    async def WatchNodes(  # noqa: N802 - the wire's name
        self, request: status_pb2.WatchNodesRequest, context: Context
    ) -> None:
        """Every node again and again, until the operator hangs up."""
        async with answering(context, "WatchNodes", self._door.note):
            await self._door.operator(context)
            pace_s = min(max(request.interval_ms / 1000, SHORTEST_INTERVAL_S), LONGEST_INTERVAL_S)
            async with asyncio.TaskGroup() as tasks:
                guard = tasks.create_task(self._door.watch(context, self._door.operator))
                await self._show(context, pace_s)
                guard.cancel()

    async def RequestCommand(  # noqa: N802 - the wire's name
        self, request: status_pb2.RequestCommandRequest, context: Context
    ) -> status_pb2.RequestCommandReply:
        """Pass a request on to a node, which decides whether it obeys."""
        async with answering(context, "RequestCommand", self._door.note):
            who = await self._door.operator(context)
            number = await self._run(self._commands.request_command, request.node, request.command, who)
            return status_pb2.RequestCommandReply(id=number)
        raise _unreachable()

    async def _show(self, context: Context, pace_s: float) -> None:
        while not self._closing.is_set():
            await context.write(status_pb2.ListNodesReply(nodes=await self._run(self._board.nodes)))
            with suppress(TimeoutError):
                async with asyncio.timeout(pace_s):
                    await self._closing.wait()

    async def _may_read(self, node: str, context: Context) -> None:
        if not caller(context)[1].startswith(NODE_URI):
            await self._door.operator(context)
        elif await self._door.node(context) != node:
            raise NotAdmitted("a node may read only itself", where=node[:80])


def _unreachable() -> AssertionError:
    return AssertionError("a call that failed was aborted")
