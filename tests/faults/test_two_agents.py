"""Two real processes on one exchange database: one writes, the other is fenced, also after it slept (E9)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from agent.exchange import Exchange
from tests.support.exchanges import NODE, STREAM, chain_of
from tests.support.rows import VISIT, both, values

pytest_plugins = ["tests.support.exchanges"]

# Commits one batch per line it reads, and says what came of it.
PROGRAM = f"""
import sys
from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from proto.errors import ExchangeError
from tests.support.rows import both
engine = open_exchange(sys.argv[1], "{NODE}")
migrate(engine)
exchange = Exchange(engine, "{STREAM}", StoreLimits(min_free_bytes=0))
try:
    print("started", exchange.start().epoch, flush=True)
    for line in sys.stdin:
        print("committed", exchange.commit([both(int(line), int(line))])[0].seq, flush=True)
except ExchangeError as error:
    print(error.code, flush=True)
exchange.close()
"""


class Process:
    """An agent's exchange in a process of its own."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def says(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def commit(self, number: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def process(exchange_url: str) -> Iterator[Callable[[], Process]]:
    """Starts processes; none outlives the test."""
    started: list[Process] = []

    def start() -> Process:
        started.append(Process(exchange_url))
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_the_second_process_is_fenced_until_the_first_is_gone(process: Callable[[], Process]) -> None:
    """Killed hard, the first leaves nothing behind that keeps its successor out."""
    first = process()
    assert first.says() == "started 1"
    assert process().says() == "FENCED"
    first.commit(1)
    assert first.says() == "committed 1"

    first.signal(signal.SIGKILL)
    assert process().says() == "started 2"


@pytest.mark.parametrize("exchange_url", ["postgresql15", "postgresql18"], indirect=True)
def test_a_process_that_slept_through_its_replacement_changes_nothing(
    process: Callable[[], Process], opened: Callable[..., Exchange]
) -> None:
    """Its lock went with its connection; the epoch inside its transaction stops it."""
    sleeper = process()
    assert sleeper.says() == "started 1"
    sleeper.commit(1)
    assert sleeper.says() == "committed 1"
    sleeper.signal(signal.SIGSTOP)
    successor = opened()
    with successor._engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(l.pid, 5000) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
                "WHERE locktype = 'advisory' AND d.datname = current_database()"
            )
        )
    assert successor.start().epoch == 2
    successor.commit([both(2, 2)])

    sleeper.commit(2)
    sleeper.signal(signal.SIGCONT)

    assert sleeper.says() == "FENCED"
    assert values(successor.mirror.scan("visit"), VISIT) == [(1, "came"), (2, "came")]
    assert chain_of(successor) == successor.checkpoint().head
