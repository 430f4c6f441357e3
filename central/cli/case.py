"""``case``: disputes and corrections, warnings and restrictions. Every decision goes to the desk."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from central.cli.counter import AnywhereGroup, counter, ways
from central.cli.output import Json, moment, say, say_json, show, table

app = typer.Typer(
    help="Disputes, corrections, restrictions: raise, answer, rule, list.",
    no_args_is_help=True,
    rich_markup_mode=None,
    callback=ways,
    cls=AnywhereGroup,
)
Number = Annotated[int, typer.Argument(help="The case's number.")]
Text = Annotated[str, typer.Option("--text", help="What you say; it stays on record.", prompt=True)]
Resource = Annotated[str, typer.Argument(help="The resource's code.")]
NEXT_STEP = {
    "raiser": "next: the one who raised it says 'case agree' or 'case dispute', or 'case close' once it is corrected",
    "handler": "next: the department that must answer says 'case accept', 'case answer' or 'case correct'",
    "authority": "next: the authority says 'case rule'",
    "nobody": "it is closed",
}


@app.command("raise", short_help="Open a case against who provides a resource.")
def raise_case(
    context: typer.Context,
    resource: Resource,
    text: Text,
    kind: Annotated[
        str, typer.Option("--kind", help="catalogue, application, quality, response, comparison or other.")
    ] = "quality",
    grant: Annotated[str, typer.Option("--grant", help="The grant it is about.")] = "",
    evidence: Annotated[
        str, typer.Option("--evidence", help="Digests and batch numbers; never a value.")
    ] = "",
) -> None:
    """Open a case against the department that provides a resource.

    Example: exchange-central case --as zhang-wei raise 3070101/000001 --kind quality --text "出生日期与户籍不符"
    """
    arguments = {"kind": kind, "resource": resource, "text": text, "grant": grant, "evidence": evidence}
    with counter(context) as desk:
        made = desk.do("case.raise", **arguments)
    say(f"case {made['case']} is raised; {made['handler']} has to answer")
    say(f"follow it with: exchange-central case show {made['case']}")


def _stepped(context: typer.Context, verb: str, number: int, text: str, **more: Any) -> None:
    with counter(context) as desk:
        moved = desk.do(f"case.{verb}", case=number, text=text, **more)
        shown = desk.do("case.show", case=number)
    say(f"case {number} is {moved['state']}")
    say(NEXT_STEP[shown["whose_move"]])


@app.command()
def accept(context: typer.Context, number: Number, text: Text) -> None:
    """Take a case on."""
    _stepped(context, "accept", number, text)


@app.command()
def transfer(
    context: typer.Context,
    number: Number,
    text: Text,
    department: Annotated[str, typer.Option("--to", help="Code of the department it concerns.")],
) -> None:
    """Hand a case to the department it concerns."""
    _stepped(context, "transfer", number, text, department=department)


@app.command()
def answer(context: typer.Context, number: Number, text: Text) -> None:
    """Answer who raised it."""
    _stepped(context, "answer", number, text)


@app.command()
def agree(context: typer.Context, number: Number, text: Text) -> None:
    """Accept the answer."""
    _stepped(context, "agree", number, text)


@app.command()
def dispute(context: typer.Context, number: Number, text: Text) -> None:
    """Do not accept the answer: the authority rules."""
    _stepped(context, "dispute", number, text)


@app.command()
def rule(
    context: typer.Context,
    number: Number,
    text: Text,
    suspends: Annotated[
        str, typer.Option("--suspends", help="A grant that nothing flows through until it is resumed.")
    ] = "",
) -> None:
    """Decide a dispute, for the authority. Nothing that was granted stops, unless the ruling suspends it."""
    _stepped(context, "rule", number, text, suspends=suspends)
    if suspends:
        say(f"{suspends} is suspended; let it go on with: exchange-central grant resume {suspends}")


@app.command()
def correct(
    context: typer.Context,
    number: Number,
    text: Text,
    stream: Annotated[str, typer.Option("--stream", help="NODE/SOURCE that carries the correction.")],
    seq: Annotated[int, typer.Option("--batch", help="The number of its batch.", min=1)],
) -> None:
    """Say which batch carries the correction."""
    _stepped(context, "correct", number, text, stream=stream, seq=seq)


@app.command()
def close(
    context: typer.Context,
    number: Number,
    text: Text,
    score: Annotated[int, typer.Option("--score", help="How it was handled.", min=1, max=5)],
    solved: Annotated[bool, typer.Option("--solved/--not-solved", help="Whether it is mended.")] = True,
) -> None:
    """Close a case, for the one who raised it."""
    _stepped(context, "close", number, text, score=score, solved=solved)


@app.command("list")
def list_cases(
    context: typer.Context,
    after: Annotated[int, typer.Option("--after", help="Cases after this number.")] = 0,
    as_json: Json = False,
) -> None:
    """Cases of your department; all of them for the authority."""
    with counter(context) as desk:
        found = desk.do("case.list", after=after)
    if as_json:
        say_json(found)
        return
    columns = ("case", "kind", "resource", "raised by", "answers", "state", "whose move", "due")
    show(table(columns, [_row(each) for each in found]))


@app.command("show")
def show_case(context: typer.Context, number: Number, as_json: Json = False) -> None:
    """One case with everything that was said."""
    with counter(context) as desk:
        found = desk.do("case.show", case=number)
    if as_json:
        say_json(found)
        return
    say(f"case {number}, {found['kind']}, about {found['resource']}: {found['state']}")
    if source := found["source"]:
        place = f", from {source['stream']} {source['table']}" if source["stream"] else ""
        say(
            f"authoritative source: {source['name']} of {source['provider_name']} ({source['provider']}){place}"
        )
        say(f"  by catalogue release {source['release']}, version {source['version']}")
    for line in found["evidence"].splitlines():
        say(f"  evidence: {line}")
    for each in found["said"]:
        say(
            f"  {moment(each['at_us'])}  {each['who']} ({each['department']}) {each['state']}: {each['text']}"
        )
    say(NEXT_STEP[found["whose_move"]])


@app.command()
def restrictions(context: typer.Context, as_json: Json = False) -> None:
    """Who was warned, what is proposed, what is in force, and why."""
    with counter(context) as desk:
        found = desk.do("case.restrictions")
    if as_json:
        say_json(found)
        return
    rows = [(each["resource"], each["department"], each["step"], moment(each["since_us"])) for each in found]
    show(table(("resource", "department", "step", "since"), rows))
    for each in found:
        say(f"{each['resource']}: {each['sentence']}")


@app.command()
def confirm(context: typer.Context, resource: Resource) -> None:
    """Put a proposed restriction in force, for the authority. It lifts by itself."""
    with counter(context) as desk:
        made = desk.do("case.confirm", resource=resource)
    say(f"{made['department']} is restricted: {made['sentence']}")


@app.command()
def reject(
    context: typer.Context,
    resource: Resource,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays on record.", prompt=True)],
) -> None:
    """Do not follow a proposal, or lift a restriction, for the authority."""
    with counter(context) as desk:
        made = desk.do("case.reject", resource=resource, reason=reason)
    say(f"{made['department']} is not restricted for {resource}")


@app.command()
def maintenance(
    context: typer.Context,
    department: Annotated[str, typer.Argument(help="The department's code.")],
    begin: Annotated[str, typer.Option("--from", help="Local time of the policy's zone, 2026-12-01T22:00.")],
    end: Annotated[str, typer.Option("--to", help="The same.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays on record.", prompt=True)],
) -> None:
    """Agree hours that are not counted against a department, for the authority."""
    with counter(context) as desk:
        made = desk.do("case.maintenance", department=department, begin=begin, end=end, reason=reason)
    say(f"maintenance {made['maintenance']} of {department} is agreed: what is late then is not counted")


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    due = moment(each["due_us"]) + (", escalated" if each["escalated"] else "") if each["due_us"] else "–"
    place = (str(each["case"]), each["kind"], each["resource"], each["raiser"], each["handler"])
    return (*place, each["state"], each["whose_move"], due)
