"""``delivery``: how far each grant's delivery is, what is recalled, and what to do when the clock went back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from central.cli.counter import AnywhereGroup, counter, ways
from central.cli.output import Json, moment, say, say_json, show, table

app = typer.Typer(
    help="Deliveries: list, recall.",
    callback=ways,
    cls=AnywhereGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)
Why = Annotated[str, typer.Option("--reason", help="Why; on record, and read by whom it concerns.")]


@app.command("list")
def list_deliveries(
    context: typer.Context,
    consumer: Annotated[str, typer.Option("--consumer", help="Of one node.")] = "",
    grant: Annotated[str, typer.Option("--grant", help="Of one grant.")] = "",
    as_json: Json = False,
) -> None:
    """How far each grant's delivery is, how late, and why it waits."""
    with counter(context) as desk:
        found = desk.do("delivery.list", consumer=consumer, grant=grant)
    if as_json:
        say_json(found)
        return
    columns = ("grant", "to", "resource", "state", "delivered", "behind", "rows", "bytes", "says")
    show(table(columns, map(_row, found)))
    if not found:
        say("nothing is granted for exchange yet; next: exchange-central share list")


@app.command(short_help="Have what was delivered removed.")
def recall(
    context: typer.Context,
    grant: Annotated[str, typer.Argument(help="The grant's number.")],
    reason: Why,
    as_json: Json = False,
) -> None:
    """Recall (召回): the consumer is told to remove what it got under this grant, and nothing more is delivered under it."""
    with counter(context) as desk:
        done = desk.do("delivery.recall", grant=grant, reason=reason)
    if as_json:
        say_json(done)
    else:
        say(f"{done['recall']} is told to the consumer; next: exchange-central delivery list --grant {grant}")


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    standing = each["standing"]
    return (
        each["grant"],
        each["consumer"],
        each["resource"],
        standing["state"],
        moment(each["last_us"]),
        str(each["behind"]),
        str(each["rows"]),
        str(each["bytes"]),
        standing["sentence"],
    )
