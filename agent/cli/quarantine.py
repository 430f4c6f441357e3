"""``quarantine``: what is held back and why; try again or leave out, on record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from agent.cli.asking import client
from agent.cli.console import STANDARD, AsJson, Config, Source, plain, say, say_json, told

app = typer.Typer(help="Changes that are held back, and what to do with them.", no_args_is_help=True)
Table = Annotated[str, typer.Argument(help="Catalogued name of the table.")]
Entry = Annotated[int, typer.Argument(help="Number of the entry, as listed.")]


@app.command("list")
def listing(source: Source = "", config: Config = STANDARD, as_json: AsJson = False) -> None:
    """What is held back, oldest first."""
    with told(), client(config) as agent:
        entries = agent.quarantine(source)
    if as_json:
        say_json([plain(entry) for entry in entries])
        return
    if not entries:
        say("nothing is held back")
        return
    from agent.cli.picture import table

    rows = [
        (str(e.id), e.source, e.table, str(e.rows), _moment(e.since_us), f"{e.code}: {e.what}", e.fix)
        for e in entries
    ]
    table(("entry", "source", "table", "rows", "since", "why", "what to do"), rows)


@app.command()
def show(entry: Entry, source: Source = "", config: Config = STANDARD) -> None:
    """Print the rows of an entry.

    Beside 'batch show' this is the only place where values are printed.
    """
    with told():
        from agent.cli.records import exchange_of, print_deltas

        with exchange_of(config, source) as exchange:
            print_deltas(exchange.quarantined_rows(entry))


@app.command(short_help="Apply held changes again, once their cause is mended.")
def retry(table: Table, source: Source = "", config: Config = STANDARD) -> None:
    """Apply the held changes of a table again, once their cause is mended."""
    with told(), client(config) as agent:
        say(agent.retry(source, table))


@app.command()
def skip(
    table: Table,
    entry: Entry,
    reason: Annotated[str, typer.Option(help="Why; it is recorded with your name.")],
    source: Source = "",
    config: Config = STANDARD,
) -> None:
    """Leave one entry out for good; its rows are kept, and who decided it is recorded.

    Example: exchange-agent quarantine skip person 7 --reason "a duplicate, see the file of 3 May"
    """
    with told(), client(config) as agent:
        from agent.local.client import whoami
        from proto.v1 import local_pb2

        request = local_pb2.SkipQuarantineRequest(
            source=source, table=table, id=entry, who=whoami(), reason=reason
        )
        say(agent.skip(request))


def _moment(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
