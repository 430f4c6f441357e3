"""What the tables in MariaDB and MySQL look like, and how they become what a stream needs.

Every CREATE and ALTER there commits whatever is open. So they run on a connection of their own, ahead of the rows, and
what a table *is* stands in a small table beside it, ``exchange_shapes``, which moves with the rows: after a rollback
a table may have columns, or be there at all, before anything says so. Such a table is taken as it is.
"""

# ruff: noqa: S608 - statements are put together from quoted identifiers and literals of our own making

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pymysql
from sqlalchemy import Connection

from proto.errors import SchemaHold
from proto.schema import Column, TableSchema
from proto.values import Kind
from replica.dialect import COPY_AFRESH, WIDER, Shape
from replica.mysql_errors import number_of
from replica.mysql_session import Session, session_of
from replica.mysql_sql import Statements, physical_type, quote
from replica.mysql_values import ASCII, TYPES

_NO_TABLE, _EXISTS = 1146, 1050
_RECORDS: Final = (
    "CREATE TABLE IF NOT EXISTS exchange_shapes (name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL "
    "PRIMARY KEY, shape LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE=InnoDB"
)
_TABLE: Final = """
SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s
"""
_COLUMNS: Final = """
SELECT column_name, column_type, character_set_name FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position
"""
_KEY: Final = """
SELECT column_name FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = %s AND index_name = 'PRIMARY' ORDER BY seq_in_index
"""
_INTEGER_WIDTH: Final = re.compile(r"^(smallint|int|bigint)\(\d+\)")
_LENGTH: Final = re.compile(r"^var(char|binary)\(\d+\)$")


@dataclass(frozen=True, slots=True)
class Made:
    """A table as the server's catalogue shows it."""

    columns: Mapping[str, str]
    """Names and physical types, in order."""
    key: tuple[str, ...]

    def fits(self, schema: TableSchema) -> bool:
        """Whether rows of *schema* can lie here."""
        return self.key == schema.key and all(self.holds(column, schema.key) for column in schema.columns)

    def holds(self, column: Column, key: tuple[str, ...]) -> bool:
        """Whether the column here takes every value of *column*, now or once it has widened."""
        here = self.columns.get(column.name)
        kinds = (column.kind, *WIDER.get(column.kind, ()))
        wanted = {_type(kind, column.name in key) for kind in kinds}
        return here in wanted


@contextmanager
def aside(connection: Connection) -> Iterator[Session]:
    """A connection for what commits by itself; it waits for a table only so long."""
    with connection.engine.connect() as other:
        yield session_of(other)


class Shapes:
    """The tables of one database."""

    def recorded(self, connection: Connection, table: str) -> Shape | None:
        """What *table* is, as far as anything was committed; others who ask wait for our commit."""
        question = "SELECT shape FROM exchange_shapes WHERE name = %s FOR UPDATE"
        try:
            found = session_of(connection).ask(question, (table,))
        except pymysql.err.Error as error:
            if number_of(error) != _NO_TABLE:
                raise
            with aside(connection) as other:
                other.run(_RECORDS)
            return None
        if not found:
            return None
        record: dict[str, Any] = json.loads(found[0][0])
        return Shape({name: TYPES[Kind(kind)] for name, kind in record["columns"]}, tuple(record["key"]))

    def record(self, connection: Connection, table: str, schema: TableSchema) -> None:
        """Say what *table* is from our commit on."""
        columns = [(column.name, column.kind) for column in schema.columns]
        shape = json.dumps({"columns": columns, "key": schema.key}, ensure_ascii=False)
        session_of(connection).ask(
            "REPLACE INTO exchange_shapes (name, shape) VALUES (%s, %s)", (table, shape)
        )

    def forget(self, connection: Connection, table: str) -> None:
        """Say that there is no such table from our commit on."""
        session_of(connection).ask("DELETE FROM exchange_shapes WHERE name = %s", (table,))

    def made(self, session: Session, table: str, schema: TableSchema) -> Made | None:
        """What lies there, whoever made it. Raises SchemaHold for what is no table."""
        for name, sort in session.ask(_TABLE, (table,)):
            if sort != "BASE TABLE" or name not in {table, table.lower()}:
                what = f'the {sort.lower()} "{name}" has the same name for the server'
                fix = "rename one of them in the catalogue"
                raise SchemaHold(schema.name, what, where=table, fix=fix)
        key = tuple(str(name) for (name,) in session.ask(_KEY, (table,)))
        columns = {
            name: _plain_type(declared, letters == "ascii", name in key)
            for name, declared, letters in session.ask(_COLUMNS, (table,))
        }
        return Made(columns, key) if columns else None

    def alter(
        self,
        session: Session,
        statements: Statements,
        schema: TableSchema,
        made: Made,
        settled: Iterable[str],
    ) -> None:
        """Add and widen columns. One that is not *settled* came with a transaction that failed, and may be replaced."""
        if made.key != schema.key:
            what = "its key is not the one it was made with"
            raise SchemaHold(schema.name, what, where=statements.table, fix=COPY_AFRESH)
        unfit = [column for column in schema.columns if not made.holds(column, schema.key)]
        widened = [column for column in unfit if column.name in made.columns and column.name in settled]
        dropped = [column.name for column in unfit if column.name in made.columns and column not in widened]
        added = [column for column in unfit if column not in widened]
        session.run(statements.alter(dropped, added, widened))

    def make(self, session: Session, statements: Statements, schema: TableSchema, recorded: bool) -> None:
        """Make the table; one that nothing speaks of and that is empty makes way."""
        if not recorded:
            self._clear(session, statements, schema)
        try:
            session.run(statements.create)
        except pymysql.err.OperationalError as error:
            if number_of(error) != _EXISTS:  # somebody made it meanwhile: it is looked at again
                raise

    def _clear(self, session: Session, statements: Statements, schema: TableSchema) -> None:
        try:
            found = session.ask(f"SELECT 1 FROM {statements.table} LIMIT 1")
        except pymysql.err.ProgrammingError as error:
            if number_of(error) == _NO_TABLE:
                return
            raise
        if found:
            what = "there is a table of this name with rows that we did not write"
            raise SchemaHold(schema.name, what, where=statements.table, fix=COPY_AFRESH)
        session.run(f"DROP TABLE {statements.table}")

    def empty(self, connection: Connection, table: str) -> None:
        """Remove the rows of *table*, and say that there is no such table, from our commit on."""
        session_of(connection).run(f"DELETE FROM {quote(table)}")
        self.forget(connection, table)

    def drop(self, connection: Connection, table: str) -> None:
        """Drop *table* at once, whatever becomes of the caller's transaction."""
        with aside(connection) as session:
            session.run(f"DROP TABLE IF EXISTS {quote(table)}")
        self.recorded(connection, table)  # makes the room for records, where nobody has yet
        self.forget(connection, table)


def _type(kind: Kind, in_key: bool) -> str:
    """The physical type of a kind, without lengths that do not matter."""
    declared = physical_type(kind)
    if in_key:
        declared = {"longtext": "varchar", "mediumtext": "varchar", "longblob": "varbinary"}.get(
            declared, declared
        )
    return _plain_type(declared, kind in ASCII, in_key)


def _plain_type(declared: str, is_ascii: bool, in_key: bool) -> str:
    short = _INTEGER_WIDTH.sub(r"\1", declared.lower())
    return (_LENGTH.sub(r"var\1", short) if in_key else short) + (" ascii" if is_ascii else "")
