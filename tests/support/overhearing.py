"""A way between agent and central on which every byte of every message is kept, under both sides' own certificates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import yaml

from demo.system import System

THREADS = 32


class Overhearing(grpc.GenericRpcHandler):
    """Takes every call that is for central, and passes it on as it is."""

    def __init__(self, system: System, port: int) -> None:
        self.heard: list[bytes] = []
        """Every message that an agent sent."""
        self._system, self._port = system, port
        self._channel: grpc.Channel | None = None
        self._server: grpc.Server | None = None

    def start(self) -> None:
        """Listen in central's name and speak in the node's; both have their certificates by now."""
        agent = yaml.safe_load(self._system.agent_config.read_text())["central"]
        central = yaml.safe_load(self._system.central_config.read_text())["tls"]
        ours = grpc.ssl_channel_credentials(
            *(Path(agent[word]).read_bytes() for word in ("ca", "key", "certificate"))
        )
        pair = (Path(central["key"]).read_bytes(), Path(central["certificate"]).read_bytes())
        self._channel = grpc.secure_channel(f"127.0.0.1:{self._system.port}", ours)
        self._server = grpc.server(ThreadPoolExecutor(THREADS), handlers=[self])
        theirs = grpc.ssl_server_credentials([pair], Path(central["ca"]).read_bytes(), True)
        assert self._server.add_secure_port(f"127.0.0.1:{self._port}", theirs) == self._port
        self._server.start()

    def stop(self) -> None:
        """Hang up."""
        if self._server is not None and self._channel is not None:
            self._server.stop(0).wait()
            self._channel.close()

    def service(self, handler_call_details: Any) -> Any:
        """Any call, of one message or of many, looks the same on the way."""
        method = handler_call_details.method

        def pass_on(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            assert self._channel is not None
            way: Any = self._channel.stream_stream(method)
            call = way(self._noted(requests))
            context.add_callback(call.cancel)
            try:
                yield from call
            except grpc.RpcError as error:
                context.set_trailing_metadata(_plain(error.trailing_metadata()))
                context.set_code(error.code())
                context.set_details(error.details() or "")

        return grpc.stream_stream_rpc_method_handler(pass_on)

    def _noted(self, requests: Iterable[bytes]) -> Iterator[bytes]:
        for request in requests:
            self.heard.append(request)
            yield request


def _plain(metadata: Iterable[Any] | None) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((each[0], each[1]) for each in metadata or ())
