"""``grant``: what is granted to whom until when, its history, and how it is changed, held and ended."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from central.cli import sharing_options as told
from central.cli.counter import AnywhereGroup, counter, ways
from central.cli.output import Json, moment, say, say_json, show, table

_OVER: Final = frozenset({"expired", "revoked"})
app = typer.Typer(
    help="Grants: list, show, history; change, suspend, resume, revoke.",
    callback=ways,
    cls=AnywhereGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_grants(
    context: typer.Context,
    state: Annotated[str, typer.Option("--state", help="active, expiring, suspended, expired …")] = "",
    consumer: Annotated[str, typer.Option("--consumer", help="Of one node.")] = "",
    resource: Annotated[str, typer.Option("--resource", help="Of one resource.")] = "",
    mode: Annotated[str, typer.Option("--mode", help="exchange, query, interface or custom.")] = "",
    ends_within: Annotated[int | None, typer.Option("--ends-within", help="Days.")] = None,
    after: told.After = "",
    most: told.Most = 50,
    as_json: Json = False,
) -> None:
    """Grants, newest first: your department's and those of its data; all of them for those who watch."""
    asked: dict[str, Any] = {"state": state or None, "consumer": consumer, "resource": resource}
    asked["mode"] = mode
    with counter(context) as desk:
        page = desk.do("grant.list", **asked, ends_within_days=ends_within, after=after, most=most)
    if as_json:
        say_json(page)
        return
    columns = ("grant", "state", "consumer", "resource", "name", "mode", "version", "until", "says")
    show(table(columns, map(_row, page["grants"])))
    if page["next"]:
        say(f"next: exchange-central grant list --after {page['next']}")


@app.command("show", short_help="One grant whole.")
def show_grant(context: typer.Context, number: told.GrantNo, as_json: Json = False) -> None:
    """Its terms and limits, and whether it lets something through now."""
    with counter(context) as desk:
        _say(desk.do("grant.show", grant=number), as_json)


@app.command(short_help="Every version there was.")
def history(context: typer.Context, number: told.GrantNo, as_json: Json = False) -> None:
    """Every version there was: who had what, when, and who changed it; nothing is ever deleted here."""
    with counter(context) as desk:
        found = desk.do("grant.history", grant=number)
    if as_json:
        say_json(found)
        return
    rows = [
        (
            str(each["version"]),
            moment(each["at_us"]),
            each["state"],
            told.day(each["valid_to_us"]),
            each["who"],
            each["reason"],
        )
        for each in found["history"]
    ]
    show(table(("version", "at", "state", "until", "by", "why"), rows))


@app.command(short_help="Other conditions.")
def change(
    context: typer.Context,
    number: told.GrantNo,
    reason: told.Why,
    item: told.Fewer = None,
    rows: told.Rows = "",
    mask: told.Masks = None,
    rows_per_day: told.RowsPerDay = None,
    hours: told.Hours = "",
    query_rows: told.QueryRows = None,
    queries_per_hour: told.PerHour = None,
    until: told.Until = "",
    law: told.Law = "",
    document_no: told.DocumentNo = "",
    article: told.Article = "",
    law_kind: told.LawKind = "law",
    as_json: Json = False,
) -> None:
    """Conditions that take the place of all those before; never more than was asked for. What narrows needs a law."""
    limits = {"rows_per_day": rows_per_day, "hours": hours, "query_rows": query_rows}
    limits["queries_per_hour"] = queries_per_hour
    conditions = told.conditions_of(item, rows, mask, limits, (until, False))
    basis = told.basis_of(law, document_no, article, law_kind)
    with counter(context) as desk:
        answer = desk.do("grant.change", grant=number, reason=reason, basis=basis, conditions=conditions)
    _say(answer, as_json)


@app.command(short_help="Let nothing through for now.")
def suspend(
    context: typer.Context,
    number: told.GrantNo,
    reason: told.Why,
    law: told.Law = "",
    document_no: told.DocumentNo = "",
    article: told.Article = "",
    law_kind: told.LawKind = "law",
    as_json: Json = False,
) -> None:
    """Let nothing through until it is resumed: a provider by law, the authority, or security in an incident."""
    basis = told.basis_of(law, document_no, article, law_kind)
    with counter(context) as desk:
        _say(desk.do("grant.suspend", grant=number, reason=reason, basis=basis), as_json)


@app.command(short_help="Let it go on.")
def resume(context: typer.Context, number: told.GrantNo, reason: told.Why, as_json: Json = False) -> None:
    """Let a suspended grant go on; for whoever suspended it."""
    with counter(context) as desk:
        _say(desk.do("grant.resume", grant=number, reason=reason), as_json)


@app.command(short_help="End it for good.")
def revoke(
    context: typer.Context,
    number: told.GrantNo,
    reason: told.Why,
    law: told.Law = "",
    document_no: told.DocumentNo = "",
    article: told.Article = "",
    law_kind: told.LawKind = "law",
    as_json: Json = False,
) -> None:
    """End a grant now and for good; the consumer may give its own back."""
    basis = told.basis_of(law, document_no, article, law_kind)
    with counter(context) as desk:
        _say(desk.do("grant.revoke", grant=number, reason=reason, basis=basis), as_json)


@app.command("trust-clock", short_help="The database's clock went back and is right.")
def trust_clock(context: typer.Context, reason: told.Why) -> None:
    """Let grants pass again after the database's clock went back: you have compared it with a time server."""
    with counter(context) as desk:
        desk.do("grant.trust-clock", reason=reason)
    say("grants are judged by the clock as it is now")
    say("next: exchange-central grant list --state expiring")


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    fields = ("grant", "state", "consumer", "resource", "name", "mode", "version")
    coming = each.get("coming")
    says = "; ".join(filter(None, (each["sentence"], told.coming(coming) if coming else "")))
    return (*(str(each[name]) for name in fields), told.day(each["valid_to_us"]), says or "–")


def _say(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(answer)
        return
    terms, last = answer["terms"], told.day(answer["valid_to_us"])
    until = f"; it would have ended on {last}" if answer["state"] in _OVER else f" until {last}"
    say(f"{answer['grant']} version {answer['version']} ({answer['mode']}) is {answer['state']}{until}")
    say(f"  {answer['consumer']} may have {', '.join(terms['items'])} of {answer['resource']}")
    say(f"  for {terms['business']} ({terms['purpose']}), by {', '.join(terms['users'])}")
    say(f"  {told.said_of(terms)}")
    if answer["sentence"]:
        say(f"  {answer['sentence']}")
    if answer.get("feedback_due_us"):
        say(f"  the next report of its use is due on {told.day(answer['feedback_due_us'])}")
    if changed := answer.get("changed"):
        say(f"  since {told.day(changed['since_us'])} its table is otherwise: {changed['what']}")
    if coming := answer.get("coming"):
        say(f"  it follows version {coming['contract']} of the resource; {told.coming(coming)}")
    if answer.get("deletes"):
        say(f"  {answer['deletes']}")
    if heard := answer.get("received"):
        when = moment(heard["heard_us"]) if heard["heard_us"] else "never"
        say(f"  at the consumer: {heard['state']}, {heard['sentence']} (heard {when})")
        if heard["whose_move"] != "nobody":
            say(f"    the {heard['whose_move']}'s move{': ' if heard['fix'] else ''}{heard['fix']}")
    if answer.get("refusal"):
        say(f"  nothing passes now: {answer['refusal']}")
    say(f"next: exchange-central share explain {answer['consumer']} {answer['resource']}")
