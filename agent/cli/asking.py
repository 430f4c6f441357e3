"""Commands that ask the running agent: status, snapshot, pause, resume, reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.console import STANDARD, AsJson, Config, Source, plain, say, say_json, socket_of, told

if TYPE_CHECKING:
    from pathlib import Path

    from agent.local import LocalClient

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every second, until Ctrl-C.")]
OnlySource = Annotated[str, typer.Argument(help="Name of the source; all of them when left out.")]


def client(config: Path) -> LocalClient:
    """The running agent of this settings file."""
    from agent.local import LocalClient

    return LocalClient(socket_of(config))


def status(config: Config = STANDARD, watch: Watch = False, as_json: AsJson = False) -> None:
    """How the streams and tables are, and what to do where something is wrong."""
    with told(), client(config) as agent:
        if as_json:
            say_json(plain(agent.status()))
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
    """Copy a table afresh; changes keep flowing beside it.

    Examples: exchange-agent snapshot person, or, out of a gap: exchange-agent snapshot --all
    """
    with told(), client(config) as agent:
        from proto.errors import Refused

        if bool(table) == every:
            raise Refused("either a table or --all", fix="exchange-agent snapshot TABLE, or snapshot --all")
        say(agent.snapshot(source, table))


def pause(source: OnlySource = "", config: Config = STANDARD) -> None:
    """Stop a source until somebody resumes it, through restarts: nothing is read and nothing leaves."""
    with told(), client(config) as agent:
        say(agent.pause(source))


def resume(source: OnlySource = "", config: Config = STANDARD) -> None:
    """Let a paused source go on, or try a halted one again now."""
    with told(), client(config) as agent:
        say(agent.resume(source))


def reload(config: Config = STANDARD) -> None:
    """Read the settings file again, as SIGHUP does."""
    with told(), client(config) as agent:
        say(agent.reload())
