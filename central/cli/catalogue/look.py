"""What everybody may look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli.catalogue.group import LOOK, Code, app, write_text
from central.cli.counter import Counter, counter
from central.cli.output import Json, moment, say, say_json, show, table

PAGE = 50
Provider = Annotated[str, typer.Option("--provider", help="A department's credit code.")]
Share = Annotated[str, typer.Option("--share", help="unconditional, conditional or not_shared.")]
Text = Annotated[str, typer.Option("--text", help="Part of its name, or how its code begins.")]
After = Annotated[str, typer.Option("--after", help="Go on after this code.")]
Version = Annotated[int, typer.Option("--version", help="0 = the newest.", min=0)]


@app.command("list", short_help="What is in force.", rich_help_panel=LOOK)
def list_entries(
    context: typer.Context,
    provider: Provider = "",
    share: Share = "",
    text: Text = "",
    after: After = "",
    as_json: Json = False,
) -> None:
    """The catalogue in force, a page at a time."""
    said = {"provider": provider, "share_type": share or None, "text": text, "after": after, "limit": PAGE}
    with counter(context) as desk:
        answer = desk.do("catalogue.list", **said)
    _print(answer, as_json, "nothing is in force; next: exchange-central catalogue drafts")


@app.command(short_help="Newest versions, published or not.", rich_help_panel=LOOK)
def drafts(
    context: typer.Context,
    state: Annotated[str, typer.Option("--state", help="draft, submitted, awaiting_verification …")] = "",
    provider: Provider = "",
    text: Text = "",
    after: After = "",
    as_json: Json = False,
) -> None:
    """The newest version of each entry and whose move it is: your department's, or all for the authority."""
    said = {"state": state or None, "provider": provider, "text": text, "after": after, "limit": PAGE}
    with counter(context) as desk:
        answer = desk.do("catalogue.drafts", **said)
    _print(answer, as_json, "nothing here; next: exchange-central catalogue draft FILE")


@app.command("show", short_help="One entry; adjusted ones side by side.", rich_help_panel=LOOK)
def show_entry(context: typer.Context, code: Code, version: Version = 0, as_json: Json = False) -> None:
    """One entry; where the authority adjusted it, both texts side by side."""
    with counter(context) as desk:
        answer = desk.do("catalogue.show", code=code, version=version)
    if as_json:
        say_json(answer)
        return
    entry = answer["entry"]
    say(f"{answer['code']} version {answer['version']} {answer['state']}: {entry['name']}")
    say(
        f"{entry['provider_name']} {entry['provider']}; {answer['share_type']}; limit {entry['update_limit']}"
    )
    if answer["deletes"]:
        say(answer["deletes"])
    items = [
        (each["column"], each["name"], each["type"], "key" if each["is_key"] else "", each["share_type"])
        for each in entry["items"]
    ]
    show(table(("column", "name", "type", "key", "share type"), items))
    if sides := answer.get("adjusted"):
        say(f"adjusted by {answer['adjusted_by']}:")
        rows = [(each["field"], str(each["provider"]), str(each["authority"])) for each in sides]
        show(table(("field", "provider says", "authority says"), rows))
    say(f"next: {answer['next']}")


@app.command(short_help="Every transition of one entry.", rich_help_panel=LOOK)
def history(context: typer.Context, code: Code, as_json: Json = False) -> None:
    """Every transition of one entry: who, when, in which role, why, what changed."""
    with counter(context) as desk:
        answer = desk.do("catalogue.history", code=code)
    if as_json:
        say_json(answer)
        return
    rows = [
        (
            moment(each["at_us"]),
            f"v{each['version']}",
            each["act"],
            each["after_state"],
            f"{each['who']} ({each['role']})",
            each["opinion"],
            ", ".join(change["field"] for change in each["changes"]),
        )
        for each in answer
    ]
    show(table(("when", "version", "act", "then", "who", "opinion", "fields"), rows))


@app.command(short_help="Who is missing where; what cannot publish.", rich_help_panel=LOOK)
def departments(context: typer.Context, as_json: Json = False) -> None:
    """Every department: its registrars, auditors, administrators, what waits, and what is missing."""
    with counter(context) as desk:
        answer = desk.do("catalogue.departments")
    if as_json:
        say_json(answer)
        return
    rows = [
        (
            each["department"],
            each["name"],
            *(", ".join(each[office]) or "–" for office in ("registrars", "auditors", "administrators")),
            str(each["waiting"]),
            "yes" if each["can_publish"] else "NO",
            ", ".join(each["missing"]),
        )
        for each in answer
    ]
    heads = (
        "department",
        "name",
        "registrars",
        "auditors",
        "administrators",
        "waiting",
        "can publish",
        "missing",
    )
    show(table(heads, rows))


@app.command(short_help="What your department is to know.", rich_help_panel=LOOK)
def notices(
    context: typer.Context,
    read: Annotated[bool, typer.Option("--read", help="Note that they were read.")] = False,
    as_json: Json = False,
) -> None:
    """Adjustments, new versions and ends of what your department provides or receives."""
    with counter(context) as desk:
        answer = desk.do("catalogue.notices")
        if read:
            desk.do("catalogue.read_notices")
    if as_json:
        say_json(answer)
        return
    rows = [
        (
            moment(each["at_us"]),
            "" if each["seen_us"] else "new",
            each["kind"],
            each["code"],
            each["sentence"],
        )
        for each in answer
    ]
    show(table(("when", "", "kind", "code", "says"), rows))


@app.command(short_help="Tables that moved away from their entries.", rich_help_panel=LOOK)
def changes(context: typer.Context, as_json: Json = False) -> None:
    """Tables that are otherwise than their entries say, since when, and who dealt with it (Art. 17)."""
    with counter(context) as desk:
        answer = desk.do("catalogue.changes")
    if as_json:
        say_json(answer)
        return
    rows = [
        (moment(each["since_us"]), each["state"], each["code"], each["what"], each["who"], each["opinion"])
        for each in answer
    ]
    show(table(("since", "state", "code", "what", "by", "opinion"), rows))
    if any(each["state"] == "open" for each in answer):
        say("next: exchange-central catalogue draft FILE, then catalogue handled CODE --opinion TEXT")


@app.command(short_help="The interface document, made from the contract.", rich_help_panel=LOOK)
def document(
    context: typer.Context,
    code: Code,
    version: Version = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Markdown file to write.")] = None,
) -> None:
    """The interface document of a resource, made from its contract; its version is the contract's (Art. 19)."""
    with counter(context) as desk:
        answer = desk.do("catalogue.document", code=code, version=version)
    if out is None:
        say(answer["text"])
        return
    write_text(out, answer["text"])
    say(f"wrote version {answer['version']} to {out}")


@app.command(short_help="The catalogue in force as DCAT (JSON-LD).", rich_help_panel=LOOK)
def dcat(
    context: typer.Context,
    provider: Provider = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write.")] = None,
) -> None:
    """The catalogue in force as DCAT in JSON-LD, for other catalogues."""
    import json

    with counter(context) as desk:
        pages = list(_dcat_pages(desk, provider))
    whole = {**pages[0], "dcat:dataset": [each for page in pages for each in page["dcat:dataset"]]}
    if out is None:
        say_json(whole)
        return
    write_text(out, json.dumps(whole, ensure_ascii=False, indent=2) + "\n")
    say(f"wrote {len(whole['dcat:dataset'])} entries to {out}")


@app.command(short_help="Who has an item already.", rich_help_panel=LOOK)
def repeats(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="An item's name; may be repeated.")
    ] = None,
    standards: Annotated[
        list[str] | None,
        typer.Option("--standard", help="Name or code of a standard data element; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Which other departments have an item already, before it is collected again (Art. 18)."""
    with counter(context) as desk:
        answer = desk.do("catalogue.repeats", names=names or [], standards=standards or [])
    if as_json:
        say_json(answer)
        return
    rows = [(e["code"], e["resource"], e["name"], e["standard"], e["provider"]) for e in answer["items"]]
    show(table(("code", "resource", "item", "standard", "provider"), rows))
    say("next: exchange-central share request, for what is there already")


def _dcat_pages(desk: Counter, provider: str) -> Iterator[dict[str, Any]]:
    after = ""
    while True:
        answer = desk.do("catalogue.dcat", provider=provider, after=after, limit=500)
        yield answer["document"]
        after = answer["after"]
        if not after:
            return


def _print(answer: dict[str, Any], as_json: bool, empty: str) -> None:
    if as_json:
        say_json(answer)
        return
    rows = [
        (
            each["code"],
            each["name"],
            each["provider_name"] or each["provider"],
            f"v{each['version']}",
            each["state"],
            each["share_type"],
            f"{each['stream']} {each['table_name']}".strip(),
        )
        for each in answer["entries"]
    ]
    if not rows:
        say(empty)
        return
    show(table(("code", "name", "provider", "version", "state", "share type", "table"), rows))
    if answer["after"]:
        say(f"next page: --after {answer['after']}")
