"""What both databases' bookkeeping says, and what a table holds on each of the three sides. Reads beside the daemons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine, MetaData, Row, Table, func, inspect, make_url, select

from agent.exchange import open_exchange
from agent.exchange.place import READS
from agent.exchange.store import place_of
from agent.exchange.tables import Tables, tables
from agent.sources.kinds import SourceSettings, new_source
from agent.sources.source import NoMirror
from central.store import open_store, reading
from central.store.names import room_of
from central.store.tables import APPLIED
from proto.batch import Frames
from proto.schema import TableSchema
from replica.dialect import digest_of
from replica.opening import open_replica
from replica.replica import TableDigest


@dataclass(frozen=True, slots=True)
class Equality:
    """One table on all three sides."""

    table: str
    business: TableDigest
    exchange: TableDigest
    central: TableDigest

    @property
    def holds(self) -> bool:
        """Whether all three hold the same rows."""
        return self.business == self.exchange == self.central


@dataclass(frozen=True)
class Books:
    """Both databases of one stream; use it as a context manager."""

    exchange_url: str
    central_url: str
    stream: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for engine in (self._exchange, self._central):
            engine.dispose()

    @property
    def source(self) -> str:
        """The source's name, which is also where its mirror lies."""
        return self.stream.rpartition("/")[2]

    def copied(self) -> set[str]:
        """The tables whose first copy is done in the exchange database."""
        return {row.name for row in self._bookkeeping(self._tables.table_state) if row.copied}

    def rows_copied(self) -> int:
        """How far the first copies of all tables are."""
        return sum(row.rows_copied for row in self._bookkeeping(self._tables.table_state))

    def captured_seq(self) -> int:
        """The last batch in the outbox."""
        return max((row.seq for row in self._bookkeeping(self._tables.checkpoint)), default=0)

    def position(self) -> str:
        """How far the source was read."""
        return max((row.position for row in self._bookkeeping(self._tables.checkpoint)), default="")

    def applied_seq(self) -> int:
        """The last batch visible at central."""
        if not _there(self._central):
            return 0
        with reading(self._central) as connection:
            return max((row.seq for row in _rows(connection, APPLIED, self.stream)), default=0)

    def counts(self, table: str) -> tuple[int, int]:
        """Rows of a table in the exchange database and at central, as they are now; 0 before it is made."""
        with self._reading_exchange() as connection:
            here = _count(connection, self.source, table)
        with reading(self._central) as connection:
            return here, _count(connection, room_of(self.stream), table)

    def exchange_digest(self, schema: TableSchema) -> TableDigest:
        """A table in the exchange database."""
        with self._reading_exchange() as connection:
            return open_replica(self._exchange, self.source).digest(connection, schema)

    def central_digest(self, schema: TableSchema) -> TableDigest:
        """A table at central."""
        with reading(self._central) as connection:
            return open_replica(self._central, room_of(self.stream)).digest(connection, schema)

    @cached_property
    def _exchange(self) -> Engine:
        return open_exchange(self.exchange_url, self.stream.partition("/")[0])

    @cached_property
    def _central(self) -> Engine:
        return open_store(self.central_url, threads=2)

    @property
    def _tables(self) -> Tables:
        place = place_of(self._exchange)
        return tables(place.schema, place.prefix)

    def _bookkeeping(self, table: Table) -> list[Row[Any]]:
        if not _there(self._exchange):
            return []
        with self._reading_exchange() as connection:
            return _rows(connection, table, self.stream)

    @contextmanager
    def _reading_exchange(self) -> Iterator[Connection]:
        with self._exchange.connect() as connection, connection.execution_options(**READS).begin():
            yield connection


def _there(engine: Engine) -> bool:
    """A look must not be what makes the file."""
    return engine.dialect.name != "sqlite" or Path(engine.url.database or "").exists()


def _rows(connection: Connection, table: Table, stream: str) -> list[Row[Any]]:
    looks, schema = inspect(connection), _schema(connection, table)
    if not looks.has_table(table.name, schema=schema):
        return []
    if {*table.columns.keys()} - {column["name"] for column in looks.get_columns(table.name, schema=schema)}:
        return []  # it is still being made, step by step
    return list(connection.execute(select(table).where(table.c.stream == stream)))


def _count(connection: Connection, room: str, table: str) -> int:
    schema, name = (room, table) if connection.dialect.name == "postgresql" else (None, f"{room}.{table}")
    if not inspect(connection).has_table(name, schema=schema):
        return 0
    return connection.execute(
        select(func.count()).select_from(Table(name, MetaData(), schema=schema))
    ).scalar_one()


def _schema(connection: Connection, table: Table) -> str | None:
    return table.schema if connection.dialect.name == "postgresql" else None


def compare(source: dict[str, Any], books: Books) -> list[Equality]:
    """Every captured table on all three sides, read now; nothing may be on its way."""
    settings = TypeAdapter[SourceSettings](SourceSettings).validate_python(source)
    business = new_source(settings, NoMirror())
    try:
        return [
            Equality(
                schema.name,
                digest_of(business.scan(schema.name)),
                books.exchange_digest(schema),
                books.central_digest(schema),
            )
            for schema in business.schemas()
        ]
    finally:
        business.close()


def against(known: Mapping[str, Frames], source: dict[str, Any], books: Books) -> list[Equality]:
    """The same where the business cannot be asked, from what it is *known* to hold."""
    settings = TypeAdapter[SourceSettings](SourceSettings).validate_python(source)
    return [
        Equality(
            schema.name,
            digest_of([known[schema.name]]),
            books.exchange_digest(schema),
            books.central_digest(schema),
        )
        for schema in new_source(settings, NoMirror()).schemas()
    ]


def place(url: str) -> str:
    """Where a database is, in a word for people, without secrets."""
    parsed = make_url(url)
    return parsed.database or "" if parsed.get_backend_name() == "sqlite" else parsed.render_as_string()
