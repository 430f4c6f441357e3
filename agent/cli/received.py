"""``received``: what other departments share with this one, how far it is, and what keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.asking import client
from agent.cli.console import STANDARD, AsJson, Config, plain, say, say_json, told

if TYPE_CHECKING:
    from proto.v1 import node_pb2

app = typer.Typer(help="What other departments share with this one.", no_args_is_help=True)
Grant = Annotated[str, typer.Argument(help="Number of the grant, as listed.")]


@app.command("list")
def listing(config: Config = STANDARD, as_json: AsJson = False) -> None:
    """What is received, from whom, until when, and how far it is."""
    with told(), client(config) as agent:
        status = agent.status()
    if as_json:
        say_json([plain(each) for each in status.received])
        return
    from agent.cli.picture import received

    received(status)


@app.command()
def show(grant: Grant, config: Config = STANDARD, as_json: AsJson = False) -> None:
    """Everything there is to know of one grant."""
    with told(), client(config) as agent:
        report = _found(list(agent.status().received), grant)
        if as_json:
            say_json(plain(report))
            return
        from agent.cli.picture import reception

        for line in reception(report):
            say(line)


@app.command(short_help="Let a held grant go on, once its cause is mended.")
def retry(grant: Grant, config: Config = STANDARD) -> None:
    """Let a held grant, or an import that stopped, go on once its cause is mended; it is recorded who said so."""
    with told(), client(config) as agent:
        say(agent.retry_received(grant))


def _found(reports: list[node_pb2.ReceivedReport], grant: str) -> node_pb2.ReceivedReport:
    from proto.errors import Refused

    for each in reports:
        if each.grant == grant:
            return each
    known = ", ".join(each.grant for each in reports) or "nothing is received yet"
    raise Refused(f"there is no grant {grant}", fix=f"exchange-agent received list: {known}")
