"""Releases: make one, list them, export one with its signature, verify it anywhere, compare two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli.catalogue.group import AUTHORITY, RELEASES, Out, app
from central.cli.counter import Counter, counter
from central.cli.output import Json, moment, say, say_json, show, table, waiting
from proto.errors import Refused

LINES_AT_ONCE = 200
Number = Annotated[int, typer.Argument(help="Its number; 0 = the newest.", min=0)]


@app.command(short_help="Make the next signed release.", rich_help_panel=AUTHORITY)
def release(
    context: typer.Context,
    note: Annotated[str, typer.Option("--note", help="In a few words.")] = "",
    overlap_days: Annotated[
        int | None,
        typer.Option("--overlap-days", help="How long grants follow the version before; 0 = not.", min=0),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the next signed release of everything published; what lacks an element is left out and named (Art. 16)."""
    with counter(context) as desk, waiting("looking through what is published", quiet=as_json):
        answer = desk.do("catalogue.release", note=note, overlap_days=overlap_days)
    if as_json:
        say_json(answer)
        return
    say(f"release {answer['release']}: {answer['entries']} entries in force, {answer['new']} of them new")
    for each in answer["left_out"]:
        for fault in each["faults"]:
            say(
                f"  left out {each['code']}: {fault['rule']} {fault['field']}: {fault['what']} — {fault['fix']}"
            )
    say(f"next: exchange-central catalogue export-release {answer['release']} --out release.jsonl")


@app.command(short_help="Every release.", rich_help_panel=RELEASES)
def releases(context: typer.Context, as_json: Json = False) -> None:
    """Every release, newest first."""
    with counter(context) as desk:
        answer = desk.do("catalogue.releases")
    if as_json:
        say_json(answer)
        return
    rows = [(str(each["release"]), moment(each["at_us"]), each["who"], each["note"]) for each in answer]
    show(table(("release", "when", "who", "note"), rows))


@app.command(
    "export-release", short_help="A release with its signature, as a file.", rich_help_panel=RELEASES
)
def export_release(context: typer.Context, number: Number, out: Out) -> None:
    """Write a release and its signature to a file that anybody can verify without this platform."""
    from proto.catalogue import Head, head_line

    with counter(context) as desk:
        head = desk.do("catalogue.release_head", release=number)
        said = Head(**head["head"])
        first = head_line(said.document, bytes.fromhex(head["signature"]), head["certificate"].encode())
        try:
            with out.open("wb") as file, waiting("writing", said.entries) as advance:
                file.write(first + b"\n")
                for line in _lines(desk, said.release):
                    file.write(line.encode() + b"\n")
                    advance(1)
        except OSError as error:
            raise Refused(f"cannot be written: {error.strerror}", where=str(out)) from error
    say(f"wrote release {said.release} with {said.entries} entries to {out}")
    say(f"next, anywhere: exchange-central catalogue verify-release {out} --ca ca.pem")


@app.command(
    "verify-release",
    short_help="Whether a release's file is what was signed; asks nobody.",
    rich_help_panel=RELEASES,
)
def verify_release(
    file: Annotated[Path, typer.Argument(help="As export-release wrote it.")],
    ca: Annotated[Path, typer.Option("--ca", help="The authority's certificate.")],
    as_json: Json = False,
) -> None:
    """Whether every byte of a release's file is what the platform signed. Needs no database and no central."""
    from dataclasses import asdict

    from proto.catalogue import verify_release as verified

    try:
        authorities = ca.read_bytes()
        with file.open("rb") as lines:
            head = verified(lines, authorities)
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", where=str(error.filename)) from error
    if as_json:
        say_json(asdict(head))
        return
    platform = head.platform.get("name", "")
    say(
        f"release {head.release} of {platform}, {moment(head.at_us)}: {head.entries} entries, as they were signed"
    )


@app.command(short_help="What differs between two releases.", rich_help_panel=RELEASES)
def diff(
    context: typer.Context,
    first: Annotated[int, typer.Argument(help="The older one; 0 = before the first.", min=0)],
    second: Annotated[int, typer.Argument(help="The newer one.", min=0)],
    as_json: Json = False,
) -> None:
    """What was added, changed or withdrawn from one release to another, with each field's change."""
    with counter(context) as desk:
        found = list(_differences(desk, first, second))
    if as_json:
        say_json(found)
        return
    for each in found:
        say(f"{each['kind']} {each['code']} {each['name']}")
        for change in each["fields"]:
            say(f"    {change['field']}: {change['before']!r} → {change['after']!r}")
    if not found:
        say(f"nothing differs between release {first} and release {second}")


def _lines(desk: Counter, number: int) -> Iterator[str]:
    after = ""
    while True:
        page = desk.do("catalogue.release_lines", release=number, after=after, limit=LINES_AT_ONCE)
        yield from page["lines"]
        after = page["after"]
        if not after:
            return


def _differences(desk: Counter, first: int, second: int) -> Iterator[dict[str, Any]]:
    after = ""
    while True:
        page = desk.do("catalogue.diff", first=first, second=second, after=after)
        yield from page["entries"]
        after = page["after"]
        if not after:
            return
