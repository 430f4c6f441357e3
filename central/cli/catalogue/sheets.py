"""``template`` and ``import``: the workbook that departments fill in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from central.cli.catalogue.group import REGISTRAR, Out, app, profile_of
from central.cli.counter import Counter, counter
from central.cli.output import Json, say, say_json, show, table, waiting

if TYPE_CHECKING:
    from central.catalogue.entry import Entry
    from central.catalogue.sheets import Fault, Read

AT_ONCE: Final = 250
ITEMS_AT_ONCE: Final = 3000
MOST_SHOWN: Final = 200
Rows = Sequence[tuple[int, "Entry"]]


@app.command(short_help="The empty workbook, with headings and rules.", rich_help_panel=REGISTRAR)
def template(context: typer.Context, out: Out) -> None:
    """Write the workbook that 'import' takes: 资源目录, 信息项 and an explanation. With .csv: two CSV files."""
    from central.catalogue.sheets import write_template

    written = write_template(out, profile_of(context).catalogue)
    say(f"wrote {', '.join(map(str, written))}")
    say(f"next: fill it in, then exchange-central catalogue --as PERSON import {out} --dry-run")


@app.command("import", short_help="Many drafts at once, from a workbook.", rich_help_panel=REGISTRAR)
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Workbook (.xlsx), or the CSV file of 资源目录.")],
    items: Annotated[Path | None, typer.Option("--items", help="Of CSV files: the one of 信息项.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report every fault and change nothing.")
    ] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Take what has no fault.")] = False,
    as_json: Json = False,
) -> None:
    """Register the entries of a workbook as drafts; with a single fault nothing at all is taken.

    Every fault is named with sheet, row, column and rule. Exit code 1 when there was one.
    """
    from central.catalogue.sheets import open_sheets, read_entries

    with waiting("reading", quiet=as_json):
        read = read_entries(open_sheets(file, items), profile_of(context).catalogue)
    with counter(context) as desk:
        faults = [*read.faults, *_checked(desk, read, quiet=as_json)]
        bad = {each.row for each in faults if each.sheet == "资源目录"}
        good = [
            each for each in read.entries if each[0] not in bad and not _items_faulty(read, each[1], faults)
        ]
        writes = not dry_run and (partial or not faults)
        counts = _write(desk, good, quiet=as_json) if writes else {"new": 0, "changed": 0}
    _report(faults, counts, len(read.entries), writes=writes, as_json=as_json)
    if faults:
        raise typer.Exit(1)


def _checked(desk: Counter, read: Read, *, quiet: bool) -> Iterator[Fault]:
    """What the rules say of every row, a piece at a time."""
    codes = {row: entry.code for row, entry in read.entries}
    for rows in _pieces(read.entries, "checking", quiet):
        for fault in desk.do("catalogue.import", rows=_said(rows), dry_run=True)["faults"]:
            at = fault["row"]
            yield read.fault_of(at, codes[at], fault["rule"], fault["field"], fault["what"])


def _write(desk: Counter, good: Rows, *, quiet: bool) -> dict[str, int]:
    total = {"new": 0, "changed": 0}
    for rows in _pieces(good, "registering", quiet):
        answer = desk.do("catalogue.import", rows=_said(rows))
        for name in total:
            total[name] += answer[name]
    return total


def _items_faulty(read: Read, entry: Entry, faults: Sequence[Fault]) -> bool:
    rows = {read.item_rows.get((entry.code, item.column)) for item in entry.items}
    return any(each.sheet == "信息项" and each.row in rows for each in faults)


def _said(rows: Rows) -> list[dict[str, Any]]:
    return [{"row": row, "entry": entry.model_dump(mode="json")} for row, entry in rows]


def _pieces(rows: Rows, what: str, quiet: bool) -> Iterator[Rows]:
    """As many at once as one call may carry, with a bar for people who wait."""
    with waiting(what, len(rows), quiet=quiet or len(rows) <= AT_ONCE) as advance:
        start = 0
        while start < len(rows):
            end, items = start, 0
            while end < len(rows) and end - start < AT_ONCE and (end == start or items < ITEMS_AT_ONCE):
                items += len(rows[end][1].items)
                end += 1
            yield rows[start:end]
            advance(end - start)
            start = end


def _report(
    faults: Sequence[Fault], counts: dict[str, int], understood: int, *, writes: bool, as_json: bool
) -> None:
    if as_json:
        said = {"understood": understood, "written": writes, **counts}
        say_json({**said, "faults": [each.plain for each in faults]})
        return
    if faults:
        rows = [(each.sheet, str(each.row), each.column, each.rule, each.what) for each in faults]
        show(table(("sheet", "row", "column", "rule", "says"), rows[:MOST_SHOWN]))
        if len(rows) > MOST_SHOWN:
            say(f"and {len(rows) - MOST_SHOWN} more; --json has them all")
    say(
        f"{understood} entries understood, {len(faults)} faults; {counts['new']} new, {counts['changed']} changed"
    )
    if writes:
        say("next: exchange-central catalogue --as PERSON submit CODE")
    else:
        say("nothing was changed; next: " + ("mend the faults" if faults else "import without --dry-run"))
