"""A department that receives: its exchange database and its pull, on the other side of a network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from agent.exchange import Received, StoreLimits, migrate, open_exchange
from agent.link import Address, Link
from agent.pull import Pull, PullLimits
from agent.worker import run_worker
from proto.channel import TlsFiles
from proto.states import State
from tests.support.central import eventually
from tests.support.parcels import CONSUMER, Share, rows_in
from tests.support.platform import Platform

QUICK: Final = PullLimits(welcome_s=3.0)


class Consumer:
    """A node that only receives."""

    def __init__(self, folder: Path, target: str, tls: TlsFiles, node: str = CONSUMER) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.target, self.tls, self.node = folder, target, tls, node
        self.limits = StoreLimits(min_free_bytes=0)
        self._thread: threading.Thread | None = None
        self.open()

    def open(self) -> None:
        """As a new process would."""
        self.engine = open_exchange(f"sqlite:///{self.folder}/exchange.db", self.node)
        migrate(self.engine)
        self.received = Received(self.engine, self.node, self.limits)
        self.link = Link(Address(self.target, self.tls, keepalive_s=10))
        self.pull = Pull(self.received, self.link, QUICK)
        self.stop_asked = threading.Event()
        self.bug: BaseException | None = None

    def start(self) -> None:
        """Begin to receive."""
        self._thread = threading.Thread(target=self._work, name="pull-test")
        self._thread.start()

    def stop(self) -> None:
        """As the daemon does."""
        self.stop_asked.set()
        self.pull.stop_waiting()
        if self._thread is not None:
            self._thread.join(15)
            assert not self._thread.is_alive()
            self._thread = None
        assert self.bug is None, repr(self.bug)

    def close(self) -> None:
        """Stop and let the database go."""
        self.stop()
        self.received.close()
        self.engine.dispose()

    def until(self, state: State, within_s: float = 20.0) -> str:
        """Wait for a state of the worker; its sentence."""
        eventually(lambda: self.pull.state.read().state, state, within_s)
        return self.pull.state.read().sentence

    def until_rows(self, grant: str, rows: list[tuple[Any, ...]], within_s: float = 20.0) -> None:
        """Wait until the inbound table holds exactly these."""
        eventually(lambda: self.rows(grant), sorted(rows, key=repr), within_s)

    def rows(self, grant: str = "G-1") -> list[tuple[Any, ...]]:
        """What the inbound table holds; nothing before the grant is known."""
        return rows_in(self.received, grant) if grant in self.received.grants() else []

    def _work(self) -> None:
        try:
            run_worker("pull-test", self.pull.step, self.stop_asked, self.pull.state)
        except BaseException as error:  # noqa: BLE001 - a bug ends the daemon; here it ends the test
            self.bug = error
        self.pull.close()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform that listens."""
    made = Platform(tmp_path / "platform").start()
    yield made
    made.stop()


@pytest.fixture
def consumer(tmp_path: Path, platform: Platform) -> Iterator[Consumer]:
    """A node that receives."""
    made = Consumer(tmp_path / "node", platform.target, platform.node())
    yield made
    made.close()


def begin(consumer: Consumer, platform: Platform, *shares: Share) -> None:
    """The consumer calls, and is told what is granted."""
    consumer.start()
    platform.visited()
    platform.send(*(share.granted() for share in shares))
