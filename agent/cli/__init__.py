"""The commands of a department's people. An expected failure is one clear line with the next step, never a traceback.

What a command needs is imported when it runs, so that ``--help`` and completion answer at once.
"""

from __future__ import annotations

import gc
import os

import typer

from agent.cli import asking, desk, inspecting, journal, log, quarantine, querying, received, running, setup

app = typer.Typer(
    name="exchange-agent",
    help="Captures changes of a business database and exchanges them with the sharing platform.",
    epilog="The way of a first day: init, check, run, status. Exit codes: 0 done, 1 not possible now, "
    "2 the command or the settings are at fault.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("init", short_help="Ask the business database and write a settings file.")(setup.init)
app.command("check", short_help="Look at every prerequisite; print what mends it.")(setup.check)
app.command("run", short_help="Capture, mirror and push until told to stop.")(running.run)
app.command("status", short_help="How streams and tables are, and what to do.")(asking.status)
app.command("snapshot", short_help="Copy a table afresh; changes keep flowing beside it.")(asking.snapshot)
app.command("pause", short_help="Stop a source until somebody resumes it.")(asking.pause)
app.command("resume")(asking.resume)
app.command("reload")(asking.reload)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(received.app, name="received")
app.command("ask", short_help="What people decide at the platform's desk.")(desk.ask)
app.command("query", short_help="A system asks for rows that are granted to it.")(querying.query)
app.add_typer(journal.app, name="journal")
app.add_typer(inspecting.app, name="batch")
app.add_typer(log.app, name="log")


def main() -> None:
    """Run the command line."""
    # Databases and secrets are made here: whatever a command writes is its account's alone.
    os.umask(0o077)
    # What a command loads are a quarter of a million objects, none of them garbage: not to be looked through 300 times.
    gc.set_threshold(50_000)
    app()
