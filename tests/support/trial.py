"""A whole system under work and under fire, and the judge beside it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from demo.system import NODE, SOURCE, CommandFailed, Daemon, System
from tests.support import workloads
from tests.support.judge import Broken, Judge, check_once
from tests.support.postgres import Cluster
from tests.support.proxy import BadNet
from tests.support.reference import Decoder, columns_of
from tests.support.views import View, central_view, exchange_view

ARRIVES_S: Final = 60.0
COPIED_S: Final = 60.0
STREAM: Final = f"{NODE}/{SOURCE}"
_pause = Event()


@dataclass(frozen=True, slots=True)
class Homes:
    """Where the two databases are; SQLite files where no server is given."""

    exchange: Cluster | None = None
    central: Cluster | None = None

    def url(self, which: str) -> str:
        """A fresh database's URL, or nothing for SQLite."""
        server = self.exchange if which == "exchange" else self.central
        return "" if server is None else server.url(server.new_database(which))


@dataclass(slots=True)
class Trial:
    """One business database with the probes in it, a system that follows it, and what is known about both.

    Use it as a context manager: the daemons are gone afterwards.
    """

    home: Path
    business: Cluster
    homes: Homes = Homes()
    seed: int = field(default_factory=lambda: random.randrange(10**9))
    bad_network: bool = False
    """Whether a BadNet lies between agent and central; otherwise it is there and never used."""
    agent_settings: dict[str, Any] = field(default_factory=dict)
    source_settings: dict[str, Any] = field(default_factory=dict)
    clients: int = 0
    """How many have worked so far."""
    net: BadNet = field(init=False)
    system: System = field(init=False)
    decoder: Decoder = field(init=False)
    judge: Judge = field(init=False)
    central: View = field(init=False)
    exchange: View = field(init=False)
    database: str = field(init=False)
    dsn: str = field(init=False)
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        print(f"seed {self.seed}")
        self.rng = random.Random(self.seed)
        self.database = self.business.new_database("business")
        self.dsn = self.business.dsn(self.database)
        with self.business.connect(self.database) as connection:
            workloads.create(connection)
            tables = columns_of(connection, workloads.PLACES)
            self.decoder, self.judge = Decoder(self.dsn), Judge(tables)
            workloads.fill(connection)
        self.system = System(
            self.home,
            self.dsn,
            workloads.SETTINGS,
            exchange_url=self.homes.url("exchange"),
            central_url=self.homes.url("central"),
            agent_settings=self.agent_settings,
            source_settings=self.source_settings,
        )
        self.net = BadNet(("127.0.0.1", self.system.port))
        if self.bad_network:
            self.system.central_address = self.net.address
        self.central = central_view(self.system.central_database, STREAM, tables)
        self.exchange = exchange_view(self.system.exchange_database, STREAM, tables)

    def __enter__(self) -> Self:
        self.system.prepare()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.system.agent.tail(40), self.system.central.tail(40), sep="\n")
        self.system.agent.kill()
        self.system.central.kill()
        self.net.close()
        self.business.drop_database(self.database)

    def connect(self) -> psycopg.Connection[Any]:
        """A connection to the business database, as its administrator."""
        return psycopg.connect(self.dsn, autocommit=True)

    def start(self) -> None:
        """Start both daemons and wait until the first copy is at central."""
        self.system.start()
        self.system.wait_until_copied(COPIED_S)

    def workload(self, per_s: float = 80.0, clients: int = 2) -> workloads.Workload:
        """Clients whose numbers nobody had before, seeded by the trial's own seed."""
        self.clients += clients
        return workloads.Workload(
            self.dsn, self.seed, range(self.clients - clients + 1, self.clients + 1), per_s
        )

    def check(self, view: View | None = None) -> int:
        """*Prefix* now, at central or elsewhere; how many commits it shows."""
        view = view or self.central
        sight = view.look()
        self.judge.learn(self.decoder.read())
        workloads.check_laws(sight)
        return self.judge.check(sight, view.room)

    def wait_until(self, happens: Callable[[], bool], what: str, timeout_s: float = ARRIVES_S) -> None:
        """Return when it happens; a daemon that ends by itself meanwhile is a bug, whatever was done to it."""
        deadline = time.monotonic() + timeout_s
        while not happens():
            self.system.raise_if_ended()
            if time.monotonic() > deadline:
                raise Broken(f"no-loss: {what} did not happen within {timeout_s:.0f} s")
            _pause.wait(0.05)

    def wait_for_more(self, count: Callable[[], int], what: str) -> None:
        """Wait until *count* has grown."""
        before = count()
        self.wait_until(lambda: count() > before, what)

    def arrive(self) -> None:
        """Wait until central shows everything committed so far."""
        self.judge.learn(self.decoder.read())
        self.wait_until(lambda: self.central.lsn() >= self.judge.end_lsn, "central shows everything")

    def finish(self, work: workloads.Workload, without: frozenset[str] = frozenset()) -> None:
        """After the work: everything arrives, and every promise holds on every side.

        *without* names tables whose past was lost to us, as people were told.
        """
        self.arrive()
        for view in (self.central, self.exchange):
            sight = view.look()
            kept = {name: rows for name, rows in sight.tables.items() if name not in without}
            commits = self.judge.check(replace(sight, tables=kept), view.room)
            if commits != self.judge.transactions:
                raise Broken(f"no-loss: {view.room} shows {commits} of {self.judge.transactions} commits")
            workloads.check_laws(sight)
            check_once(sight, work.acknowledged, work.aborted)

    def stream(self) -> dict[str, Any]:
        """What ``exchange-agent status`` says about the stream."""
        found: dict[str, Any] = self.system.status()["streams"][0]
        return found

    def wait_for_state(self, *states: str) -> dict[str, Any]:
        """Wait until ``exchange-agent status`` shows one of these words; what it says."""
        self.wait_until(lambda: self._is_told(states), f"status says {' or '.join(states)}")
        return self.stream()

    def _is_told(self, states: tuple[str, ...]) -> bool:
        try:
            return self.stream()["state"] in states
        except CommandFailed:
            return False  # not listening yet

    def crash(self, daemon: Daemon, down_s: float = 0.0) -> None:
        """``kill -9``, and start it again."""
        daemon.kill()
        if down_s:
            _pause.wait(down_s)
        daemon.start()
