"""``audit retirement``: records that were kept long enough leave, by two persons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from central.cli.counter import counter, ways
from central.cli.output import Json, moment, say, say_json, show, table
from proto.errors import Refused

app = typer.Typer(
    help="Records that were kept long enough leave: ask, confirm, list.",
    callback=ways,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(short_help="Propose that old records leave.")
def ask(
    context: typer.Context,
    before: Annotated[str, typer.Option("--before", help="Records of earlier days, like 2020-01-01.")],
    export: Annotated[Path, typer.Option("--export", help="A folder of 'audit export' that holds them.")],
    ca: Annotated[Path, typer.Option("--ca", help="As for 'audit verify-export'.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the log.", prompt=True)],
    as_json: Json = False,
) -> None:
    """Verify the export, then propose that the records before a day leave the database. Nothing is removed yet.

    Example: exchange-central audit retirement --as he-shen ask --before 2020-01-01 --export log-2025 --ca ca.pem
    """
    from central.log.checking import check_export
    from central.log.export import CERTIFICATE, INDEX, SIGNATURE

    report = check_export(export, ca.read_bytes() if ca.is_file() else b"")
    if report.findings:
        fix = "make another export and verify it"
        raise Refused(f"the export is not whole: {report.findings[0]}", where=str(export), fix=fix)
    said = {
        name: (export / file).read_text("utf-8")
        for name, file in (("index", INDEX), ("signature", SIGNATURE), ("certificate", CERTIFICATE))
    }
    with counter(context) as desk:
        asked = desk.do("audit.retire", before=before, reason=reason, **said)
    if as_json:
        say_json(asked)
        return
    show(table(("chain", "up to record"), ((each["chain"], str(each["up_to"])) for each in asked["chains"])))
    say(f"next: another person, authority or security_admin: audit retirement confirm {asked['number']}")


@app.command(short_help="Let them go, as another person.")
def confirm(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="Of the proposal, as listed.")],
    as_json: Json = False,
) -> None:
    """Remove the proposed records for good; a tombstone stays from which the rest of each chain still verifies."""
    with counter(context) as desk:
        done = desk.do("audit.confirm_retirement", number=number)
    if as_json:
        say_json(done)
        return
    say(f"{done['records']} records of {done['chains']} chains are gone; the export is their only copy now")
    say("next: exchange-central audit verify")


@app.command("list")
def list_retirements(context: typer.Context, as_json: Json = False) -> None:
    """Every retirement, newest first."""
    with counter(context) as desk:
        found = desk.do("audit.retirements")
    if as_json:
        say_json(found)
        return
    rows = [
        (
            str(each["id"]),
            moment(each["before_us"]),
            each["asked_by"],
            each["confirmed_by"] or "waits",
            each["reason"],
        )
        for each in found
    ]
    show(table(("number", "before", "asked by", "confirmed by", "reason"), rows))
    say("next: exchange-central audit retirement confirm NUMBER, for one that waits")
