"""``run``: the daemon in the foreground, as systemd wants it."""

from __future__ import annotations

import typer

from agent.cli.console import STANDARD, Config, told


def run(config: Config = STANDARD) -> None:
    """Capture, mirror and push until told to stop.

    SIGTERM ends it within ten seconds; SIGHUP reads the settings again. As a service: systemctl start exchange-agent.
    """
    with told():
        from agent.daemon import run_daemon

        code = run_daemon(config)
    raise typer.Exit(code)
