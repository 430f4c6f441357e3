"""The department's own step: what is received goes on into a database of its business, and only where it says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from agent.exchange import Received, migrate, open_exchange
from agent.exchange import received as receiving_room
from agent.imports import Importing, Order, Target
from proto import frames
from proto.batch import Delta, Frames
from proto.errors import ExchangeError, Poisoned, Refused
from proto.schema import Column, TableSchema
from proto.states import State
from proto.values import Kind
from tests.support.exchanges import NODE, ROOMY
from tests.support.parcels import Share, came, gone, persons, rows_in
from tests.support.postgres import Cluster
from tests.support.rows import PERSON, values

pytest_plugins = ["tests.support.exchanges"]

Opening = Callable[..., Target]


@pytest.fixture
def received(tmp_path: Path) -> Iterator[Received]:
    """A started receiver; its own exchange database is a file."""
    engine = open_exchange(f"sqlite:///{tmp_path}/received.db", NODE)
    migrate(engine)
    made = Received(engine, NODE, ROOMY)
    made.start()
    yield made
    made.close()
    engine.dispose()


@pytest.fixture
def opening(exchange_url: str) -> Iterator[Opening]:
    """Opens a table in a business database of each kind."""
    targets: list[Target] = []
    if exchange_url.startswith("sqlite"):
        sqlite3.connect(exchange_url.removeprefix("sqlite:///")).close()

    def open_one(table: str = "居民", room: str = "business") -> Target:
        targets.append(Target(exchange_url, NODE, room, table))
        return targets[-1]

    yield open_one
    for target in targets:
        target.close()


def start(received: Received, opening: Opening, order: Order | None = None) -> Importing:
    """An import, configured: from now on deliveries are kept for it."""
    made = Importing(order or Order("G-1", ""), received, opening)
    received.keeps = lambda row: not row.copying and made.order.wants(row)
    return made


def run(importing: Importing) -> None:
    """Until there is nothing more to do."""
    while importing.step():
        pass


def imported(target: Target, schema: TableSchema = PERSON) -> list[tuple[object, ...]]:
    """What the business database holds."""
    with target._engine.connect() as connection:
        return values(target.replica.scan(connection, replace(schema, name=target.table)), schema)


def test_it_begins_with_a_copy_and_then_follows(received: Received, opening: Opening) -> None:
    """What was received before it was configured is there too, then each delivery, forgotten once it is in (SD40.4)."""
    share = Share()
    received.announce(share.news())
    received.commit(share.parcel(persons((1, "张三"), (2, "李四"))))
    importing = start(received, opening)
    run(importing)
    assert imported(opening()) == [(1, "张三"), (2, "李四")]

    received.commit(share.parcel(persons((3, "王五")), gone(1)))
    received.commit(share.parcel(persons((2, "半")), continues=True))
    assert received.grants()["G-1"].kept_bytes > 0
    run(importing)
    assert imported(opening()) == [(2, "李四"), (3, "王五")]
    assert importing.at.seq == 2
    received.commit(share.parcel(persons((4, "赵六"))))
    run(importing)

    assert imported(opening()) == [(2, "半"), (3, "王五"), (4, "赵六")]
    assert received.grants()["G-1"].kept_bytes == 0
    assert importing.state.read().sentence == "delivery 4 is imported"


def test_without_an_import_nothing_is_kept(received: Received) -> None:
    """Off by default: the rows lie in the exchange database alone."""
    share = Share()
    received.announce(share.news())
    received.commit(share.parcel(persons((1, "张三"))))

    with received.reading() as connection:
        assert received._inbox.next(connection, "G-1", 0, 0) is None


def test_each_row_once_also_without_a_key(received: Received, opening: Opening) -> None:
    """Copy and log meet at one moment, so nothing is in both."""
    share = Share(table="visit")
    received.announce(share.news())
    importing = start(received, lambda: opening("来访"))
    for number in range(5):
        received.commit(share.parcel(came(number)))
        if number % 2:
            run(importing)
    run(importing)

    visit = TableSchema("visit", (Column("id", Kind.INT64), Column("what", Kind.TEXT)), ())
    assert [row[0] for row in imported(opening("来访"), visit)] == list(range(5))


def test_a_table_of_somebody_else_is_not_touched(
    received: Received, opening: Opening, exchange_url: str
) -> None:
    """Its rows are not ours to replace: the import holds itself, and receiving goes on."""
    target = opening("居民", "")
    with target._engine.begin() as connection:
        connection.execute(text("CREATE TABLE 居民 (id BIGINT PRIMARY KEY)"))
        connection.execute(text("INSERT INTO 居民 VALUES (42)"))
    share = Share()
    received.announce(share.news())
    received.commit(share.parcel(persons((1, "张三"))))
    importing = start(received, lambda: opening("居民", ""))

    with pytest.raises(Poisoned, match="no import made") as refused:
        run(importing)
    assert "exchange-agent received retry G-1" in refused.value.fix
    with target._engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM 居民")).scalars().all() == [42]
    received.commit(share.parcel(persons((2, "李四"))))
    assert len(rows_in(received)) == 2

    with target._engine.begin() as connection:
        connection.execute(text("DROP TABLE 居民"))
    run(importing)
    assert len(imported(target)) == 2


def test_a_fresh_copy_is_shown_whole(received: Received, opening: Opening) -> None:
    """While it comes in, the business keeps what it has; then all of it changes at once, shape included."""
    share = Share()
    received.announce(share.news())
    received.commit(share.parcel(persons((1, "张三"), (2, "李四"))))
    importing = start(received, opening)
    run(importing)
    share.afresh()
    narrow = TableSchema("person", PERSON.columns[:1], ("id",))

    def page(number: int) -> Delta:
        return Delta(narrow, inserts=Frames(frames.pack_rows([(number,)], narrow.kinds), 1))

    received.commit(share.parcel(page(2), copying=True))
    run(importing)
    assert imported(opening()) == [(1, "张三"), (2, "李四")]
    received.commit(share.parcel(page(3), copying=False))
    run(importing)
    assert imported(opening(), narrow) == [(2,), (3,)]


def test_a_recall_goes_all_the_way(received: Received, opening: Opening) -> None:
    """召回 and withdrawal empty the imported table as well."""
    share = Share()
    received.announce(share.news())
    received.commit(share.parcel(persons((1, "张三"))))
    importing = start(received, opening)
    run(importing)
    received.recall("G-1", "C-1", "数据有误")
    run(importing)
    assert imported(opening()) == []

    received.commit(share.parcel(persons((2, "李四"))))
    run(importing)
    assert imported(opening()) == [(2, "李四")]
    received.announce(share.news("expired", withdraw=True))
    run(importing)
    assert imported(opening()) == []


def test_what_the_inbox_lost_is_copied_anew(
    received: Received, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that does not come in time costs no more room than its limit, and catches up whole."""
    monkeypatch.setattr(receiving_room, "KEPT_LIMIT_BYTES", 1)
    share = Share()
    received.announce(share.news())
    received.commit(share.parcel(persons((1, "张三"))))
    importing = start(received, opening)
    run(importing)
    received.commit(share.parcel(persons((2, "李四")), gone(1)))
    assert received.grants()["G-1"].kept_bytes == 0

    run(importing)
    assert imported(opening()) == [(2, "李四")]


def test_a_resource_follows_its_newest_grant(received: Received, opening: Opening) -> None:
    """When a grant ends and another one follows, the same table shows the other one."""
    old, new = Share("G-1"), Share("G-2")
    received.announce(old.news())
    received.commit(old.parcel(persons((1, "张三"))))
    importing = start(received, opening, Order("", "370100/1-01-001"))
    run(importing)
    received.announce(old.news("expired"))
    received.announce(new.news())
    run(importing)
    assert imported(opening()) == [(1, "张三")]
    received.commit(new.parcel(persons((2, "李四"))))
    run(importing)

    assert imported(opening()) == [(2, "李四")]
    assert importing.at.grant == "G-2"


def altered(target: Target, statement: str) -> None:
    """What somebody of the business does to the table."""
    dialect = target._engine.dialect.name
    name = {"postgresql": 'business."居民"', "sqlite": '"business.居民"'}.get(dialect, "`business.居民`")
    with target._engine.begin() as connection:
        connection.execute(text(statement.format(name)))


def test_a_table_that_does_not_fit_any_more(received: Received, opening: Opening) -> None:
    """Nothing but the import stops; once the cause is gone it goes on where it was (D5)."""
    share = Share()
    received.announce(share.news())
    received.commit(share.parcel(persons((1, "张三"))))
    run(start(received, opening))
    # SQLite takes no rule on a table that is there.
    is_file = opening()._engine.dialect.name == "sqlite"
    altered(
        opening(),
        f"ALTER TABLE {{}} {'RENAME name TO nom' if is_file else 'ADD CONSTRAINT one CHECK (id < 2)'}",
    )
    received.commit(share.parcel(persons((2, "李四"))))
    importing = start(received, opening)

    with pytest.raises(Poisoned) as held:
        run(importing)
    assert "exchange-agent received retry G-1" in held.value.fix
    received.commit(share.parcel(persons((3, "王五"))))
    assert received.grants()["G-1"].state == State.RUNNING
    assert len(rows_in(received)) == 3

    altered(opening(), f"ALTER TABLE {{}} {'RENAME nom TO name' if is_file else 'DROP CONSTRAINT one'}")
    run(start(received, opening))
    assert imported(opening()) == [(1, "张三"), (2, "李四"), (3, "王五")]


def test_a_table_that_somebody_dropped(received: Received, opening: Opening) -> None:
    """It comes back whole with the next change, not with that change alone."""
    share = Share()
    received.announce(share.news())
    received.commit(share.parcel(persons((1, "张三"))))
    importing = start(received, opening)
    run(importing)
    altered(opening(), "DROP TABLE {}")
    received.commit(share.parcel(persons((2, "李四"))))
    run(importing)

    assert imported(opening()) == [(1, "张三"), (2, "李四")]


def test_an_account_without_rights(received: Received, postgres15: Cluster) -> None:
    """check says it beforehand; an import that finds it out later stops alone, and says so."""
    name = postgres15.new_database("business")
    with postgres15.connect(name) as connection:
        connection.execute("CREATE ROLE weak LOGIN")
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    url = postgres15.url(name).replace("postgres@", "weak@")
    share = Share()
    received.announce(share.news())
    received.commit(share.parcel(persons((1, "张三"))))
    for room in ("", "business"):
        target = Target(url, NODE, room, "居民")
        with pytest.raises((SQLAlchemyError, ExchangeError)):
            target.probe()
        importing = start(received, partial(Target, url, NODE, room, "居民"))
        with pytest.raises(Poisoned) as stopped:
            importing.step()
        assert "exchange-agent check" in stopped.value.fix
        importing.close()
        target.close()
    with postgres15.connect(name) as connection:
        connection.execute("DROP OWNED BY weak")
        connection.execute("DROP ROLE weak")
    postgres15.drop_database(name)


def test_check_proves_what_the_account_may_do(opening: Opening, exchange_url: str) -> None:
    """By doing it and leaving nothing; twice in a row."""
    target = opening()
    target.probe()
    target.probe()
    with target._engine.connect() as connection:
        assert not target._engine.dialect.has_table(connection, "exchange_check_probe", schema=target._schema)


def test_a_business_file_is_not_made(tmp_path: Path) -> None:
    """A typing mistake must not become a database."""
    with pytest.raises(Refused, match="does not exist"):
        Target(f"sqlite:///{tmp_path}/nowhere.db", NODE, "", "person")
    assert list(tmp_path.iterdir()) == []
