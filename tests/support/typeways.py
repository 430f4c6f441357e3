"""Each way of listening, asked what arrives of one value: its kind and text, or the error people see."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pymysql
from pydantic import SecretStr
from sqlalchemy import Engine

from agent.sources.journal.install import execute, plan
from agent.sources.journal.settings import JournalSettings
from agent.sources.journal.source import JournalSource
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.source import PostgresqlSource
from agent.sources.settings import TableSettings
from agent.sources.source import Limits, Source
from proto.batch import Delta, Frames
from proto.errors import ExchangeError, TableHold
from proto.frames import fields
from proto.schema import TableSchema
from proto.values import Kind, to_text
from replica.opening import open_replica
from tests.support import polling
from tests.support.mariadb import MariadbServer
from tests.support.mirror import Mirror
from tests.support.mysql import source_of
from tests.support.polling import Followed, odbc_of
from tests.support.postgres import Cluster
from tests.support.typecases import MARIADB, POSTGRESQL, SQLITE, Case

SINKS: Final = ("sqlite", "postgres15", "mariadb")
SOON: Final = Limits(wait_s=0.3)
REFUSED: Final = "it cannot be written there at all"
UNTOLD: Final = ("postgresql", "mysql")
"""Ways that take the database's own word for its characters: they have no setting ``charsets``."""
Address = dict[str, str]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A row as it came, or why it did not."""

    error: str = ""
    kind: Kind = Kind.TEXT
    text: str = ""
    schema: TableSchema | None = None
    frame: bytes = b""


def told(cases: Sequence[Case], schema: str = "") -> list[dict[str, Any]]:
    """The tables of *cases* as settings name them."""
    return [
        {"table": f"{schema}v{number}"} | ({"charsets": {"v": case.charset}} if case.charset else {})
        for number, case in enumerate(cases)
    ]


def heard(source: Source, write: Callable[[], set[int]], cases: Sequence[Case]) -> list[Arrival]:
    """What *source* brings of each case once *write* has written them; *write* tells which were refused."""
    mirror = Mirror()
    held: dict[str, str] = {}
    source.open("")
    refused = write()
    quiet = 0
    while quiet < 2:
        batch = source.read(SOON)
        quiet = quiet + 1 if batch is None else 0
        if batch is not None:
            mirror.apply(batch)
            source.confirm(batch.position)
        held |= {hold.table: hold.what for hold in source.holds() if isinstance(hold, TableHold)}
    source.close()
    return [
        Arrival(REFUSED) if number in refused else arrival_of(f"v{number}", mirror, held)
        for number in range(len(cases))
    ]


def arrival_of(name: str, mirror: Mirror, held: Mapping[str, str]) -> Arrival:
    """What *mirror* has of the one row of a table, or why it is held."""
    if name in held:
        return Arrival(held[name])
    (frame,) = mirror.tables[name].values()
    schema = mirror.schemas[name]
    word = fields(frame)[1]
    text = "NULL" if word is None else to_text(schema.kinds[1], word)
    return Arrival("", schema.kinds[1], text, schema, frame)


class PostgresqlHome:
    """A PostgreSQL database with one table per case."""

    name, cases = "PostgreSQL", POSTGRESQL

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @contextmanager
    def database(self) -> Iterator[str]:
        """A fresh one, its tables empty."""
        name = self._cluster.new_database("types")
        with self._cluster.connect(name) as admin:
            for number, case in enumerate(self.cases):
                admin.execute(f"CREATE TABLE v{number} (id int PRIMARY KEY, v {case.type})".encode())
        yield name
        self._cluster.drop_database(name)

    def write(self, name: str) -> set[int]:
        """Write every case."""
        refused = set()
        with self._cluster.connect(name) as admin:
            for number, case in enumerate(self.cases):
                try:
                    admin.execute(f"INSERT INTO v{number} VALUES (1, {case.value})".encode())
                except psycopg.Error:
                    refused.add(number)
        return refused

    def sources(self, name: str) -> dict[str, Callable[[], Source]]:
        """Every way to listen to it."""
        url = self._cluster.url(name)
        tables = tuple(TableSettings(table=each["table"]) for each in told(self.cases))
        log = PostgresqlSettings(
            kind="postgresql", name="types", dsn=SecretStr(self._cluster.dsn(name)), tables=tables
        )
        asked = told(self.cases, "public.")
        return {
            "postgresql": lambda: PostgresqlSource(log),
            "journal": lambda: journalled(url, asked),
            "polling (url)": lambda: polled(asked, {"url": url}),
            "polling (ODBC)": lambda: polled(asked, {"odbc": odbc_of(self._cluster, name)}),
        }


class MariadbHome:
    """A MariaDB database with one table per case."""

    name, cases = "MariaDB", MARIADB

    def __init__(self, server: MariadbServer) -> None:
        self._server = server

    @contextmanager
    def database(self) -> Iterator[str]:
        """A fresh one, its tables empty."""
        name = self._server.new_database("types")
        with contextlib.closing(self._server.connect(name)) as admin, admin.cursor() as cursor:
            for number, case in enumerate(self.cases):
                made = f"CREATE TABLE v{number} (id int PRIMARY KEY, v {case.type}) CHARACTER SET utf8mb4"
                cursor.execute(made)
        yield name
        self._server.drop_database(name)

    def write(self, name: str) -> set[int]:
        """Write every case, as an old application that the server lets write anything."""
        refused = set()
        with contextlib.closing(self._server.connect(name)) as admin, admin.cursor() as cursor:
            cursor.execute("SET sql_mode = '', time_zone = '+08:00'")
            for number, case in enumerate(self.cases):
                try:
                    cursor.execute(f"INSERT INTO v{number} VALUES (1, {case.value})")
                except pymysql.Error:
                    refused.add(number)
        return refused

    def sources(self, name: str) -> dict[str, Callable[[], Source]]:
        """Every way to listen to it."""
        url, asked = self._server.url(name), told(self.cases)
        plain = [{"table": each["table"]} for each in asked]
        odbc = f"Driver={{MariaDB Unicode}};{self._server.dsn(name).removesuffix('CHARSET=utf8mb4')}"
        return {
            "mysql": lambda: source_of(self._server, name, *plain),
            "journal": lambda: journalled(url, asked),
            "polling (url)": lambda: polled(asked, {"url": url}),
            "polling (ODBC)": lambda: polled(asked, {"odbc": odbc}),
        }


class SqliteHome:
    """A SQLite file with one table per case."""

    name, cases = "SQLite", SQLITE

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def database(self) -> Iterator[str]:
        """A fresh one, its tables empty."""
        with contextlib.closing(sqlite3.connect(self._path)) as admin, admin:
            admin.execute("PRAGMA journal_mode = WAL")
            for number, case in enumerate(self.cases):
                admin.execute(f"CREATE TABLE v{number} (id INTEGER PRIMARY KEY, v {case.type})")
        yield str(self._path)
        self._path.unlink()

    def write(self, name: str) -> set[int]:
        """Write every case."""
        with contextlib.closing(sqlite3.connect(name)) as admin, admin:
            for number, case in enumerate(self.cases):
                admin.execute(f"INSERT INTO v{number} VALUES (1, {case.value})")
        return set()

    def sources(self, name: str) -> dict[str, Callable[[], Source]]:
        """Every way to listen to it."""
        url, asked = f"sqlite:///{name}", told(self.cases)
        return {
            "journal": lambda: journalled(url, asked),
            "polling (url)": lambda: polled(asked, {"url": url}),
            "polling (ODBC)": lambda: polled(asked, {"odbc": f"Driver=SQLite3;Database={name}"}),
        }


Home = PostgresqlHome | MariadbHome | SqliteHome


def journalled(url: str, tables: list[dict[str, Any]]) -> JournalSource:
    """Its triggers are made first."""
    pace = {"look_every_s": 0.05, "verify_every_s": 0}
    known = {"kind": "journal", "name": "types", "url": url, "tables": tables, **pace}
    settings = JournalSettings.model_validate(known)
    execute(url, plan(settings).install())
    return JournalSource(settings)


def polled(tables: list[dict[str, Any]], address: Address) -> Followed:
    """A source that looks all the time."""
    return Followed(polling.settings(tables, **address)).begin()


def arrivals(home: Home) -> list[dict[str, Arrival]]:
    """For each case, what every way brings."""
    brought: dict[str, list[Arrival]] = {}
    for way in _ways(home):
        with home.database() as name:
            source = home.sources(name)[way]()
            brought[way] = heard(source, lambda name=name: home.write(name), home.cases)  # type: ignore[misc]
    return [
        {way: found[number] for way, found in brought.items() if not (case.charset and way in UNTOLD)}
        for number, case in enumerate(home.cases)
    ]


def _ways(home: Home) -> list[str]:
    return list(home.sources("nowhere"))


def kept(engine: Engine, arrival: Arrival) -> str:
    """Nothing when the sink holds the value bit for bit; otherwise what it says."""
    schema = arrival.schema
    assert schema is not None
    replica = open_replica(engine, "types")
    try:
        with engine.begin() as connection:
            replica.prepare(connection, schema)
        with engine.begin() as connection:
            replica.apply(connection, [Delta(schema, inserts=Frames(arrival.frame, 1))])
        with engine.begin() as connection:
            found = b"".join(page.data for page in replica.scan(connection, schema))
            replica.drop(connection, schema.name)
    except ExchangeError as error:
        with engine.begin() as connection:
            replica.drop(connection, schema.name)
        return error.what
    assert found == arrival.frame, (engine.dialect.name, schema)
    return ""
