"""kill -9 before every statement between hearing that a table is closed and having it out: nothing of it can be sent (SD05.2)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from agent.exchange import Decision, Exchange, migrate, open_exchange
from agent.exchange.tables import tables
from proto import codec
from proto.batch import Head, SealedBatch
from proto.errors import Transient
from proto.schema import TableSchema
from tests.support.exchanges import NODE, ROOMY, STREAM, Killed, chain_of
from tests.support.fate import Fate
from tests.support.rows import PERSON, both, values

pytest_plugins = ["tests.support.exchanges"]

MOST_STATEMENTS = 300


def closes(schema: TableSchema) -> bool:
    """Persons, from some moment on."""
    return schema.name == "person"


class World:
    """An exchange database with five batches, of which central has two, and processes that come and go on it."""

    def __init__(self, url: str) -> None:
        self.engine = open_exchange(url, NODE)
        self.url = url
        self.fate = Fate()

    def live(self, nth: int = 0) -> Exchange:
        """A new process, that dies before its *nth* statement once it is watched."""
        self.fate = Fate(nth)
        self.engine = open_exchange(self.url, NODE)
        self.fate.govern(self.engine)
        migrate(self.engine)
        exchange = Exchange(self.engine, STREAM, ROOMY)
        exchange.start()
        return exchange

    def bury(self, exchange: Exchange) -> None:
        """What a dead process leaves."""
        exchange.close()
        self.engine.dispose()

    def persons_waiting(self, exchange: Exchange) -> list[int]:
        """Batches of the outbox that hold rows of persons, by number, whether or not they could be sent."""
        outbox = tables(exchange._place.schema, exchange._place.prefix).outbox
        with self.engine.connect() as connection:
            rows = connection.execute(
                select(outbox.c.seq, outbox.c.header, outbox.c.payload).order_by(outbox.c.seq)
            ).all()
        return [
            row.seq
            for row in rows
            if any(
                delta.rows and delta.schema == PERSON
                for delta in codec.decode(bytes(row.header), bytes(row.payload)).deltas
            )
        ]


@pytest.fixture
def world(exchange_url: str) -> Iterator[World]:
    """Nobody is in it."""
    it = World(exchange_url)
    yield it
    it.engine.dispose()


def every_death(
    world: World,
    prepare: Callable[[Exchange], None],
    act: Callable[[Exchange], None],
    look: Callable[[Exchange], None],
) -> int:
    """Die before each statement of *act* in turn, and look after each death; returns the deaths."""
    for nth in range(1, MOST_STATEMENTS):
        exchange = world.live(nth)
        prepare(exchange)
        world.fate.watch()
        with contextlib.suppress(Killed):
            act(exchange)
        died = world.fate.died
        world.bury(exchange)
        exchange = world.live()
        look(exchange)
        world.bury(exchange)
        if not died:
            return nth - 1
    raise AssertionError(f"more than {MOST_STATEMENTS} statements")


def fill(exchange: Exchange) -> None:
    """Batches of both tables under an open catalogue, unless they are there."""
    head = exchange.checkpoint().head.seq
    if head and exchange.closing._settled() != "closed":
        return
    exchange.closing.settle(Decision("open"))
    for number in range(head + 1, head + 4):
        exchange.commit([both(number, number)])
    exchange.acknowledge(head + 1)


def test_either_all_of_it_is_out_or_nothing_was_settled(world: World) -> None:
    """What a death leaves is either unsettled, and then push is not let through, or has no row of it anywhere."""
    seen = set()

    def settle(exchange: Exchange) -> None:
        exchange.closing.settle(Decision("closed", closes=closes))
        exchange.closing.scrub()

    def look(exchange: Exchange) -> None:
        settled = exchange.closing._settled() == "closed"
        seen.add(settled)
        waiting = world.persons_waiting(exchange)
        if settled:
            assert waiting == []
            assert exchange.tables()["person"].schema is None
            assert exchange.tables()["person"].wants_copy
            return
        assert waiting
        assert chain_of(exchange) == exchange.checkpoint().head

    deaths = every_death(world, fill, settle, look)
    assert deaths >= 10
    assert seen == {True, False}


def test_sealing_anew_is_whole_or_not_at_all(world: World) -> None:
    """After each death the next hello does it once more, and the chain follows from where central is."""
    exchange = world.live()
    fill(exchange)
    exchange.commit([both(4, 4), both(5, 5)])
    theirs = exchange.head_at(2)
    assert theirs is not None
    exchange.closing.settle(Decision("closed", closes=closes))
    with pytest.raises(Transient):
        exchange.read_outbox(2, 1 << 20)
    world.bury(exchange)
    epochs = []

    def look(exchange: Exchange) -> None:
        now = exchange.checkpoint()
        try:
            batches = exchange.read_outbox(theirs.seq, 1 << 20)
        except Transient:
            assert exchange.head_at(theirs.seq) == theirs
            return
        follows(theirs, batches)
        assert batches[-1].head == now.head
        epochs.append(now.head.epoch)

    def seal(exchange: Exchange) -> None:
        exchange.closing.seal_anew(theirs)

    def nothing(_: Exchange) -> None:
        """It is as the last death left it."""

    deaths = every_death(world, nothing, seal, look)
    assert deaths >= 5
    assert epochs
    exchange = world.live()
    assert not exchange.closing.seal_anew(theirs)
    exchange.commit([both(9, 9)])
    assert values(exchange.mirror.scan("visit"), exchange.tables()["visit"].schema or PERSON)
    world.bury(exchange)


def follows(head: Head, batches: list[SealedBatch]) -> None:
    """Each batch is the next one after the one before."""
    assert batches
    for batch in batches:
        codec.verify(batch, head)
        head = batch.head
