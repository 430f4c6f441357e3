"""Tables that follow a stream in SQLite: values go in by kind and come back as the same frames, bit for bit.

A room is a prefix of table names. SQLite keeps what its five storage classes can keep exactly, so the declared
types below are chosen for their affinity, and whatever has no exact class lies there as PostgreSQL's text.
"""

# ruff: noqa: S608 - statements are put together from quoted identifiers and words of our own, never from values

from __future__ import annotations

import math
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, cast

from sqlalchemy import Connection

from proto.batch import Delta, Frames, Partial
from proto.errors import BadRow, DiskBlocked, ExchangeError, Refused, SchemaHold, Transient
from proto.frames import pack_rows, rows
from proto.schema import Column, TableSchema
from proto.values import Kind, Plain
from replica.dialect import (
    COPY_AFRESH,
    PAGE_BYTES,
    Changes,
    Known,
    Shape,
    changes,
    digest_of,
    notes,
    quote,
    refuse_keyless_changes,
    refuse_miscounted,
)
from replica.replica import TableDigest

Row = tuple[Plain, ...]

# SQLite reads affinity out of these words, first match wins: INT, then TEXT, then BLOB, then FLOA. Whatever lies
# here as text must say TEXT, or numbers in it lose their digits (hence "duration": interval contains INT). Floats
# say "blob", because REAL affinity turns −0.0 into 0. And nothing is exactly "integer": as a lone key it would be
# numbered when it is empty.
TYPES: Final = {
    Kind.BOOL: "boolean",
    Kind.INT16: "smallint",
    Kind.INT32: "int",
    Kind.INT64: "bigint",
    Kind.FLOAT32: "float32 blob",
    Kind.FLOAT64: "float64 blob",
    Kind.DECIMAL: "decimal text",
    Kind.TEXT: "text",
    Kind.BYTES: "blob",
    Kind.DATE: "date text",
    Kind.TIME: "time text",
    Kind.TIMESTAMP: "timestamp text",
    Kind.TIMESTAMPTZ: "timestamptz text",
    Kind.INTERVAL: "duration text",
    Kind.JSON: "json text",
    Kind.JSONB: "jsonb text",
    Kind.UUID: "uuid text",
    Kind.OTHER: "other text",
}
_FLOATS: Final = frozenset({Kind.FLOAT32, Kind.FLOAT64})
_TRY_AGAIN: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_BAD_ROW: Final = frozenset(
    {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE}
)
_SHAPE_GONE: Final = (
    "no such table",
    "no such column",
    "has no column named",
    "ON CONFLICT clause does not match",
)


class SqliteReplica:
    """A :class:`replica.replica.Replica` in one SQLite file."""

    def __init__(self, room: str) -> None:
        if "." in room or "\0" in room or room.lower().startswith("sqlite_"):
            raise Refused(f'"{room}" cannot be a prefix of table names', fix="take a name without dots")
        self._prefix = f"{room}." if room else ""
        self._known = Known()

    def prepare(self, connection: Connection, schema: TableSchema) -> None:
        """Make the table, or alter it; a widened column means the table is written anew."""
        if self._known.has(schema):
            return
        self._check_names(schema)
        with self._guarded(connection, schema.name):
            if self._fit(_driver_of(connection), schema):
                notes(connection).altered.add(schema.name)
        self._known.learn(connection, schema)

    def apply(self, connection: Connection, deltas: Iterable[Delta]) -> int:
        """Apply in order; within a delta: truncate, deletes, partials, upserts, inserts."""
        return sum(self._apply(connection, delta) for delta in deltas)

    def scan(self, connection: Connection, schema: TableSchema, page_rows: int = 20_000) -> Iterator[Frames]:
        """Pages in key order, texts compared byte by byte."""
        order = _listed(schema.key) if schema.key else ""
        return self._scan(connection, schema, page_rows, order)

    def page(self, connection: Connection, schema: TableSchema, after_key: bytes, rows: int) -> Frames:
        """One page by its key; the key's index gives the order."""
        key, table = _listed(schema.key), self._table(schema.name)
        marks = ", ".join("?" * len(schema.key))
        place = f"WHERE ({key}) > ({marks}) " if after_key else ""
        query = f"SELECT {_columns(schema)} FROM {table} {place}ORDER BY {key} LIMIT ?"
        with self._guarded(connection, schema.name):
            bounds = _key_values(schema, after_key)[0] if after_key else ()
            found = _driver_of(connection).execute(query, (*bounds, rows)).fetchall()
        return Frames(pack_rows(found, schema.kinds), len(found))

    def rows(self, connection: Connection, schema: TableSchema, keys: Frames) -> Frames:
        """One look-up for each key: SQLite is in this process, so nothing is won by asking for many at once."""
        query = f"SELECT {_columns(schema)} FROM {self._table(schema.name)} WHERE {_found(schema.key)}"
        found: list[Row] = []
        with self._guarded(connection, schema.name):
            driver = _driver_of(connection)
            for key in _key_values(schema, keys.data):
                found += driver.execute(query, key).fetchall()
        return Frames(pack_rows(found, schema.kinds), len(found))

    def count(self, connection: Connection, schema: TableSchema) -> int:
        """Counted in the smallest index."""
        with self._guarded(connection, schema.name):
            query = f"SELECT count(*) FROM {self._table(schema.name)}"
            return int(_driver_of(connection).execute(query).fetchone()[0])

    def digest(self, connection: Connection, schema: TableSchema) -> TableDigest:
        """Read in whatever order is at hand."""
        return digest_of(self._scan(connection, schema, 20_000, ""))

    def drop(self, connection: Connection, name: str) -> None:
        """Drop the table if it is there."""
        with self._guarded(connection, name):
            _driver_of(connection).execute(f"DROP TABLE IF EXISTS {self._table(name)}")
            notes(connection).altered.add(name)
        self._known.forget(name)

    def _table(self, name: str) -> str:
        return quote(self._prefix + name)

    def _apply(self, connection: Connection, delta: Delta) -> int:
        refuse_keyless_changes(delta)
        schema, table = delta.schema, self._table(delta.schema.name)
        with self._guarded(connection, schema.name):
            driver = _driver_of(connection)
            if delta.truncated:
                driver.execute(f"DELETE FROM {table}")
            key_kinds = [schema.kinds[place] for place in schema.key_indexes]
            touched = _each(
                driver, f"DELETE FROM {table} WHERE {_found(schema.key)}", delta.deletes, key_kinds
            )
            for part in delta.partials:
                kinds = [*key_kinds, *(schema.kinds[column] for column in part.columns)]
                touched += _each(driver, _update_partly(table, schema, part), part.frames, kinds)
            for frames in (delta.upserts, delta.inserts):
                touched += _each(driver, _merge(table, schema), frames, schema.kinds)
            return touched

    def _scan(
        self, connection: Connection, schema: TableSchema, page_rows: int, order: str
    ) -> Iterator[Frames]:
        ordered = f" ORDER BY {order}" if order else ""
        with self._guarded(connection, schema.name):
            cursor = _driver_of(connection).execute(
                f"SELECT {_columns(schema)} FROM {self._table(schema.name)}{ordered}"
            )
            try:
                yield from _pages(cursor, schema.kinds, page_rows)
            finally:
                cursor.close()

    def _fit(self, driver: sqlite3.Connection, schema: TableSchema) -> bool:
        """Make or alter the table if need be; whether anything was done."""
        table = self._table(schema.name)
        shape = self._shape(driver, schema)
        if shape is None:
            driver.execute(_create(table, schema, schema.columns))
            return True
        needed = changes(schema, shape, TYPES, self._prefix + schema.name)
        if needed.widened:
            self._rewrite(driver, schema, shape, needed)
        else:
            for column in needed.added:
                driver.execute(f"ALTER TABLE {table} ADD COLUMN {_declared(column, schema)}")
        return bool(needed)

    def _shape(self, driver: sqlite3.Connection, schema: TableSchema) -> Shape | None:
        wanted = self._prefix + schema.name
        query = "SELECT name, type FROM sqlite_schema WHERE name = ? COLLATE NOCASE"
        for name, what in driver.execute(query, (wanted,)):
            if (name, what) != (wanted, "table"):
                fix = "rename one of them in the catalogue"
                raise SchemaHold(
                    schema.name, f'the {what} "{name}" has the same name for SQLite', where=wanted, fix=fix
                )
        found = driver.execute(
            "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", (wanted,)
        ).fetchall()
        if not found:
            return None
        key = sorted((place, name) for name, _, place in found if place)
        return Shape({name: declared.lower() for name, declared, _ in found}, tuple(name for _, name in key))

    def _rewrite(
        self, driver: sqlite3.Connection, schema: TableSchema, shape: Shape, needed: Changes
    ) -> None:
        """SQLite cannot change a column's type: fill a new table and let it take the old one's name."""
        table, fresh = self._table(schema.name), self._table(schema.name + "~widened")
        widened = {column.name: column for column in needed.widened}
        values = [_cast(name, widened.get(name)) for name in shape.types]
        driver.execute(_create(fresh, schema, schema.columns))
        driver.execute(
            f"INSERT INTO {fresh} ({_listed(shape.types)}) SELECT {', '.join(values)} FROM {table}"
        )
        driver.execute(f"DROP TABLE {table}")
        driver.execute(f"ALTER TABLE {fresh} RENAME TO {table}")

    def _check_names(self, schema: TableSchema) -> None:
        names = [column.name for column in schema.columns]
        folded: dict[str, str] = {}
        for name in names:
            twin = folded.setdefault(_fold(name), name)
            if twin != name:
                what = f'the columns "{twin}" and "{name}" differ only in case, which SQLite does not see'
                raise SchemaHold(schema.name, what, fix="leave one out of the catalogue")
        if any("\0" in name for name in (schema.name, *names)) or self._reserved(schema.name):
            what = "a name holds U+0000 or starts with sqlite_"
            raise SchemaHold(schema.name, what, fix="catalogue it under another name")

    def _reserved(self, name: str) -> bool:
        return (self._prefix + name).lower().startswith("sqlite_")

    @contextmanager
    def _guarded(self, connection: Connection, table: str) -> Generator[None]:
        """Translate what the driver raises, and keep nothing for certain about a table that surprised us."""
        try:
            yield
        except sqlite3.Error as error:
            self._known.forget(table)
            ours = _translate(error, table, self._prefix + table)
            if ours is None:
                raise
            raise ours from error


def _driver_of(connection: Connection) -> sqlite3.Connection:
    """The driver's connection, in a transaction: left alone, the driver begins none for DDL."""
    notes(connection)
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    if not driver.in_transaction:
        driver.execute("BEGIN")
    return driver


def _each(driver: sqlite3.Connection, statement: str, frames: Frames, kinds: Sequence[Kind]) -> int:
    if not frames:
        return 0
    values = rows(frames.data, kinds)
    refuse_miscounted(len(values), frames)
    return driver.executemany(statement, _storable(values, kinds)).rowcount


def _storable(values: list[Row], kinds: Sequence[Kind]) -> list[Row]:
    """SQLite stores NaN as NULL, so it goes in as its text; pack_rows reads both."""
    floats = [place for place, kind in enumerate(kinds) if kind in _FLOATS]
    if not any(_is_nan(row[place]) for place in floats for row in values):
        return values
    return [tuple("NaN" if _is_nan(value) else value for value in row) for row in values]


def _is_nan(value: Plain) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _pages(cursor: sqlite3.Cursor, kinds: Sequence[Kind], page_rows: int) -> Iterator[Frames]:
    """Pages of at most *page_rows* rows, fewer when rows are large: each page is sized by the one before."""
    wanted = min(page_rows, 100)
    while found := cursor.fetchmany(wanted):
        data = pack_rows(found, kinds)
        yield Frames(data, len(found))
        wanted = max(1, min(page_rows, PAGE_BYTES * len(found) // (len(data) or 1)))


def _create(table: str, schema: TableSchema, columns: Sequence[Column]) -> str:
    parts = [_declared(column, schema) for column in columns]
    if schema.key:
        parts.append(f"PRIMARY KEY ({_listed(schema.key)})")
    # WITHOUT ROWID was measured: as fast for rising numbers, 2.5 times slower for keys that come in no order.
    return f"CREATE TABLE {table} ({', '.join(parts)})"


def _declared(column: Column, schema: TableSchema) -> str:
    return f"{quote(column.name)} {TYPES[column.kind]}" + (" NOT NULL" if column.name in schema.key else "")


def _merge(table: str, schema: TableSchema) -> str:
    marks = ", ".join("?" * len(schema.columns))
    insert = f"INSERT INTO {table} ({_listed(column.name for column in schema.columns)}) VALUES ({marks})"
    rest = [column.name for column in schema.columns if column.name not in schema.key]
    if not schema.key:
        return insert
    merged = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in rest)
    return f"{insert} ON CONFLICT ({_listed(schema.key)}) DO " + (
        f"UPDATE SET {merged}" if rest else "NOTHING"
    )


def _update_partly(table: str, schema: TableSchema, part: Partial) -> str:
    # Old key first, then the present columns. A row that sits on the new key of a moved one is replaced.
    first = len(schema.key) + 1
    pairs = [(schema.columns[column].name, place) for place, column in enumerate(part.columns, first)]
    assigned = ", ".join(f"{quote(name)} = ?{place}" for name, place in pairs)
    return f"UPDATE OR REPLACE {table} SET {assigned} WHERE {_found(schema.key)}"


def _found(key: Sequence[str]) -> str:
    return " AND ".join(f"{quote(name)} = ?{place}" for place, name in enumerate(key, 1))


def _columns(schema: TableSchema) -> str:
    return _listed(column.name for column in schema.columns)


def _key_values(schema: TableSchema, keys: bytes) -> list[Row]:
    """Key frames as they are stored."""
    kinds = [schema.kinds[place] for place in schema.key_indexes]
    return _storable(rows(keys, kinds), kinds)


def _cast(name: str, widened: Column | None) -> str:
    if widened is None or TYPES[widened.kind].split()[-1] != "text":
        return quote(name)
    return f"CAST({quote(name)} AS TEXT)"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quote, names))


def _fold(name: str) -> str:
    """SQLite folds ASCII letters only."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def _translate(error: sqlite3.Error, table: str, where: str) -> ExchangeError | None:
    """What the daemon should do about *error*; None when it is a bug of ours. SQLite's messages hold no values."""
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return DiskBlocked("the disk is full", where=where, fix="make room on its disk")
    if primary in _TRY_AGAIN:
        return Transient(f"the database asks to try again ({error})", where=where)
    if primary in _BAD_ROW or isinstance(error, sqlite3.DataError):
        return BadRow(
            table, f"SQLite cannot hold a row ({error})", where=where, fix="mend the row at the source"
        )
    if any(words in str(error) for words in _SHAPE_GONE):
        return SchemaHold(table, f"the table changed behind our back ({error})", where=where, fix=COPY_AFRESH)
    return None
