"""What an exchange database gives up before capture waits, and what is left for when a disk is full all the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from structlog.testing import capture_logs

from agent.exchange import Ballast, Exchange, StoreLimits
from agent.exchange.ballast import BALLAST_BYTES
from agent.exchange.room import MIB
from agent.exchange.sqlite import SqlitePlace
from proto.errors import DiskBlocked
from tests.support.rows import both

pytest_plugins = ["tests.support.exchanges"]
pytestmark = pytest.mark.parametrize("exchange_url", ["sqlite"], indirect=True)


class SmallVolume(SqlitePlace):
    """A volume of *size* bytes with nothing on it but the database and *others*."""

    def __init__(self, size: int) -> None:
        self.size, self.others = size, 0

    def free_and_total(self, engine: Engine) -> tuple[int, int]:
        """What the database's files leave."""
        file = self.file(engine)
        used = sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*"))
        return self.size - used - self.others, self.size


def fill(exchange: Exchange, first: int, count: int) -> None:
    """Batches that do not compress."""
    for position in range(first, first + count):
        exchange.commit([both(position, *range(position * 10_000, position * 10_000 + 5_000))])


def test_what_central_has_is_given_up_before_capture_waits(opened: Callable[..., Exchange]) -> None:
    """Kept batches go first, and people hear of it; what waits for central never goes."""
    exchange = opened(StoreLimits(min_free_bytes=1 * MIB))
    exchange.start()
    volume = exchange.room._place = SmallVolume(1 << 40)
    fill(exchange, 1, 20)
    exchange.acknowledge(15)
    volume.size = volume.size - volume.free_and_total(exchange._engine)[0] + MIB - 1

    with capture_logs() as logs:
        exchange.commit([both(21, 1)])

    assert [log["event"] for log in logs] == ["retention_given_up"]
    assert exchange.room.retention_given_up_us > 0
    assert exchange.oldest_seq() == 15
    assert [batch.seq for batch in exchange.read_outbox(15, 1 << 30)] == list(range(16, 22))


def test_a_stream_at_rest_makes_room_for_those_that_work(opened: Callable[..., Exchange]) -> None:
    """It captures nothing, so the clock does it; with room on the volume the same call keeps everything."""
    exchange = opened(StoreLimits(min_free_bytes=1 * MIB))
    exchange.start()
    volume = exchange.room._place = SmallVolume(1 << 40)
    fill(exchange, 1, 3)
    exchange.acknowledge(3)
    assert (exchange.prune(), exchange.room.retention_given_up_us) == (0, 0)

    volume.others = 1 << 40
    assert exchange.prune() == 2
    assert exchange.oldest_seq() == 3 and exchange.room.retention_given_up_us > 0


def test_when_nothing_is_left_to_give_up_capture_waits(opened: Callable[..., Exchange]) -> None:
    """And goes on by itself once there is room."""
    exchange = opened(StoreLimits(min_free_bytes=1 * MIB))
    exchange.start()
    volume = exchange.room._place = SmallVolume(1 << 40)
    fill(exchange, 1, 3)
    exchange.acknowledge(2)
    volume.others = 1 << 40
    with pytest.raises(DiskBlocked, match="given up already"):
        exchange.commit([both(4, 1)])
    assert exchange.oldest_seq() == 2

    volume.others = 0
    exchange.commit([both(4, 1)])


def test_the_ballast_goes_when_the_disk_is_full_and_comes_back(opened: Callable[..., Exchange]) -> None:
    """Made when there is room above the watermark; the first write that meets a full disk removes it."""
    exchange = opened(StoreLimits(min_free_bytes=1 * MIB))
    exchange.start()
    engine = exchange._engine
    volume = exchange.room._place = SmallVolume(BALLAST_BYTES)
    ballast, file = Ballast(engine, exchange.room), ballast_of(engine)
    exchange.room.when_full = ballast.drop
    ballast.keep()
    assert not file.exists()
    volume.size = 8 * BALLAST_BYTES
    ballast.keep()
    assert file.stat().st_blocks * 512 >= BALLAST_BYTES

    event.listen(engine, "checkout", _full)
    with pytest.raises(DiskBlocked), capture_logs() as logs:
        fill(exchange, 1, 10)
    assert not file.exists()
    assert [log["event"] for log in logs] == ["ballast_dropped"]
    event.remove(engine, "checkout", _full)
    ballast.keep()
    assert file.exists()


def ballast_of(engine: Engine) -> Path:
    """Where it lies."""
    return Path(f"{engine.url.database}-ballast")


def _full(connection: sqlite3.Connection, *_: object) -> None:
    connection.execute("PRAGMA max_page_count = 60")
