"""Business databases whose triggers write a journal, for the contract suite of sources."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from agent.sources.journal.install import execute, plan
from agent.sources.journal.settings import JournalSettings
from agent.sources.journal.source import JournalSource
from agent.sources.memory import Row
from agent.sources.source import Source
from tests.support.mariadb import MariadbServer
from tests.support.postgres import Cluster

TABLES = ("person", "visit")
PAGE_ROWS = 7


class JournalRig:
    """The tables ``person`` and ``visit`` of one database, with their triggers."""

    upsert = "INSERT INTO {} VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET name = excluded.name, note = excluded.note"
    truncate_table = "TRUNCATE {}"
    other_type = "ALTER name TYPE bytea USING convert_to(name, 'UTF8')"
    mark = "%s"

    def __init__(self, url: str, schema: str = "") -> None:
        self.url = url
        self.settings = settings(url, [f"{schema}{name}" for name in TABLES])
        self._made: list[Source] = []

    def connect(self) -> Any:
        """A connection as the business has one."""
        raise AssertionError("each database has its own")

    def begin(self, types: str) -> None:
        """Make the tables, and the journal beside them."""
        with self.transaction() as writer:
            for name in TABLES:
                writer.say(f"CREATE TABLE {name} ({types})")
        execute(self.url, plan(self.settings).install())

    def source(self) -> JournalSource:
        return JournalSource(self.settings)

    @contextmanager
    def transaction(self) -> Iterator[JournalWriter]:
        connection = self.connect()
        try:
            yield JournalWriter(self, connection)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            connection.close()

    def rows(self, table: str) -> list[Row]:
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT id, name, note FROM {table} ORDER BY id")
            return [tuple(row) for row in cursor.fetchall()]

    def break_structure(self, table: str, source: Source) -> None:
        with self.transaction() as writer:
            writer.say(f"ALTER TABLE {table} {self.other_type}")

    def foreign_position(self) -> str:
        return "journal/0123456789abcdef/1@1/"


class JournalWriter:
    """Changes on one connection."""

    def __init__(self, rig: JournalRig, connection: Any) -> None:
        self._rig, self._cursor = rig, connection.cursor()

    def say(self, statement: str, values: Sequence[Any] = ()) -> None:
        self._cursor.execute(statement.replace("%s", self._rig.mark), tuple(values))

    def put(self, table: str, row: Row) -> None:
        self.say(self._rig.upsert.format(table), row)

    def delete(self, table: str, row: Row) -> None:
        self.say(f"DELETE FROM {table} WHERE id = %s", row[:1])

    def move(self, table: str, old: Row, new: Row) -> None:
        self.say(f"UPDATE {table} SET id = %s, name = %s, note = %s WHERE id = %s", (*new, old[0]))

    def truncate(self, table: str) -> None:
        self.say(self._rig.truncate_table.format(table))


class SqliteJournal(JournalRig):
    """A file in WAL mode, so that reading never blocks the business."""

    truncate_table = "DELETE FROM {}"
    mark = "?"

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"sqlite:///{path}")
        with contextlib.closing(self.connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        self.begin("id INTEGER PRIMARY KEY, name TEXT, note TEXT")

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)

    def break_structure(self, table: str, source: Source) -> None:
        with contextlib.closing(self.connect()) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            told = "UPDATE sqlite_master SET sql = replace(sql, 'name TEXT', 'name JSON') WHERE name = ?"
            connection.execute(told, (table,))
            version = connection.execute("PRAGMA schema_version").fetchone()[0]
            connection.execute(f"PRAGMA schema_version = {version + 1}")
            connection.commit()


class PostgresJournal(JournalRig):
    """A database of a cluster."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self.cluster, self.database = cluster, database
        super().__init__(cluster.url(database), "public.")
        self.begin("id integer PRIMARY KEY, name text, note text")

    def connect(self) -> psycopg.Connection[Any]:
        return self.cluster.connect(self.database, autocommit=False)


class MariadbJournal(JournalRig):
    """A database of a MariaDB. Emptying a table row by row, because TRUNCATE fires no trigger there."""

    upsert = (
        "INSERT INTO {} VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE name = VALUES(name), note = VALUES(note)"
    )
    truncate_table = "DELETE FROM {}"
    other_type = "MODIFY name LONGBLOB"

    def __init__(self, server: MariadbServer, database: str) -> None:
        self.server, self.database = server, database
        super().__init__(server.url(database))
        self.begin("id INTEGER PRIMARY KEY, name LONGTEXT, note LONGTEXT")

    def connect(self) -> pymysql.Connection[Any]:
        return self.server.connect(self.database, autocommit=False)


def settings(url: str, tables: Sequence[str], **rest: Any) -> JournalSettings:
    """Settings of a source that looks all the time."""
    known: dict[str, Any] = {
        "kind": "journal",
        "name": "hr",
        "url": url,
        "look_every_s": 0.05,
        "verify_every_s": 0,
    }
    known["tables"] = [{"table": table} for table in tables]
    return JournalSettings.model_validate(known | {"page_rows": PAGE_ROWS} | rest)


@contextmanager
def journalled(request: Any, database: str, path: Path) -> Iterator[JournalRig]:
    """The rig of one kind of database."""
    if database == "sqlite":
        yield SqliteJournal(path)
        return
    server = request.getfixturevalue(database)
    name = server.new_database("business")
    yield MariadbJournal(server, name) if database == "mariadb" else PostgresJournal(server, name)
    server.drop_database(name)
