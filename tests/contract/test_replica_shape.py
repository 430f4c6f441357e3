"""How a replica's table is made, altered and held; what stays true after a rollback; and what errors say."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import create_engine

from proto.batch import Delta, Frames
from proto.errors import BadRow, DiskBlocked, FrameCorrupt, Refused, SchemaHold, TableHold, Transient
from proto.frames import pack
from proto.schema import TableSchema
from proto.values import Kind
from replica.opening import open_replica
from replica.postgresql_errors import translate
from tests.support.tables import (
    deletes,
    driver_execute,
    frames,
    inserts,
    keys,
    listed,
    partial,
    schema_of,
    upserts,
)

if TYPE_CHECKING:
    from tests.support.replicas import Home

pytest_plugins = ["tests.support.replicas"]

NARROW = schema_of("t", {"id": Kind.INT32, "v": Kind.TEXT})
WIDE = schema_of("t", {"id": Kind.INT32, "v": Kind.TEXT, "加": Kind.DECIMAL})
WIDENINGS = [
    (Kind.INT16, Kind.INT32, "-32768", "-32768"),
    (Kind.INT16, Kind.INT64, "32767", "32767"),
    (Kind.INT32, Kind.INT64, "2147483647", "2147483647"),
    (Kind.INT64, Kind.DECIMAL, "-9223372036854775808", "-9223372036854775808"),
    (Kind.INT32, Kind.TEXT, "-5", "-5"),
    (Kind.FLOAT32, Kind.FLOAT64, "0.1", "0.10000000149011612"),
    (Kind.FLOAT32, Kind.FLOAT64, "NaN", "NaN"),
    (Kind.FLOAT32, Kind.FLOAT64, "-0", "-0"),
    (Kind.DECIMAL, Kind.TEXT, "-1.50", "-1.50"),
    (Kind.UUID, Kind.TEXT, "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
    (Kind.JSON, Kind.TEXT, '{"b" : 1}', '{"b" : 1}'),
    (Kind.JSONB, Kind.TEXT, '{"b": 1}', '{"b": 1}'),
    (Kind.OTHER, Kind.TEXT, "{1,2}", "{1,2}"),
    (Kind.TEXT, Kind.OTHER, "glad", "glad"),
]
NARROWINGS = [
    (Kind.INT64, Kind.INT32),
    (Kind.FLOAT64, Kind.FLOAT32),
    (Kind.TEXT, Kind.INT32),
    (Kind.TIMESTAMP, Kind.TIMESTAMPTZ),
    (Kind.DECIMAL, Kind.FLOAT64),
    (Kind.BYTES, Kind.TEXT),
    (Kind.DATE, Kind.TIMESTAMP),
]
ODD_NAMES = [
    "Ünï",
    "表%s",
    "%(x)s",
    'say "hi"',
    "a:b :c",
    "semi;--",
    "sp ace",
    "'q'",
    "?",
    "{x}",
    "select",
    "中" * 21,
    "f0",
]


def holds(home: Home, schema: TableSchema, words: str) -> SchemaHold:
    """Preparing is refused with these words and a way out."""
    with pytest.raises(SchemaHold, match=words) as caught:
        home.prepare(schema)
    assert caught.value.fix
    assert caught.value.table == schema.name
    return caught.value


def test_preparing_twice_is_preparing_once(home: Home):
    """Also by a replica that has never seen the table."""
    home.prepare(NARROW)
    home.prepare(NARROW)
    home.apply(inserts(NARROW, ("1", "x")))

    with home.engine.begin() as connection:
        open_replica(home.engine, home.room).prepare(connection, NARROW)

    assert home.rows(NARROW) == listed(frames(NARROW, ("1", "x")))


def test_a_new_column_is_empty_in_the_rows_that_are_there(home: Home):
    """And then holds what comes, wherever the source put it."""
    home.apply(inserts(NARROW, ("1", "x")))
    moved = schema_of("t", {"new": Kind.FLOAT64, "id": Kind.INT32, "v": Kind.TEXT})

    home.apply(inserts(moved, ("2.5", "2", "y")))

    assert home.rows(moved) == listed(frames(moved, (None, "1", "x"), ("2.5", "2", "y")))


@pytest.mark.parametrize(("old", "new", "text", "becomes"), WIDENINGS)
def test_a_column_widens_without_losing_a_value(home: Home, old: Kind, new: Kind, text: str, becomes: str):
    """Rows that are there become what the source would send now; a column may come at the same time."""
    before = schema_of("t", {"id": Kind.INT32, "v": old})
    after = schema_of("t", {"id": Kind.INT32, "v": new, "w": Kind.BOOL})
    home.apply(inserts(before, ("1", text), ("2", None)))

    home.apply(inserts(after, ("3", becomes, "t")))

    assert home.rows(after) == listed(
        frames(after, ("1", becomes, None), ("2", None, None), ("3", becomes, "t"))
    )


def test_a_key_column_widens(home: Home):
    """Its rows are still found."""
    wider = schema_of("t", {"id": Kind.INT64, "v": Kind.TEXT})
    home.apply(inserts(NARROW, ("1", "x"), ("2", "y")))

    home.apply(upserts(wider, ("2", "z"), ("9223372036854775807", "max")))

    assert home.rows(wider) == listed(frames(wider, ("1", "x"), ("2", "z"), ("9223372036854775807", "max")))


@pytest.mark.parametrize(("old", "new"), NARROWINGS)
def test_a_column_that_might_lose_values_is_held(home: Home, old: Kind, new: Kind):
    """The sentence names the column and both types; the table stays."""
    home.prepare(schema_of("t", {"id": Kind.INT32, "v": old}))

    hold = holds(home, schema_of("t", {"id": Kind.INT32, "v": new}), f'column "v" is .* {new} at the source')

    assert "copy the table afresh" in hold.fix


def test_a_dropped_column_is_held(home: Home):
    """Whoever reads it must be told first."""
    home.prepare(WIDE)

    holds(home, NARROW, 'no longer has column "加"')


@pytest.mark.parametrize("key", [("v",), ("id", "v"), ()])
def test_another_key_is_held(home: Home, key: tuple[str, ...]):
    """Rows could no longer be told apart the way the source does."""
    home.prepare(NARROW)

    holds(home, schema_of("t", {"id": Kind.INT32, "v": Kind.TEXT}, key), "its key is")


def test_every_name_is_only_a_name(home: Home):
    """Quotes, percent signs, colons, Chinese, 63 bytes: as table, column and key."""
    for place, name in enumerate(ODD_NAMES):
        schema = schema_of(
            name, {name: Kind.TEXT, "other" + name[:10]: Kind.INT32, f"x{place}": Kind.BYTES}, (name,)
        )
        rows = [(f"{name}{n}", str(n), None) for n in range(60)]
        part = partial(schema, [1], (rows[2][0], "-5"))
        home.apply(inserts(schema, *rows), upserts(schema, *rows), upserts(schema, rows[1]))
        home.apply(Delta(schema, deletes=keys(schema, (rows[1][0],)), partials=(part,)))
        home.apply(deletes(schema, *((row[0],) for row in rows[3:])))

        left = frames(schema, rows[0], (rows[2][0], "-5", None))
        assert home.rows(schema) == listed(left)
        assert home.digest(schema).rows == 2


def test_names_that_the_database_cannot_hold_are_held(home: Home):
    """Never cut off silently, never folded into another."""
    if home.is_sqlite:
        home.prepare(schema_of("Person", {"id": Kind.INT32}))
        holds(home, schema_of("t", {"id": Kind.INT32, "ID": Kind.TEXT}), "only in case")
        holds(home, schema_of("person", {"id": Kind.INT32}), "same name for SQLite")
    else:
        holds(home, schema_of("t", {"id": Kind.INT32, "a" * 64: Kind.TEXT}), "63 bytes")
        holds(home, schema_of("中" * 22, {"id": Kind.INT32}), "63 bytes")
        holds(home, schema_of("t", {"id": Kind.INT32, "xmin": Kind.TEXT}), 'column name "xmin"')
        holds(home, schema_of("t", {"id": Kind.JSON}), "cannot compare")
    holds(home, schema_of("t", {"id": Kind.INT32, "a\0b": Kind.TEXT}), "U\\+0000")


def test_a_view_of_the_same_name_is_held(home: Home):
    """We do not write into what is not ours."""
    home.prepare(NARROW)
    view = home.table("v")
    home.run(f"CREATE VIEW {view} AS SELECT 1 AS id")

    holds(home, schema_of("v", {"id": Kind.INT32}), "name")


def test_rooms_of_one_database_do_not_meet(home: Home):
    """The same table in two rooms, and in none."""
    other = open_replica(home.engine, home.room + "b")
    home.apply(inserts(NARROW, ("1", "mine")))

    with home.engine.begin() as connection:
        other.prepare(connection, NARROW)
        assert list(other.scan(connection, NARROW)) == []
        other.drop(connection, NARROW.name)

    assert home.digest(NARROW).rows == 1


def test_no_room_means_the_plain_name(home: Home):
    """PostgreSQL's public schema, SQLite's bare names."""
    plain = open_replica(home.engine, "")
    with home.engine.begin() as connection:
        plain.prepare(connection, NARROW)
        plain.apply(connection, [upserts(NARROW, ("1", "x"))])
    home.run("DROP TABLE t" if home.is_sqlite else "DROP TABLE public.t")


def test_a_room_or_database_that_cannot_be_is_refused(home: Home):
    """At opening, with a way out."""
    with pytest.raises(Refused, match="cannot"):
        open_replica(home.engine, "a.b" if home.is_sqlite else "pg_x")
    with pytest.raises(Refused, match="no replica can live in"):
        open_replica(create_engine("mysql+pymysql://host/db", module=sqlite3), "x")


def test_a_dropped_table_starts_anew(home: Home):
    """Drop forgets rows and shape, and does not mind an absent table."""
    home.apply(inserts(WIDE, ("1", "x", "1.5")))

    for _ in range(2):
        with home.engine.begin() as connection:
            home.replica.drop(connection, WIDE.name)
    home.apply(inserts(NARROW, ("1", "y")))

    assert home.rows(NARROW) == listed(frames(NARROW, ("1", "y")))


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
    home.run(f'ALTER TABLE {home.table("t")} DROP COLUMN "加"')

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
    """PostgreSQL has no U+0000 in texts; SQLite has, and keeps it."""
    delta = inserts(NARROW, *((str(n), "x") for n in range(count)), ("777", "secret\0secret"))
    if home.is_sqlite:
        home.apply(delta)
        assert home.rows(NARROW) == listed(delta.inserts)
        return

    with pytest.raises(BadRow, match=r"U\+0000.*22021") as caught:
        home.apply(delta)

    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)
    home.apply(inserts(NARROW, ("1", "x")))


def test_a_key_longer_than_an_index_takes_is_a_bad_row(home: Home):
    """SQLite takes it."""
    schema = schema_of("t", {"id": Kind.TEXT})
    long = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(5000))
    if home.is_sqlite:
        home.apply(inserts(schema, (long,)))
    else:
        with pytest.raises(BadRow, match="longer than PostgreSQL stores"):
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
        driver_execute(
            connection, "PRAGMA busy_timeout = 50" if home.is_sqlite else "SET lock_timeout = '50ms'"
        )
        with pytest.raises(Transient, match="again"):
            home.replica.apply(connection, [upserts(NARROW, ("1", "waits"))])
        connection.rollback()
        holder.rollback()


def test_a_lost_connection_is_transient_and_the_next_one_works(homes: list[Home]):
    """The reason is not hidden by the rollback that follows it."""
    for home in (each for each in homes if not each.is_sqlite):
        home.apply(inserts(NARROW, ("1", "x")))
        with pytest.raises(Transient), home.engine.begin() as connection:
            number = connection.connection.driver_connection.info.backend_pid
            home.run(f"SELECT pg_terminate_backend({number}, 5000)")
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
    else:
        error = psycopg.errors.lookup("53100")("could not extend file")
        assert isinstance(translate(error, "t", "room.t"), DiskBlocked)
