"""Business databases that are polled, and sources over them whose mirror follows what they tell."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from agent.sources.memory import Row
from agent.sources.polling.settings import PollingSettings
from agent.sources.polling.source import PollingSource
from agent.sources.source import Limits, Page, Source
from proto import frames
from proto.batch import NO_FRAMES, Batch, Frames
from proto.schema import TableSchema
from tests.support.mariadb import MariadbServer
from tests.support.mirror import Mirror
from tests.support.postgres import Cluster

TABLES = ("person", "visit")
EAGER: dict[str, Any] = {"rows_per_s": None, "page_rows": 7}


class LiveMirror(Mirror):
    """The judge's tables, as the exchange database shows them to a source."""

    def schema(self, table: str) -> TableSchema | None:
        return self.schemas.get(table)

    def count(self, table: str) -> int:
        return len(self.tables.get(table, {}))

    def page(self, table: str, after_key: bytes, rows: int) -> Frames:
        there = sorted(item for item in self.tables.get(table, {}).items() if item[0] > after_key)
        return joined([row for _, row in there[:rows]])

    def found(self, table: str, keys: Frames) -> Frames:
        there = self.tables.get(table, {})
        return joined([there[key] for key in frames.split(keys.data) if key in there])


class Door:
    """As a source takes a mirror."""

    def __init__(self, mirror: LiveMirror) -> None:
        self.mirror = mirror
        self.schema, self.count, self.page = mirror.schema, mirror.count, mirror.page

    def rows(self, table: str, keys: Frames) -> Frames:
        return self.mirror.found(table, keys)


def joined(rows: Sequence[bytes]) -> Frames:
    """Single frames as one section."""
    return Frames(b"".join(rows), len(rows)) if rows else NO_FRAMES


class Followed(PollingSource):
    """A polling source whose mirror has at once what it told, as after a commit."""

    def __init__(self, settings: PollingSettings, mirror: LiveMirror | None = None) -> None:
        self.mirror = mirror or LiveMirror()
        super().__init__(settings, Door(self.mirror))

    def begin(self) -> Followed:
        """Empty tables, as after their copies began."""
        self.mirror.schemas |= {schema.name: schema for schema in self.schemas()}
        return self

    def read(self, limits: Limits) -> Batch | None:
        batch = super().read(limits)
        if batch is not None:
            self.mirror.apply(batch)
            self.confirm(batch.position)
        return batch

    def start_copy(self, table: str, after_key: bytes) -> None:
        super().start_copy(table, after_key)
        if not after_key:
            self.mirror.tables[table] = {}
            self.mirror.schemas |= {schema.name: schema for schema in self.schemas()}

    def pages(self) -> Iterator[Page]:
        for page in super().pages():
            self.mirror.merge(page.schema, page.frames.data)
            yield page


def news(source: Source, wait_s: float = 0.05) -> list[Batch]:
    """What is told until there is a silence, long enough for a few small tables to be polled and compared in it."""
    return [*iter(lambda: source.read(Limits(wait_s=wait_s)), None)]


def settings(tables: Sequence[dict[str, Any]], **rest: Any) -> PollingSettings:
    """Settings of a source that looks all the time."""
    every = {"every_s": 0, "compare_every_s": 0, "overlap": 0}
    load = EAGER | rest.pop("load", {})
    known: dict[str, Any] = {"kind": "polling", "name": "hr", "look_every_s": 0, "load": load} | rest
    return PollingSettings.model_validate(known | {"tables": [every | table for table in tables]})


def tables_of(schema: str) -> list[dict[str, Any]]:
    """The tables of the suite; the counter that rises with each change does not leave."""
    columns = ["id", "name", "note"]
    return [{"table": f"{schema}{name}", "columns": columns, "watermark": "changed"} for name in TABLES]


def odbc_of(cluster: Cluster, database: str) -> str:
    """A PostgreSQL database for Debian's driver."""
    return (
        f"Driver={{PostgreSQL Unicode}};Server=127.0.0.1;Port={cluster.port};Database={database};UID=postgres"
    )


def mariadb_address(server: MariadbServer, database: str, by: str) -> dict[str, str]:
    """Where the server is, for either driver."""
    if by == "url":
        return {"url": server.url(database)}
    return {"odbc": f"Driver={{MariaDB Unicode}};{server.dsn(database).removesuffix('CHARSET=utf8mb4')}"}


class PollingRig:
    """What the polled databases of the suite have in common; each row carries the number of its last change."""

    name: str

    def __init__(self, settings: PollingSettings) -> None:
        self.settings = settings
        self.numbers = itertools.count(1)

    def source(self) -> Source:
        return Followed(self.settings).begin()

    def foreign_position(self) -> str:
        return "pg/1/1/0/0"


class SqliteRig(PollingRig):
    """A file, by ODBC or by URL."""

    def __init__(self, path: Path, by: str) -> None:
        address = (
            {"odbc": f"Driver=SQLite3;Database={path}"} if by == "odbc" else {"url": f"sqlite:///{path}"}
        )
        self.path = path
        with self.transaction() as writer:
            writer.run("PRAGMA journal_mode = wal")
            for name in TABLES:
                writer.run(
                    f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, name TEXT, note TEXT, changed INTEGER)"
                )
        super().__init__(settings(tables_of(""), **address))

    @contextmanager
    def transaction(self) -> Iterator[PollingWriter]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            yield PollingWriter(connection.execute, getattr(self, "numbers", itertools.count()), "?")

    def rows(self, table: str) -> list[Row]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(f"SELECT id, name, note FROM {table} ORDER BY id").fetchall()

    def break_structure(self, table: str, source: Source) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executescript(
                f"ALTER TABLE {table} RENAME TO old; "
                f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT, note JSON, changed INTEGER); "
                f"INSERT INTO {table} SELECT * FROM old; DROP TABLE old"
            )


class OdbcPostgresRig(PollingRig):
    """PostgreSQL through Debian's ODBC driver."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self.cluster, self.database = cluster, database
        self.admin = cluster.connect(database)
        for name in TABLES:
            self.admin.execute(
                f"CREATE TABLE {name} (id int PRIMARY KEY, name text, note text, changed bigint)".encode()
            )
        super().__init__(settings(tables_of("public."), odbc=odbc_of(cluster, database)))

    @contextmanager
    def transaction(self) -> Iterator[PollingWriter]:
        with psycopg.connect(self.cluster.dsn(self.database)) as connection:
            yield PollingWriter(
                lambda query, row=(): connection.execute(query.encode(), row), self.numbers, "%s"
            )

    def rows(self, table: str) -> list[Row]:
        return self.admin.execute(f"SELECT id, name, note FROM {table} ORDER BY id".encode()).fetchall()

    def break_structure(self, table: str, source: Source) -> None:
        self.admin.execute(f"ALTER TABLE {table} ALTER id TYPE bigint".encode())


class PollingWriter:
    """Changes on one connection; what is written gets the next number."""

    def __init__(self, run: Any, numbers: Iterator[int], mark: str) -> None:
        self.run, self.numbers, self.mark = run, numbers, mark

    def put(self, table: str, row: Row) -> None:
        marks = ", ".join([self.mark] * 4)
        self.run(
            f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
            "note = excluded.note, changed = excluded.changed",
            (*row, next(self.numbers)),
        )

    def delete(self, table: str, row: Row) -> None:
        self.run(f"DELETE FROM {table} WHERE id = {self.mark}", row[:1])

    def move(self, table: str, old: Row, new: Row) -> None:
        assigned = ", ".join(f"{name} = {self.mark}" for name in ("id", "name", "note", "changed"))
        self.run(f"UPDATE {table} SET {assigned} WHERE id = {self.mark}", (*new, next(self.numbers), old[0]))

    def truncate(self, table: str) -> None:
        self.run(f"DELETE FROM {table}")


@contextmanager
def polled_postgres(cluster: Cluster) -> Iterator[OdbcPostgresRig]:
    """A fresh database of *cluster*; it goes when the block ends."""
    database = cluster.new_database("polled")
    rig = OdbcPostgresRig(cluster, database)
    yield rig
    rig.admin.close()
    cluster.drop_database(database)
