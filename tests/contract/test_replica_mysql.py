"""What is MariaDB's own: tables altered ahead of the rows, warnings that are errors, packets that are too small."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import create_engine

from proto.batch import Delta
from proto.errors import BadRow, Credential, SchemaHold, Transient
from proto.values import Kind
from replica.opening import open_replica
from tests.support.mariadb import MariadbServer
from tests.support.replicas import Home
from tests.support.tables import deletes, driver_execute, frames, inserts, listed, partial, schema_of, upserts

pytest_plugins = ["tests.support.replicas"]

NARROW = schema_of("人口", {"id": Kind.INT32, "v": Kind.TEXT})
WIDE = schema_of("人口", {"id": Kind.INT64, "v": Kind.TEXT, "加": Kind.DECIMAL})


@pytest.fixture
def home(mariadb: MariadbServer) -> Home:
    """A room in a database of its own."""
    engine = create_engine(mariadb.url(mariadb.new_database("replica")))
    return Home("mariadb", engine, "hr")


def roll_back(home: Home, *deltas: Delta) -> None:
    """A transaction that fails at its end."""
    with home.engine.connect() as connection:
        for delta in deltas:
            home.replica.prepare(connection, delta.schema)
        home.replica.apply(connection, deltas)
        connection.rollback()


def reborn(home: Home) -> Home:
    """As another process sees it."""
    return Home(home.dialect, home.engine, home.room)


def test_rows_from_before_an_alter_are_read_again_after_a_rollback(home: Home):
    """The table is wider already; what was committed is not, and the source begins there."""
    home.apply(inserts(NARROW, ("1", "甲")))
    roll_back(home, upserts(NARROW, ("1", "lost")), inserts(WIDE, ("9000000000", "lost", "1")))
    home = reborn(home)

    home.apply(inserts(NARROW, ("2", "乙")))
    assert home.rows(NARROW) == listed(frames(NARROW, ("1", "甲"), ("2", "乙")))
    home.apply(inserts(WIDE, ("9000000000", "丙", "1.50")))

    expected = [("1", "甲", None), ("2", "乙", None), ("9000000000", "丙", "1.50")]
    assert home.rows(WIDE) == listed(frames(WIDE, *expected))


def test_a_column_that_came_with_a_rollback_may_come_as_something_else(home: Home):
    """Nobody was told of it, so it is no column that changed its type."""
    other = schema_of("人口", {"id": Kind.INT32, "v": Kind.TEXT, "加": Kind.TIMESTAMPTZ})
    home.apply(inserts(NARROW, ("1", "甲")))
    roll_back(home, inserts(WIDE, ("2", "lost", "1")))
    home = reborn(home)

    home.apply(inserts(other, ("2", "乙", "2024-01-01 00:00:00+00")))

    assert home.rows(other) == listed(frames(other, ("1", "甲", None), ("2", "乙", "2024-01-01 00:00:00+00")))


def test_a_table_that_came_with_a_rollback_may_come_as_something_else(home: Home):
    """It is empty, and makes way; one with rows does not."""
    other = schema_of("人口", {"nr": Kind.UUID, "v": Kind.TEXT}, key=("nr",))
    roll_back(home, inserts(NARROW, ("1", "甲")))
    home.prepare(other)
    assert home.rows(other) == []

    home.run("DELETE FROM exchange_shapes")
    home.run(f"INSERT INTO {home.table('人口')} VALUES ('00000000-0000-0000-0000-000000000000', 'not ours')")
    with pytest.raises(SchemaHold, match="rows that we did not write"):
        reborn(home).prepare(NARROW)


def test_a_table_altered_after_rows_in_one_transaction_is_altered_before_the_next(home: Home):
    """Nobody can alter a table that an open transaction uses: the first try says so, at once, the second passes."""
    home.apply(inserts(NARROW, ("1", "甲")))

    def one_commit() -> None:
        with home.engine.begin() as connection:
            for delta in (upserts(NARROW, ("2", "乙")), upserts(WIDE, ("9000000000", "丙", "1"))):
                home.replica.prepare(connection, delta.schema)
                home.replica.apply(connection, [delta])

    began = time.monotonic()
    with pytest.raises(Transient, match="before the next transaction"):
        one_commit()
    one_commit()

    assert time.monotonic() - began < 5
    expected = [("1", "甲", None), ("2", "乙", None), ("9000000000", "丙", "1")]
    assert home.rows(WIDE) == listed(frames(WIDE, *expected))


def test_what_the_department_adds_to_a_table_stays(home: Home):
    """A computed column and an index make numbers of the exact texts."""
    home.apply(inserts(WIDE, ("1", "甲", "2.50"), ("2", "乙", "10")))
    table = home.table("人口")
    home.run(
        f"ALTER TABLE {table} ADD COLUMN n DECIMAL(20,2) AS (CAST(加 AS DECIMAL(20,2))) STORED, ADD INDEX (n)"
    )
    wider = schema_of("人口", {**{c.name: c.kind for c in WIDE.columns}, "w": Kind.BOOL})

    home.apply(upserts(wider, ("1", "丙", "3.5", "t")), deletes(wider, ("2",)))

    with home.engine.connect() as connection:
        assert str(connection.exec_driver_sql(f"SELECT sum(n) FROM {table}").scalar()) == "3.50"
    assert home.rows(wider) == listed(frames(wider, ("1", "丙", "3.5", "t")))


def test_a_warning_is_an_error(home: Home):
    """It is how the server says that it changed a value, should somebody take its strictness away."""
    schema = schema_of("t", {"id": Kind.TEXT})
    home.prepare(schema)

    bad = pytest.raises(BadRow, match='does not fit its column, column "id"')
    with bad as caught, home.engine.begin() as connection:
        home.replica.prepare(connection, schema)
        driver_execute(connection, "SET SESSION sql_mode = ''")
        home.replica.apply(connection, [upserts(schema, ("secret" * 200,))])

    assert "secret" not in str(caught.value)
    home.engine.dispose()
    assert home.rows(schema) == []


def test_a_row_larger_than_a_packet_is_a_bad_row_and_the_connection_lives(mariadb: MariadbServer, home: Home):
    """Sent all the same it would end the connection, and be tried for ever."""
    home.prepare(NARROW)
    try:
        mariadb.execute("SET GLOBAL max_allowed_packet = 1048576")
        home.engine.dispose()
        with pytest.raises(BadRow, match="max_allowed_packet") as caught:
            home.apply(inserts(NARROW, ("1", "x" * 2_000_000)))
        home.apply(inserts(NARROW, *((str(n), "中" * 10_000) for n in range(100))))
    finally:
        mariadb.execute("SET GLOBAL max_allowed_packet = 67108864")

    assert "raise max_allowed_packet" in caught.value.fix
    assert home.digest(NARROW).rows == 100


def test_a_scan_left_early_stops_the_server(home: Home):
    """What is left of a large table is not sent to nobody, and nothing of it hits the next statement."""
    home.apply(inserts(NARROW, *((str(n), "字" * 300) for n in range(20_000))))
    for _ in range(3):
        with home.engine.begin() as connection:
            scan = home.replica.scan(connection, NARROW, page_rows=10)
            next(iter(scan))
            scan.close()  # type: ignore[attr-defined]
            assert home.replica.count(connection, NARROW) == 20_000


def test_pages_and_changes_by_key_look_into_the_key_only(home: Home):
    """Ranges of the primary key, however many columns it has: the server reads what it needs."""
    schema = schema_of("k", {"a": Kind.TEXT, "b": Kind.INT64, "v": Kind.TEXT}, key=("a", "b"))
    home.apply(inserts(schema, *((f"k{n % 50}", str(n), "x") for n in range(3000))))
    wanted = frames(schema_of("w", {"a": Kind.TEXT, "b": Kind.INT64}, ("a",)), ("k1", "1"), ("k2", "2"))
    with home.engine.begin() as connection:
        driver_execute(connection, "FLUSH STATUS")
        home.replica.page(connection, schema, listed(wanted)[0], 10)
        home.replica.rows(connection, schema, wanted)
        home.replica.apply(connection, [deletes(schema, ("k3", "3"), ("k4", "4"))])
        home.replica.apply(connection, [Delta(schema, partials=(partial(schema, [2], ("k5", "5", "y")),))])
        read = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()

    assert sum(int(count) for _, count in read) < 100


def test_an_account_without_rights_is_a_credential(mariadb: MariadbServer, home: Home):
    """The remedy is the administrator's."""
    name = home.engine.url.database or ""
    mariadb.execute(
        "CREATE OR REPLACE USER replica_reader@'localhost' IDENTIFIED BY 'x'",
        f"GRANT SELECT ON {name}.* TO replica_reader@'localhost'",
    )
    engine = create_engine(home.engine.url.set(username="replica_reader", password="x"))
    with pytest.raises(Credential) as caught, engine.begin() as connection:
        open_replica(engine, "hr").prepare(connection, NARROW)

    assert "grant" in caught.value.fix
    engine.dispose()
