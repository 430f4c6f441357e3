"""A department's outbox and its push on the other side of a bad network, without anything that captures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from agent.link import Address, Link
from agent.push import Push, PushLimits
from agent.worker import run_worker
from proto.batch import Batch
from proto.channel import TlsFiles
from proto.states import State
from tests.support.central import EVENTS, TestCentral, eventually, inserts, running
from tests.support.proxy import BadNet

NODE: Final = "hr-node"
STREAM: Final = f"{NODE}/hr"
QUICK: Final = PushLimits(progress_s=1.0, welcome_s=3.0)


class Department:
    """A node's outbox and its push, without anything that captures."""

    def __init__(self, folder: Path, target: str, tls: TlsFiles, limits: PushLimits = QUICK) -> None:
        self.folder = folder
        self.tls = tls
        self.target, self._limits = target, limits
        self.rows = 0
        self._thread: threading.Thread | None = None
        self.open()

    def open(self) -> None:
        """As a new process would."""
        self.engine = open_exchange(f"sqlite:///{self.folder}/exchange.db", NODE)
        migrate(self.engine)
        self.exchange = Exchange(self.engine, STREAM, StoreLimits(min_free_bytes=0))
        self.exchange.start()
        self.link = Link(Address(self.target, self.tls, keepalive_s=10))
        self.push = Push(self.exchange, self.link, self._limits)
        self.stop_asked = threading.Event()

    def start(self) -> None:
        """Begin to push."""
        self._thread = threading.Thread(target=self._work, name="push-test")
        self._thread.start()

    def stop(self) -> None:
        """As the daemon does."""
        self.stop_asked.set()
        self.push.stop_waiting()
        if self._thread is not None:
            self._thread.join(15)
            assert not self._thread.is_alive()
            self._thread = None

    def close(self) -> None:
        """Stop and let the database go."""
        self.stop()
        self.exchange.close()
        self.engine.dispose()

    def write(self, batches: int, rows: int = 3, note: str = "备注") -> None:
        """Commit batches of new events and hand them over."""
        for _ in range(batches):
            events = [(self.rows + number, note) for number in range(rows)]
            self.rows += rows
            self.push.offer(self.exchange.commit([Batch(f"{self.rows:08}", (inserts(events),), 1, 2, 1)]))

    @property
    def head(self) -> int:
        """The last batch committed."""
        return self.exchange.checkpoint().head.seq

    def until_acknowledged(self, seq: int | None = None, within_s: float = 20.0) -> None:
        """Wait until central has everything, or up to *seq*."""
        wanted = self.head if seq is None else seq
        eventually(lambda: self.push.facts().acknowledged_seq >= wanted, True, within_s)

    def until(self, state: State, within_s: float = 20.0) -> str:
        """Wait for a state; returns its code and sentence."""
        eventually(lambda: self.push.state.read().state, state, within_s)
        now = self.push.state.read()
        return f"{now.code}: {now.sentence}"

    def _work(self) -> None:
        run_worker("push-test", self.push.step, self.stop_asked, self.push.state)
        self.push.close()


@pytest.fixture
def central(tmp_path: Path) -> Iterator[TestCentral]:
    """A central on SQLite."""
    folder = tmp_path / "central"
    folder.mkdir()
    yield from running(folder, f"sqlite:///{folder}/central.db")


@pytest.fixture
def another_central(tmp_path: Path) -> Iterator[TestCentral]:
    """A central that remembers nothing."""
    folder = tmp_path / "another"
    folder.mkdir()
    yield from running(folder, f"sqlite:///{folder}/central.db")


@pytest.fixture
def tls(central: TestCentral) -> TlsFiles:
    """The certificate of a registered node."""
    return central.node(NODE).tls


@pytest.fixture
def net(central: TestCentral, badnet: Callable[[tuple[str, int]], BadNet]) -> BadNet:
    """The way to central."""
    return badnet(("127.0.0.1", central.port))


@pytest.fixture
def department(tmp_path: Path, net: BadNet, tls: TlsFiles) -> Iterator[Department]:
    """A node on the other side of the network."""
    folder = tmp_path / "node"
    folder.mkdir()
    made = Department(folder, net.address, tls)
    yield made
    made.close()


def everything_once(department: Department, central: TestCentral) -> None:
    """Central's table holds each event exactly once."""
    department.until_acknowledged()
    wanted = list(range(department.rows))
    eventually(lambda: [row[0] for row in rows_at(central)], wanted)


def rows_at(central: TestCentral) -> list[tuple[Any, ...]]:
    """What central's table holds."""
    try:
        return central.rows(STREAM, EVENTS)
    except Exception:  # noqa: BLE001 - the table is made by the first batch
        return []
