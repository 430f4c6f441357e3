"""A whole system on one machine: one central, one department's agent, real processes, mutual TLS.

The demonstration, the end-to-end tests and the benchmark all run the two commands a user would run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Final

import yaml

from demo.embedded import free_port

NODE: Final = "population"
SOURCE: Final = "hr"
READY_S: Final = 60.0
STOP_S: Final = 15.0
_pause = Event()


class CommandFailed(RuntimeError):
    """A command or process did not do as told; the message ends with what it said."""


def command(name: str) -> str:
    """The console script beside the running interpreter."""
    return str(Path(sys.executable).parent / name)


def run(*arguments: str) -> str:
    """Run a command to its end; what it printed."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise CommandFailed(f"{' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


@dataclass(slots=True)
class Daemon:
    """One of our processes, restarted with the same arguments as often as one likes."""

    arguments: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; what it says goes to its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    @property
    def pid(self) -> int:
        """Its process id while it runs."""
        if self.process is None:
            raise CommandFailed(f"{self.arguments[0]} is not running")
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it is alive."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """``kill -9``, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its exit code."""
        return self._end(signal.SIGTERM)

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise CommandFailed(f"{self.arguments[0]} did not stop in {STOP_S:.0f} s: {self.tail()}") from None
        self.process = None
        return code


@dataclass(slots=True)
class System:
    """Central and agent below *home*; ``""`` for a database means SQLite there."""

    home: Path
    business_dsn: str
    tables: list[dict[str, Any]]
    exchange_url: str = ""
    central_url: str = ""
    central_address: str = ""
    """Where the agent believes central to be; a test puts a bad network there."""
    agent_settings: dict[str, Any] = field(default_factory=dict)
    source_settings: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    central: Daemon = field(init=False)
    agent: Daemon = field(init=False)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        central = (command("exchange-central"), "serve", "-c", str(self.central_config))
        agent = (command("exchange-agent"), "run", "-c", str(self.agent_config))
        self.central = Daemon(central, self.home / "central.log")
        self.agent = Daemon(agent, self.home / "agent.log")

    @property
    def central_config(self) -> Path:
        """Central's YAML."""
        return self.home / "central" / "central.yaml"

    @property
    def agent_config(self) -> Path:
        """The agent's YAML."""
        return self.home / "agent" / "agent.yaml"

    @property
    def exchange_database(self) -> str:
        """The exchange database's URL."""
        return self.exchange_url or f"sqlite:///{self.home / 'agent' / 'exchange.db'}"

    def prepare(self) -> None:
        """Make configuration and certificates with the commands a user has."""
        raise NotImplementedError
