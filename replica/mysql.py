"""Tables that follow a stream in MariaDB or MySQL: frames go in as rows of large statements and come back the same.

A room is a prefix of table names (``hr.person``), because one database is what an administrator grants. The table is
InnoDB in utf8mb4, texts are compared byte by byte. Tables are made and altered ahead of the rows and outside the
caller's transaction, see :mod:`replica.mysql_shapes`; a drop takes effect at once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

import pymysql
from pymysql.cursors import SSCursor
from sqlalchemy import Connection

from proto.batch import Delta, Frames
from proto.errors import ExchangeError, Refused, SchemaHold, TableHold, Transient
from proto.frames import fields
from proto.schema import TableSchema
from replica.dialect import COPY_AFRESH, Known, changes, digest_of, notes, refuse_keyless_changes
from replica.mysql_errors import is_lost, translate
from replica.mysql_reading import cut_short, framed, pages
from replica.mysql_session import Target, driver_of, session_of
from replica.mysql_shapes import Shapes, aside
from replica.mysql_sql import Statements
from replica.mysql_values import TYPES, literal
from replica.mysql_work import Work
from replica.replica import TableDigest

MAX_NAME: Final = 64
"""Characters, whatever their bytes."""


class MysqlReplica:
    """A :class:`replica.replica.Replica` in one database of a MariaDB or MySQL server."""

    def __init__(self, room: str) -> None:
        if "." in room or not _fits(room or "room"):
            raise Refused(f'"{room}" cannot be a prefix of table names', fix="take a short name without dots")
        self._prefix = f"{room}." if room else ""
        self._known = Known()
        self._shapes = Shapes()
        self._ahead: dict[str, TableSchema] = {}
        """What a table must become before the next transaction that writes into it."""
        self._statements = lru_cache(maxsize=1024)(self._new_statements)

    def prepare(self, connection: Connection, schema: TableSchema) -> None:
        """Make the table, or alter it; what this transaction cannot see yet is done before the next one."""
        if schema.name not in self._ahead and self._known.has(schema):
            return
        self._check_names(schema)
        with self._guarded(connection, schema.name):
            self._go_ahead(connection, schema.name)
            if self._become(connection, schema):
                notes(connection).altered.add(schema.name)
        self._known.learn(connection, schema)

    def apply(self, connection: Connection, deltas: Iterable[Delta]) -> int:
        """Apply in order; within a delta: truncate, deletes, partials, upserts, inserts."""
        return sum(self._apply(connection, delta) for delta in deltas)

    def scan(self, connection: Connection, schema: TableSchema, page_rows: int = 20_000) -> Iterator[Frames]:
        """Pages as the server sends them; the connection is busy until the last one, or until the scan is closed."""
        return self._scan(connection, schema, page_rows, ordered=True)

    def page(self, connection: Connection, schema: TableSchema, after_key: bytes, rows: int) -> Frames:
        """One page by its key; the table itself lies in the order of the key."""
        with self._guarded(connection, schema.name):
            kinds = [schema.kinds[place] for place in schema.key_indexes]
            pairs = zip(kinds, fields(after_key), strict=True) if after_key else ()
            with Target(schema.name, self._prefix + schema.name, schema.key).plain_words():
                after = [literal(kind, word, place) for place, (kind, word) in enumerate(pairs)]
            statement = self._sql(connection, schema).page(after, rows)
            return framed(session_of(connection).ask(statement), schema.kinds)

    def rows(self, connection: Connection, schema: TableSchema, keys: Frames) -> Frames:
        """Look the keys up, many at once."""
        with self._guarded(connection, schema.name):
            kinds = [schema.kinds[place] for place in schema.key_indexes]
            target = Target(schema.name, self._prefix + schema.name, schema.key)
            asked = session_of(connection).ask_for(self._sql(connection, schema).rows, keys, kinds, target)
            found = [framed(rows, schema.kinds) for rows in asked]
        return Frames(b"".join(some.data for some in found), sum(some.count for some in found))

    def count(self, connection: Connection, schema: TableSchema) -> int:
        """Counted by the server."""
        with self._guarded(connection, schema.name):
            return int(session_of(connection).ask(self._sql(connection, schema).count)[0][0])

    def digest(self, connection: Connection, schema: TableSchema) -> TableDigest:
        """Read in whatever order is at hand."""
        return digest_of(self._scan(connection, schema, 20_000, ordered=False))

    def drop(self, connection: Connection, name: str) -> None:
        """Drop the table if it is there, at once: its rows are gone even if the caller's transaction fails.

        In a transaction that used the table it can only be emptied; what is left of it makes way for a new one later.
        """
        with self._guarded(connection, name):
            if name in notes(connection).touched:
                self._shapes.empty(connection, self._prefix + name)
            else:
                self._shapes.drop(connection, self._prefix + name)
            notes(connection).altered.add(name)
        self._known.forget(name)

    def _apply(self, connection: Connection, delta: Delta) -> int:
        refuse_keyless_changes(delta)
        schema = delta.schema
        with self._guarded(connection, schema.name, [column.name for column in schema.columns]):
            work = Work(session_of(connection), self._sql(connection, schema), schema, self._prefix)
            notes(connection).touched.add(schema.name)
            if delta.truncated:
                work.truncate()
            touched = work.delete(delta.deletes)
            touched += sum(work.update_partly(part) for part in delta.partials)
            return touched + work.put(delta.upserts) + work.put(delta.inserts)

    def _scan(
        self, connection: Connection, schema: TableSchema, page_rows: int, *, ordered: bool
    ) -> Iterator[Frames]:
        with self._guarded(connection, schema.name):
            statement = self._sql(connection, schema).scan(ordered).decode()
            notes(connection).touched.add(schema.name)
            cursor = driver_of(connection).cursor(SSCursor)
            try:
                cursor.execute(statement)
                yield from pages(cursor, schema.kinds, page_rows)
            except GeneratorExit:
                cut_short(connection, cursor)
                raise
            finally:
                cursor.close()

    def _go_ahead(self, connection: Connection, name: str) -> None:
        """Do what the transaction before could not; whether it will be committed this time is another question."""
        wanted = self._ahead.get(name)
        if wanted is not None and name not in notes(connection).touched:
            recorded = self._shapes.recorded(connection, self._prefix + name)
            if recorded is not None:
                self._fit(connection, wanted, recorded.types)
            del self._ahead[name]

    def _become(self, connection: Connection, schema: TableSchema) -> bool:
        """Let the table be what *schema* says, from the caller's commit on; whether that is news."""
        table = self._prefix + schema.name
        recorded = self._shapes.recorded(connection, table)
        if recorded is not None and not changes(schema, recorded, TYPES, table):
            self._fit(connection, schema, recorded.types)
            return False
        self._fit(connection, schema, None if recorded is None else recorded.types)
        self._shapes.record(connection, table, schema)
        return True

    def _fit(self, connection: Connection, schema: TableSchema, settled: Iterable[str] | None) -> None:
        """Make or alter what lies there. *settled* are the columns that were committed; None when nothing was."""
        statements, where = self._sql(connection, schema), self._prefix + schema.name
        made = self._shapes.made(session_of(connection), where, schema)
        if made is not None and made.fits(schema):
            return
        if schema.name in notes(connection).touched:
            raise self._too_late(schema, can_wait=settled is not None)
        with aside(connection) as session:
            if made is None or settled is None:
                self._shapes.make(session, statements, schema, recorded=settled is not None)
            else:
                self._shapes.alter(session, statements, schema, made, settled)

    def _too_late(self, schema: TableSchema, *, can_wait: bool) -> ExchangeError:
        """Nobody can alter a table that an open transaction uses, not even its owner: the next one begins with it."""
        where = self._prefix + schema.name
        if not can_wait:
            what = "its shape changed after rows of it were written in the same transaction"
            return SchemaHold(schema.name, what, where=where, fix=COPY_AFRESH)
        self._ahead[schema.name] = schema
        return Transient("a table in use is altered before the next transaction", where=where)

    def _sql(self, connection: Connection, schema: TableSchema) -> Statements:
        return self._statements(schema, session_of(connection).collation)

    def _new_statements(self, schema: TableSchema, collation: str) -> Statements:
        return Statements(self._prefix + schema.name, schema, collation)

    def _check_names(self, schema: TableSchema) -> None:
        names = [column.name for column in schema.columns]
        unfit = [name for name in (self._prefix + schema.name, *names) if not _fits(name)]
        if unfit:
            what = (
                f'the name "{unfit[0][:80]}" is longer than 64 characters, ends in a space or holds U+0000 or one beyond'
                " U+FFFF, which MariaDB does not take"
            )
            raise SchemaHold(schema.name, what, fix="catalogue it under a shorter, plainer name")
        folded: dict[str, str] = {}
        for name in names:
            twin = folded.setdefault(name.lower(), name)
            if twin != name:
                what = f'the columns "{twin}" and "{name}" differ only in case, which MariaDB does not see'
                raise SchemaHold(schema.name, what, fix="leave one out of the catalogue")

    @contextmanager
    def _guarded(self, connection: Connection, table: str, columns: Sequence[str] = ()) -> Generator[None]:
        """Translate what the driver raises, and keep nothing for certain about a table that surprised us."""
        where = self._prefix + table
        try:
            yield
        except pymysql.err.Error as error:
            if is_lost(error):
                connection.invalidate()
            ours = translate(error, table, where, columns)
            if ours is None:
                raise
            if isinstance(ours, TableHold):
                self._known.forget(table)
                # The cause's message quotes values of the row; it must not reach a log with ours.
                raise ours from None
            raise ours from error


def _fits(name: str) -> bool:
    plain = all(character != "\0" and character <= "\uffff" for character in name)
    return plain and len(name) <= MAX_NAME and not name.endswith(" ")
