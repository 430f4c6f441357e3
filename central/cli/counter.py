"""How commands reach the desk: in this process on central's own machine, or over the wire with a person's certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import typer
from typer.core import TyperGroup

from central.cli.options import DEFAULT_CONFIG, settings_of, store_of
from central.cli.output import whoami
from proto.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from central.desk import Desk
    from central.people import Actor

Person = Annotated[
    str,
    typer.Option("--as", help="On central's machine: who decides; on record as such."),
]
At = Annotated[str, typer.Option("--at", help="host:port of one elsewhere; with --certificates.")]
Certificates = Annotated[
    Path | None, typer.Option("--certificates", help="Folder with ca.pem, person.pem and person.key.")
]
Config = Annotated[
    Path, typer.Option("--config", "-c", help=f"Settings; {DEFAULT_CONFIG}.", show_default=False)
]


_WAYS: Final = frozenset({"--as", "--at", "--certificates", "--config", "-c"})


class AnywhereGroup(TyperGroup):
    """A group whose ways to the desk may stand behind its command as well: ``share inbox --as li-na``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The ways first, in their order; what stands after ``--`` is left alone."""
        return super().parse_args(ctx, ways_first(args))


def ways_first(words: Sequence[str]) -> list[str]:
    """*words* with ``--as``, ``--at``, ``--certificates`` and ``--config`` in front of all others."""
    ways, others = [], []
    reader = iter(words)
    for word in reader:
        if word == "--":
            others.append(word)
            break
        if word in _WAYS:
            ways += [word, *islice(reader, 1)]
        elif word.partition("=")[0] in _WAYS:
            ways.append(word)
        else:
            others.append(word)
    return [*ways, *others, *reader]


class Counter(Protocol):
    """Where verbs are done."""

    def do(self, verb: str, **arguments: Any) -> Any:
        """Do one; raises Refused, NotAdmitted, Transient."""
        ...


@dataclass(frozen=True, slots=True)
class Ways:
    """What a command was told about where to decide; commands take it from their callback's context."""

    person: str
    at: str
    certificates: Path | None
    config: Path


def ways(
    context: typer.Context,
    person: Person = "",
    at: At = "",
    certificates: Certificates = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """The callback of every group whose commands go to the desk."""
    context.obj = Ways(person, at, certificates, config)


@contextmanager
def counter(context: typer.Context) -> Iterator[Counter]:
    """The desk, however it is reached."""
    told: Ways = context.find_object(Ways) or Ways("", "", None, DEFAULT_CONFIG)
    if told.at or told.certificates:
        with _remote(told) as remote:
            yield remote
        return
    yield _console(told)


def _console(told: Ways) -> Counter:
    from central.daemon.office import desk_of

    settings = settings_of(told.config)
    if not settings.console_decides:
        fix = "use --at and --certificates, or let the settings say console_decides: true"
        raise Refused("nothing is decided at the console here", where=str(told.config), fix=fix)
    if not told.person:
        raise Refused(
            "nobody decides",
            where="--as",
            fix="name the person: --as PERSON; 'person list' shows who there is",
        )
    return _Console(desk_of(settings, store_of(settings)), told.person)


@dataclass(frozen=True, slots=True)
class _Console:
    desk: Desk
    person: str

    def do(self, verb: str, **arguments: Any) -> Any:
        """In this process."""
        from central.people.office import actor

        def who(connection: Connection) -> Actor:
            return actor(connection, self.person, f"console by {whoami()}")

        return self.desk.do(verb, arguments, who)


@contextmanager
def _remote(told: Ways) -> Iterator[Counter]:
    from central.rpc.client import DeskClient
    from proto.channel import TlsFiles

    if not told.at or told.certificates is None:
        raise Refused("--at and --certificates go together", where="--at", fix="give both, or neither")
    folder = told.certificates
    with DeskClient(
        told.at, TlsFiles(folder / "ca.pem", folder / "person.pem", folder / "person.key")
    ) as client:
        yield client


def arguments_of(text: str) -> dict[str, Any]:
    """A JSON object from the command line; raises Refused."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Refused(f"is not JSON: {error}", where=text[:60]) from error
    if not isinstance(found, dict):
        raise Refused("is not a JSON object", where=text[:60])
    return found
