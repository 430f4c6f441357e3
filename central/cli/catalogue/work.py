"""The registrar's commands: draft, edit, submit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli.catalogue.group import (
    REGISTRAR,
    Code,
    Codes,
    Opinion,
    Why,
    app,
    document_in,
    done,
    done_each,
    profile_of,
)
from central.cli.counter import counter
from central.cli.output import Json, say, say_json
from proto.errors import Refused

File = Annotated[
    Path, typer.Argument(help="One entry, as JSON or YAML; 'catalogue show CODE --json' prints one.")
]


@app.command(short_help="Register an entry, or a new version of one.", rich_help_panel=REGISTRAR)
def draft(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="One entry, as JSON or YAML.")] = None,
    from_db: Annotated[
        str, typer.Option("--from-db", help="NODE/SOURCE: propose entries from its tables instead.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where proposals go: .xlsx, .csv or .json.")
    ] = None,
    opinion: Opinion = "",
    as_json: Json = False,
) -> None:
    """Register an entry as a draft, or a new version of one in force; what is in force stays so.

    With --from-db nothing is registered: a workbook is filled with what the stream's tables really have.
    Example: exchange-central catalogue --as li-na draft person.yaml
    """
    if from_db:
        _propose(context, from_db, out, as_json)
        return
    if file is None:
        raise Refused("nothing to register", where="draft", fix="name a FILE, or a stream with --from-db")
    done(context, "draft", as_json, entry=document_in(file), opinion=opinion)


@app.command(short_help="Another text for a draft, or for what was returned.", rich_help_panel=REGISTRAR)
def edit(context: typer.Context, file: File, opinion: Opinion = "", as_json: Json = False) -> None:
    """Another text for a draft, or for what was returned."""
    done(context, "edit", as_json, entry=document_in(file), opinion=opinion)


@app.command(short_help="Hand them to the auditor.", rich_help_panel=REGISTRAR)
def submit(
    context: typer.Context,
    codes: Codes,
    reason: Annotated[
        str, typer.Option("--reason", help="Why others' data does not do, where others have the same items.")
    ] = "",
    opinion: Opinion = "",
    as_json: Json = False,
) -> None:
    """Hand them to the auditor; one that breaks a rule is refused with every field that does."""
    done_each(context, "submit", codes, as_json, opinion=opinion, reason=reason)


def _propose(context: typer.Context, stream: str, out: Path | None, as_json: bool) -> None:
    with counter(context) as desk:
        answer = desk.do("catalogue.propose", stream=stream)
    if as_json:
        say_json(answer)
        return
    if out is None:
        raise Refused("where to?", where="--out", fix="name a file: --out entries.xlsx")
    _write(context, out, answer["entries"])
    say(
        f"wrote {len(answer['entries'])} proposals to {out}; {len(answer['has_entry'])} tables have an entry already"
    )
    say(f"next: fill it in, then exchange-central catalogue --as PERSON import {out} --dry-run")


def _write(context: typer.Context, out: Path, entries: list[dict[str, Any]]) -> None:
    import json

    from central.catalogue.sheets import write_template
    from central.cli.catalogue.group import write_text

    if out.suffix == ".json":
        write_text(out, json.dumps(entries, ensure_ascii=False, indent=2) + "\n")
    else:
        write_template(out, profile_of(context).catalogue, entries)


@app.command(short_help="A change of a table is dealt with.", rich_help_panel=REGISTRAR)
def handled(context: typer.Context, code: Code, opinion: Why, as_json: Json = False) -> None:
    """Note what was done about a table that moved away from its entry: a new version, or the table is mended (Art. 17)."""
    done(context, "handled", as_json, code=code, opinion=opinion)
