"""``log``: what this department holds of the platform's log, as its witness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.console import STANDARD, Config, load, say, told

if TYPE_CHECKING:
    from agent.exchange import Witness

app = typer.Typer(help="The platform's log, as this department witnesses it.", no_args_is_help=True)


@app.command(short_help="Write down the checkpoints that are held.")
def checkpoints(
    out: Annotated[Path, typer.Option("--out", help="A new file.")], config: Config = STANDARD
) -> None:
    """Write the checkpoints that are held into a file, for whoever checks an export of the platform's log.

    They are checked with: exchange-central audit verify-export FOLDER --ca ca.pem --heads FILE
    """
    from proto.errors import Refused

    with told(), _witness(config) as witness:
        held = witness.held()
        if not held:
            raise Refused("no checkpoint is held yet", fix="the agent gets them with its heartbeats")
        try:
            with out.open("x", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{each.to_line()}\n" for each in held)
        except OSError as error:
            raise Refused(f"cannot be written: {error.strerror}", where=str(out)) from error
        say(f"{len(held)} checkpoints of the platform's log in {out}")
        say(f"next: exchange-central audit verify-export FOLDER --ca ca.pem --heads {out}")


@app.command(short_help="Begin anew after the platform explained why its log went back.")
def accept(
    reason: Annotated[str, typer.Option("--reason", help="What the platform said.", prompt=True)],
    config: Config = STANDARD,
) -> None:
    """Take the platform's next checkpoint as a new beginning. What is held stays as evidence and is still written out."""
    import getpass

    with told(), _witness(config) as witness:
        kept = witness.accept(f"{getpass.getuser()}: {reason}")
        say(f"the platform's next checkpoint begins anew; {kept} older ones stay as evidence")


@contextmanager
def _witness(config: Path) -> Iterator[Witness]:
    from agent.exchange import Witness, open_exchange

    settings = load(config)
    engine = open_exchange(settings.exchange.url.get_secret_value(), settings.node)
    try:
        yield Witness(engine)
    finally:
        engine.dispose()
