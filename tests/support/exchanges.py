"""Exchange databases for tests: a SQLite file, PostgreSQL 15, PostgreSQL 18, MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine

from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from proto import codec
from proto.batch import Head

NODE: Final = "bureau"
STREAM: Final = "bureau/hr"
ROOMY: Final = StoreLimits(min_free_bytes=0)

KINDS: Final = ("sqlite", "postgresql15", "postgresql18", "mariadb")


class Killed(BaseException):
    """Stands for kill -9: nothing catches it, nothing after it runs."""


@pytest.fixture(params=KINDS)
def exchange_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh exchange database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/exchange.db"
        return
    cluster = request.getfixturevalue(request.param.replace("postgresql", "postgres"))
    name = cluster.new_database("exchange")
    yield cluster.url(name)
    cluster.drop_database(name)


@pytest.fixture
def opened(exchange_url: str) -> Iterator[Callable[..., Exchange]]:
    """Opens the exchange database as another process would; everything is closed afterwards."""
    engines: list[Engine] = []
    exchanges: list[Exchange] = []

    def open_one(limits: StoreLimits = ROOMY, stream: str = STREAM) -> Exchange:
        engine = open_exchange(exchange_url, NODE)
        engines.append(engine)
        migrate(engine)
        exchanges.append(Exchange(engine, stream, limits))
        return exchanges[-1]

    yield open_one
    for exchange in exchanges:
        exchange.close()
    for engine in engines:
        engine.dispose()


@pytest.fixture
def exchange(opened: Callable[..., Exchange]) -> Exchange:
    """A started exchange."""
    fresh = opened()
    fresh.start()
    return fresh


def chain_of(exchange: Exchange) -> Head:
    """Verify every batch in the outbox from its first on; returns the head."""
    head, seq = Head(), 0
    while batches := exchange.read_outbox(seq, 1 << 20):
        for batch in batches:
            codec.verify(batch, head)
            codec.decode(batch.header, batch.payload)
            head, seq = batch.head, batch.seq
    return head
