"""Asking the running agent, from its own machine."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc

from proto.channel import MAX_MESSAGE_BYTES, from_rpc, was_said
from proto.errors import Refused
from proto.v1 import desk_pb2, local_pb2, local_pb2_grpc

DEADLINE_S: Final = 30.0
_OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES))


class NotRunning(Refused):
    """Nobody answers on the agent's socket."""

    code = "NOT_RUNNING"


class LocalClient:
    """The running agent behind *path*. Every call raises NotRunning, or what the agent answered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._who = whoami()
        self._channel = grpc.insecure_channel(f"unix:{path}", _OPTIONS)
        self._stub = local_pb2_grpc.LocalStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def status(self) -> local_pb2.AgentStatus:
        """Everything worth knowing now."""
        return self._ask("GetStatus", local_pb2.GetStatusRequest())  # type: ignore[no-any-return]

    def pause(self, source: str) -> str:
        """Stop one source, or all with ``""``."""
        return self._do("Pause", local_pb2.StreamRequest(source=source, who=self._who))

    def resume(self, source: str) -> str:
        """Let one source, or all, go on."""
        return self._do("Resume", local_pb2.StreamRequest(source=source, who=self._who))

    def snapshot(self, source: str, table: str) -> str:
        """Copy a table afresh."""
        return self._do("Snapshot", local_pb2.TableRequest(source=source, table=table, who=self._who))

    def reload(self) -> str:
        """Read the settings file again."""
        return self._do("Reload", local_pb2.ReloadRequest())

    def quarantine(self, source: str) -> list[local_pb2.QuarantineEntry]:
        """What is held back, of one source or of all."""
        answer = self._ask("ListQuarantine", local_pb2.ListQuarantineRequest(source=source))
        return list(answer.entries)

    def retry(self, source: str, table: str) -> str:
        """Apply a table's held changes again."""
        return self._do("RetryQuarantine", local_pb2.TableRequest(source=source, table=table, who=self._who))

    def skip(self, request: local_pb2.SkipQuarantineRequest) -> str:
        """Leave one held entry out for good."""
        return self._do("SkipQuarantine", request)

    def retry_received(self, grant: str) -> str:
        """Let a held grant of another department, or an import of it, go on."""
        return self._do("RetryReceived", local_pb2.ReceivedRequest(grant=grant, who=self._who))

    def ask(self, verb: str, arguments: str, person: str = "", system: str = "") -> str:
        """Do something at central's desk, for a person or a system of the department; its answer, JSON."""
        request = desk_pb2.DeskRequest(verb=verb, arguments=arguments, person=person, system=system)
        answer: desk_pb2.DeskReply = self._ask("Ask", request)
        return answer.answer

    def verbs(self) -> list[desk_pb2.VerbDescription]:
        """What can be done there."""
        return list(self._ask("Verbs", desk_pb2.VerbsRequest()).verbs)

    def _do(self, call: str, request: Any) -> str:
        answer: local_pb2.Done = self._ask(call, request)
        return answer.sentence

    def _ask(self, call: str, request: Any) -> Any:
        try:
            return getattr(self._stub, call)(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            meant = from_rpc(error)
            # What the agent itself says is not available lies behind it.
            if error.code() is grpc.StatusCode.UNAVAILABLE and not was_said(error):
                raise self._not_running() from error
            raise meant from error

    def _not_running(self) -> NotRunning:
        if self._path.exists() and not _may_open(self._path):
            return NotRunning(
                "the agent's socket belongs to another user",
                where=str(self._path),
                fix="use the agent's account: sudo -u exchange-agent exchange-agent …",
            )
        return NotRunning(
            "the agent is not running here",
            where=str(self._path),
            fix="start it: systemctl start exchange-agent, its log: journalctl -u exchange-agent; or in this terminal: "
            "exchange-agent run",
        )


def whoami() -> str:
    """Who asks, for the record."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _may_open(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)
