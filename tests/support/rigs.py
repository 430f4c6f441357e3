"""Business databases for the contract suite of sources: each can be written to, broken, and listened to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from agent.sources.memory import MemoryDatabase, MemorySource, Row, Transaction
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.source import PostgresqlSource
from agent.sources.settings import TableSettings
from agent.sources.source import Limits, Source
from proto import frames
from proto.batch import Batch
from proto.errors import SchemaHold
from proto.schema import Column, TableSchema
from proto.values import Kind
from tests.support.dropfolders import DropfolderRig
from tests.support.journal import journalled
from tests.support.mysql import mariadb_rig
from tests.support.polling import SqliteRig, polled_postgres
from tests.support.postgres import VERSIONS, Cluster, shared

JOURNALS = ("journal-sqlite", "journal-postgres15", "journal-mariadb")
SERVERS = tuple(f"postgres{version}" for version in VERSIONS)
LOGS = ("memory", *SERVERS, "mariadb", "dropfolder", *JOURNALS)
"""Databases whose source reads a log: it begins at a place, keeps commits whole and has one reader."""
PAGE_ROWS = 7
COLUMNS = (
    Column("id", Kind.INT32, "integer", nullable=False),
    Column("name", Kind.TEXT, "text"),
    Column("note", Kind.TEXT, "text"),
)
TABLES = ("person", "visit")
LARGE = "一" * 3000
SOON = Limits(wait_s=0.2)


class Writer(Protocol):
    """One open transaction."""

    def put(self, table: str, row: Row) -> None: ...

    def delete(self, table: str, row: Row) -> None: ...

    def move(self, table: str, old: Row, new: Row) -> None: ...

    def truncate(self, table: str) -> None: ...


class Rig(Protocol):
    """A database with the tables ``person`` and ``visit``."""

    def source(self) -> Source:
        """A new source over it; several may exist."""
        ...

    @contextmanager
    def transaction(self) -> Iterator[Writer]:
        """Changes that are committed together, or rolled back when the block raises."""
        ...

    def rows(self, table: str) -> list[Row]:
        """What is in a table now, by id."""
        ...

    def break_structure(self, table: str, source: Source) -> None:
        """Do what a stream of this table cannot survive, and let the table live on."""
        ...

    def foreign_position(self) -> str:
        """A well-formed position of another database."""
        ...


class MemoryRig:
    """In this process."""

    def __init__(self) -> None:
        self.database = MemoryDatabase([TableSchema(name, COLUMNS, ("id",)) for name in TABLES])

    def source(self) -> MemorySource:
        return MemorySource(self.database, PAGE_ROWS)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self.database.transaction() as transaction:
            yield transaction

    def rows(self, table: str) -> list[Row]:
        source = MemorySource(self.database)
        return plain_rows(source, table)

    def break_structure(self, table: str, source: Source) -> None:
        assert isinstance(source, MemorySource)
        source.hold(SchemaHold(table, "its structure changed", fix="copy the table afresh"))

    def foreign_position(self) -> str:
        return "mem/0/0"


class PostgresRig:
    """A database on a real server."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self.cluster, self.database = cluster, database
        self.admin = cluster.connect(database)
        for name in TABLES:
            self.admin.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, name text, note text)")
            # Large values stay outside the row uncompressed, so that updates can leave them out of the log.
            self.admin.execute(f"ALTER TABLE {name} ALTER note SET STORAGE EXTERNAL")

    def source(self, **settings: Any) -> PostgresqlSource:
        return PostgresqlSource(
            PostgresqlSettings(
                kind="postgresql",
                name="hr",
                dsn=SecretStr(self.cluster.dsn(self.database)),
                tables=tuple(TableSettings(table=f"public.{name}") for name in TABLES),
                page_rows=PAGE_ROWS,
                **settings,
            )
        )

    @contextmanager
    def transaction(self) -> Iterator[PostgresWriter]:
        with self.cluster.connect(self.database) as connection, connection.transaction():
            yield PostgresWriter(connection)

    def rows(self, table: str) -> list[Row]:
        return self.admin.execute(f"SELECT id, name, note FROM {table} ORDER BY id".encode()).fetchall()

    def break_structure(self, table: str, source: Source) -> None:
        self.admin.execute(f"ALTER TABLE {table} ALTER name TYPE varchar(10) USING left(name, 1)".encode())

    def foreign_position(self) -> str:
        return "pg/1/1/0/0"


class PostgresWriter:
    """Changes on one connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def put(self, table: str, row: Row) -> None:
        query = (
            "INSERT INTO {} VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, note = "
            "CASE WHEN {}.note = EXCLUDED.note THEN {}.note ELSE EXCLUDED.note END"
        )
        name = sql.Identifier(table)
        self.connection.execute(sql.SQL(query).format(name, name, name), row)

    def delete(self, table: str, row: Row) -> None:
        self.connection.execute(
            sql.SQL("DELETE FROM {} WHERE id = %s").format(sql.Identifier(table)), row[:1]
        )

    def move(self, table: str, old: Row, new: Row) -> None:
        query = (
            "UPDATE {} SET id = %s, name = %s, note = CASE WHEN note = %s THEN note ELSE %s END WHERE id = %s"
        )
        values = (*new, new[2], old[0])
        self.connection.execute(sql.SQL(query).format(sql.Identifier(table)), values)

    def truncate(self, table: str) -> None:
        self.connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(table)))


def plain_rows(source: Source, table: str) -> list[Row]:
    """A table as its source scans it."""

    kinds = next(schema.kinds for schema in source.schemas() if schema.name == table)
    return [row for page in source.scan(table) for row in frames.rows(page.data, kinds)]


def forget(rig: Rig) -> None:
    """Let time pass for a server that forgets by its own clock; the others forget when it is confirmed."""
    getattr(rig, "forget", lambda: None)()


def read_all(source: Source, limits: Limits = SOON) -> list[Batch]:
    """Everything that is waiting, at least until the first silence."""
    return [*iter(lambda: source.read(limits), None)]


@pytest.fixture(params=[*LOGS, "polling-sqlite-odbc", "polling-sqlite-url", "polling-postgres15"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Each business database in turn."""
    if request.param == "memory":
        yield MemoryRig()
        return
    if request.param == "dropfolder":
        yield DropfolderRig(tmp_path / "投放", PAGE_ROWS)
        return
    if request.param == "mariadb":
        with mariadb_rig(request.getfixturevalue("mariadb")) as logged:
            yield logged
        return
    if request.param.startswith("polling-sqlite"):
        yield SqliteRig(tmp_path / "business.db", request.param.rpartition("-")[2])
        return
    if request.param == "polling-postgres15":
        with polled_postgres(request.getfixturevalue("postgres15")) as polled:
            yield polled
        return
    if request.param in JOURNALS:
        with journalled(request, request.param.removeprefix("journal-"), tmp_path / "business.db") as noted:
            yield noted
        return
    cluster = shared(request, int(request.param.removeprefix("postgres")))
    database = cluster.new_database("business")
    rig = PostgresRig(cluster, database)
    yield rig
    rig.admin.close()
    cluster.drop_database(database)


@pytest.fixture
def source(rig: Rig) -> Iterator[Source]:
    """A source over it, not open yet."""
    source = rig.source()
    yield source
    source.close()
