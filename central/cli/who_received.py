"""``audit who-received``: who got one item of one person."""

from __future__ import annotations

import itertools
import sys
from typing import Annotated, Any, Final

import typer

from central.cli.counter import At, Certificates, Counter, Person, counter, ways
from central.cli.options import DEFAULT_CONFIG, Config
from central.cli.output import Json, moment, say, say_json, show, table
from proto.errors import Refused

MOST: Final = 20_000_000


def who_received(
    context: typer.Context,
    resource: Annotated[str, typer.Option("--resource", help="Its code in the catalogue.")],
    item: Annotated[str, typer.Option("--item", help="The column.")],
    key: Annotated[list[str], typer.Option("--key", help="COLUMN=VALUE, for each column of the key.")],
    since: Annotated[str, typer.Option("--since", help="The first day.")],
    until: Annotated[str, typer.Option("--until", help="The day after the last one.")],
    reason: Annotated[str, typer.Option("--reason", help="Why you ask; goes into the log.", prompt=True)],
    after: Annotated[str, typer.Option("--after", help="Go on where an earlier answer ended.")] = "",
    most: Annotated[
        int, typer.Option("--most", min=1, help="So many deliveries are looked at, about.")
    ] = MOST,
    person: Person = "",
    at: At = "",
    certificates: Certificates = None,
    as_json: Json = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Who received one item of one person between two days, as far as the log can prove it or not rule it out.

    Example: exchange-central audit who-received --as he-shen --resource 307001/000001 --item name
    --key id=370102199001011234 --since 2026-01-01 --until 2026-07-01 --reason 当事人申请
    """
    keys = {name: value for name, _, value in (each.partition("=") for each in key)}
    if not all(keys.values()):
        raise Refused("is not COLUMN=VALUE", where="--key")
    ways(context, person, at, certificates, config)
    asked = {
        "resource": resource,
        "item": item,
        "key": keys,
        "since": since,
        "until": until,
        "reason": reason,
    }
    with counter(context) as desk:
        found = _ask(desk, asked, after, most)
    if as_json:
        say_json(found)
        return
    columns = ("grant", "consumer", "says", "brought by", "queries", "searched", "not known", "purpose")
    show(table(columns, map(_row, found["grants"])))
    brought = [(each, one) for each in found["grants"] for one in each["brought"]]
    if brought:
        show(
            table(
                ("grant", "record", "at", "version", "receipt or comparison"),
                itertools.starmap(_once, brought),
            )
        )
    if any(each["unknown"]["deliveries"] or each["conditions"] for each in found["grants"]):
        say("'may have': a delivery whose keys were not kept, or a condition, could have held the person")
    if found["next"]:
        say(f"only a part was looked at ({found['done_percent']} %); go on with --after {found['next']}")
    else:
        say("next: exchange-central audit show delivery:CONSUMER --grant GRANT")


def _ask(desk: Counter, asked: dict[str, Any], after: str, most: int) -> dict[str, Any]:
    """One question after another, until all or *most* was looked at; the answers as one."""
    from rich.console import Console
    from rich.progress import Progress

    grants: dict[str, dict[str, Any]] = {}
    looked = 0
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("looking", total=100)
        while True:
            found = desk.do("audit.received", **asked, after=after)
            for each in found["grants"]:
                looked += each["searched"]["deliveries"] + each["unknown"]["deliveries"]
                known = grants.get(each["grant"])
                grants[each["grant"]] = _joined(known, each) if known else each
            progress.update(bar, completed=found["done_percent"], description=f"looked at {looked:,}")
            after = found["next"]
            if not after or looked >= most:
                return {**found, "grants": list(grants.values())}


def _joined(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """What two answers say of one grant, in order."""
    sums = {
        name: {
            "deliveries": known[name]["deliveries"] + more[name]["deliveries"],
            "rows": known[name]["rows"] + more[name]["rows"],
            "first_us": known[name]["first_us"] or more[name]["first_us"],
            "last_us": more[name]["last_us"] or known[name]["last_us"],
        }
        for name in ("searched", "unknown")
    }
    says = next(word for word in ("received", "may have", "nothing") if word in (known["says"], more["says"]))
    brought = [*known["brought"], *more["brought"]]
    return {**known, **sums, "brought": brought, "times": known["times"] + more["times"], "says": says}


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    unknown = each["unknown"]
    not_known = [f"{unknown['deliveries']} with {unknown['rows']} rows"] if unknown["deliveries"] else []
    not_known += [f"{each['conditions']} conditions"] if each["conditions"] else []
    return (
        each["grant"],
        each["consumer"],
        f"{each['says']}{', masked' if each['masked'] else ''}",
        str(each["times"]),
        str(len(each["queries"])),
        str(each["searched"]["deliveries"]),
        ", ".join(not_known),
        each["purpose"],
    )


def _once(grant: dict[str, Any], one: dict[str, Any]) -> tuple[str, ...]:
    name = one.get("receipt") or one.get("comparison", "")
    record = f"{one['chain']} {one['record']}"
    return (grant["grant"], record, moment(one["at_us"]), str(one.get("version", "")), name)
