"""Receivers on exchange databases of each kind, and what they have on record."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text

from agent.exchange import Parcel, Received, StoreLimits, migrate, open_exchange
from agent.exchange.store import place_of
from proto.states import State
from tests.support.exchanges import NODE, ROOMY

Opening = Callable[..., Received]


@pytest.fixture
def receiving(exchange_url: str) -> Iterator[Opening]:
    """Opens the exchange database as another process would; everything is closed afterwards."""
    engines: list[Engine] = []
    made: list[Received] = []

    def open_one(limits: StoreLimits = ROOMY) -> Received:
        engines.append(open_exchange(exchange_url, NODE))
        migrate(engines[-1])
        made.append(Received(engines[-1], NODE, limits))
        return made[-1]

    yield open_one
    for each in made:
        each.close()
    for engine in engines:
        engine.dispose()


@pytest.fixture
def received(receiving: Opening) -> Received:
    """A started receiver."""
    fresh = receiving()
    fresh.start()
    return fresh


def take(received: Received, *parcels: Parcel) -> State:
    """Commit them one after the other; the state after the last."""
    row = None
    for parcel in parcels:
        row = received.commit(parcel)
    assert row is not None
    return row.state


def audit(received: Received) -> list[tuple[str, str]]:
    """What is on record: the event and whose."""
    place = place_of(received._engine)
    name = f"{place.schema}.audit" if place.schema else f"{place.prefix}audit"
    query = f"SELECT event, who FROM {name} WHERE stream = '{NODE}/.received' ORDER BY id"
    with received.reading() as connection:
        return [(row[0], row[1]) for row in connection.execute(text(query))]
