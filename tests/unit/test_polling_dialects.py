"""The SQL of each database, to the letter: for those that no test can run, this is what was checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from agent.sources.polling.connection import (
    Clock,
    Database,
    NativeColumn,
    NativeIndex,
    Row,
    session_statements,
)
from agent.sources.polling.dialects import DIALECTS, Dialect, dialect_of, kind_of
from agent.sources.polling.reader import Place, Reader
from agent.sources.polling.settings import PollingTable
from agent.sources.polling.shapes import read_shape
from proto.frames import pack
from proto.values import Kind, Plain, from_text
from tests.support.polling import settings

TYPES = {
    "postgresql": ("numeric", "varchar", "timestamp"),
    "kingbase": ("numeric", "varchar", "timestamp"),
    "mysql": ("DECIMAL(10,2)", "VARCHAR(20)", "DATETIME"),
    "sqlite": ("DECIMAL(10,2)", "TEXT", "DATETIME"),
    "sqlserver": ("decimal(10,2)", "nvarchar", "datetime2"),
    "oracle": ("NUMBER(10,2)", "VARCHAR2", "TIMESTAMP"),
    "dm": ("DECIMAL(10,2)", "VARCHAR", "TIMESTAMP"),
    "generic": ("decimal", "varchar", "timestamp"),
}
PAGES = {
    "postgresql": 'SELECT CAST("n" AS text), "名", CAST("at" AS text), CAST("at" AS text) FROM "s"."t" '
    'WHERE "at" >= CAST(? AS timestamp) ORDER BY "at", "n", "名" LIMIT 9',
    "mysql": "SELECT CONVERT(`n` USING utf8mb4), `名`, CONVERT(`at` USING utf8mb4), CONVERT(`at` USING utf8mb4) "
    "FROM `s`.`t` "
    "WHERE `at` >= CAST(? AS DATETIME(6)) ORDER BY `at`, `n`, `名` LIMIT 9",
    "sqlite": 'SELECT CAST("n" AS BLOB), CAST("名" AS BLOB), CAST("at" AS BLOB), CAST("at" AS BLOB) '
    'FROM "s"."t" WHERE "at" >= ? ORDER BY "at", "n", "名" LIMIT 9',
    "sqlserver": "SELECT TOP (9) CONVERT(varchar(60), [n], 2), [名], "
    "CONVERT(varchar(33), CONVERT(datetime2(6), [at]), 121), "
    "CONVERT(varchar(33), CONVERT(datetime2(6), [at]), 121) FROM [s].[t] "
    "WHERE [at] >= CONVERT(datetime2(7), ?, 121) ORDER BY [at], [n], [名]",
    "oracle": "SELECT * FROM (SELECT TO_CHAR(\"n\", 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''') AS c0, \"名\" AS c1, "
    "TO_CHAR(\"at\", 'YYYY-MM-DD HH24:MI:SS.FF6') AS c2, TO_CHAR(\"at\", 'YYYY-MM-DD HH24:MI:SS.FF6') AS c3 "
    'FROM "s"."t" WHERE "at" >= TO_TIMESTAMP(?, \'YYYY-MM-DD HH24:MI:SS.FF6\') '
    'ORDER BY "at", "n", "名") WHERE ROWNUM <= 9',
    "generic": 'SELECT "n", "名", "at", "at" FROM "s"."t" WHERE "at" >= ? ORDER BY "at", "n", "名" '
    "FETCH FIRST 9 ROWS ONLY",
}
AFTER = {
    "postgresql": '"at" >= CAST(? AS timestamp) AND ("at" > CAST(? AS timestamp) OR ("at" = CAST(? AS timestamp) '
    'AND ("n" > CAST(? AS numeric) OR ("n" = CAST(? AS numeric) AND "名" > CAST(? AS varchar)))))',
    "mysql": "`at` >= CAST(? AS DATETIME(6)) AND (`at` > CAST(? AS DATETIME(6)) OR (`at` = CAST(? AS DATETIME(6)) "
    "AND (`n` > CAST(? AS decimal(10,2)) OR (`n` = CAST(? AS decimal(10,2)) AND `名` > ?))))",
    "sqlserver": "[at] >= CONVERT(datetime2(7), ?, 121) AND ([at] > CONVERT(datetime2(7), ?, 121) OR "
    "([at] = CONVERT(datetime2(7), ?, 121) AND ([n] > CAST(? AS decimal(10,2)) OR "
    "([n] = CAST(? AS decimal(10,2)) AND [名] > ?))))",
}


class Listening:
    """A database that notes what it is asked and has one table: what is said to it, no more."""

    where, clock = "hr", Clock()

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.said: list[tuple[str, tuple[Plain, ...]]] = []

    def query(self, statement: str, parameters: Sequence[Plain] = ()) -> list[Row]:
        self.said.append((statement.replace("\0", "?"), tuple(parameters)))
        if statement.startswith("SELECT column_name, column_type"):
            return [(column.name, column.type.lower(), "NO") for column in self.columns("s", "t")]
        return [("n",), ("名",)] if statement.startswith("SELECT column_name") else []

    def columns(self, schema: str, table: str) -> list[NativeColumn]:
        pairs = zip(("n", "名", "at"), TYPES[self.dialect.name], strict=True)
        return [NativeColumn(name, declared, False) for name, declared in pairs]

    def primary_key(self, schema: str, table: str) -> tuple[str, ...]:
        return ("n", "名")

    def indexes(self, schema: str, table: str) -> list[NativeIndex]:
        return []


def asked(name: str) -> tuple[Listening, Reader]:
    """A reader of the table in this dialect."""
    database = Listening(DIALECTS[name])
    table = PollingTable(table="s.t", watermark="at")
    known = cast(Database, database)
    reader = Reader(known, read_shape(known, table), table.parts)
    database.said.clear()
    return database, reader


@pytest.mark.parametrize("name", PAGES)
def test_a_page_by_watermark(name):
    """Everything that could lose something on its way is read as text, and the order is complete."""
    database, reader = asked(name)
    reader.changed(from_text(Kind.TIMESTAMP, "2024-01-02 03:04:05.5"), None, 9)

    assert database.said == [(PAGES[name], ("2024-01-02 03:04:05.5",))]


@pytest.mark.parametrize("name", AFTER)
def test_the_next_page_goes_on_after_watermark_and_key(name):
    """Rows of one instant are told apart by their key; no row values, which not every server has."""
    database, reader = asked(name)
    reader.changed(None, Place(("w", "n", "名")), 9)
    statement, values = database.said[0]

    assert f"WHERE {AFTER[name]} ORDER BY" in statement
    assert values == ("w", "w", "w", "n", "n", "名")


@pytest.mark.parametrize("name", DIALECTS)
def test_rows_are_asked_for_by_their_keys(name):
    """In groups that every server takes, each value once."""
    database, reader = asked(name)
    key = pack([from_text(Kind.DECIMAL, "1.50"), "王".encode()])
    reader.present([key] * 450)

    assert [len(values) for _, values in database.said] == [400, 400, 100]
    assert database.said[0][1][:2] == ("1.50", "王")
    assert database.said[0][0].count(" OR ") == 199


@pytest.mark.parametrize("name", ["postgresql", "kingbase", "mysql", "sqlite"])
def test_a_session_that_can_be_told_is_read_only(name):
    """Before anything else is said that could be misunderstood."""
    statements = session_statements(DIALECTS[name], settings([{"table": "t"}], url="sqlite:///x"))

    assert any(word in statements[0].lower() for word in ("read_only = on", "read only", "query_only"))


def test_limits_are_filled_in():
    """Milliseconds where milliseconds are wanted."""
    known: dict[str, Any] = {"load": {"statement_timeout_s": 2.5}}
    said = session_statements(DIALECTS["postgresql"], settings([{"table": "t"}], url="sqlite:///x", **known))

    assert "SET statement_timeout = 2500" in said


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("PostgreSQL", "postgresql"),
        ("KingbaseES V8", "kingbase"),
        ("MariaDB", "mysql"),
        ("Microsoft SQL Server", "sqlserver"),
        ("Oracle", "oracle"),
        ("DM DBMS", "dm"),
        ("Firebird", "generic"),
    ],
)
def test_databases_name_themselves(product, name):
    """And a stranger gets the SQL of the standard."""
    assert dialect_of(product).name == name


@pytest.mark.parametrize(
    ("name", "declared", "kind"),
    [
        ("postgresql", "TIMESTAMP WITH TIME ZONE", Kind.TIMESTAMPTZ),
        ("postgresql", "_int4", Kind.OTHER),
        ("mysql", "TIMESTAMP", Kind.TIMESTAMPTZ),
        ("mysql", "BIGINT(20) UNSIGNED", Kind.DECIMAL),
        ("mysql", "VARCHAR(20) COLLATE utf8mb4_bin", Kind.TEXT),
        ("mysql", "ENUM('a','b')", Kind.TEXT),
        ("mysql", "FLOAT", Kind.FLOAT32),
        ("sqlite", "INTEGER", Kind.INT64),
        ("sqlserver", "bit", Kind.BOOL),
        ("sqlserver", "datetimeoffset", Kind.TIMESTAMPTZ),
        ("oracle", "DATE", Kind.TIMESTAMP),
        ("oracle", "NUMBER(10,2)", Kind.DECIMAL),
        ("dm", "DATE", Kind.DATE),
        ("generic", "geometry", Kind.OTHER),
    ],
)
def test_types_mean_what_they_mean_there(name, declared, kind):
    """The same word is another kind in another database."""
    assert kind_of(DIALECTS[name], declared) is kind


def test_names_are_quoted_whatever_they_contain():
    """In each database's own way."""
    assert DIALECTS["postgresql"].quote('a"b') == '"a""b"'
    assert DIALECTS["mysql"].quote("a`b") == "`a``b`"
    assert DIALECTS["sqlserver"].quote("a]b") == "[a]]b]"
