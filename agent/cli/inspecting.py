"""``batch``: what lies in the outbox, printed for people."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.console import STANDARD, Config, Source, told

app = typer.Typer(help="Batches in the outbox.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Batches in the outbox."""


@app.command()
def show(
    seq: Annotated[int, typer.Argument(help="Number of the batch.", min=1)],
    source: Source = "",
    rows: Annotated[int, typer.Option(help="How many rows of each kind to print.", min=0)] = 20,
    config: Config = STANDARD,
) -> None:
    """Print one batch with its rows, to compare with what central has."""
    with told():
        from agent.cli.records import exchange_of, print_batch

        with exchange_of(config, source) as exchange:
            print_batch(exchange, seq, rows)
