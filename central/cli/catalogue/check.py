"""The check: every rule on every entry, a signed report, and an exit code that says how it went."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter as Tally
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from central.cli.catalogue.group import CHECKS, app, write_text
from central.cli.counter import Counter, counter
from central.cli.output import Json, fail, moment, say, say_json, show, table
from proto.errors import ExchangeError, Refused

FAULTY: Final = 1
NOT_CHECKED: Final = 2
PAGE: Final = 100
MOST_SHOWN: Final = 200


@app.command(short_help="Every rule on every entry; a signed report.", rich_help_panel=CHECKS)
def check(
    context: typer.Context,
    entry: Annotated[str, typer.Option("--entry", help="Only this one, by its code.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where the signed report goes.")] = None,
    as_json: Json = False,
) -> None:
    """Check the catalogue against the rules V01 to V24, the other entries, and the tables as they are. Changes nothing.

    Exit code 0: no error, 1: errors were found, 2: it could not be checked.
    Example: exchange-central catalogue --at platform.example:7443 --certificates tester check --out report.json
    """
    try:
        with counter(context) as desk:
            pages = list(_pages(desk, entry))
    except ExchangeError as error:
        fail(error)
        raise typer.Exit(NOT_CHECKED) from error
    reports = [json.loads(page["report"]) for page in pages]
    findings = [each for report in reports for each in report["findings"]]
    tally = Tally(each["severity"] for each in findings)
    if out is not None:
        write_text(out, json.dumps([_signed(page) for page in pages], ensure_ascii=False, indent=1) + "\n")
    if as_json:
        say_json(
            {"counts": dict(tally), "entries": sum(len(r["checked"]) for r in reports), "findings": findings}
        )
    else:
        _print(reports, findings, tally, out)
    if tally["error"]:
        raise typer.Exit(FAULTY)


@app.command(
    "verify-report",
    short_help="Whether a report is what the platform signed; asks nobody.",
    rich_help_panel=CHECKS,
)
def verify_report(
    file: Annotated[Path, typer.Argument(help="As 'check --out' wrote it.")],
    ca: Annotated[Path, typer.Option("--ca", help="The authority's certificate.")],
) -> None:
    """Whether every page of a check's report is there and as the platform signed it."""
    from central.catalogue.checking import CHECK
    from proto.signing import PLATFORM_URI, SignatureWrong, Verifier

    try:
        pages, authorities = json.loads(file.read_text(encoding="utf-8")), ca.read_bytes()
    except (OSError, ValueError) as error:
        raise Refused("cannot be read as a report", where=str(file)) from error
    previous, last = "", None
    for number, page in enumerate(pages, 1):
        document = base64.b64decode(page["report"])
        verifier = Verifier(page["certificate"].encode())
        verifier.demand_issued_by(authorities, PLATFORM_URI)
        verifier.demand(CHECK, document, bytes.fromhex(page["signature"]))
        last = json.loads(document)
        if last["previous"] != previous:
            raise SignatureWrong(f"page {number} does not follow the one before it", where=str(file))
        previous = hashlib.sha256(document).hexdigest()
    if last is None or last["next"]:
        raise SignatureWrong("the last page is missing", where=str(file))
    say(f"{len(pages)} pages, as they were signed; the last at {moment(last['at_us'])} for {last['who']}")


@app.command(short_help="The last check that ran by the clock.", rich_help_panel=CHECKS)
def report(context: typer.Context, as_json: Json = False) -> None:
    """The last check that ran by the clock: how many errors, and which entries they are about."""
    with counter(context) as desk:
        answer = desk.do("catalogue.report")
    if as_json:
        say_json(answer)
        return
    say(f"check {answer['n']}, {moment(answer['at_us'])}: {answer['entries']} entries")
    say(f"{answer['errors']} errors, {answer['warnings']} warnings")
    for rule, codes in sorted(answer["report"]["errors"].items()):
        say(f"  {rule}: {', '.join(codes[:10])}")
    say("next: exchange-central catalogue check --entry CODE")


def _pages(desk: Counter, entry: str) -> Iterator[dict[str, Any]]:
    after = previous = ""
    while True:
        page = desk.do("catalogue.check", code=entry, after=after, limit=PAGE, previous=previous)
        yield page
        after, previous = page["after"], page["digest"]
        if not after:
            return


def _signed(page: dict[str, Any]) -> dict[str, str]:
    report = base64.b64encode(page["report"].encode()).decode()
    return {"report": report, "signature": page["signature"], "certificate": page["certificate"]}


def _print(
    reports: list[dict[str, Any]], findings: list[dict[str, Any]], tally: Tally[str], out: Path | None
) -> None:
    rows = [
        (each["severity"], each["rule"], each["code"], each["field"], each["what"], each["fix"])
        for each in findings
        if each["severity"] != "info"
    ]
    if rows:
        show(table(("", "rule", "entry", "field", "says", "what to do"), rows[:MOST_SHOWN]))
    if len(rows) > MOST_SHOWN:
        say(f"and {len(rows) - MOST_SHOWN} more; --json has them all")
    checked = sum(len(report["checked"]) for report in reports)
    say(f"{checked} entries: {tally['error']} errors, {tally['warning']} warnings, {tally['info']} to know")
    if out is not None:
        say(f"next, anywhere: exchange-central catalogue verify-report {out} --ca ca.pem")
