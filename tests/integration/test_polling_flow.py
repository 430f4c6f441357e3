"""Polling under the real capture and a real exchange database: first copy, changes, deletes, restart, closed hours."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.capture import Capture, CaptureSettings
from agent.exchange import Exchange
from agent.sources.kinds import new_source
from agent.sources.source import Limits
from agent.worker import StreamState, run_worker
from proto import frames
from proto.states import State
from tests.support.polling import settings

pytest_plugins = ["tests.support.exchanges"]

SOON_S = 20.0


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A SQLite file with a hundred people."""
    path = tmp_path / "business.db"
    with changing(path) as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE 人 (号 INTEGER PRIMARY KEY, 名 TEXT, 改 INTEGER)")
        database.executemany("INSERT INTO 人 VALUES (?, ?, ?)", [(n, f"名{n}", n) for n in range(100)])
    yield path


@contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction."""
    with closing(sqlite3.connect(path)) as database, database:
        yield database


@contextmanager
def captured(path: Path, exchange: Exchange, **load: Any) -> Iterator[StreamState]:
    """A capture that runs in the block."""
    table = {"table": "人", "watermark": "改", "every_s": 0.02, "compare_every_s": 1, "overlap": 10}
    source = new_source(settings([table], url=f"sqlite:///{path}", load=load), exchange.mirror)
    capture = Capture(source, exchange, lambda sealed: None, CaptureSettings(Limits(wait_s=0.05)))
    stopping = threading.Event()
    work = ("capture", capture.step, stopping, capture.state)
    thread = threading.Thread(target=run_worker, args=work, daemon=True)
    thread.start()
    yield capture.state
    stopping.set()
    capture.stop()
    thread.join(SOON_S)
    assert not thread.is_alive()


def until(what: Callable[[], bool]) -> None:
    """Wait until *what* holds; fail if it does not soon."""
    deadline = time.monotonic() + SOON_S
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def mirrors(path: Path, exchange: Exchange) -> Callable[[], bool]:
    """Whether the mirror is what the file is."""

    def equal() -> bool:
        status = exchange.tables().get("人")
        if status is None or status.schema is None or not status.flows:
            return False
        pages = exchange.mirror.scan("人")
        rows = [row for page in pages for row in frames.rows(page.data, status.schema.kinds)]
        with changing(path) as database:
            return sorted(rows) == database.execute("SELECT * FROM 人 ORDER BY 号").fetchall()

    return equal


def test_copy_changes_deletes_and_a_restart(file, exchange):
    """All of it arrives, and what is there already is not sent again by the next process."""
    with captured(file, exchange):
        until(mirrors(file, exchange))
        with changing(file) as database:
            database.execute("UPDATE 人 SET 名 = '新', 改 = 200 WHERE 号 = 5")
            database.execute("DELETE FROM 人 WHERE 号 % 10 = 0")
        until(mirrors(file, exchange))
    seq = exchange.checkpoint().head.seq
    with changing(file) as database:
        database.execute("UPDATE 人 SET 名 = '离线' WHERE 号 = 7")
    with captured(file, exchange):
        until(mirrors(file, exchange))

    assert exchange.checkpoint().head.seq == seq + 1


def test_outside_its_hours_the_stream_says_so(file, exchange):
    """People see why nothing comes, and when it will."""
    now = datetime.now().astimezone()
    window = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    with captured(file, exchange, windows=[window]) as state:
        until(lambda: state.read().state is State.PAUSED)

        assert f"goes on {window[:5]}" in state.read().sentence
        assert exchange.mirror.count("人") == 0
