"""A column that is closed while batches wait: no byte of it is sent any more, and none is left here (SD05.2)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import select

from agent.daemon.catalogue import Catalogue
from agent.daemon.leaving import Leaving
from agent.exchange import Catalogued, Decision
from agent.push import Push
from agent.sources.settings import TableSettings
from central.store import writing
from central.store.tables import APPLIED, LEDGER
from proto import codec, frames
from proto.batch import Batch, Delta, Frames
from proto.schema import Column, TableSchema
from proto.values import Kind
from tests.support.central import PEOPLE, TestCentral, eventually
from tests.support.department import NODE, QUICK, STREAM, Department
from tests.support.proxy import BadNet
from tests.support.shares import entry_of, put_in_force

pytest_plugins = ["tests.support.department"]

CARDS = TableSchema("cards", (Column("id", Kind.INT64), Column("card", Kind.TEXT)), ("id",))
CANARY = "金丝雀370102199001011234"


def closes(schema: TableSchema) -> bool:
    """What the catalogue says from some moment on."""
    return any(column.name == "card" for column in schema.columns)


OPEN = Decision("open")
CLOSED = Decision("closed", closes=closes)


def both(number: int) -> Batch:
    """One transaction that writes both tables."""
    cards = Frames(frames.pack_rows([(number, f"{CANARY}-{number}")], CARDS.kinds), 1)
    people = Frames(frames.pack_rows([(number, f"人{number}")], PEOPLE.kinds), 1)
    return Batch(f"{number:08}", (Delta(CARDS, inserts=cards), Delta(PEOPLE, inserts=people)), 1, 2, 1)


def write(department: Department, first: int, last: int) -> None:
    """A batch for each number; push has them in memory as well."""
    for number in range(first, last + 1):
        department.push.offer(department.exchange.commit([both(number)]))


def at_central(central: TestCentral) -> list[int]:
    """The numbers that the other table has there."""
    with central.engine.connect() as connection:
        if connection.execute(select(APPLIED.c.seq)).scalar() in (None, 0):
            return []
    return [row[0] for row in central.rows(STREAM, PEOPLE)]


def cards_sent(central: TestCentral) -> list[str]:
    """Every card that central ever accepted, unpacked from its ledger."""
    with central.engine.connect() as connection:
        batches = connection.execute(select(LEDGER.c.header, LEDGER.c.payload).order_by(LEDGER.c.seq)).all()
    return [
        str(row[1])
        for header, payload in batches
        for delta in codec.decode(bytes(header), bytes(payload)).deltas
        if delta.schema == CARDS
        for row in frames.rows(delta.inserts.data, CARDS.kinds)
    ]


def left(folder: Path) -> list[str]:
    """The files below *folder* that have a byte of it."""
    return [
        str(path) for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()
    ]


def test_what_waits_leaves_without_it(
    department: Department, central: TestCentral, net: BadNet, tmp_path: Path
) -> None:
    """Some batches arrived, some arrived without an answer, some wait: the chain goes on, without the card."""
    department.exchange.closing.settle(OPEN)
    department.start()
    write(department, 1, 3)
    department.until_acknowledged()
    # These arrive, and their acknowledgements do not.
    net.down.swallow = True
    write(department, 4, 5)
    eventually(lambda: at_central(central)[-1:], [5])
    net.cut(refuse=True)
    write(department, 6, 9)
    assert left(tmp_path / "node")

    department.push.offer(department.exchange.closing.settle(CLOSED))
    assert department.exchange.closing.scrub()
    assert left(tmp_path / "node") == []
    net.heal()
    write_people(department, 10)

    eventually(lambda: at_central(central), list(range(1, 11)))
    assert cards_sent(central) == [f"{CANARY}-{number}" for number in range(1, 6)]
    assert central.rows(STREAM, CARDS) == []
    department.until_acknowledged()
    assert department.exchange.tables()["cards"].wants_copy


def write_people(department: Department, number: int) -> None:
    """A batch of the table that stays open."""
    people = Frames(frames.pack_rows([(number, f"人{number}")], PEOPLE.kinds), 1)
    batch = Batch(f"{number:08}", (Delta(PEOPLE, inserts=people),), 1, 2, 1)
    department.push.offer(department.exchange.commit([batch]))


def test_what_is_on_its_way_is_not_followed_by_more(
    department: Department, central: TestCentral, net: BadNet
) -> None:
    """Nothing of the window that was open when it was settled is accepted after that."""
    department.exchange.closing.settle(OPEN)
    department.start()
    write(department, 1, 1)
    department.until_acknowledged()
    net.pause()
    write(department, 2, 40)
    department.exchange.closing.settle(CLOSED)
    before = len(cards_sent(central))
    net.cut()
    net.heal()
    write_people(department, 41)

    eventually(lambda: at_central(central), list(range(1, 42)))
    assert len(cards_sent(central)) == before == 1


def test_central_goes_back_to_an_older_copy(
    department: Department, central: TestCentral, net: BadNet, tmp_path: Path
) -> None:
    """What central had and lost comes again from what is kept here, without the card (P6)."""
    department.exchange.closing.settle(OPEN)
    department.start()
    write(department, 1, 2)
    department.until_acknowledged()
    eventually(lambda: at_central(central), [1, 2])
    central.stop()
    database = central.folder / "central.db"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        source.backup(copy)
    central.start()
    write(department, 3, 5)
    department.until_acknowledged()
    central.stop()
    department.exchange.closing.settle(CLOSED)
    central.engine.dispose()
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy, closing(sqlite3.connect(database)) as target:
        copy.backup(target)
    central.start()
    write_people(department, 6)

    eventually(lambda: at_central(central), [1, 2, 3, 4, 5, 6], 40)
    assert cards_sent(central) == [f"{CANARY}-1", f"{CANARY}-2"]


def release(central: TestCentral, share: str) -> None:
    """Both tables are catalogued; the card is shared as *share* says."""
    cards = entry_of("3010012/1", STREAM, "cards", ("id", "card"), share={"card": share})
    people = entry_of("3010012/2", STREAM, "people", ("id", "name"))
    with writing(central.engine) as connection:
        put_in_force(connection, cards, people)


def test_a_connection_tells_of_a_release_before_anything_is_sent(
    department: Department, central: TestCentral
) -> None:
    """No heartbeat has told of it: what waits is not sent on what was known before the connection (SD05.2)."""
    release(central, "unconditional")
    catalogue = Catalogue(department.link, Catalogued(department.engine, NODE), NODE, department.tls.ca)
    leaving = Leaving("hr", department.exchange, catalogue)
    department.push = Push(department.exchange, department.link, QUICK, leaving)
    asked = [TableSettings(table="cards"), TableSettings(table="people")]
    catalogue.heard(1, "the first")
    catalogue.fetch()
    leaving.settle(asked, department.push.offer)
    assert leaving.is_open()
    write(department, 1, 5)
    release(central, "not_shared")

    department.start()
    eventually(lambda: department.push.facts().connected and not catalogue.is_current)
    write(department, 6, 7)
    assert not leaving.is_open()
    assert (at_central(central), cards_sent(central)) == ([], [])
    catalogue.fetch()
    leaving.settle(asked, department.push.offer)

    eventually(lambda: at_central(central), list(range(1, 8)))
    assert cards_sent(central) == []
