"""What stays true of a replica after a rollback or behind its back, and what its errors say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg
import pymysql
import pytest

from proto.batch import Delta, Frames
from proto.errors import BadRow, DiskBlocked, FrameCorrupt, SchemaHold, TableHold, Transient
from proto.frames import pack
from proto.values import Kind
from replica import mysql_errors
from replica.postgresql_errors import translate
from tests.support.tables import (
    deletes,
    driver_execute,
    frames,
    inserts,
    listed,
    schema_of,
    upserts,
)

if TYPE_CHECKING:
    from tests.support.replicas import Home

pytest_plugins = ["tests.support.replicas"]

NARROW = schema_of("t", {"id": Kind.INT32, "v": Kind.TEXT})
WIDE = schema_of("t", {"id": Kind.INT32, "v": Kind.TEXT, "加": Kind.DECIMAL})
SHORT_WAIT = {
    "sqlite": "PRAGMA busy_timeout = 50",
    "postgres": "SET lock_timeout = '50ms'",
    "mariadb": "SET innodb_lock_wait_timeout = 1",
}


@pytest.mark.parametrize("count", [1, 60])
def test_a_rollback_leaves_nothing(home: Home, count: int):
    """Neither rows nor tables nor a belief in them, however often it is tried."""
    rows = [(str(n), "x") for n in range(count)]
    batch = [inserts(NARROW, *rows), upserts(NARROW, *rows), deletes(NARROW, *((n,) for n, _ in rows[1:]))]
    for _ in range(3):
        with home.engine.connect() as connection:
            home.replica.prepare(connection, NARROW)
            home.replica.prepare(connection, NARROW)
            home.replica.apply(connection, batch)
            connection.rollback()

    if home.is_mariadb:  # DDL has no part in its transactions: the table is there, and nothing in it
        home.prepare(NARROW)
        assert home.digest(NARROW).rows == 0
    else:
        with pytest.raises(SchemaHold, match=r"no (longer|such)"), home.engine.begin() as connection:
            home.replica.apply(connection, batch)
    assert home.apply(*batch) > 0
    assert home.rows(NARROW) == listed(frames(NARROW, rows[0]))


@pytest.mark.parametrize("count", [1, 60])
def test_a_savepoint_rolled_back_leaves_nothing(home: Home, count: int):
    """The caller may try within a part of its transaction."""
    rows = [(str(n), "x") for n in range(count)]
    for _ in range(2):
        with home.engine.begin() as connection:
            home.replica.prepare(connection, NARROW)
            nested = connection.begin_nested()
            home.replica.prepare(connection, WIDE)
            home.replica.apply(connection, [upserts(WIDE, *((*row, "1.5") for row in rows))])
            nested.rollback()
            home.replica.apply(connection, [upserts(NARROW, *rows)])

    assert home.rows(NARROW) == listed(frames(NARROW, *rows))


def test_a_staging_table_rolled_back_is_made_again(home: Home):
    """Nobody has staged this list of kinds before, and its first transactions fail, in part or whole."""
    schema = schema_of("odd", {"id": Kind.TIME, "a": Kind.UUID, "b": Kind.INTERVAL, "c": Kind.BOOL})
    rows = [(f"00:00:{n}", None, None, None) for n in range(10, 60)]
    home.prepare(schema)
    for _ in range(2):
        with home.engine.connect() as connection:
            home.replica.apply(connection, [upserts(schema, *rows), upserts(schema, *rows)])
            connection.rollback()
    with home.engine.begin() as connection:
        nested = connection.begin_nested()
        home.replica.apply(connection, [upserts(schema, *rows)])
        nested.rollback()
        home.replica.apply(connection, [upserts(schema, *rows)])

    home.apply(upserts(schema, *rows))

    assert home.rows(schema) == listed(frames(schema, *rows))


def test_an_altered_table_rolled_back_is_altered_again(home: Home):
    """The cache does not believe in a column that never came."""
    home.apply(inserts(NARROW, ("1", "x")))
    with home.engine.connect() as connection:
        home.replica.prepare(connection, WIDE)
        connection.rollback()

    home.apply(inserts(WIDE, ("2", "y", "1.5")))

    assert home.rows(WIDE) == listed(frames(WIDE, ("1", "x", None), ("2", "y", "1.5")))


@pytest.mark.parametrize("count", [1, 60])
def test_a_table_dropped_behind_our_back_is_a_clear_error_and_can_be_made_again(home: Home, count: int):
    """Known tables are not asked for before each batch, so the batch itself notices."""
    delta = upserts(NARROW, *((str(n), "x") for n in range(count)))
    home.apply(delta)
    home.apply(delta)
    home.run(f"DROP TABLE {home.table('t')}")

    with pytest.raises(SchemaHold, match=r"no (longer|such)") as caught:
        home.apply(delta)
    assert "afresh" in caught.value.fix
    home.apply(delta)

    assert home.digest(NARROW).rows == count


def test_a_column_dropped_behind_our_back_is_a_clear_error(home: Home):
    """And the table is looked at again next time."""
    home.apply(inserts(WIDE, ("1", "x", "1")))
    home.apply(inserts(WIDE, ("2", "x", "1")))
    home.run(f"ALTER TABLE {home.table('t')} DROP COLUMN {home.quote('加')}")

    with pytest.raises(SchemaHold):
        home.apply(inserts(WIDE, ("3", "x", "1")))


@pytest.mark.parametrize("count", [1, 60])
def test_an_empty_key_is_a_bad_row(home: Home, count: int):
    """The error names table and column, and quotes no value of the row."""
    rows = [(str(n), "secret") for n in range(count)]

    with pytest.raises(BadRow, match="id") as caught:
        home.apply(upserts(NARROW, *rows, (None, "secret")))

    assert caught.value.table == "t"
    assert "secret" not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize("count", [1, 60])
def test_what_the_database_cannot_hold_is_a_bad_row(home: Home, count: int):
    """PostgreSQL has no U+0000 in texts; SQLite and MariaDB have, and keep it."""
    delta = inserts(NARROW, *((str(n), "x") for n in range(count)), ("777", "secret\0secret"))
    if not home.is_postgresql:
        home.apply(delta)
        assert home.rows(NARROW) == listed(delta.inserts)
        return

    with pytest.raises(BadRow, match=r"U\+0000.*22021") as caught:
        home.apply(delta)

    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)
    home.apply(inserts(NARROW, ("1", "x")))


@pytest.mark.parametrize("say", [inserts, upserts])
def test_a_bad_row_names_its_column(homes: list[Home], say: Callable[..., Delta]):
    """Also when it was met in a staging table, whose columns have other names."""
    delta = say(NARROW, *((str(n), "x\0x") for n in range(60)))
    for home in (each for each in homes if each.is_postgresql):
        home.prepare(NARROW)
        with pytest.raises(BadRow, match='column "v"'):
            home.apply(delta)


@pytest.mark.parametrize("count", [1, 60])
@pytest.mark.parametrize("length", [2, 8], ids=["short", "long"])
def test_a_value_of_the_wrong_length_is_a_bad_row(homes: list[Home], count: int, length: int):
    """Too few bytes or too many never look like a bad connection, which would be tried for ever."""
    shown = pack([bytes(length), b"x"]) * count
    for home in (each for each in homes if not each.is_sqlite):
        home.prepare(NARROW)
        for delta in (
            Delta(NARROW, inserts=Frames(shown, count)),
            Delta(NARROW, upserts=Frames(shown, count)),
        ):
            with pytest.raises(BadRow, match="binary form"):
                home.apply(delta)


def test_a_key_longer_than_an_index_takes_is_a_bad_row(home: Home):
    """SQLite takes it."""
    schema = schema_of("t", {"id": Kind.TEXT})
    long = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(5000))
    if home.is_sqlite:
        home.apply(inserts(schema, (long,)))
    else:
        words = "longer than its column takes" if home.is_mariadb else "longer than PostgreSQL stores"
        with pytest.raises(BadRow, match=words):
            home.apply(inserts(schema, (long,)))


@pytest.mark.parametrize("count", [2, 60])
def test_frames_that_are_not_what_was_announced_are_refused(home: Home, count: int):
    """A count that lies or bytes that are no frames never pass for success."""
    good = frames(NARROW, *((str(n), "x") for n in range(count)))
    home.prepare(NARROW)

    with pytest.raises((FrameCorrupt, TableHold)):
        home.apply(Delta(NARROW, inserts=Frames(good.data + pack([None]), count)))
    with pytest.raises((FrameCorrupt, TableHold)):
        home.apply(Delta(NARROW, inserts=Frames(good.data, count + 1)))

    assert home.digest(NARROW).rows == 0


def test_a_lock_held_by_another_is_transient(home: Home):
    """After the database's own time limit."""
    home.apply(inserts(NARROW, ("1", "x")))
    with home.engine.connect() as holder, home.engine.connect() as connection:
        home.replica.apply(holder, [upserts(NARROW, ("1", "held"))])
        driver_execute(connection, SHORT_WAIT[home.dialect.rstrip("0123456789")])
        with pytest.raises(Transient, match="again"):
            home.replica.apply(connection, [upserts(NARROW, ("1", "waits"))])
        connection.rollback()
        holder.rollback()


def test_a_lost_connection_is_transient_and_the_next_one_works(homes: list[Home]):
    """The reason is not hidden by the rollback that follows it."""
    for home in (each for each in homes if not each.is_sqlite):
        home.apply(inserts(NARROW, ("1", "x")))
        with pytest.raises(Transient), home.engine.begin() as connection:
            driver = connection.connection.driver_connection
            if home.is_mariadb:
                home.run(f"KILL {driver.thread_id()}")
            else:
                home.run(f"SELECT pg_terminate_backend({driver.info.backend_pid}, 5000)")
            home.replica.apply(connection, [upserts(NARROW, ("1", "y"))])

        home.apply(upserts(NARROW, ("1", "z")))
        assert home.rows(NARROW) == listed(frames(NARROW, ("1", "z")))


def test_a_full_disk_is_its_own_state(home: Home):
    """SQLite is given a small file; a PostgreSQL server's disk cannot be filled here, so its code is translated."""
    if home.is_sqlite:
        home.prepare(NARROW)
        with pytest.raises(DiskBlocked), home.engine.begin() as connection:
            driver_execute(connection, "PRAGMA max_page_count = 10")
            home.replica.apply(connection, [inserts(NARROW, ("1", "x" * 100_000))])
    elif home.is_postgresql:
        error = psycopg.errors.lookup("53100")("could not extend file")
        assert isinstance(translate(error, "t", "room.t"), DiskBlocked)
    else:
        for number, said in (
            (1114, "The table 't' is full"),
            (1030, 'Got error 28 "No space left on device"'),
        ):
            full = pymysql.err.OperationalError(number, said)
            assert isinstance(mysql_errors.translate(full, "t", "room.t"), DiskBlocked)
