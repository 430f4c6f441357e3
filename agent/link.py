"""The only door to central: outwards, with mutual TLS, one connection per stream, one for what is delivered to us, and
another one for heartbeats.

Separate connections keep a slow transfer from holding up the sign of life (fault G4). Certificates are read anew for
every connection; when the files change, connections say so and are opened again (fault G11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import grpc

from proto.channel import CALL_DEADLINE_S, Identity, TlsFiles, channel, from_rpc, preflight, probe
from proto.errors import Busy, Credential, ExchangeError, Transient
from proto.signing import Signer
from proto.v1 import desk_pb2, desk_pb2_grpc, exchange_pb2, exchange_pb2_grpc, node_pb2, node_pb2_grpc

Stamps = tuple[tuple[int, int, int], ...]
DESK_DEADLINE_S: Final = 25.0
NOT_YET_S: Final = 60.0
"""When to ask again a central that does not deliver yet."""
_Reply = TypeVar("_Reply")
_NOT_REACHED: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Address:
    """Where central is and who we are to it."""

    target: str
    tls: TlsFiles
    server_name: str = ""
    keepalive_s: int = 30

    def open(self) -> grpc.Channel:
        """A connection of its own; raises Credential when the certificate files cannot work."""
        keepalive = (("grpc.keepalive_time_ms", self.keepalive_s * 1000),)
        return channel(self.target, self.tls, self.server_name, keepalive)

    def stamps(self) -> Stamps:
        """What changes when one of the certificate files does."""
        return tuple(_stamp_of(path) for path in (self.tls.ca, self.tls.certificate, self.tls.key))

    def probe(self) -> None:
        """Shake hands with central once; raises Credential or Transient with the reason."""
        probe(self.target, self.tls, self.server_name)

    def explain(self, error: grpc.RpcError) -> ExchangeError:
        """What *error* means; where gRPC only says that the connection failed, the handshake is looked at."""
        meant = from_rpc(error)
        if error.code() in _NOT_REACHED and type(meant) is Transient:
            try:
                self.probe()
            except ExchangeError as reason:
                return reason
        return meant


class Link:
    """Central, as one node sees it. One thread sends heartbeats; sessions may be opened from any."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._control: grpc.Channel | None = None
        self._stamps: Stamps = ()

    def heartbeat(self, request: node_pb2.HeartbeatRequest) -> node_pb2.HeartbeatReply:
        """Say that we live and how; returns what central asks for. Raises Transient, Credential, Refused."""
        stub = node_pb2_grpc.NodeStub(self._control_channel())  # type: ignore[no-untyped-call]
        try:
            reply: node_pb2.HeartbeatReply = stub.Heartbeat(request, timeout=CALL_DEADLINE_S)
        except grpc.RpcError as error:
            # A fresh connection next time, instead of one that waits for its own backoff.
            self.close()
            raise self._address.explain(error) from error
        return reply

    def push_session(self, requests: Iterator[exchange_pb2.PushRequest]) -> PushCall:
        """Open a connection of its own and send *requests* as central takes them. Raises Credential."""
        return PushCall(self._address, requests)

    def pull_session(self, requests: Iterator[exchange_pb2.PullRequest]) -> PullCall:
        """The same for what is delivered to us."""
        return PullCall(self._address, requests)

    def do(self, request: desk_pb2.DeskRequest) -> desk_pb2.DeskReply:
        """Let a person of this department do something at central's desk, or a system ask. Raises what the desk raised."""
        return self._at_desk(lambda desk: desk.Do(request, timeout=DESK_DEADLINE_S))  # type: ignore[no-any-return]

    def verbs(self) -> desk_pb2.VerbsReply:
        """What can be done at central's desk."""
        ask = desk_pb2.VerbsRequest()
        return self._at_desk(lambda desk: desk.Verbs(ask, timeout=DESK_DEADLINE_S))  # type: ignore[no-any-return]

    def catalogue(self) -> node_pb2.NodeCatalogue:
        """This node's part of the sharing catalogue, as it came. Raises Transient, Credential, Refused."""
        with self._address.open() as opened:
            stub = node_pb2_grpc.NodeStub(opened)  # type: ignore[no-untyped-call]
            try:
                said: node_pb2.NodeCatalogue = stub.GetCatalogue(
                    node_pb2.GetCatalogueRequest(), timeout=DESK_DEADLINE_S
                )
            except grpc.RpcError as error:
                raise self._address.explain(error) from error
        return said

    def authorities(self) -> bytes:
        """The certificates we trust, PEM; raises Credential."""
        return self._address.tls.read()[0]

    def identity(self) -> Identity:
        """Who the certificate says we are; raises Credential if it cannot be used."""
        return preflight(self._address.tls)

    def signer(self) -> Signer:
        """What signs as us; raises Credential if it cannot be used."""
        return Signer.load(self._address.tls.certificate, self._address.tls.key)

    def probe(self) -> None:
        """Shake hands with central once; raises Credential or Transient with the reason."""
        self._address.probe()

    def close(self) -> None:
        """Let go of the connection for heartbeats."""
        control, self._control = self._control, None
        if control is not None:
            control.close()

    def _at_desk(self, ask: Callable[[desk_pb2_grpc.DeskStub], Any]) -> Any:
        with self._address.open() as opened:
            try:
                return ask(desk_pb2_grpc.DeskStub(opened))  # type: ignore[no-untyped-call]
            except grpc.RpcError as error:
                raise self._address.explain(error) from error

    def _control_channel(self) -> grpc.Channel:
        stamps = self._address.stamps()
        if self._control is None or stamps != self._stamps:
            try:
                opened = self._address.open()
            except Credential:
                # Files are replaced one after the other: half a change keeps the old connection until the rest came.
                if self._control is None:
                    raise
                return self._control
            self.close()
            self._control, self._stamps = opened, stamps
        return self._control


class Call(Generic[_Reply]):
    """One call that stays open, on its own connection."""

    def __init__(self, address: Address, begin: Callable[[exchange_pb2_grpc.ExchangeStub], Any]) -> None:
        self._address, self._stamps = address, address.stamps()
        self._channel = address.open()
        self._call = begin(exchange_pb2_grpc.ExchangeStub(self._channel))  # type: ignore[no-untyped-call]

    def replies(self) -> Iterator[_Reply]:
        """What central says, until the call ends; raises what ended it."""
        try:
            yield from self._call
        except grpc.RpcError as error:
            raise self._explained(error) from error

    def is_current(self) -> bool:
        """False when the certificate files changed since it was opened, and the new ones can be used."""
        if self._address.stamps() == self._stamps:
            return True
        try:
            preflight(self._address.tls)
        except Credential:
            return True
        return False

    def close(self) -> None:
        """End the call and its connection now."""
        self._call.cancel()
        self._channel.close()

    def _explained(self, error: grpc.RpcError) -> ExchangeError:
        return self._address.explain(error)


class PushCall(Call[exchange_pb2.PushReply]):
    """One call of central's Push."""

    def __init__(self, address: Address, requests: Iterator[exchange_pb2.PushRequest]) -> None:
        super().__init__(address, lambda exchange: exchange.Push(requests))


class PullCall(Call[exchange_pb2.PullReply]):
    """One call of central's Pull."""

    def __init__(self, address: Address, requests: Iterator[exchange_pb2.PullRequest]) -> None:
        super().__init__(address, lambda exchange: exchange.Pull(requests))

    def _explained(self, error: grpc.RpcError) -> ExchangeError:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            what = "central does not deliver anything yet; this way opens by itself once it does"
            return Busy(what, fix="nothing to do here", retry_s=NOT_YET_S)
        return super()._explained(error)


def _stamp_of(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
