"""kill -9 before every single statement of receiving and importing: each delivery is in once, or comes again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import Engine

from agent.exchange import Parcel, Received, migrate, open_exchange
from agent.imports import Importing, Order, Target
from agent.imports.target import Cursor
from proto import codec, frames
from tests.support.exchanges import NODE, ROOMY, Killed
from tests.support.fate import Fate
from tests.support.parcels import PROVIDER, Share, came, persons, rows_in
from tests.support.rows import VISIT, values

pytest_plugins = ["tests.support.exchanges"]

MOST_STATEMENTS = 250


@dataclass
class Ground:
    """An exchange database, and processes that come and go on it."""

    url: str
    engines: list[Engine] = field(default_factory=list)
    received: Received | None = None

    def live(self, fate: Fate) -> Received:
        """A new process, started."""
        engine = open_exchange(self.url, NODE)
        fate.govern(engine)
        migrate(engine)
        self.engines.append(engine)
        self.received = Received(engine, NODE, ROOMY)
        self.received.start()
        return self.received

    def bury(self) -> None:
        """What a dead process leaves: closed connections, released locks."""
        if self.received is not None:
            self.received.close()
        for engine in self.engines:
            engine.dispose()
        self.engines.clear()


@pytest.fixture
def ground(exchange_url: str) -> Iterator[Ground]:
    """Nobody is there yet."""
    it = Ground(exchange_url)
    yield it
    it.bury()


class Sent:
    """What the platform would send again: every delivery of one grant, by generation and number."""

    def __init__(self, grant: str = "G-1", stream: str = PROVIDER) -> None:
        self.share = Share(grant, table="visit", stream=stream)
        self.parcels: dict[tuple[int, int], Parcel] = {}
        self.rows = 0

    def make(self, *, continues: bool = False) -> Parcel:
        """One more row."""
        self.rows += 1
        return self._kept(self.share.parcel(came(self.rows), continues=continues))

    def afresh(self) -> Parcel:
        """A new copy of everything there is."""
        self.share.afresh()
        return self._kept(self.share.parcel(came(*range(1, self.rows + 1))))

    def _kept(self, parcel: Parcel) -> Parcel:
        self.parcels[parcel.place.generation, parcel.place.seq] = parcel
        return parcel

    def after(self, received: Received) -> list[Parcel]:
        """What a hello brings: the newest copy from its beginning, or from where it was."""
        row = received.grants()[self.share.grant]
        newest = self.share.generation
        start = row.seq if row.generation == newest else 0
        return [
            parcel
            for (generation, seq), parcel in self.parcels.items()
            if generation == newest and seq > start
        ]

    def visible(self, received: Received) -> list[tuple[object, ...]]:
        """What the table must hold at this cursor."""
        row = received.grants()[self.share.grant]
        return self.upto(row.generation, row.visible_seq)

    def upto(self, generation: int, last: int) -> list[tuple[object, ...]]:
        """The rows of one copy up to a delivery."""
        shown: list[tuple[object, ...]] = []
        for place, parcel in self.parcels.items():
            if place[0] == generation and place[1] <= last:
                for delta in codec.decode(parcel.header, parcel.payload).deltas:
                    shown += frames.rows(delta.inserts.data, VISIT.kinds)
        return sorted(shown, key=repr)


def every_death(
    ground: Ground,
    prepare: Callable[[Received], None],
    act: Callable[[Received], None],
    look: Callable[[Received], None],
) -> int:
    """Die before each statement of *act* in turn; after each death *look*. Returns the deaths."""
    for nth in range(1, MOST_STATEMENTS):
        fate = Fate(nth)
        received = ground.live(fate)
        prepare(received)
        fate.watch()
        with contextlib.suppress(Killed):
            act(received)
        ground.bury()
        look(ground.live(Fate()))
        ground.bury()
        if not fate.died:
            return nth - 1
    raise AssertionError(f"more than {MOST_STATEMENTS} statements")


def test_commit(ground: Ground) -> None:
    """Rows and cursor agree after every death, in a table where whatever comes twice shows (SD12.2, D2)."""
    sent = Sent()

    def prepare(received: Received) -> None:
        received.announce(sent.share.news())
        for parcel in sent.after(received):
            received.commit(parcel)
        sent.make()
        sent.make(continues=True)
        sent.make(continues=True)
        sent.make()

    def act(received: Received) -> None:
        for parcel in sent.after(received):
            received.commit(parcel)

    def look(received: Received) -> None:
        assert rows_in(received) == sent.visible(received)

    assert every_death(ground, prepare, act, look) >= 20
    received = ground.live(Fate())
    assert len(rows_in(received)) == sent.rows


def test_a_shared_commit(ground: Ground) -> None:
    """Two grants in one commit: after every death both are there or neither, and what comes again is in once (D2)."""
    sent, other = Sent(), Sent("G-2", "police/second")

    def prepare(received: Received) -> None:
        for each in (sent, other):
            received.announce(each.share.news())
        received.commit_all([*sent.after(received), *other.after(received)])
        for each in (sent, other):
            each.make()
            each.make(continues=True)
            each.make()

    def act(received: Received) -> None:
        waiting = zip(sent.after(received), other.after(received), strict=True)
        received.commit_all([parcel for pair in waiting for parcel in pair])

    def look(received: Received) -> None:
        grants = received.grants()
        assert grants["G-1"].seq == grants["G-2"].seq == grants["G-1"].visible_seq
        for each in (sent, other):
            assert rows_in(received, each.share.grant) == each.visible(received)

    assert every_death(ground, prepare, act, look) >= 8
    received = ground.live(Fate())
    assert [len(rows_in(received, grant)) for grant in ("G-1", "G-2")] == [sent.rows, other.rows]


def test_a_fresh_copy(ground: Ground) -> None:
    """Either the old copy with the old cursor, or the new one with the new."""
    sent = Sent()

    def prepare(received: Received) -> None:
        received.announce(sent.share.news())
        for parcel in sent.after(received):
            received.commit(parcel)
        sent.make()
        for parcel in sent.after(received):
            received.commit(parcel)
        sent.afresh()

    def act(received: Received) -> None:
        for parcel in sent.after(received):
            received.commit(parcel)

    def look(received: Received) -> None:
        assert rows_in(received) == sent.visible(received)

    assert every_death(ground, prepare, act, look) >= 6


def test_recall(ground: Ground) -> None:
    """Emptied and on record, or neither; asked again the count is the true one."""
    sent = Sent()
    counts: list[tuple[str, int]] = []

    def prepare(received: Received) -> None:
        received.announce(sent.share.news())
        sent.make()
        for parcel in sent.after(received):
            received.commit(parcel)
        counts.append((f"C-{len(counts)}", len(rows_in(received))))

    def act(received: Received) -> None:
        received.recall("G-1", counts[-1][0], "数据有误")

    def look(received: Received) -> None:
        before = len(rows_in(received))
        recall, rows = counts[-1]
        # Dropped rows that the recall does not know of would be a recall without a record.
        assert received.recall("G-1", recall, "数据有误") == rows
        assert before in (0, rows)
        assert rows_in(received) == []

    assert every_death(ground, prepare, act, look) >= 5


def test_the_end_of_a_grant(ground: Ground) -> None:
    """Ended with its rows withdrawn, or not yet; told again it is."""
    names = iter(f"G-{number}" for number in range(1, MOST_STATEMENTS))
    share = Share()

    def prepare(received: Received) -> None:
        share.grant, share.seq, share.digest = next(names), 0, bytes(32)
        received.announce(share.news())
        received.commit(share.parcel(persons((1, "张三"))))

    def act(received: Received) -> None:
        received.announce(share.news("expired", withdraw=True))

    def look(received: Received) -> None:
        row = received.grants()[share.grant]
        assert rows_in(received, share.grant) == ([] if row.over else [(1, "张三")])
        assert received.announce(share.news("expired", withdraw=True)).over
        assert rows_in(received, share.grant) == []
        assert received.grants()[share.grant].emptied == 1

    assert every_death(ground, prepare, act, look) >= 5


@dataclass
class Business:
    """A database of the business, and what an import has brought there."""

    ground: Ground
    sent: Sent

    def importing(self, received: Received, fate: Fate) -> Importing:
        """A new process's import."""

        def opening() -> Target:
            target = self._target()
            fate.govern(target._engine)
            return target

        made = Importing(Order("G-1", ""), received, opening)
        received.keeps = made.order.wants
        return made

    def rows(self, received: Received) -> list[tuple[object, ...]]:
        """What is there, which is what its cursor says."""
        target = self._target()
        cursor = target.cursor() or Cursor()
        with target._engine.connect() as connection:
            pages = target.replica.scan(connection, replace(VISIT, name="来访")) if cursor.schema else ()
            found = values(pages, VISIT)
        assert cursor.seq <= received.grants()["G-1"].visible_seq
        assert found == self.sent.upto(1, cursor.seq)
        return found

    def _target(self) -> Target:
        target = Target(self.ground.url, NODE, "business", "来访")
        self.ground.engines.append(target._engine)
        return target


def test_import(ground: Ground) -> None:
    """Rows and cursor of the business database agree after every death; nothing is there twice (SD40.4)."""
    sent, behind = Sent(), 0
    business = Business(ground, sent)
    for nth in range(1, MOST_STATEMENTS):
        fate = Fate(nth)
        received = ground.live(fate)
        made = business.importing(received, fate)
        received.announce(sent.share.news())
        if not behind:
            # Otherwise what waits would grow with every death, and with it the statements.
            for continues in (False, True, False):
                sent.make(continues=continues)
        for parcel in sent.after(received):
            received.commit(parcel)
        fate.watch()
        with contextlib.suppress(Killed):
            while made.step():
                pass
        ground.bury()
        survivor = ground.live(Fate())
        behind = len(rows_in(survivor)) - len(business.rows(survivor))
        kept = survivor.grants()["G-1"].kept_bytes
        ground.bury()
        if not fate.died:
            break
    assert nth > 10
    assert (fate.died, behind, kept) == (False, 0, 0)
