"""``audit``: what is on record, who got what, and whether every chain is unbroken. Reads the database; changes nothing."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

import typer

from central.cli.options import DEFAULT_CONFIG, Config, settings_of, store_of
from central.cli.output import Json, moment, say, say_json, show, table
from proto.errors import Refused

if TYPE_CHECKING:
    from central.audit import Record

app = typer.Typer(help="The audit chains: list, show, verify.", no_args_is_help=True, rich_markup_mode=None)
_OWN_COLUMNS = ("receipt", "grant", "purpose", "rows")
"""Facts that have a column of their own where every record has them."""


@app.command("list")
def list_chains(as_json: Json = False, config: Config = DEFAULT_CONFIG) -> None:
    """Every chain with its last record."""
    from central import audit
    from central.store import reading

    with reading(store_of(settings_of(config))) as connection:
        found = audit.heads(connection)
    if as_json:
        say_json([{"chain": chain, "records": n} for chain, n in found.items()])
        return
    show(table(("chain", "records"), [(chain, str(n)) for chain, n in found.items()]))
    say("next: exchange-central audit show CHAIN, or audit verify")


@app.command("show", short_help="The records of one chain, each checked.")
def show_chain(
    chain: Annotated[str, typer.Argument(help="As listed, e.g. decisions or delivery:NODE.")],
    event: Annotated[str, typer.Option("--event", help="Only these, e.g. delivered.")] = "",
    grant: Annotated[str, typer.Option("--grant", help="Only what is about this grant.")] = "",
    last: Annotated[int, typer.Option("--last", min=1, help="At most so many, the newest ones.")] = 1000,
    as_json: Json = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """What is on record in one chain, oldest first; the whole chain is checked on the way.

    Example: exchange-central audit show delivery:civil-affairs --event delivered --grant G2026-0001
    """
    from central import audit
    from central.store import reading

    with reading(store_of(settings_of(config))) as connection:
        known = audit.heads(connection)
        if chain not in known:
            raise Refused("there is no such chain", where=chain[:80], fix="exchange-central audit list")
        chosen = (
            each
            for each in map(_plain, audit.records(connection, chain))
            if event in ("", each["event"]) and grant in ("", each["facts"].get("grant"))
        )
        found = list(deque(chosen, maxlen=last))
    if as_json:
        say_json(found)
        return
    own = [name for name in _OWN_COLUMNS if found and all(name in each["facts"] for each in found)]
    show(table(("n", "at", "event", *own, "facts"), [_row(each, own) for each in found]))
    say(f"{len(found)} of {known[chain]} records of {chain}; the chain is unbroken")


@app.command(short_help="Whether every record is as it was written.")
def verify(
    chain: Annotated[str, typer.Argument(help="Only this one.")] = "",
    as_json: Json = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Walk the chains from their first records: none was changed, removed or put in. The first bad one is named.

    So are the traces beside them, by which who-received finds a person's row.
    """
    from central import audit
    from central.log.traced import verify_traces
    from central.store import reading

    with reading(store_of(settings_of(config))) as connection:
        chains = [chain] if chain else audit.chains(connection)
        found = {each: audit.verify(connection, each) for each in chains}
        for each in chains:
            verify_traces(connection, each)
    if as_json:
        say_json(found)
        return
    show(table(("chain", "records"), [(each, str(count)) for each, count in found.items()]))
    say(f"{len(found)} chains are unbroken")


def _plain(record: Record) -> dict[str, Any]:
    return {"n": record.n, "at_us": record.at_us, "event": record.event, "facts": json.loads(record.facts)}


def _row(each: dict[str, Any], own: list[str]) -> tuple[str, ...]:
    facts = each["facts"]
    rest = ", ".join(f"{name}={value}" for name, value in facts.items() if name not in own)
    return (str(each["n"]), moment(each["at_us"]), each["event"], *(str(facts[name]) for name in own), rest)
