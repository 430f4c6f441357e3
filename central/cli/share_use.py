"""``share query`` and ``share compare``: a grant in use, one question at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from central.cli import sharing_options as told
from central.cli.counter import counter
from central.cli.output import Json, say, say_json, show, table
from proto.errors import Refused

NOTHING: Final = ""


def query(
    context: typer.Context,
    number: told.GrantNo,
    purpose: told.Purpose,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="COLUMN=VALUE of each key column; may be repeated.")
    ] = None,
    where: Annotated[
        str, typer.Option("--where", help="A condition, e.g. \"region = '370102' and not (name is null)\".")
    ] = "",
    case: told.Case = "",
    most: Annotated[int | None, typer.Option("--most", min=1, help="At most so many rows.")] = None,
    as_json: Json = False,
) -> None:
    """A few rows of a granted resource; who asked, what for and how many rows go on record before the answer.

    Example: exchange-central share --as civil-clerk query G2026-0012 --key id=370102199001011234 --purpose 核对救助申请人
    """
    from proto.process.pairs import pairs_of

    said = {"purpose": purpose, "case": case, "key": pairs_of(key, "--key"), "where": where or None}
    with counter(context) as desk:
        answer = desk.do("share.query", grant=number, most=most, **said)
    if as_json:
        say_json(answer)
        return
    names = [each["name"] for each in answer["columns"]]
    show(table(names, [["NULL" if cell is None else cell for cell in row] for row in answer["rows"]]))
    whole = "that is all" if answer["is_whole"] else "there may be more: ask more narrowly"
    _say_held(answer["held"])
    say(f"{len(answer['rows'])} rows under {answer['grant']} version {answer['version']}; {whole}")


def compare(
    context: typer.Context,
    number: told.GrantNo,
    file: Annotated[
        Path, typer.Argument(help="CSV in UTF-8: key columns and items, with a head line; empty = no value.")
    ],
    purpose: told.Purpose,
    case: told.Case = "",
    raise_case: Annotated[
        str, typer.Option("--raise-case", help="Open a case about what differs, with these words.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Which rows of FILE agree with the provider's. Only digests leave this machine, and no value comes back.

    Example: exchange-central share --as civil-clerk compare G2026-0012 低保.csv --purpose 核对低保对象
    """
    said = {"grant": number, "purpose": purpose, "case": case}
    answers: list[dict[str, Any]] = []
    cases: list[int] = []
    with counter(context) as desk:
        begun = desk.do("share.compare-begin", **said)
        claims = list(_claims(file, begun))
        for start in range(0, len(claims), begun["at_once"]):
            part = claims[start : start + begun["at_once"]]
            sent = {**said, "comparison": begun["comparison"], "claims": part, "raise_case": raise_case}
            answer = desk.do("share.compare", **sent)
            cases += [answer["case"]] if answer["case"] else []
            answers += [{**each, "place": each["place"] + start} for each in answer["answers"]]
    if as_json:
        say_json({"grant": number, "held": begun["held"], "answers": answers, "cases": cases})
        return
    differing = [each for each in answers if each["outcome"] != "match"]
    rows = [(str(each["place"] + 2), each["outcome"], ", ".join(each["items"]) or "–") for each in differing]
    show(table(("line", "outcome", "items that differ"), rows))
    _say_held(begun["held"])
    say(f"{len(answers) - len(differing)} of {len(answers)} rows agree")
    for each in cases:
        say(f"next: exchange-central case show {each}")


def _say_held(notice: str) -> None:
    if notice:
        say(f"mind: {notice}")


def _claims(file: Path, begun: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from proto.comparison import text_digest
    from proto.values import Kind

    key = bytes.fromhex(begun["key"])
    names = [each["name"] for each in begun["keys"]]
    kinds = {each["name"]: Kind(each["kind"]) for each in begun["items"]}
    for line, row in _read(file):
        missing = [name for name in names if not row.get(name)]
        if missing or None in row:
            raise Refused(f"line {line}: the key column {missing or 'head'} is missing", where=str(file))
        items = [name for name in row if name not in names]
        if unknown := [name for name in items if name not in kinds]:
            fix = f"items that may be compared: {', '.join(kinds)}"
            raise Refused(
                f"the column {unknown[0]} is not compared under this grant", where=str(file), fix=fix
            )
        digests = {name: text_digest(key, name, kinds[name], row[name] or None) for name in items}
        yield {"key": {name: row[name] for name in names}, "digests": digests}


def _read(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, restval=NOTHING)
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refused("cannot be read as a CSV file in UTF-8", where=str(file)) from error
