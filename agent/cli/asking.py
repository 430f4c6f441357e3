"""Commands that ask the running agent: status, snapshot, pause, resume, reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.console import STANDARD, AsJson, Config, Source, say, say_json, socket_of, told

if TYPE_CHECKING:
    from pathlib import Path

    from agent.local import LocalClient

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it.")]
OnlySource = Annotated[str, typer.Argument(help="Name of the source; all of them when left out.")]


def client(config: Path) -> LocalClient:
    """The running agent of this settings file."""
    from agent.local import LocalClient

    return LocalClient(socket_of(config))


def status(config: Config = STANDARD, watch: Watch = False, as_json: AsJson = False) -> None:
    """How the streams and tables are, and what to do where something is wrong."""
    with told(), client(config) as agent:
        if as_json:
            from google.protobuf.json_format import MessageToDict

            say_json(MessageToDict(agent.status(), always_print_fields_with_no_presence=True))
            return
        from agent.cli.picture import follow, show

        if watch:
            follow(agent.status)
        else:
            show(agent.status())


def snapshot(
    table: Annotated[str, typer.Argument(help="Catalogued name of the table.")] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Every table, from a new place in the log: the way out of a gap.")
    ] = False,
    source: Source = "",
    config: Config = STANDARD,
) -> None:
    """Copy a table afresh; changes keep flowing beside it."""
    with told(), client(config) as agent:
        from proto.errors import Refused

        if bool(table) == every:
            raise Refused("either a table or --all", fix="exchange-agent snapshot TABLE, or snapshot --all")
        say(agent.snapshot(source, table))


def pause(source: OnlySource = "", config: Config = STANDARD) -> None:
    """Stop a source until resumed: nothing is read and nothing leaves."""
    with told(), client(config) as agent:
        say(agent.pause(source))


def resume(source: OnlySource = "", config: Config = STANDARD) -> None:
    """Let a paused or halted source go on."""
    with told(), client(config) as agent:
        say(agent.resume(source))


def reload(config: Config = STANDARD) -> None:
    """Read the settings file again, as SIGHUP does."""
    with told(), client(config) as agent:
        say(agent.reload())
