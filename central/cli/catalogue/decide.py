"""The auditor's and the authority's commands."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from central.cli.catalogue.group import (
    AUDITOR,
    AUTHORITY,
    CHECKS,
    Code,
    Codes,
    Opinion,
    Why,
    app,
    done,
    done_each,
)
from central.cli.counter import counter
from central.cli.output import Json, say, say_json


@app.command("return", short_help="Back to the registrar, and why.", rich_help_panel=AUDITOR)
def hand_back(context: typer.Context, code: Code, opinion: Why, as_json: Json = False) -> None:
    """Back to the registrar, with the reason."""
    done(context, "return", as_json, code=code, opinion=opinion)


@app.command(short_help="Approve them.", rich_help_panel=AUDITOR)
def audit(context: typer.Context, codes: Codes, opinion: Opinion = "", as_json: Json = False) -> None:
    """Approve them; what is not to be shared then waits for the authority. Not for whoever registered it (Art. 15)."""
    done_each(context, "audit", codes, as_json, opinion=opinion)


@app.command(short_help="Into the department's catalogue.", rich_help_panel=AUDITOR)
def publish(
    context: typer.Context,
    codes: Codes,
    effective: Annotated[
        str,
        typer.Option("--effective", help="CCYY-MM-DD: not before this day; otherwise with the next release."),
    ] = "",
    opinion: Opinion = "",
    as_json: Json = False,
) -> None:
    """Into the department's 资源目录; every rule must be kept, and the platform must have the table (Art. 19)."""
    done_each(context, "publish", codes, as_json, opinion=opinion, effective_on=effective)


@app.command(short_help="End it, at once; also the authority.", rich_help_panel=AUDITOR)
def withdraw(context: typer.Context, code: Code, opinion: Why, as_json: Json = False) -> None:
    """End it, at once and for good; whoever receives it is told."""
    done(context, "withdraw", as_json, code=code, opinion=opinion)


@app.command(short_help="Out of force, at once; also the authority.", rich_help_panel=AUDITOR)
def suspend(context: typer.Context, code: Code, opinion: Why, as_json: Json = False) -> None:
    """Out of force, at once, until it is resumed and released again."""
    done(context, "suspend", as_json, code=code, opinion=opinion)


@app.command(short_help="Let the next release take it up again.", rich_help_panel=AUTHORITY)
def resume(context: typer.Context, code: Code, opinion: Opinion = "", as_json: Json = False) -> None:
    """Let the next release take a suspended entry up again."""
    done(context, "resume", as_json, code=code, opinion=opinion)


@app.command(short_help="The word on what is not to be shared.", rich_help_panel=AUTHORITY)
def verify(
    context: typer.Context,
    code: Code,
    opinion: Why,
    refuse: Annotated[
        bool, typer.Option("--return", help="The ground does not hold: back to the registrar.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify (核定) the legal ground of what is not to be shared, or return it with the reason."""
    result = "returned" if refuse else "verified"
    done(context, "verify", as_json, code=code, result=result, opinion=opinion)


@app.command(short_help="Its own text beside the provider's.", rich_help_panel=AUTHORITY)
def adjust(
    context: typer.Context,
    code: Code,
    changes: Annotated[
        list[str],
        typer.Option("--set", help="FIELD=VALUE; items[COLUMN].FIELD=VALUE for an item. May be repeated."),
    ],
    opinion: Why,
    as_json: Json = False,
) -> None:
    """The authority's text as a version of its own; the provider's stays beside it, and the provider is told (Art. 16)."""
    done(context, "adjust", as_json, code=code, changes=dict(map(_change, changes)), opinion=opinion)


@app.command(short_help="Note the province's number.", rich_help_panel=AUTHORITY)
def filed(
    context: typer.Context,
    code: Code,
    number: Annotated[str, typer.Argument(help="Under which the province registered it.")],
    as_json: Json = False,
) -> None:
    """Note the number under which the province registered it (Art. 9)."""
    done(context, "filed", as_json, code=code, registration_no=number)


@app.command(short_help="Ask a node how its tables are now.", rich_help_panel=CHECKS)
def describe(
    context: typer.Context,
    stream: Annotated[str, typer.Argument(help="NODE/SOURCE.")],
    as_json: Json = False,
) -> None:
    """Ask a node how its tables are now: structure only; the answer comes with its next heartbeats."""
    with counter(context) as desk:
        answer = desk.do("catalogue.describe", stream=stream)
    if as_json:
        say_json(answer)
        return
    say(f"asked {answer['node']} as command {answer['command']}")
    say("next, in a minute: exchange-central catalogue check")


def _change(text: str) -> tuple[str, Any]:
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise typer.BadParameter(f"{text[:60]!r} is not FIELD=VALUE", param_hint="--set")
    try:
        return field, json.loads(value)
    except ValueError:
        return field, value
