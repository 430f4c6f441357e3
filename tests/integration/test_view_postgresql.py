"""A row filter means what PostgreSQL means by the same condition, on frames that PostgreSQL itself wrote."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from proto import frames
from proto.batch import Frames
from proto.predicate import And, Compare, In, IsNull, Not, Or, Predicate, StartsWith
from proto.schema import Column, TableSchema
from proto.values import Kind
from proto.view import View
from tests.support import filters
from tests.support.postgres import Cluster

TYPES: Final = {
    Kind.BOOL: "boolean",
    Kind.INT16: "smallint",
    Kind.INT32: "integer",
    Kind.INT64: "bigint",
    Kind.FLOAT32: "real",
    Kind.FLOAT64: "double precision",
    Kind.DECIMAL: "numeric",
    Kind.TEXT: 'text COLLATE "C"',
    Kind.DATE: "date",
    Kind.TIME: "time",
    Kind.TIMESTAMP: "timestamp",
    Kind.TIMESTAMPTZ: "timestamptz",
    Kind.UUID: "uuid",
}
SCHEMA: Final = TableSchema(
    "人员", (Column("编号", Kind.INT32), *(Column(f"列 {kind}", kind) for kind in TYPES)), ("编号",)
)
ROWS: Final = 400
_BINARY_HEAD: Final = 19
_BINARY_END: Final = 2


@dataclass(frozen=True, slots=True)
class People:
    """The table at the server, and its frames."""

    connection: psycopg.Connection
    frames: Frames

    def seen(self, predicate: Predicate) -> set[int]:
        """The keys for which the server says true."""
        query = sql.SQL("SELECT 编号 FROM 人员 WHERE {}").format(condition(predicate))
        return {row[0] for row in self.connection.execute(query)}


@pytest.fixture(scope="module")
def people(postgres: Cluster) -> Iterator[People]:
    """Every awkward value of every kind, mixed at random."""
    name = postgres.new_database("view")
    with postgres.connect(name) as connection:
        columns = ", ".join(f'"列 {kind}" {word}' for kind, word in TYPES.items())
        connection.execute(f"CREATE TABLE 人员 (编号 integer PRIMARY KEY, {columns})")
        chance = random.Random(20)
        with connection.cursor().copy("COPY 人员 FROM STDIN") as copy:
            for key in range(ROWS):
                copy.write_row((str(key), *(chance.choice((None, *filters.TEXTS[kind])) for kind in TYPES)))
        connection.execute("SET extra_float_digits = 1; SET TimeZone = 'UTC'")
        with connection.cursor().copy("COPY 人员 TO STDOUT (FORMAT binary)") as copy:
            data = b"".join(map(bytes, copy))
        yield People(connection, Frames(data[_BINARY_HEAD:-_BINARY_END], ROWS))
    postgres.drop_database(name)


def condition(node: Predicate) -> sql.Composable:
    """The same in SQL."""
    match node:
        case And() | Or():
            word = sql.SQL(" AND " if isinstance(node, And) else " OR ")
            return sql.SQL("({})").format(word.join(map(condition, node.parts)))
        case Not():
            return sql.SQL("(NOT {})").format(condition(node.part))
    column = sql.Identifier(node.column)
    match node:
        case IsNull():
            return sql.SQL("({} IS NULL)").format(column)
        case StartsWith():
            return sql.SQL("starts_with({}, {})").format(column, node.prefix)
        case In():
            values = sql.SQL(", ").join([literal(node.column, value) for value in node.values])
            return sql.SQL("({} IN ({}))").format(column, values)
        case Compare():
            return sql.SQL("({} {} {})").format(column, sql.SQL(node.op), literal(node.column, node.value))


def literal(column: str, value: str) -> sql.Composable:
    """A literal of the column's type."""
    kind = next(found.kind for found in SCHEMA.columns if found.name == column)
    word = TYPES[kind].removesuffix(' COLLATE "C"')
    return sql.SQL("{}::" + word).format(sql.Literal(value))


@settings(deadline=None, max_examples=400)
@given(predicate=st.deferred(lambda: filters.predicates(SCHEMA)))
def test_a_filter_means_what_postgresql_means(people: People, predicate: Predicate) -> None:
    """The same rows pass, the others are left."""
    bound = View(("编号",), {}, predicate).bind(SCHEMA, b"")
    passing, left = bound.divide(people.frames)
    seen = people.seen(predicate)
    assert keys(passing) == seen
    assert keys(left) == set(range(ROWS)) - seen


@pytest.mark.parametrize("kind", TYPES)
def test_every_literal_is_compared_as_postgresql_does(people: People, kind: Kind) -> None:
    """Each operator with each awkward value of each kind."""
    name = f"列 {kind}"
    for value in filters.TEXTS[kind]:
        for op in ("=", "!=") if kind is Kind.BOOL else ("=", "!=", "<", "<=", ">", ">="):
            predicate = Compare(name, op, value)
            passing, _ = View(("编号",), {}, predicate).bind(SCHEMA, b"").divide(people.frames)
            assert keys(passing) == people.seen(predicate)


def keys(found: Frames) -> set[int]:
    """The keys of rows."""
    return {int(row[0] or 0) for row in frames.rows(found.data, (Kind.INT32,))}
