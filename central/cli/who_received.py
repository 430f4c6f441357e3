"""``audit who-received``: who got one item of one person."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from central.cli.counter import At, Certificates, Person, counter, ways
from central.cli.options import DEFAULT_CONFIG, Config
from central.cli.output import Json, moment, say, say_json, show, table
from proto.errors import Refused


def who_received(
    context: typer.Context,
    resource: Annotated[str, typer.Option("--resource", help="Its code in the catalogue.")],
    item: Annotated[str, typer.Option("--item", help="The column.")],
    key: Annotated[list[str], typer.Option("--key", help="COLUMN=VALUE, for each column of the key.")],
    since: Annotated[str, typer.Option("--since", help="The first day.")],
    until: Annotated[str, typer.Option("--until", help="The day after the last one.")],
    reason: Annotated[str, typer.Option("--reason", help="Why you ask; goes into the log.", prompt=True)],
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
    with counter(context) as desk:
        found = desk.do(
            "audit.received",
            resource=resource,
            item=item,
            key=keys,
            since=since,
            until=until,
            reason=reason,
        )
    if as_json:
        say_json(found)
        return
    show(
        table(
            ("grant", "consumer", "says", "queries by key", "conditions", "deliveries", "last", "purpose"),
            map(_row, found["grants"]),
        )
    )
    say("'may have': a delivery or a condition could have held the person; the log holds no row values")
    say("next: exchange-central audit show delivery:CONSUMER --grant GRANT")


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    deliveries = each["deliveries"]
    return (
        each["grant"],
        each["consumer"],
        f"{each['says']}{', masked' if each['masked'] else ''}",
        str(len(each["queries"])),
        str(each["conditions"]),
        str(deliveries["count"]),
        moment(deliveries["last_us"]) if deliveries["last_us"] else "",
        each["purpose"],
    )
