"""The one server: mutual TLS only, the services, health, and reflection where the settings ask for it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from proto.channel import SERVER_OPTIONS, TlsFiles, server_credentials
from proto.errors import Refused
from proto.v1 import (
    desk_pb2,
    desk_pb2_grpc,
    exchange_pb2,
    exchange_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    status_pb2,
    status_pb2_grpc,
)

DRAIN_S: Final = 5.0
"""How long open calls may go on once the server is told to stop."""
STREAMS_PER_CONNECTION: Final = 256
_NAMES: Final = (
    exchange_pb2.DESCRIPTOR.services_by_name["Exchange"].full_name,
    node_pb2.DESCRIPTOR.services_by_name["Node"].full_name,
    status_pb2.DESCRIPTOR.services_by_name["Status"].full_name,
    desk_pb2.DESCRIPTOR.services_by_name["Desk"].full_name,
)


@dataclass(frozen=True, slots=True)
class Services:
    """What the server offers."""

    exchange: exchange_pb2_grpc.ExchangeServicer
    node: node_pb2_grpc.NodeServicer
    status: status_pb2_grpc.StatusServicer
    desk: desk_pb2_grpc.DeskServicer


class Server:
    """Listens on one address; started and stopped once, on the event loop."""

    def __init__(self, services: Services, tls: TlsFiles, listen: str, reflection: bool = False) -> None:
        self._listen = listen
        self._health = health_aio.HealthServicer()
        options = (*SERVER_OPTIONS, ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION))
        self._server = aio.server(options=options)
        exchange_pb2_grpc.add_ExchangeServicer_to_server(services.exchange, self._server)  # type: ignore[no-untyped-call]
        node_pb2_grpc.add_NodeServicer_to_server(services.node, self._server)  # type: ignore[no-untyped-call]
        status_pb2_grpc.add_StatusServicer_to_server(services.status, self._server)  # type: ignore[no-untyped-call]
        desk_pb2_grpc.add_DeskServicer_to_server(services.desk, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflection:
            _reflect(self._server)
        self._credentials = server_credentials(tls)

    async def start(self) -> int:
        """Listen; returns the port. Raises Refused when the address cannot be had."""
        try:
            port = self._server.add_secure_port(self._listen, self._credentials)
        except RuntimeError as error:
            raise Refused(
                "cannot listen there",
                where=self._listen,
                fix="is another central running? is the address ours?",
            ) from error
        await self._server.start()
        await self.say(serving=True)
        return port

    async def say(self, *, serving: bool) -> None:
        """What the health service answers."""
        status = (
            health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", *_NAMES):
            await self._health.set(name, status)

    async def stop(self) -> None:
        """Say so, take no new calls, let open ones end for a while, then cut them."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(DRAIN_S)


def _reflect(server: aio.Server) -> None:
    try:
        reflection: Any = importlib.import_module("grpc_reflection.v1alpha.reflection")
    except ImportError as error:
        raise Refused(
            "reflection needs the package grpcio-reflection",
            where="reflection",
            fix="install it, or set it to false",
        ) from error
    names: Sequence[str] = (*_NAMES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
