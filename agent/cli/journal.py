"""``journal``: the triggers of a source that listens through them. Making them is the database administrator's right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.console import STANDARD, Config, load, say, told
from proto.errors import Refused

if TYPE_CHECKING:
    from agent.sources.journal.install import Plan

app = typer.Typer(help="Triggers that note what changes, for a source of kind journal.", no_args_is_help=True)
Name = Annotated[
    str, typer.Argument(help="Name of the source; not needed if there is only one of this kind.")
]
Admin = Annotated[
    str,
    typer.Option(
        "--url",
        help="Who may make tables and triggers, as a SQLAlchemy URL; asked for when left out.",
        prompt=True,
    ),
]


@app.command("show-sql")
def show_sql(
    source: Name = "",
    config: Config = STANDARD,
    remove: Annotated[bool, typer.Option("--remove", help="What takes everything away again.")] = False,
) -> None:
    """Print the statements, for the database's administrator to read and run."""
    with told():
        plan = _plan(config, source)
        say(plan.script(plan.remove() if remove else plan.install()))


@app.command()
def install(admin: Admin, source: Name = "", config: Config = STANDARD) -> None:
    """Make the journal and the triggers of every captured table. Doing it twice does no harm."""
    with told():
        from agent.sources.journal.install import execute

        plan = _plan(config, source)
        execute(admin, plan.install())
        say(f"{len(plan.tables)} tables are watched\nnext: exchange-agent check --config {config}")


@app.command()
def remove(
    admin: Admin,
    source: Name = "",
    config: Config = STANDARD,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take triggers and journal away. Changes that were not read yet are lost to the stream."""
    with told():
        from agent.sources.journal.install import execute

        plan = _plan(config, source)
        if not yes:
            typer.confirm(
                f"remove {plan.place.name} and the triggers of {len(plan.tables)} tables?", abort=True
            )
        execute(admin, plan.remove())
        say("removed")


def _plan(config: Config, name: str) -> Plan:
    from agent.sources.journal.install import plan
    from agent.sources.journal.settings import JournalSettings

    found = [
        one for one in load(config).sources if isinstance(one, JournalSettings) and name in ("", one.name)
    ]
    if len(found) != 1:
        what = (
            "there are several sources of kind journal"
            if found
            else "there is no such source of kind journal"
        )
        raise Refused(what, where=str(config), fix="name one of those in the settings")
    return plan(found[0])
