"""``report``: who is on time and whose the late time was, what use was made of grants."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from central.cli.counter import arguments_of, counter, ways
from central.cli.output import Json, moment, say, say_json, show, table

app = typer.Typer(
    help="Figures: punctuality, late time, use of grants.",
    no_args_is_help=True,
    rich_markup_mode=None,
    callback=ways,
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
