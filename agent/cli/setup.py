"""``init`` and ``check``: from a business database to a settings file that works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.console import (
    STANDARD,
    STANDARD_DATA,
    STANDARD_SOCKET,
    WRONG,
    AsJson,
    Config,
    load,
    say,
    say_json,
    told,
)
from proto.errors import Refused

SettingsOnly = Annotated[
    bool,
    typer.Option("--settings-only", help="Read the file and ask nobody: what a start needs to be right."),
]
OPTION_LIST = typer.Option(
    "--table", "-t", help="A table to share, schema.table; may be repeated. All with a key when left out."
)


def init(  # noqa: PLR0913, PLR0917 - each is one option of the command line
    node: Annotated[str, typer.Option(help="This node's name at the platform.", prompt=True)],
    central: Annotated[str, typer.Option(help="The platform's address, host:port.", prompt=True)],
    dsn: Annotated[
        str,
        typer.Option(help="What to listen to: a database's URL, an ODBC connection string, or a folder."),
    ] = "",
    receive_only: Annotated[
        bool, typer.Option("--receive-only", help="Share nothing, only receive: no --dsn.")
    ] = False,
    kind: Annotated[
        str, typer.Option(help="The way of listening; the one that init recommends when left out.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Where to write the settings.")] = Path("agent.yaml"),
    source: Annotated[str, typer.Option(help="A short name for this database.")] = "main",
    table: Annotated[list[str] | None, OPTION_LIST] = None,
    exchange: Annotated[str, typer.Option(help="Address of the exchange database.")] = "",
    socket: Annotated[Path | None, typer.Option(help="Where status and the other commands ask.")] = None,
    certificates: Annotated[
        Path | None,
        typer.Option(help="Directory with ca.pem, node.pem and node.key; beside the settings by default."),
    ] = None,
) -> None:
    """Ask what is there and how it can be listened to, and write a commented settings file; change nothing else.

    Example: exchange-agent init --dsn postgresql://ex_capture@db.internal/population --node population
    --central platform.example:7443 --certificates population-bundle
    """
    if not receive_only and not dsn:
        dsn = typer.prompt("Dsn")
    with told():
        from agent.cli.proposing import propose
        from agent.cli.template import Answers, save

        if receive_only and (dsn or kind or table):
            raise Refused(
                "a node that only receives listens to nothing",
                where="--receive-only",
                fix="leave out --dsn, --kind and --table",
            )
        out = out.absolute()
        listening = None if receive_only else propose(dsn, source, kind, table or [])
        answers = Answers(
            out=out,
            node=node,
            address=central,
            source=source,
            exchange=exchange or f"sqlite:///{_data(out) / 'exchange.db'}",
            socket=socket or (STANDARD_SOCKET if out == STANDARD else out.parent / "agent.sock"),
            certificates=certificates.absolute() if certificates else out.parent,
        )
        save(answers, listening)
    if listening is None:
        say(f"wrote {out} for a node that only receives\nnext: exchange-agent check --config {out}")
        return
    count = len(listening.chosen) + len(listening.samples)
    tables_said = "1 table" if count == 1 else f"{count} tables"
    say(
        f"\nwrote {out} for a source of kind {listening.kind} with {tables_said}\nnext: exchange-agent check --config {out}"
    )


def _data(out: Path) -> Path:
    """Beside the settings, except where the service runs: it may write nowhere in /etc."""
    return STANDARD_DATA if out == STANDARD else out.parent


def check(config: Config = STANDARD, as_json: AsJson = False, settings_only: SettingsOnly = False) -> None:
    """Look at every prerequisite and say how to mend what is missing; change nothing.

    Exit code 0: all is well, 1: something is missing, 2: the settings are wrong.
    """
    with told():
        settings = load(config)
        if settings_only:
            say("the settings are in order")
            return
        from agent.cli.checks import findings

        found = list(findings(settings))
    failed = [one for one in found if not one.passed]
    if as_json:
        say_json([{"name": f.name, "passed": f.passed, "sentence": f.sentence, "fix": f.fix} for f in found])
    else:
        for one in found:
            say(f"{'✓' if one.passed else '✗'} {one.name}: {one.sentence}")
            if one.fix:
                say(f"    {'advice: ' if one.passed else ''}" + one.fix.replace("\n", "\n    "))
        say(f"\n{len(found) - len(failed)} of {len(found)} in order")
    raise typer.Exit(WRONG if failed else 0)
