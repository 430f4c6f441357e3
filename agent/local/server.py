"""Answers on the Unix socket; every call is one question to the running node."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

import grpc

from proto.channel import error_status
from proto.errors import ExchangeError, Refused
from proto.v1 import desk_pb2, local_pb2, local_pb2_grpc

THREADS: Final = 4
GRACE_S: Final = 1.0
OPERATOR: Final = "operator"
_Answer = TypeVar("_Answer")
_Sentence = Callable[[], str]


class Control(Protocol):
    """The running node, as people may steer it. What is done answers in one sentence; raises ExchangeError."""

    def status(self) -> local_pb2.AgentStatus:
        """Everything worth knowing now."""
        ...

    def pause(self, source: str, who: str) -> str:
        """Stop one source, or all with ``""``, until resumed; it is recorded who said so."""
        ...

    def resume(self, source: str, who: str) -> str:
        """Let a paused or halted source, or all, go on."""
        ...

    def snapshot(self, source: str, table: str, who: str) -> str:
        """Copy a table afresh."""
        ...

    def reload(self) -> str:
        """Read the settings file again."""
        ...

    def quarantine(self, source: str) -> Iterable[local_pb2.QuarantineEntry]:
        """What is held back, of one source or of all."""
        ...

    def retry(self, source: str, table: str, who: str) -> str:
        """Apply a table's held changes again."""
        ...

    def skip(self, request: local_pb2.SkipQuarantineRequest) -> str:
        """Leave one held entry out for good; it is recorded who said so."""
        ...

    def retry_received(self, grant: str, who: str) -> str:
        """Let a held grant of another department, or an import of it, go on."""
        ...

    def ask(self, request: desk_pb2.DeskRequest) -> desk_pb2.DeskReply:
        """Let a person of the department do something at central's desk, or one of its systems ask for rows."""
        ...

    def verbs(self) -> desk_pb2.VerbsReply:
        """What can be done at central's desk."""
        ...


class LocalServer:
    """Listens on *path*, for the owner of the process and root alone."""

    def __init__(self, path: Path, control: Control) -> None:
        _refuse_second(path)
        self._path = path
        self._server = grpc.server(ThreadPoolExecutor(THREADS, thread_name_prefix="local"))
        local_pb2_grpc.add_LocalServicer_to_server(_Service(control), self._server)  # type: ignore[no-untyped-call]

    def start(self) -> None:
        """Open the socket; raises Refused if that is not possible here."""
        path = self._path
        mask = os.umask(0o077)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # gRPC makes the socket with the mode the mask leaves, so nobody else can open it for even a moment.
            os.umask(0o177)
            self._server.add_insecure_port(f"unix:{path}")
        except (OSError, RuntimeError) as error:
            raise Refused(
                f"the socket cannot be made: {error}", where=str(path), fix="change 'socket' in the settings"
            ) from error
        finally:
            os.umask(mask)
        self._server.start()

    def stop(self) -> None:
        """Answer what was asked, then close."""
        self._server.stop(GRACE_S).wait(GRACE_S)
        self._path.unlink(missing_ok=True)


class _Service(local_pb2_grpc.LocalServicer):
    def __init__(self, control: Control) -> None:
        self._control = control

    def GetStatus(  # noqa: N802 - the names of the calls are the contract's
        self, request: local_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> local_pb2.AgentStatus:
        return _answer(context, self._control.status)

    def Pause(self, request: local_pb2.StreamRequest, context: grpc.ServicerContext) -> local_pb2.Done:  # noqa: N802
        return _done(context, lambda: self._control.pause(request.source, _who(request)))

    def Resume(self, request: local_pb2.StreamRequest, context: grpc.ServicerContext) -> local_pb2.Done:  # noqa: N802
        return _done(context, lambda: self._control.resume(request.source, _who(request)))

    def Snapshot(self, request: local_pb2.TableRequest, context: grpc.ServicerContext) -> local_pb2.Done:  # noqa: N802
        return _done(context, lambda: self._control.snapshot(request.source, request.table, _who(request)))

    def Reload(self, request: local_pb2.ReloadRequest, context: grpc.ServicerContext) -> local_pb2.Done:  # noqa: N802
        return _done(context, self._control.reload)

    def ListQuarantine(  # noqa: N802
        self, request: local_pb2.ListQuarantineRequest, context: grpc.ServicerContext
    ) -> local_pb2.QuarantineList:
        return _answer(
            context, lambda: local_pb2.QuarantineList(entries=self._control.quarantine(request.source))
        )

    def RetryQuarantine(  # noqa: N802
        self, request: local_pb2.TableRequest, context: grpc.ServicerContext
    ) -> local_pb2.Done:
        return _done(context, lambda: self._control.retry(request.source, request.table, _who(request)))

    def SkipQuarantine(  # noqa: N802
        self, request: local_pb2.SkipQuarantineRequest, context: grpc.ServicerContext
    ) -> local_pb2.Done:
        return _done(context, lambda: self._control.skip(request))

    def RetryReceived(  # noqa: N802
        self, request: local_pb2.ReceivedRequest, context: grpc.ServicerContext
    ) -> local_pb2.Done:
        return _done(context, lambda: self._control.retry_received(request.grant, request.who or OPERATOR))

    def Ask(self, request: desk_pb2.DeskRequest, context: grpc.ServicerContext) -> desk_pb2.DeskReply:  # noqa: N802
        return _answer(context, lambda: self._control.ask(request))

    def Verbs(self, request: desk_pb2.VerbsRequest, context: grpc.ServicerContext) -> desk_pb2.VerbsReply:  # noqa: N802
        del request
        return _answer(context, self._control.verbs)


def _answer(context: grpc.ServicerContext, ask: Callable[[], _Answer]) -> _Answer:
    try:
        return ask()
    except ExchangeError as error:
        context.abort_with_status(error_status(error))
        raise


def _done(context: grpc.ServicerContext, act: _Sentence) -> local_pb2.Done:
    return local_pb2.Done(sentence=_answer(context, act))


def _who(request: local_pb2.StreamRequest | local_pb2.TableRequest) -> str:
    return request.who or OPERATOR


def _refuse_second(path: Path) -> None:
    """A socket that answers belongs to another agent; a dead one is left over from a crash."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        try:
            door.connect(str(path))
        except OSError:
            return
    raise Refused(
        "another exchange-agent answers on this socket",
        where=str(path),
        fix="stop it, or give each agent its own 'socket' in the settings",
    )
