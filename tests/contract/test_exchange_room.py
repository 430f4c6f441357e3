"""Room on disks, and bookkeeping that migrates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, inspect, text

from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from agent.exchange.store import place_of
from agent.exchange.tables import tables
from proto.errors import DiskBlocked, Refused
from tests.support.exchanges import NODE, chain_of
from tests.support.rows import (
    both,
)

pytest_plugins = ["tests.support.exchanges"]


def test_a_full_outbox_blocks_and_heals(opened: Callable[..., Exchange]) -> None:
    """Capture stops before the disk does, and goes on when central has taken what waits."""
    exchange = opened(StoreLimits(min_free_bytes=0, outbox_bytes=300))
    exchange.start()
    position = 0
    with pytest.raises(DiskBlocked, match="central"):
        for position in range(1, 100):
            exchange.commit([both(position, position)])
    before = exchange.checkpoint()
    assert before.head.seq == position - 1

    exchange.acknowledge(before.head.seq)
    exchange.commit([both(position, position)])

    assert exchange.checkpoint().head.seq == position


def test_how_full_it_is(opened: Callable[..., Exchange]) -> None:
    """What waits, what may, and what is left of the volume before capture has to wait (SD12.3)."""
    exchange = opened(StoreLimits(min_free_bytes=0, outbox_bytes=64 * 1024**2))
    exchange.start()
    before = exchange.room.level(exchange.sizes().waiting_bytes)
    exchange.commit([both(1, *range(100))])
    after = exchange.room.level(exchange.sizes().waiting_bytes)
    assert (before.waiting_bytes, after.outbox_bytes) == (0, 64 * 1024**2)
    assert after.waiting_bytes == exchange.sizes().waiting_bytes > 100
    assert after.at_us > before.at_us
    free = exchange.room.free_bytes()
    assert (after.spare_bytes is None) == (free is None)
    exchange.acknowledge(exchange.checkpoint().head.seq)
    assert exchange.room.level(exchange.sizes().waiting_bytes).waiting_bytes == 0


@pytest.mark.parametrize("exchange_url", ["sqlite"], indirect=True)
def test_a_file_that_cannot_grow_blocks_and_heals(exchange: Exchange) -> None:
    """What the disk refuses is rolled back whole; the next commit after room came passes (E3)."""
    exchange.commit([both(1, 1)])
    event.listen(exchange._engine, "checkout", _cap)
    position = 2
    with pytest.raises(DiskBlocked, match=r".+"):
        for position in range(2, 200):
            ids = range(position * 1000, position * 1000 + 500)
            exchange.commit([both(position, *ids)])
    event.remove(exchange._engine, "checkout", _cap)
    event.listen(exchange._engine, "checkout", _uncap)

    before = exchange.checkpoint()
    assert before.position == f"{position - 1:04}"
    assert chain_of(exchange) == before.head
    exchange.commit([both(position, 7)])
    assert exchange.checkpoint().position == f"{position:04}"


def _cap(connection: Any, *_: object) -> None:
    connection.execute("PRAGMA max_page_count = 200")


def _uncap(connection: Any, *_: object) -> None:
    connection.execute("PRAGMA max_page_count = 1000000000")


@pytest.mark.parametrize("exchange_url", ["sqlite"], indirect=True)
def test_too_little_room_on_the_volume_blocks_before_it_is_full(opened: Callable[..., Exchange]) -> None:
    """The watermark stops capture while there still is room to send and prune."""
    exchange = opened(StoreLimits(min_free_bytes=1 << 60))
    exchange.start()
    with pytest.raises(DiskBlocked, match="must stay"):
        exchange.commit([both(1, 1)])
    assert exchange.checkpoint().position == ""
    assert (exchange.free_bytes() or 0) > 0
    exchange.acknowledge(0)
    exchange.prune(0)


def test_migrating_twice_and_at_once_is_once(exchange_url: str) -> None:
    """Two processes that start together migrate once."""
    engines = [open_exchange(exchange_url, NODE) for _ in range(2)]
    for engine in engines:
        migrate(engine)
    names = inspect(engines[0]).get_table_names(schema=place_of(engines[0]).schema)
    assert len(names) == 12
    for engine in engines:
        engine.dispose()


def test_a_newer_database_is_refused(exchange_url: str) -> None:
    """An older program must not guess what a newer one wrote."""
    engine = open_exchange(exchange_url, NODE)
    migrate(engine)
    place = place_of(engine)
    version = f"{place.schema}.version" if place.schema else f"{place.prefix}version"
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {version} SET version_num = '9999'"))

    with pytest.raises(Refused, match="newer"):
        migrate(engine)
    engine.dispose()


def test_the_migrated_tables_are_the_ones_the_code_knows(exchange: Exchange) -> None:
    """No drift between migrations and statements."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine: Engine = exchange._engine
    place = exchange._place
    known = tables(place.schema, place.prefix).metadata
    names = {table.name for table in known.tables.values()}
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": place.schema is not None,
                "include_object": lambda item, name, kind, *_: kind != "table" or name in names,
                "compare_server_default": False,
            },
        )
        assert compare_metadata(context, known) == []


@pytest.mark.parametrize("url", ["sqlite://", "oracle+oracledb://x/y", "nonsense"])
def test_an_address_that_cannot_be_an_exchange_database_is_refused(url: str) -> None:
    """The message says what would do."""
    with pytest.raises(Refused, match="sqlite:///"):
        open_exchange(url, NODE)
