"""How a replica's table is made, altered and held."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, create_engine

from proto.batch import Delta
from proto.errors import Refused, SchemaHold
from proto.schema import TableSchema
from proto.values import Kind
from replica.opening import open_replica
from tests.support.tables import (
    deletes,
    frames,
    inserts,
    keys,
    listed,
    partial,
    schema_of,
    upserts,
)

if TYPE_CHECKING:
    from tests.support.postgres import Cluster
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
    elif home.is_mariadb:
        holds(home, schema_of("t", {"id": Kind.INT32, "ID": Kind.TEXT}), "only in case")
        holds(home, schema_of("t", {"id": Kind.INT32, "a" * 65: Kind.TEXT}), "64 characters")
        holds(home, schema_of("a" * 60, {"id": Kind.INT32}), "64 characters")
        holds(home, schema_of("中" * 52, {"id": Kind.INT32}), "too long for a file")
        holds(home, schema_of("t", {"id": Kind.INT32, "a ": Kind.TEXT}), "ends in a space")
        holds(home, schema_of("t🀄", {"id": Kind.INT32}), "beyond")
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
    home.run("DROP TABLE public.t" if home.is_postgresql else "DROP TABLE t")


def test_a_room_or_database_that_cannot_be_is_refused(home: Home):
    """At opening, with a way out."""
    with pytest.raises(Refused, match="cannot"):
        open_replica(home.engine, "pg_x" if home.is_postgresql else "a.b")
    with pytest.raises(Refused, match="no replica can live in"):
        open_replica(create_engine("mssql+pyodbc://host/db?driver=x", module=sqlite3), "x")


def test_a_dropped_table_starts_anew(home: Home):
    """Drop forgets rows and shape, and does not mind an absent table."""
    home.apply(inserts(WIDE, ("1", "x", "1.5")))

    for _ in range(2):
        with home.engine.begin() as connection:
            home.replica.drop(connection, WIDE.name)
    home.apply(inserts(NARROW, ("1", "y")))

    assert home.rows(NARROW) == listed(frames(NARROW, ("1", "y")))


def test_text_keys_are_compared_byte_by_byte_whatever_the_locale(
    postgres15: Cluster, new_home: Callable[[str, Engine], Home]
):
    """A locale's rules change with the operating system; an index that relied on them would be broken."""
    name = f"{postgres15.new_database('locale')}_zh"
    with postgres15.connect() as admin:
        options = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'zh-CN' ENCODING 'UTF8'"
        admin.execute(f'CREATE DATABASE "{name}" {options}'.encode())
    engine = create_engine(postgres15.url(name))
    schema = schema_of("t", {"id": Kind.TEXT, "v": Kind.INT32})
    words = sorted([*"aBcZz中甲乙", *(f"w{n}" for n in range(60))], key=lambda word: word.encode())

    home = new_home("postgres15", engine)
    home.apply(upserts(schema, *((word, "1") for word in reversed(words))))
    home.apply(upserts(schema, *((word, "2") for word in words)))

    assert home.rows(schema) == listed(frames(schema, *((word, "2") for word in words)))
    engine.dispose()
