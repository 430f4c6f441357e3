"""Desk.Do: the person behind the certificate, or the person or system a node vouches for, does one verb."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from central.ca import NODE_URI
from central.people import Actor, Verb
from central.people.office import actor, actor_at_node, system_at_node
from central.rpc.answers import Context, answering
from central.rpc.identity import Doorkeeper, caller
from proto.errors import Refused
from proto.v1 import desk_pb2, desk_pb2_grpc

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024


class Doing(Protocol):
    """The desk; blocking."""

    @property
    def verbs(self) -> tuple[Verb, ...]:
        """What can be done."""
        ...

    def do(self, name: str, arguments: Mapping[str, Any], who: Callable[[Connection], Actor]) -> Any:
        """Do it."""
        ...


class DeskService(desk_pb2_grpc.DeskServicer):
    """Translates between the wire and the desk."""

    def __init__(self, door: Doorkeeper, desk: Doing, run: Callable[..., Awaitable[Any]]) -> None:
        self._door = door
        self._desk = desk
        self._run = run

    async def Do(  # noqa: N802 - the wire's name
        self, request: desk_pb2.DeskRequest, context: Context
    ) -> desk_pb2.DeskReply:
        """One verb."""
        async with answering(context, "Do", self._door.note):
            who = await self._who(context, request.person, request.system)
            answer = await self._run(self._desk.do, request.verb, _arguments(request), who)
            return desk_pb2.DeskReply(answer=_said(request.verb, answer))
        raise AssertionError("a call that failed was aborted")

    async def Verbs(  # noqa: N802 - the wire's name
        self, request: desk_pb2.VerbsRequest, context: Context
    ) -> desk_pb2.VerbsReply:
        """What there is to do, for whoever is admitted."""
        del request
        async with answering(context, "Verbs", self._door.note):
            if caller(context)[1].startswith(NODE_URI):
                await self._door.node(context)
            else:
                await self._door.person(context)
            return desk_pb2.VerbsReply(verbs=[_described(verb) for verb in self._desk.verbs])
        raise AssertionError("a call that failed was aborted")

    async def _who(self, context: Context, person: str, system: str) -> Callable[[Connection], Actor]:
        if caller(context)[1].startswith(NODE_URI):
            node = await self._door.node(context)
            if bool(person) == bool(system):
                fix = "name the person; or the system, when no person asks"
                raise Refused("a node must say for whom it speaks", where=node, fix=fix)
            if system:
                return lambda connection: system_at_node(connection, system, node)
            return lambda connection: actor_at_node(connection, person, node)
        if system:
            raise Refused("a system asks with the certificate of its department's node", where=system[:40])
        if person:
            raise Refused("a person's certificate speaks for that person alone", where=person[:40])
        name = await self._door.person(context)
        return lambda connection: actor(connection, name, "certificate")


def _arguments(request: desk_pb2.DeskRequest) -> Mapping[str, Any]:
    try:
        arguments = json.loads(request.arguments or "{}")
    except ValueError as error:
        raise Refused("the arguments are not JSON", where=request.verb[:60]) from error
    if not isinstance(arguments, dict):
        raise Refused("the arguments are not a JSON object", where=request.verb[:60])
    return arguments


def _said(verb: str, answer: Any) -> str:
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_ANSWER_BYTES:
        raise Refused(f"the answer is over {MAX_ANSWER_BYTES} bytes", where=verb, fix="ask for fewer at once")
    return text


def _described(verb: Verb) -> desk_pb2.VerbDescription:
    schema = json.dumps(verb.arguments.model_json_schema(), ensure_ascii=False)
    return desk_pb2.VerbDescription(
        name=verb.name, help=verb.help, roles=sorted(verb.roles), writes=verb.writes, arguments=schema
    )
