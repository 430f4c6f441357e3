"""kill -9 before every single statement of the exchange database: nothing is lost, nothing is there twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from agent.exchange import Exchange, migrate, open_exchange
from agent.sources.source import Page
from proto import codec, frames
from proto.batch import Delta
from proto.errors import BadRow
from proto.states import State
from tests.support.exchanges import NODE, ROOMY, STREAM, Killed, chain_of
from tests.support.fate import Fate
from tests.support.rows import PERSON, VISIT, batch, both, values, visits

pytest_plugins = ["tests.support.exchanges"]

MOST_STATEMENTS = 200


@dataclass
class World:
    """An exchange database, and processes that come and go on it."""

    url: str
    engine: Engine | None = None
    exchange: Exchange | None = None

    def live(self, fate: Fate) -> Exchange:
        """A new process."""
        self.engine = open_exchange(self.url, NODE)
        fate.govern(self.engine)
        migrate(self.engine)
        self.exchange = Exchange(self.engine, STREAM, ROOMY)
        return self.exchange

    def bury(self) -> None:
        """What a dead process leaves: closed connections, released locks."""
        if self.exchange is not None:
            self.exchange.close()
        if self.engine is not None:
            self.engine.dispose()


@pytest.fixture
def world(exchange_url: str) -> Iterator[World]:
    """A world without anybody in it."""
    it = World(exchange_url)
    yield it
    it.bury()


def every_death(world: World, prepare: Callable[[Exchange], None], act: Callable[[Exchange], None]) -> int:
    """Die before each statement of *act* in turn; after each death look that the books agree. Returns the deaths."""
    for nth in range(1, MOST_STATEMENTS):
        fate = Fate(nth)
        exchange = world.live(fate)
        exchange.start()
        prepare(exchange)
        fate.watch()
        with contextlib.suppress(Killed):
            act(exchange)
        world.bury()
        look(world)
        if not fate.died:
            return nth - 1
    raise AssertionError(f"more than {MOST_STATEMENTS} statements")


def look(world: World) -> None:
    """Mirror, outbox and checkpoint tell the same story; a batch is in all of them or in none."""
    exchange = world.live(Fate())
    now = exchange.start()
    assert chain_of(exchange) == now.head
    sent: list[tuple[object, ...]] = []
    position = ""
    for sealed in exchange.read_outbox(0, 1 << 30):
        decoded = codec.decode(sealed.header, sealed.payload)
        position = decoded.position
        for delta in decoded.deltas:
            if delta.schema == VISIT:
                sent += values([delta.inserts], VISIT)
    if now.head.seq:
        assert values(exchange.mirror.scan("visit"), VISIT) == sorted(sent, key=repr)
        assert position <= now.position
    world.bury()


def test_commit(world: World) -> None:
    """A source that reads again from the checkpoint, after every death, arrives at every row once."""
    last = 0

    def go_on(exchange: Exchange) -> None:
        nonlocal last
        last = int(exchange.checkpoint().position or 0)

    def commit(exchange: Exchange) -> None:
        exchange.commit([both(last + 1, last + 1)])
        exchange.commit(iter([both(last + 1, last + 2, continues=True), both(last + 3, last + 3)]))

    deaths = every_death(world, go_on, commit)

    exchange = world.live(Fate())
    last = int(exchange.start().position)
    assert deaths >= 10
    assert values(exchange.mirror.scan("visit"), VISIT) == sorted(
        ((n, "came") for n in range(1, last + 1)), key=repr
    )
    assert len(values(exchange.mirror.scan("person"), PERSON)) == last


def test_commit_page(world: World) -> None:
    """A copy that goes on at its last key brings every row once, also of a table without key."""
    copied: list[int] = []

    def order(exchange: Exchange) -> None:
        exchange.know(["visit"])
        exchange.begin_copy(VISIT, 0)

    def copy(exchange: Exchange) -> None:
        status = exchange.tables()["visit"]
        start = int.from_bytes(status.copy.last_key[6:]) + 1 if status.copy.last_key else 1
        for number in (start, start + 1):
            key = frames.pack([number.to_bytes(8)])
            exchange.commit_page(Page(VISIT, visits(number), key, False), status.copy.generation)
            copied[:] = [number]

    assert every_death(world, order, copy) >= 6

    exchange = world.live(Fate())
    exchange.start()
    assert values(exchange.mirror.scan("visit"), VISIT) == sorted(
        ((n, "came") for n in range(1, copied[0] + 1)), key=repr
    )
    assert exchange.tables()["visit"].copy.rows_copied == copied[0]


def test_retry(world: World) -> None:
    """What waits in quarantine passes once, whenever we die, and never vanishes."""
    rounds = 0

    def hold(exchange: Exchange) -> None:
        nonlocal rounds
        if "visit" not in exchange.tables():
            exchange.commit([both(1, 0)])
        if not exchange.tables()["visit"].held:
            exchange.hold(BadRow("visit", "a test"))
        if not exchange.quarantine():
            rounds += 1
            base = rounds * 10
            exchange.commit([batch(f"{base:04}", Delta(VISIT, inserts=visits(base, base + 1)))])
            exchange.commit([batch(f"{base + 1:04}", Delta(VISIT, inserts=visits(base + 2)))])

    def retry(exchange: Exchange) -> None:
        exchange.retry("visit")

    assert every_death(world, hold, retry) >= 10

    exchange = world.live(Fate())
    exchange.start()
    assert exchange.quarantine() == []
    assert exchange.tables()["visit"].state == State.RUNNING
    wanted = [0] + [
        number for base in range(1, rounds + 1) for number in (base * 10, base * 10 + 1, base * 10 + 2)
    ]
    assert [row[0] for row in values(exchange.mirror.scan("visit"), VISIT)] == sorted(
        wanted, key=lambda n: repr((n, ""))
    )


def test_a_hold(world: World) -> None:
    """The batch that shows a table is bad is either wholly there with its hold, or not at all."""

    def settle(exchange: Exchange) -> None:
        if exchange.checkpoint().head.seq == 0:
            exchange.commit([both(1, 1)])
        if exchange.tables()["person"].held and not exchange.quarantine():
            exchange.retry("person")

    def commit(exchange: Exchange) -> None:
        number = int(exchange.checkpoint().position) + 1
        exchange.hold(BadRow("person", "a test"))
        exchange.commit([both(number, number)])

    assert every_death(world, settle, commit) >= 6

    exchange = world.live(Fate())
    last = int(exchange.start().position)
    kept = sum(entry.rows for entry in exchange.quarantine())
    assert len(values(exchange.mirror.scan("visit"), VISIT)) == last
    assert len(values(exchange.mirror.scan("person"), PERSON)) + kept == last


def test_prune_and_acknowledge(world: World) -> None:
    """Only what central has is forgotten, whenever we die."""

    def fill(exchange: Exchange) -> None:
        start = exchange.checkpoint().head.seq
        exchange.commit([both(n, n) for n in range(start + 1, start + 4)])

    def prune(exchange: Exchange) -> None:
        head = exchange.checkpoint().head.seq
        exchange.acknowledge(head - 1)
        exchange.prune(0)

    for nth in range(1, MOST_STATEMENTS):
        fate = Fate(nth)
        exchange = world.live(fate)
        exchange.start()
        fill(exchange)
        fate.watch()
        with contextlib.suppress(Killed):
            prune(exchange)
        world.bury()
        survivor = world.live(Fate())
        now = survivor.start()
        kept = [b.seq for b in survivor.read_outbox(survivor.oldest_seq() - 1, 1 << 30)]
        assert kept == list(range(kept[0], now.head.seq + 1))
        assert kept[0] <= max(now.acknowledged_seq, 1)
        world.bury()
        if not fate.died:
            assert nth > 5
            return
    raise AssertionError("never lived through")


def test_start(world: World) -> None:
    """A death while starting costs at most an epoch."""
    epochs = [0]
    for nth in range(1, MOST_STATEMENTS):
        fate = Fate(nth)
        exchange = world.live(fate)
        fate.watch()
        with contextlib.suppress(Killed):
            exchange.start()
        world.bury()
        survivor = world.live(Fate())
        epochs.append(survivor.start().epoch)
        survivor.commit([both(nth, nth)])
        world.bury()
        if not fate.died:
            break
    assert epochs == sorted(set(epochs))
    assert len(epochs) > 5


def test_migrations(world: World) -> None:
    """An interrupted migration is done again from where it was (E11)."""
    for nth in range(1, MOST_STATEMENTS):
        fate = Fate(nth)
        fate.watch()
        with contextlib.suppress(Killed):
            world.live(fate)
        world.bury()
        if not fate.died:
            break
    exchange = world.live(Fate())
    assert exchange.start().epoch == 1
    exchange.commit([both(1, 1)])
