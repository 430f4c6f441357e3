"""The agent as a process: signals, systemd, the supervisor, and the exit code."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import structlog

from agent.daemon.node import Node, version_of_us
from agent.reload import SettingsWatch
from agent.settings import Settings
from agent.status import WORST_FIRST
from proto.errors import ExchangeError, Refused
from proto.process import (
    Notifier,
    configure_logging,
    keep_memory_small,
    load_settings,
    look_for_cycles_seldom,
    stop_on_signals,
)
from proto.states import State

STATUS_EVERY_S: Final = 5.0
CRASHED: Final = 1

_log = structlog.get_logger()


class Supervisor:
    """Ends the daemon when a worker dies of a bug: half an agent is worse than one that restarts."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.failure: BaseException | None = None

    def on_bug(self, worker: str, error: BaseException) -> None:
        """A worker died."""
        if self.failure is None:
            self.failure = error
        if isinstance(error, Refused):
            _log.critical("worker_refused", worker=worker, error=str(error))
        else:
            _log.critical("worker_died", worker=worker, exc_info=error)
        self.stop.set()

    def watch(self, node: Node, notifier: Notifier) -> None:
        """Wait for the end; tell systemd meanwhile that, and how, we live."""
        every_s = min(STATUS_EVERY_S, notifier.watchdog_interval_s or STATUS_EVERY_S)
        while not self.stop.wait(every_s):
            if node.is_alive():
                notifier.alive()
            notifier.status(_summary(node))


def run_daemon(path: Path) -> int:
    """Run until told to stop; returns the exit code. Raises Refused before anything began."""
    settings = load_settings(path, Settings)
    keep_memory_small()
    look_for_cycles_seldom()
    configure_logging(settings.log_level)
    structlog.contextvars.bind_contextvars(node=settings.node)
    supervisor, notifier = Supervisor(), Notifier()
    node = Node(path, settings, supervisor.on_bug)
    watch = _watch(path, node)
    stop_on_signals(supervisor.stop, lambda: _reload(node, notifier))
    try:
        node.start()
        watch.start()
        _log.info(
            "agent_started", version=version_of_us(), sources=[source.name for source in settings.sources]
        )
        notifier.ready(_summary(node))
        supervisor.watch(node, notifier)
    finally:
        notifier.stopping("stopping")
        watch.stop()
        ended = node.stop()
        _log.info("agent_stopped", clean=ended)
    return CRASHED if supervisor.failure is not None else 0


def _watch(path: Path, node: Node) -> SettingsWatch:
    def changed() -> None:
        try:
            node.reload()
        except ExchangeError as error:
            # The old settings stay in force until the file is right (P9).
            _log.error("settings_not_reloaded", error=str(error))

    return SettingsWatch(path, changed)


def _reload(node: Node, notifier: Notifier) -> None:
    """What SIGHUP asks for."""
    notifier.reloading()
    try:
        sentence = node.reload()
    except ExchangeError as error:
        _log.error("settings_not_reloaded", error=str(error))
        sentence = f"settings not reloaded: {error}"
    notifier.ready(sentence)


def _summary(node: Node) -> str:
    """One line for ``systemctl status``: the worst first."""
    reports = sorted(node.reports(), key=lambda stream: WORST_FIRST.index(State(stream.state)))
    return "; ".join(f"{stream.stream} {stream.state}: {stream.sentence}" for stream in reports)
