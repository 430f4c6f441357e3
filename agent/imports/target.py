"""A database of the department's business, as far as imports are concerned: their tables, and one cursor for each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateSchema

from agent.exchange import open_exchange
from agent.exchange.place import translated
from agent.exchange.store import place_of
from agent.exchange.tables import BLOB, NAME
from agent.exchange.tablestates import schema_bytes, schema_of
from agent.worker import now_us
from proto.errors import ExchangeError, Refused, Transient
from proto.schema import TableSchema
from replica.opening import open_replica
from replica.replica import Replica

CURSORS: Final = "exchange_imported"
BUSY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one table has come; equal only when nobody moved it."""

    grant: str = ""
    generation: int = 0
    seq: int = 0
    emptied: int = 0
    schema: TableSchema | None = field(default=None, compare=False)
    """As the table was made; None while there is none of ours."""


class Target:
    """One table in one database. Every public method is one transaction, or works inside of one."""

    def __init__(self, url: str, node: str, room: str, table: str) -> None:
        self.table = table
        self._room = room
        self._engine = _open(url, node)
        self._place = place_of(self._engine)
        self._schema = (room or None) if self._engine.dialect.name == "postgresql" else None
        self._cursors = Table(
            CURSORS,
            MetaData(schema=self._schema),
            Column("name", NAME, primary_key=True, nullable=False),
            Column("grant_id", NAME, nullable=False),
            *(Column(name, BigInteger, nullable=False) for name in ("generation", "seq", "emptied", "at_us")),
            Column("layout", BLOB, nullable=False),
            mysql_charset="utf8mb4",
            mysql_engine="InnoDB",
        )
        self.replica: Replica = open_replica(self._engine, room)
        self._made = False

    @property
    def place(self) -> str:
        """Where it is, without secrets."""
        return f"{self._engine.url.render_as_string(hide_password=True)} {self._name}"

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def cursor(self) -> Cursor | None:
        """As committed; None before the first import."""
        with self._translated(), self._engine.begin() as connection:
            self._make(connection)
            return self._read(connection)

    @contextmanager
    def moving(self, before: Cursor | None) -> Iterator[Connection]:
        """A transaction for rows and cursor. Raises Transient when another process moved it since *before*."""
        with self._translated(), self._engine.begin() as connection:
            if self._read(connection, locked=True) != before:
                raise Transient("another process imports into the same table", where=self.place)
            yield connection

    def move(self, connection: Connection, cursor: Cursor) -> None:
        """Write where the table is now."""
        values = {
            "grant_id": cursor.grant,
            "generation": cursor.generation,
            "seq": cursor.seq,
            "emptied": cursor.emptied,
            "layout": schema_bytes(cursor.schema),
            "at_us": now_us(),
        }
        mine = self._cursors.c.name == self._name
        if not connection.execute(update(self._cursors).where(mine).values(**values)).rowcount:
            connection.execute(insert(self._cursors).values(name=self._name, **values))

    def claim(self, grant: str) -> Cursor:
        """Say that the table will be ours, before it is made: where DDL commits by itself nobody else could tell.

        Raises Refused when there is one that no import made: its rows are not ours to replace.
        """
        claimed = Cursor(grant)
        with self.moving(None) as connection:
            self._refuse_strangers(connection)
            self.move(connection, claimed)
        return claimed

    def is_there(self) -> bool:
        """Whether the table is still there."""
        with self._translated(), self._engine.connect() as connection:
            return self._exists(connection)

    def _exists(self, connection: Connection) -> bool:
        return inspect(connection).has_table(self._name, self._schema)

    def _refuse_strangers(self, connection: Connection) -> None:
        if self._exists(connection):
            raise Refused(
                f"there is a table {self._name} already, which no import made",
                where=self.place,
                fix="name another table in imports, or move that one away",
            )

    def probe(self) -> None:
        """Do what an import does and leave nothing of it; raises what stands against it."""
        probe = Table(
            "exchange_check_probe", MetaData(schema=self._schema), Column("id", BigInteger, primary_key=True)
        )
        with self._translated(), self._engine.begin() as connection:
            self._make_room(connection)
            probe.drop(connection, checkfirst=True)
            probe.create(connection)
            connection.execute(insert(probe).values(id=1))
            connection.execute(update(probe).values(id=2))
            probe.drop(connection)
            # PostgreSQL and SQLite forget all of it; elsewhere it is dropped.
            connection.rollback()

    @property
    def _name(self) -> str:
        if self._engine.dialect.name == "postgresql":
            return self.table
        return f"{self._room}.{self.table}" if self._room else self.table

    def _read(self, connection: Connection, *, locked: bool = False) -> Cursor | None:
        statement = select(self._cursors).where(self._cursors.c.name == self._name)
        row = connection.execute(statement.with_for_update() if locked else statement).one_or_none()
        if row is None:
            return None
        return Cursor(row.grant_id, row.generation, row.seq, row.emptied, schema_of(bytes(row.layout)))

    def _make(self, connection: Connection) -> None:
        if not self._made:
            self._make_room(connection)
            self._cursors.create(connection, checkfirst=True)
            self._made = True

    def _make_room(self, connection: Connection) -> None:
        if self._schema and not inspect(connection).has_schema(self._schema):
            connection.execute(CreateSchema(self._schema))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self._place, self.place):
                yield
        except ExchangeError as error:
            # The words were made for the exchange database.
            error.what = error.what.replace("the exchange database", "the database of the import")
            error.fix = error.fix.replace("exchange.url", "the import's url").replace(
                "the exchange database", "the database of the import"
            )
            raise


def _open(url: str, node: str) -> Engine:
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return open_exchange(url, node)
    # The file is the department's own: nothing about how it is kept is changed.
    path = Path(address.database or "")
    if not path.is_file():
        raise Refused("the database file does not exist", where=str(path), fix="correct the import's url")
    engine = create_engine(url, connect_args={"timeout": BUSY_S})
    event.listen(engine, "connect", _plainly)
    event.listen(engine, "begin", _begin)
    return engine


def _plainly(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
