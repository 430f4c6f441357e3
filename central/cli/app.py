"""All commands together, and the way out of them."""

from __future__ import annotations

import gc
import os
import sys
import threading

import typer

from central.cli import audit_files
from central.cli.audit import app as audit_app
from central.cli.case import app as case_app
from central.cli.catalogue import app as catalogue_app
from central.cli.check import check
from central.cli.delivery import app as delivery_app
from central.cli.grant import app as grant_app
from central.cli.init import init
from central.cli.node import app as node_app
from central.cli.options import DEFAULT_CONFIG, Config, settings_of
from central.cli.output import fail
from central.cli.people import departments, persons
from central.cli.report import app as report_app
from central.cli.retirement import app as retirement_app
from central.cli.share import app as share_app
from central.cli.status import explain, status
from central.cli.stream import app as stream_app
from proto.errors import ExchangeError

app = typer.Typer(
    name="exchange-central",
    help="The sharing platform: takes batches from nodes, keeps them, applies them.",
    epilog="The way of a first day: init, node add, serve, status. Exit codes: 0 done, 1 refused or not possible now, "
    "2 the settings or the command line are at fault.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("init", short_help="Write settings and a trial authority.")(init)
app.command("check", short_help="Look at every prerequisite.")(check)
app.command("status", short_help="Every node and stream: how far, how late.")(status)
app.command("explain", short_help="Where a node's data waits, why, and whose move it is.")(explain)
app.add_typer(node_app, name="node")
app.add_typer(stream_app, name="stream")
app.add_typer(departments, name="department")
app.add_typer(persons, name="person")
app.add_typer(case_app, name="case")
app.add_typer(report_app, name="report")
app.add_typer(share_app, name="share")
app.add_typer(grant_app, name="grant")
app.add_typer(catalogue_app, name="catalogue")
app.add_typer(delivery_app, name="delivery")
audit_files.add_to(audit_app)
audit_app.add_typer(retirement_app, name="retirement")
app.add_typer(audit_app, name="audit")


@app.command(short_help="Take batches and apply them until told to stop.")
def serve(config: Config = DEFAULT_CONFIG) -> None:
    """Take batches and apply them until told to stop.

    SIGTERM ends it; SIGHUP reads the log level again; certificates are followed by themselves.
    As a service: systemctl start exchange-central.
    """
    from central.daemon import Daemon
    from proto.process import (
        configure_logging,
        keep_memory_small,
        look_for_cycles_seldom,
        set_level,
        stop_on_signals,
    )

    settings = settings_of(config)
    keep_memory_small()
    look_for_cycles_seldom()
    configure_logging(settings.log_level)
    stop = threading.Event()
    stop_on_signals(stop, lambda: set_level(settings_of(config).log_level))
    if not Daemon(settings).run(stop):
        # A statement hangs in the database. What it would have done is repeated later; waiting for it helps nobody.
        sys.stdout.flush()
        os._exit(0)


def main() -> None:
    """The entry point of the command."""
    # Databases and keys are made here: whatever a command writes is its account's alone.
    os.umask(0o077)
    # What a command loads are a quarter of a million objects, none of them garbage: not to be looked through 300 times.
    gc.set_threshold(50_000)
    try:
        app()
    except ExchangeError as error:
        sys.exit(fail(error))
