"""Tables that follow a stream in PostgreSQL: frames go in and come out as binary COPY, never value by value.

Each room is a schema. New rows are copied straight into their table. Changes of many rows are copied into a staging
table and merged by one statement; a few go as statements with binary parameters.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

import psycopg
from sqlalchemy import Connection

from proto.batch import Delta, Frames, Partial
from proto.errors import Refused, SchemaHold, TableHold
from proto.frames import check, fields, split
from proto.schema import TableSchema
from proto.values import Kind
from replica.dialect import (
    PAGE_BYTES,
    Known,
    Shape,
    changes,
    digest_of,
    notes,
    quote,
    refuse_keyless_changes,
    refuse_miscounted,
)
from replica.postgresql_errors import translate
from replica.postgresql_sql import Statements
from replica.postgresql_stage import (
    HEADER,
    TRAILER,
    TYPES,
    Driver,
    copy_in,
    driver_of,
    literals_of,
    session_of,
    values_of,
)
from replica.replica import TableDigest

FEW_ROWS: Final = 16
"""Up to here statements beat staging: 0.4 against 0.8 ms for five rows, equal between ten (busy) and fifty (idle).

Inserts have no such limit: COPY straight into the table is as quick for one row and quicker from two on."""
KEYS_AT_ONCE: Final = 1000
MAX_NAME_BYTES: Final = 63
SYSTEM_COLUMNS: Final = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})

_SHAPE: Final = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), array_position(i.indkey::smallint[], a.attnum)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
ORDER BY a.attnum
"""


class PostgresReplica:
    """A :class:`replica.replica.Replica` in one schema of a PostgreSQL database."""

    def __init__(self, room: str) -> None:
        if not _fits(room or "public") or room.startswith("pg_"):
            raise Refused(f'"{room}" cannot name a schema', fix="take up to 63 bytes, not starting with pg_")
        self._room = room or "public"
        self._known = Known()
        self._statements = lru_cache(maxsize=1024)(lambda schema: Statements(self._room, schema))

    def prepare(self, connection: Connection, schema: TableSchema) -> None:
        """Make the schema and the table, or alter the table."""
        if self._known.has(schema):
            return
        self._check_names(schema)
        with self._guarded(connection, schema.name):
            driver = driver_of(connection)
            if self._fit(driver, schema):
                notes(connection).altered.add(schema.name)
        self._known.learn(connection, schema)

    def apply(self, connection: Connection, deltas: Iterable[Delta]) -> int:
        """Apply in order; within a delta: truncate, deletes, partials, upserts, inserts."""
        return sum(self._apply(connection, delta) for delta in deltas)

    def scan(self, connection: Connection, schema: TableSchema, page_rows: int = 20_000) -> Iterator[Frames]:
        """Pages as the server sends them; the connection is busy until the last one, or until the scan is closed."""
        return self._scan(connection, schema, page_rows, ordered=True)

    def page(self, connection: Connection, schema: TableSchema, after_key: bytes, rows: int) -> Frames:
        """One page by its key, as the server sends it."""
        with self._guarded(connection, schema.name):
            driver = driver_of(connection)
            after = literals_of(driver, schema, after_key)
            return _copied_out(driver, self._statements(schema).page(after[0] if after else (), rows))

    def rows(self, connection: Connection, schema: TableSchema, keys: Frames) -> Frames:
        """Look the keys up, many at once."""
        found: list[Frames] = []
        with self._guarded(connection, schema.name):
            driver = driver_of(connection)
            wanted = literals_of(driver, schema, keys.data)
            for at in range(0, len(wanted), KEYS_AT_ONCE):
                statement = self._statements(schema).rows(wanted[at : at + KEYS_AT_ONCE])
                found.append(_copied_out(driver, statement))
        return Frames(b"".join(some.data for some in found), sum(some.count for some in found))

    def count(self, connection: Connection, schema: TableSchema) -> int:
        """Counted by the server."""
        with self._guarded(connection, schema.name):
            row = driver_of(connection).execute(self._statements(schema).count).fetchone()
            return int(row[0]) if row else 0

    def digest(self, connection: Connection, schema: TableSchema) -> TableDigest:
        """Read unordered: the sum does not mind, and the table is read in its own order."""
        return digest_of(self._scan(connection, schema, 20_000, ordered=False))

    def drop(self, connection: Connection, name: str) -> None:
        """Drop the table if it is there."""
        with self._guarded(connection, name):
            driver_of(connection).execute(f"DROP TABLE IF EXISTS {quote(self._room)}.{quote(name)}".encode())
            notes(connection).altered.add(name)
        self._known.forget(name)

    def _apply(self, connection: Connection, delta: Delta) -> int:
        refuse_keyless_changes(delta)
        schema = delta.schema
        with self._guarded(connection, schema.name, [column.name for column in schema.columns]):
            work = _Work(connection, schema, self._statements(schema))
            if delta.truncated:
                work.truncate()
            touched = work.delete(delta.deletes)
            touched += sum(work.update_partly(part) for part in delta.partials)
            return touched + work.upsert(delta.upserts) + work.insert(delta.inserts)

    def _scan(
        self, connection: Connection, schema: TableSchema, page_rows: int, *, ordered: bool
    ) -> Iterator[Frames]:
        with self._guarded(connection, schema.name):
            driver = driver_of(connection)
            # Closing a scan early cancels the COPY, which would spoil the caller's transaction.
            driver.execute(b"SAVEPOINT replica_scan")
            try:
                with driver.cursor() as cursor, cursor.copy(self._statements(schema).scan(ordered)) as copy:
                    yield from _pages(copy, page_rows)
            except GeneratorExit:
                driver.execute(b"ROLLBACK TO SAVEPOINT replica_scan")
                raise
            driver.execute(b"RELEASE SAVEPOINT replica_scan")

    def _fit(self, driver: Driver, schema: TableSchema) -> bool:
        """Make or alter the table if need be; whether anything was done."""
        statements = self._statements(schema)
        found = driver.execute(_SHAPE, (self._room, schema.name)).fetchall()
        if not found:
            self._make_room(driver)
            driver.execute(statements.create)
            return True
        key = sorted((place, name) for name, _, place in found if place is not None)
        shape = Shape({name: declared for name, declared, _ in found}, tuple(name for _, name in key))
        needed = changes(schema, shape, TYPES, f"{self._room}.{schema.name}")
        if needed:
            driver.execute(statements.alter(needed))
        return bool(needed)

    def _make_room(self, driver: Driver) -> None:
        # Asked first, because IF NOT EXISTS demands the right to create schemas even where there is nothing to create.
        if (
            driver.execute("SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s", (self._room,)).fetchone()
            is None
        ):
            driver.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(self._room)}".encode())

    def _check_names(self, schema: TableSchema) -> None:
        names = [column.name for column in schema.columns]
        unfit = [name for name in (schema.name, *names) if not _fits(name)]
        unsortable = [c.name for c in schema.columns if c.name in schema.key and c.kind is Kind.JSON]
        if unfit:
            what = f'the name "{unfit[0]}" is longer than PostgreSQL\'s 63 bytes or holds U+0000'
            raise SchemaHold(schema.name, what, fix="catalogue it under a shorter name")
        if system := SYSTEM_COLUMNS.intersection(names):
            what = f'PostgreSQL keeps the column name "{min(system)}" for itself'
            raise SchemaHold(schema.name, what, fix="leave the column out of the catalogue, or rename it")
        if unsortable:
            what = f'the key column "{unsortable[0]}" is json, which PostgreSQL cannot compare'
            raise SchemaHold(schema.name, what, fix="choose another key")

    @contextmanager
    def _guarded(self, connection: Connection, table: str, columns: Sequence[str] = ()) -> Generator[None]:
        """Translate what the driver raises, and keep nothing for certain about a table that surprised us."""
        try:
            yield
        except psycopg.Error as error:
            ours = translate(error, table, f"{self._room}.{table}", columns)
            _give_up_if_lost(connection)
            if ours is None:
                raise
            if isinstance(ours, TableHold):
                self._known.forget(table)
                # The cause's message quotes values of the row; it must not reach a log with ours.
                raise ours from None
            raise ours from error


class _Work:
    """One delta on its way into one table."""

    def __init__(self, connection: Connection, schema: TableSchema, statements: Statements) -> None:
        self.connection = connection
        self.schema = schema
        self.statements = statements
        self.driver = driver_of(connection)
        self.session = session_of(connection)
        self.key_kinds = [schema.kinds[place] for place in schema.key_indexes]

    def truncate(self) -> None:
        """Empty the table. Its readers wait for our commit, shortly; a DELETE would leave every dead row to be
        read past and vacuumed, and the emptied table as large as before."""
        self.driver.execute(f"TRUNCATE {self.statements.table}".encode())

    def delete(self, keys: Frames) -> int:
        """Remove the rows with these keys."""
        if keys.count <= FEW_ROWS:
            return self._each(self.statements.delete_row, keys, self.key_kinds)
        stage = self.session.stage(self.connection, self.key_kinds, keys)
        return self._run(self.statements.delete_staged(stage))

    def update_partly(self, part: Partial) -> int:
        """Set the present columns of the rows with these old keys."""
        if not part.frames:
            return 0
        kinds = [*self.key_kinds, *(self.schema.kinds[column] for column in part.columns)]
        stage = self.session.stage(self.connection, kinds, part.frames)
        clear_way = self.statements.clear_way(stage, part.columns)
        if clear_way:
            self._run(clear_way)
        return self._run(self.statements.update_partly(stage, part.columns))

    def upsert(self, frames: Frames) -> int:
        """Replace or add full rows."""
        if not self.schema.key:
            return self.insert(frames)
        if frames.count <= FEW_ROWS:
            return self._each(self.statements.merge_row, frames, self.schema.kinds)
        stage = self.session.stage(self.connection, self.schema.kinds, frames)
        updated = self._run(self.statements.update_staged(stage))
        if updated == frames.count:
            return updated
        return updated + self._run(self.statements.insert_staged(stage))

    def insert(self, frames: Frames) -> int:
        """Add rows that should be new; if one is not, merge them all."""
        if not frames:
            return 0
        if not self.schema.key:
            return copy_in(self.driver, self.statements.copy, frames)
        self.driver.execute(b"SAVEPOINT replica_insert")
        try:
            added = copy_in(self.driver, self.statements.copy, frames)
        except psycopg.errors.UniqueViolation:
            self.driver.execute(b"ROLLBACK TO SAVEPOINT replica_insert")
            added = self.upsert(frames)
        self.driver.execute(b"RELEASE SAVEPOINT replica_insert")
        return added

    def _run(self, statement: bytes) -> int:
        return self.driver.execute(statement).rowcount

    def _each(self, statement: bytes, frames: Frames, kinds: Sequence[Kind]) -> int:
        if not frames:
            return 0
        refuse_miscounted(check(frames.data, len(kinds)), frames)
        with self.driver.cursor() as cursor:
            cursor.executemany(statement, [values_of(fields(frame), kinds) for frame in split(frames.data)])
            return cursor.rowcount


def _copied_out(driver: Driver, statement: bytes) -> Frames:
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        rows = list(_rows(copy))
    return Frames(b"".join(rows), len(rows))


def _pages(copy: psycopg.Copy, page_rows: int) -> Iterator[Frames]:
    """Gather the server's messages, one row each, into pages."""
    rows: list[bytes | bytearray | memoryview] = []
    size = 0
    for message in _rows(copy):
        rows.append(message)
        size += len(message)
        if len(rows) >= page_rows or size >= PAGE_BYTES:
            yield Frames(b"".join(rows), len(rows))
            rows, size = [], 0
    if rows:
        yield Frames(b"".join(rows), len(rows))


def _rows(copy: psycopg.Copy) -> Iterator[bytes | bytearray | memoryview]:
    """The messages without the header, which rides before the first row, and the trailer."""
    messages = iter(copy)
    first = next(messages)[len(HEADER) :]
    if first and first != TRAILER:
        yield first
    for message in messages:
        if message != TRAILER:
            yield message


def _fits(name: str) -> bool:
    return len(name.encode()) <= MAX_NAME_BYTES and "\0" not in name


def _give_up_if_lost(connection: Connection) -> None:
    """Tell the pool about a dead connection, so that rolling back on it does not hide the reason."""
    driver = connection.connection.driver_connection
    if driver is not None and driver.closed:
        connection.invalidate()
