"""``share``: ask for a resource, answer who asks, see what waits, and why somebody can or cannot."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from central.cli import sharing_options as told
from central.cli.counter import AnywhereGroup, counter, ways
from central.cli.output import Json, say, say_json, show, table
from central.cli.share_use import compare, query

app = typer.Typer(
    help="Requests: ask, consent, refuse, explain; query and compare under a grant.",
    callback=ways,
    cls=AnywhereGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("query", short_help="A few rows of a granted resource.")(query)
app.command("compare", short_help="Which of my rows agree with theirs, without seeing theirs.")(compare)


@app.command(short_help="Ask for a resource.")
def request(
    context: typer.Context,
    consumer: told.Consumer,
    resource: told.Resource,
    item: told.Items,
    until: told.Until,
    business: told.Business,
    user: told.Users,
    purpose: told.Purpose,
    mode: told.ModeOption = "exchange",
    rows: told.Rows = "",
    since: told.Since = "",
    draft: Annotated[
        bool, typer.Option("--draft", help="Write it down only; 'submit' sends it off.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask for a resource: business, users, items, mode and end date are all needed (Article 29).

    Example: exchange-central share --as civil-admin request civil-node 3070101/000001 --item id --item name
    --mode query --until 2027-06-30 --business 社会救助核对 --user 救助科 --purpose 核对救助申请人
    """
    asked: dict[str, Any] = {"business": business, "users": user, "items": item, "mode": mode}
    asked |= {"until": until, "since": since or None, "purpose": purpose, "rows": rows or None}
    with counter(context) as desk:
        answer = desk.do("share.draft", consumer=consumer, resource=resource, asked=asked, submit=not draft)
    _say_where(answer, as_json)


@app.command(short_help="Approve a draft of your department and send it off.")
def submit(context: typer.Context, number: told.RequestNo, as_json: Json = False) -> None:
    """Approve a draft of your department and send it off: from here on the platform's clocks run."""
    with counter(context) as desk:
        _say_where(desk.do("share.submit", request=number), as_json)


@app.command(short_help="Do not want it any more.")
def withdraw(context: typer.Context, number: told.RequestNo, reason: told.Why, as_json: Json = False) -> None:
    """Take a request of your department back."""
    with counter(context) as desk:
        _say_where(desk.do("share.withdraw", request=number, reason=reason), as_json)


@app.command(short_help="Consent, with conditions.")
def agree(
    context: typer.Context,
    number: told.RequestNo,
    item: told.Fewer = None,
    rows: told.Rows = "",
    mask: told.Masks = None,
    rows_per_day: told.RowsPerDay = None,
    hours: told.Hours = "",
    query_rows: told.QueryRows = None,
    queries_per_hour: told.PerHour = None,
    until: told.Until = "",
    withdraw_at_end: told.Withdraws = False,
    opinion: told.Opinion = "",
    as_json: Json = False,
) -> None:
    """Consent; what is attached here is checked by the machine at every use (Article 25).

    Example: exchange-central share --as police-admin agree R2026-0007 --rows "region starts with '3701'" --mask name=keep:1:0
    """
    limits = {"rows_per_day": rows_per_day, "hours": hours, "query_rows": query_rows}
    limits["queries_per_hour"] = queries_per_hour
    conditions = told.conditions_of(item, rows, mask, limits, (until, withdraw_at_end))
    with counter(context) as desk:
        answer = desk.do("share.agree", request=number, conditions=conditions, opinion=opinion)
    _say_where(answer, as_json)


@app.command(short_help="Refuse, with the law in hand.")
def refuse(
    context: typer.Context,
    number: told.RequestNo,
    law: told.Law,
    document_no: told.DocumentNo,
    article: told.Article,
    opinion: told.Opinion,
    law_kind: told.LawKind = "law",
    as_json: Json = False,
) -> None:
    """Refuse: without the law's title, number and article it is not written down (Article 22)."""
    basis = {"title": law, "document_no": document_no, "article": article, "kind": law_kind}
    with counter(context) as desk:
        _say_where(desk.do("share.refuse", request=number, basis=basis, opinion=opinion), as_json)


@app.command("not-held", short_help="We do not have it: the authority routes it.")
def not_held(
    context: typer.Context, number: told.RequestNo, opinion: told.Opinion, as_json: Json = False
) -> None:
    """Say that your department does not hold it: the need goes to the authority instead of being closed."""
    with counter(context) as desk:
        _say_where(desk.do("share.not-held", request=number, opinion=opinion), as_json)


@app.command(short_help="The authority: send a need to who really has it.")
def route(
    context: typer.Context,
    number: told.RequestNo,
    resource: told.Resource,
    item: told.Fewer = None,
    opinion: told.Opinion = "",
    as_json: Json = False,
) -> None:
    """Send a need to the resource that really has it; --item names its items there when they are called otherwise."""
    with counter(context) as desk:
        answer = desk.do("share.route", request=number, resource=resource, items=item, opinion=opinion)
    _say_where(answer, as_json)


@app.command(short_help="The authority: grant what a law demands be given.")
def direct(
    context: typer.Context,
    consumer: told.Consumer,
    resource: told.Resource,
    item: told.Items,
    until: told.Until,
    business: told.Business,
    user: told.Users,
    purpose: told.Purpose,
    law: told.Law,
    document_no: told.DocumentNo,
    article: told.Article,
    law_kind: told.LawKind = "law",
    mode: told.ModeOption = "exchange",
    rows: told.Rows = "",
    as_json: Json = False,
) -> None:
    """Grant to one recipient what a law demands be given to it, whatever its share type (Article 5)."""
    asked: dict[str, Any] = {"business": business, "users": user, "items": item, "mode": mode}
    asked |= {"until": until, "purpose": purpose, "rows": rows or None}
    basis = {"title": law, "document_no": document_no, "article": article, "kind": law_kind}
    with counter(context) as desk:
        answer = desk.do("share.direct", consumer=consumer, resource=resource, asked=asked, basis=basis)
    _say_where(answer, as_json)


@app.command(short_help="Let a grant go on to a later day.")
def renew(context: typer.Context, number: told.GrantNo, until: told.Until, as_json: Json = False) -> None:
    """Ask for the same grant to go on, with the same terms; the same parties consent."""
    with counter(context) as desk:
        _say_where(desk.do("share.renew", grant=number, until=until), as_json)


@app.command("requests", short_help="Requests, newest first.")
def requests_(
    context: typer.Context,
    state: Annotated[str, typer.Option("--state", help="drafted, waiting, routing, granted …")] = "",
    resource: Annotated[str, typer.Option("--resource", help="Of one resource.")] = "",
    after: told.After = "",
    most: told.Most = 50,
    as_json: Json = False,
) -> None:
    """Your department's requests and those for its data, newest first; all of them for those who watch."""
    with counter(context) as desk:
        page = desk.do("share.requests", state=state or None, resource=resource, after=after, most=most)
    if as_json:
        say_json(page)
        return
    columns = ("request", "state", "consumer", "resource", "name", "mode", "grant", "says")
    fields = ("request", "state", "consumer", "resource", "name", "mode", "grant", "sentence")
    show(table(columns, [[str(each[field]) or "–" for field in fields] for each in page["requests"]]))
    if page["next"]:
        say(f"next: exchange-central share requests --after {page['next']}")


@app.command("show", short_help="One request whole.")
def show_request(context: typer.Context, number: told.RequestNo, as_json: Json = False) -> None:
    """What is asked, who answered what, and whom it waits for."""
    with counter(context) as desk:
        found = desk.do("share.show", request=number)
    if as_json:
        say_json(found)
        return
    asked = found["document"]["asked"]
    say(
        f"{found['request']}: {found['consumer']} asks for {found['resource']} {found['name']}: {found['state']}"
    )
    say(
        f"  for {asked['business']} ({asked['purpose']}), by {', '.join(asked['users'])}, until {asked['until']}"
    )
    say(f"  {asked['mode']} of {', '.join(asked['items'])}")
    show(table(("step", "for", "due", "days left", "answer", "by"), map(_step, found["steps"])))
    if found["sentence"]:
        say(found["sentence"])


@app.command(short_help="What waits for you, the most urgent first.")
def inbox(
    context: typer.Context,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what is late.")] = False,
    after: told.After = "",
    most: told.Most = 50,
    as_json: Json = False,
) -> None:
    """What waits for you by your roles, with the working days that are left; grants of yours that end soon."""
    with counter(context) as desk:
        page = desk.do("share.inbox", only="overdue" if overdue else "all", after=after, most=most)
    if as_json:
        say_json(page)
        return
    rows = [(each["request"], *_step(each), each["consumer"], each["name"]) for each in page["waiting"]]
    show(table(("request", "step", "for", "due", "days left", "answer", "by", "consumer", "name"), rows))
    for each in page["ending"]:
        say(f"{each['grant']} of {each['consumer']} ends on {told.day(each['valid_to_us'])}")
        say(f"  exchange-central share renew {each['grant']} --until YYYY-MM-DD")
    for each in page["changed"]:
        say(f"{each['grant_id']} of {each['consumer']}: since {told.day(each['since_us'])} {each['what']}")
    for each in page["coming"]:
        say(f"{each['grant_id']} of {each['consumer']}: {told.coming(each)}")
    for each in page["vacant"]:
        say(f"{each['name']} ({each['department']}) has no resource administrator")
    if page["next"]:
        say(f"next: exchange-central share inbox --after {page['next']}")


@app.command(short_help="Departments without a resource administrator.")
def vacancies(context: typer.Context, as_json: Json = False) -> None:
    """Departments that take part and have no resource administrator, with what waits there (Article 29)."""
    with counter(context) as desk:
        found = desk.do("share.vacancies")
    if as_json:
        say_json(found)
        return
    rows = [
        (each["department"], each["name"], ", ".join(each["waiting"]) or "–") for each in found["departments"]
    ]
    show(table(("code", "name", "waiting there"), rows))


@app.command(short_help="Why a node can or cannot have a resource, and whose move it is.")
def explain(
    context: typer.Context,
    consumer: told.Consumer,
    resource: told.Resource,
    item: Annotated[str, typer.Option("--item", help="One item of it.")] = "",
    mode: Annotated[str, typer.Option("--mode", help="Of the grants of one mode only.")] = "",
    as_json: Json = False,
) -> None:
    """One page: catalogue, request, consents, grant and limits; the last line says can or cannot, why, whose move."""
    with counter(context) as desk:
        page = desk.do("share.explain", consumer=consumer, resource=resource, item=item, mode=mode)
    if as_json:
        say_json(page)
        return
    if entry := page["entry"]:
        say(f"resource  {entry['code']} {entry['name']}, of {entry['provider_name']}, {entry['share_type']}")
        made_of = f"; made of {', '.join(entry['sources'])}" if entry["sources"] else ""
        say(
            f"catalogue version {entry['version']}, in release {entry['release']}, for {', '.join(entry['modes'])}{made_of}"
        )
    for each in page["requests"]:
        say(f"request   {each['request']} is {each['state']} {each['sentence']}".rstrip())
        for step in each["steps"]:
            who, due = step["role"], told.day(step["due_us"])
            say(f"  {step['kind']} of {who} {step['department']}: {step['answer'] or f'waits, due {due}'}")
    if grant := page["grant"]:
        terms, last = grant["terms"], told.day(grant["valid_to_us"])
        say(
            f"grant     {grant['grant']} version {grant['version']} ({grant['mode']}) is {grant['state']} until {last}"
        )
        say(f"  items {', '.join(terms['items'])}; users {', '.join(terms['users'])}; {told.said_of(terms)}")
        say("may change it: " + "; ".join(page["may_change"]))
    for each in page["restrictions"]:
        say(f"restricted {each}")
    say(page["sentence"])


def _step(each: dict[str, Any]) -> tuple[str, ...]:
    left = each.get("days_left", "–")
    late = " overdue" if each["escalated_us"] else ""
    who = f"{each['role']} {each['department']}".strip()
    note = f" ({each['calendar']})" if each["calendar"] else ""
    due = told.day(each["due_us"]) + note
    return (
        f"{each['step']} {each['kind']}",
        who,
        due,
        f"{left}{late}",
        each["answer"] or "–",
        each["who"] or "–",
    )


def _say_where(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(answer)
        return
    say(f"{answer['request']} is {answer['state']}")
    if answer["sentence"]:
        say(answer["sentence"])
    if answer["grant"]:
        say(f"next: exchange-central grant show {answer['grant']}")
        return
    for step in answer["waits_for"]:
        who = f"{step['role']} {step['department']}".strip()
        note = f" ({step['calendar']})" if step["calendar"] else ""
        say(f"waits for {who}: {step['kind']}, due {told.day(step['due_us'])}{note}")
    say(f"next: exchange-central share show {answer['request']}")
