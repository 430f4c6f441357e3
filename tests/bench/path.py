"""Our path under measurement: business PostgreSQL → exchange PostgreSQL → central PostgreSQL, two real processes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import psutil
import psycopg

from agent.local.client import LocalClient
from demo.embedded import EmbeddedPostgres
from demo.system import NODE, SOURCE, System
from tests.bench import workload
from tests.bench.rivals import POLL_S, WAIT_S, NeverArrived, wait_for

CENTRAL_TABLE: Final = f"{NODE}_{SOURCE}.{workload.TABLE}"
EXCHANGE_TABLE: Final = f"{SOURCE}.{workload.TABLE}"
_pause = Event()


@dataclass(frozen=True, slots=True)
class Cpu:
    """Core-seconds spent by our two processes and by the servers they work with."""

    agent_s: float
    central_s: float
    servers_s: float

    @property
    def python_share(self) -> float:
        """Ours as a part of all."""
        ours = self.agent_s + self.central_s
        return ours / (ours + self.servers_s)


@dataclass(slots=True)
class OurPath:
    """The running system and the connection that watches central's table."""

    system: System
    business: EmbeddedPostgres
    target: EmbeddedPostgres
    central_database: str

    def pause(self) -> None:
        """Capture stops; the slot keeps the changes."""
        self._tell("pause")

    def drain(self, sentinel: int) -> tuple[float, Cpu]:
        """Resume; seconds from the request until *sentinel* is visible at central, and what it cost."""
        before = self._cpu()
        with self.target.connect(self.central_database) as central:
            begun = time.monotonic()
            self._tell("resume")
            took = wait_for(central, sentinel, CENTRAL_TABLE) - begun
        after = self._cpu()
        spent = (now - then for now, then in zip(after, before, strict=True))
        return took, Cpu(*spent)

    def copy_again(self, last: int) -> float:
        """Seconds of a first copy of the whole table, from the command to its last row being visible at central."""
        with self.target.connect(self.central_database) as central:
            begun = time.monotonic()
            self._tell("snapshot", workload.TABLE)
            self._wait_until_gone(central, last)
            return wait_for(central, last, CENTRAL_TABLE) - begun

    def peak_rss_mib(self) -> float:
        """The most memory the agent ever held."""
        status = Path(f"/proc/{self.system.agent.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def _tell(self, verb: str, *what: str) -> None:
        with LocalClient(self.system.socket_path) as agent:
            getattr(agent, verb)(SOURCE, *what)

    def _wait_until_gone(self, central: psycopg.Connection[Any], last: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if central.execute(f"SELECT 1 FROM {CENTRAL_TABLE} WHERE id = %s", (last,)).fetchone() is None:
                return
            _pause.wait(POLL_S)
        raise NeverArrived("the copy did not begin")

    def _cpu(self) -> tuple[float, float, float]:
        servers = sum(_tree_seconds(server.pid) for server in (self.business, self.target))
        return (
            _tree_seconds(self.system.agent.pid),
            _tree_seconds(self.system.central.pid),
            servers,
        )


def _tree_seconds(pid: int) -> float:
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        # A server's finished backends count in its postmaster.
        total += (times.children_user + times.children_system) if each == process else 0.0
    return total


@dataclass(slots=True)
class Progress:
    """Samples of how many rows central has applied, taken beside a run, for the plot."""

    target: EmbeddedPostgres
    database: str
    sql: str

    samples: list[tuple[float, int]] = field(default_factory=list)
    _stop: Event = field(default_factory=Event)
    _thread: Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = Thread(target=self._watch, name="bench-progress", daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        begun = time.monotonic()
        with self.target.connect(self.database) as connection:
            while not self._stop.wait(0.25):
                row = connection.execute(self.sql).fetchone()
                self.samples.append((time.monotonic() - begun, int(row[0] or 0) if row else 0))
