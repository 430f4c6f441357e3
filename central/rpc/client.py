"""The running central as its operators' commands see it: one call each, with the operator's certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

import grpc

from proto.channel import CALL_DEADLINE_S, TlsFiles, channel, from_rpc
from proto.errors import Transient
from proto.v1 import desk_pb2, desk_pb2_grpc, status_pb2, status_pb2_grpc

DESK_DEADLINE_S: Final = 60.0
LONG_DEADLINE_S: Final = 900.0
LONG: Final = frozenset({"catalogue.release"})
"""Verbs that take as long as the catalogue is large."""


class StatusClient:
    """Asks a running central; raises what central raised, Transient when it cannot be reached."""

    def __init__(self, target: str, tls: TlsFiles) -> None:
        self._target = target
        self._channel = channel(target, tls)
        self._stub = status_pb2_grpc.StatusStub(self._channel)  # type: ignore[no-untyped-call]
        self._watching: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def nodes(self) -> status_pb2.ListNodesReply:
        """Every node."""
        try:
            reply: status_pb2.ListNodesReply = self._stub.ListNodes(
                status_pb2.ListNodesRequest(), timeout=CALL_DEADLINE_S
            )
        except grpc.RpcError as error:
            raise self._meant(error) from error
        return reply

    def watch(self, interval_ms: int) -> Iterator[status_pb2.ListNodesReply]:
        """Every node, again and again, until :meth:`stop_watching`."""
        self._watching = self._stub.WatchNodes(status_pb2.WatchNodesRequest(interval_ms=interval_ms))
        try:
            yield from self._watching
        except grpc.RpcError as error:
            if not self._watching.cancelled():
                raise self._meant(error) from error

    def stop_watching(self) -> None:
        """End :meth:`watch`; a signal's handler may call it."""
        if self._watching is not None:
            self._watching.cancel()

    def explain(self, node: str) -> list[str]:
        """One line per leg."""
        try:
            request = status_pb2.ExplainNodeRequest(node=node)
            return list(self._stub.ExplainNode(request, timeout=CALL_DEADLINE_S).lines)
        except grpc.RpcError as error:
            raise self._meant(error) from error

    def _meant(self, error: grpc.RpcError) -> Exception:
        return _meant(error, self._target)


class DeskClient:
    """The desk of a running central, for the person whose certificate it is."""

    def __init__(self, target: str, tls: TlsFiles) -> None:
        self._target = target
        self._channel = channel(target, tls)
        self._stub = desk_pb2_grpc.DeskStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def do(self, verb: str, **arguments: Any) -> Any:
        """Do one verb; raises what the desk raised, Transient when it cannot be reached."""
        request = desk_pb2.DeskRequest(verb=verb, arguments=json.dumps(arguments, ensure_ascii=False))
        deadline_s = LONG_DEADLINE_S if verb in LONG else DESK_DEADLINE_S
        try:
            return json.loads(self._stub.Do(request, timeout=deadline_s).answer)
        except grpc.RpcError as error:
            raise _meant(error, self._target) from error


def _meant(error: grpc.RpcError, target: str) -> Exception:
    meant = from_rpc(error)
    if type(meant) is Transient and not meant.where:
        fix = meant.fix or "is 'exchange-central serve' running, and is 'advertise' its name?"
        return Transient(meant.what, where=target, fix=fix)
    return meant
