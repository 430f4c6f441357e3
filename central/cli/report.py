"""``report``: who is on time and whose the late time was, what use was made of grants."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from central.cli.counter import AnywhereGroup, arguments_of, counter, ways
from central.cli.output import Json, moment, say, say_json, show, table

app = typer.Typer(
    help="Figures: punctuality, late time, use of grants.",
    no_args_is_help=True,
    rich_markup_mode=None,
    callback=ways,
    cls=AnywhereGroup,
)
Grant = Annotated[str, typer.Argument(help="The grant.")]
SECONDS_US, MINUTE_US, HOUR_US, DAY_US = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000


@app.command()
def punctuality(
    context: typer.Context,
    department: Annotated[str, typer.Option("--department", help="Only this one, by code.")] = "",
    after: Annotated[str, typer.Option("--after", help="Resources after this code.")] = "",
    as_json: Json = False,
) -> None:
    """How each resource stands: on time, due, late, from signed reads."""
    with counter(context) as desk:
        found = desk.do("report.punctuality", department=department, after=after)
    if as_json:
        say_json(found)
        return
    columns = ("resource", "name", "state", "promised", "last read", "limits late")
    show(table(columns, [_row(each) for each in found]))
    if any(each["limits_late"] for each in found):
        say("whose the late time was: exchange-central report late RESOURCE")


@app.command()
def late(
    context: typer.Context,
    resource: Annotated[str, typer.Argument(help="The resource's code.")],
    days: Annotated[int, typer.Option("--days", help="How far back.", min=1, max=92)] = 30,
    as_json: Json = False,
) -> None:
    """Whose the late time of one resource was: the department's, the network's, the platform's."""
    with counter(context) as desk:
        found = desk.do("report.late", resource=resource, days=days)
    if as_json:
        say_json(found)
        return
    say(f"{found['name']} ({resource}) is {found['state']}; in the last {days} days it was late")
    for name in ("department", "network", "platform"):
        say(f"  {duration(found[f'late_{name}_us'])} by the {name}")
    say(f"  {duration(found['excused_us'])} in agreed maintenance")


@app.command()
def overdue(context: typer.Context, as_json: Json = False) -> None:
    """Reports of use that should be here."""
    with counter(context) as desk:
        found = desk.do("report.overdue")
    if as_json:
        say_json(found)
        return
    rows = [(each["grant"], each["resource"], each["department"], moment(each["due_us"])) for each in found]
    show(table(("grant", "resource", "consumer", "was due"), rows))
    if found:
        say(f"next: exchange-central report submit {found[0]['grant']} --text …")


@app.command()
def use(context: typer.Context, grant: Grant, as_json: Json = False) -> None:
    """What was reported of one grant."""
    with counter(context) as desk:
        found = desk.do("report.use", grant=grant)
    if as_json:
        say_json(found)
        return
    rows = [
        (
            str(each["n"]),
            moment(each["due_us"]),
            moment(each["submitted_us"]),
            each["who"] or "–",
            each["text"] or "–",
        )
        for each in found
    ]
    show(table(("n", "due", "submitted", "by", "text"), rows))


@app.command()
def submit(
    context: typer.Context,
    grant: Grant,
    text: Annotated[str, typer.Option("--text", help="What the data was used for.", prompt=True)],
    figures: Annotated[str, typer.Option("--figures", help='Numbers as JSON, {"核对人次": 1200}.')] = "{}",
) -> None:
    """Report what use was made of a grant, for its consumer."""
    with counter(context) as desk:
        made = desk.do("report.submit", grant=grant, text=text, figures=arguments_of(figures))
    say(f"report {made['n']} of {grant} is with the authority and the provider")


@app.command()
def read(
    context: typer.Context,
    grant: Grant,
    number: Annotated[int, typer.Argument(help="Which report.")],
) -> None:
    """Note that you have read a report."""
    with counter(context) as desk:
        desk.do("report.read", grant=grant, n=number)
    say(f"report {number} of {grant} is read")


Department = Annotated[str, typer.Option("--department", help="Only this one, by code.")]


_FIGURES = (
    *("department", "resources", "on time", "late now", "in time", "late", "waiting", "refused"),
    *("disputes", "feedback due", "rows out", "rows in"),
)


@app.command()
def figures(
    context: typer.Context,
    department: Department = "",
    days: Annotated[int, typer.Option("--days", help="How far back.", min=1, max=366)] = 30,
    as_json: Json = False,
) -> None:
    """Each department: resources, on-time rate, requests answered, refusals, disputes, feedback, rows."""
    with counter(context) as desk:
        found = desk.do("report.figures", department=department, days=days)
    if as_json:
        say_json(found)
        return
    show(table(_FIGURES, [_figures_row(each) for each in found]))
    for each in found:
        bases = ", ".join(f"{basis} ({count})" for basis, count in each["refusal_bases"].items())
        if bases:
            say(f"{each['name'] or each['department']} refused by: {bases}")
    worst = min((each for each in found if each["late_department_us"]), key=_rate, default=None)
    if worst:
        say(f"evidence: exchange-central report grounds --department {worst['department']} --ground late")


def _rate(each: dict[str, Any]) -> float:
    return float(each["on_time_rate"] or 0)


def _figures_row(each: dict[str, Any]) -> tuple[str, ...]:
    rate = each["on_time_rate"]
    now = each["punctuality"]
    late = now["late"] + now["seriously_late"]
    return (
        each["name"] or each["department"],
        str(each["resources"]),
        "–" if rate is None else f"{100 * rate:.2f} %",
        str(late) + (f" ({now['unknown']} never read)" if now["unknown"] else ""),
        str(each["answered_in_time"]),
        str(each["answered_late"]),
        str(each["waiting"] + each["waiting_late"]) + (" !" if each["waiting_late"] else ""),
        str(each["refused"]),
        str(each["disputes_to_answer"]),
        str(each["feedback_overdue"]),
        str(each["rows_delivered"] + each["rows_shown"]),
        str(each["rows_received"] + each["rows_asked_for"]),
    )


@app.command()
def consumers(
    context: typer.Context,
    resource: Annotated[str, typer.Argument(help="The resource's code.")],
    after: Annotated[str, typer.Option("--after", help="Grants after this one.")] = "",
    as_json: Json = False,
) -> None:
    """Who uses a resource, what for, how much and when last; what nobody uses is proposed for closing."""
    with counter(context) as desk:
        _show_usage(desk.do("report.consumers", resource=resource, after=after), as_json)


@app.command()
def grants(
    context: typer.Context,
    after: Annotated[str, typer.Option("--after", help="Grants after this one.")] = "",
    as_json: Json = False,
) -> None:
    """The same of every grant your department holds."""
    with counter(context) as desk:
        _show_usage(desk.do("report.grants", after=after), as_json)


def _show_usage(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        say_json(found)
        return
    columns = (
        "grant",
        "consumer",
        "resource",
        "mode",
        "purpose",
        "rows",
        "last use",
        "state",
        "until",
        "next report",
    )
    show(table(columns, [_usage_row(each) for each in found]))
    for each in found:
        if each["unused"]:
            say(f"{each['grant']} is not used; its holder closes it with: {each['close_with']}")
    if overdue := [each for each in found if each["feedback_overdue"]]:
        say(f"next: exchange-central report submit {overdue[0]['grant']} --text …")


def _usage_row(each: dict[str, Any]) -> tuple[str, ...]:
    feedback = moment(each["next_feedback_us"]) + (", overdue" if each["feedback_overdue"] else "")
    who = each["department_name"] or each["department"]
    place = (
        each["grant"],
        f"{each['consumer']} ({who})",
        each["resource"],
        each["mode"],
        each["purpose"],
        str(each["rows"]),
    )
    return (*place, moment(each["last_use_us"]), each["state"], moment(each["valid_to_us"]), feedback)


@app.command()
def grounds(
    context: typer.Context,
    department: Department = "",
    days: Annotated[int, typer.Option("--days", help="How far back.", min=1, max=366)] = 30,
    ground: Annotated[str, typer.Option("--ground", help="Only this one; all of them when left out.")] = "",
    as_json: Json = False,
) -> None:
    """Grounds for a correction (Article 38): which records of the log show them, by chain and number."""
    with counter(context) as desk:
        found = desk.do("report.grounds", department=department, days=days, ground=ground)
    if as_json:
        say_json(found)
        return
    for each in found["grounds"]:
        say(f"{each['ground']}: {each['title']}: {len(each['records'])} records in {days} days")
        for one in each["records"]:
            record = f"{one['chain']} {one['record']}"
            say(f"  {moment(one['at_us'])}  {record}  {one['event']}  {one['about']}  {one['who']}")
    say(f"the reads themselves: audit chains {', '.join(found['reads']) or '–'}")


def duration(length_us: int) -> str:
    """A length of time as people say it."""
    for unit, size in (("days", DAY_US), ("h", HOUR_US), ("min", MINUTE_US)):
        if length_us >= 2 * size:
            return f"{length_us / size:.1f} {unit}"
    return f"{length_us / SECONDS_US:.0f} s"


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    read_at = f"{duration(each['age_us'])} ago" if each["newest_us"] else "never"
    late = str(each["limits_late"]) if each["limits_late"] else "–"
    return (each["resource"], each["name"], each["state"], duration(each["limit_us"]), read_at, late)
