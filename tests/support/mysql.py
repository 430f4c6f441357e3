"""A MariaDB business database for the contract suite of sources, and a listener for the tests of its source."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pymysql
import pytest

from agent.sources.memory import Row
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.source import MysqlSource
from agent.sources.source import Source
from proto.batch import Batch
from tests.support.listener import Listener
from tests.support.mariadb import MariadbServer
from tests.support.mirror import Mirror

TABLES: Final = ("person", "visit")
PAGE_ROWS: Final = 7


def source_of(server: MariadbServer, database: str, *tables: Any, **settings: Any) -> MysqlSource:
    """A source that is not open yet; tables are names or mappings."""
    chosen = [{"table": each} if isinstance(each, str) else each for each in tables]
    dsn = settings.pop("dsn", f"mysql://root@127.0.0.1:{server.port}/{database}")
    told = {"kind": "mysql", "name": "hr", "dsn": dsn, "tables": chosen, **settings}
    return MysqlSource(MysqlSettings.model_validate(told))


class MysqlListener(Listener):
    """A source and what it brought so far, beside the department's own connection."""

    def __init__(self, server: MariadbServer, database: str, *tables: Any, **settings: Any) -> None:
        self.again = functools.partial(source_of, server, database, *tables, **settings)
        self.source = self.again()
        self.position = self.source.open("")
        self.mirror = Mirror()
        self.batches: list[Batch] = []

    def reopen(self, position: str | None = None) -> None:
        """As another process would."""
        self.source.close()
        self.source = self.again()
        self.source.open(self.position if position is None else position)


Hear = Callable[..., MysqlListener]


class MariadbRig:
    """The tables ``person`` and ``visit`` on a real server."""

    tick_us = 1_000_000
    """The log tells when a transaction was committed to the second."""

    def __init__(self, server: MariadbServer, database: str) -> None:
        self.server, self.database = server, database
        self.admin = server.connect(database)
        for name in TABLES:
            self._say(f"CREATE TABLE {name} (id int PRIMARY KEY, name longtext, note longtext)")

    def source(self, **settings: Any) -> MysqlSource:
        return source_of(self.server, self.database, *TABLES, page_rows=PAGE_ROWS, **settings)

    @contextmanager
    def transaction(self) -> Iterator[MariadbWriter]:
        with contextlib.closing(self.server.connect(self.database, autocommit=False)) as connection:
            yield MariadbWriter(connection)
            connection.commit()

    def rows(self, table: str) -> list[Row]:
        with self.admin.cursor() as cursor:
            cursor.execute(f"SELECT id, name, note FROM {table} ORDER BY id")
            return list(cursor.fetchall())

    def break_structure(self, table: str, source: Source) -> None:
        self._say(f"ALTER TABLE {table} MODIFY name varchar(10)")

    def foreign_position(self) -> str:
        return "mysql/mariadb-77/0-77-5/binlog.000001/344/0"

    def forget(self) -> None:
        """The server keeps its log by its own clock; this is what happens when it strikes."""
        purge(self.server)

    def _say(self, statement: str) -> None:
        with self.admin.cursor() as cursor:
            cursor.execute(statement)


class MariadbWriter:
    """Changes on one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def put(self, table: str, row: Row) -> None:
        query = f"INSERT INTO {table} VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE name = VALUES(name), note = VALUES(note)"
        self.say(query, row)

    def delete(self, table: str, row: Row) -> None:
        self.say(f"DELETE FROM {table} WHERE id = %s", row[:1])

    def move(self, table: str, old: Row, new: Row) -> None:
        self.say(f"UPDATE {table} SET id = %s, name = %s, note = %s WHERE id = %s", (*new, old[0]))

    def truncate(self, table: str) -> None:
        self.say(f"TRUNCATE {table}")

    def say(self, statement: str, values: Sequence[object] = ()) -> None:
        """Any statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)


def purge(server: MariadbServer) -> None:
    """Let the server forget its log up to now; a file that somebody still reads would stay."""
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("FLUSH BINARY LOGS")
        cursor.execute("SHOW BINARY LOGS")
        newest, deadline_s = cursor.fetchall()[-1][0], time.monotonic() + 20
        while True:
            end_dumps(cursor)
            cursor.execute(f"PURGE BINARY LOGS TO '{newest}'")
            cursor.execute("SHOW BINARY LOGS")
            if cursor.fetchall()[0][0] == newest:
                return
            assert time.monotonic() < deadline_s


def end_dumps(cursor: Any) -> None:
    """Throw out everybody who reads the log, or did and was not missed yet."""
    cursor.execute("SELECT id FROM information_schema.processlist WHERE command = 'Binlog Dump'")
    for (number,) in cursor.fetchall():
        with contextlib.suppress(pymysql.err.OperationalError):  # gone by itself
            cursor.execute(f"KILL {number}")


@contextmanager
def mariadb_rig(server: MariadbServer) -> Iterator[MariadbRig]:
    """A rig on a database of its own."""
    rig = MariadbRig(server, server.new_database("business"))
    yield rig
    rig.admin.close()
    server.drop_database(rig.database)


@pytest.fixture
def hear(mariadb: MariadbServer, mariadb_database: str) -> Iterator[Hear]:
    """Make listeners on a fresh database; they are closed afterwards."""
    made: list[MysqlListener] = []

    def make(*tables: Any, **settings: Any) -> MysqlListener:
        made.append(MysqlListener(mariadb, mariadb_database, *tables, **settings))
        return made[-1]

    yield make
    for each in made:
        each.source.close()


class Shop:
    """The department's own connection, and what it says of its tables."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def say(self, *statements: str, values: Sequence[object] = ()) -> None:
        """Statements, one after another, each committed."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, values or None)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """An answer, in the mirror's order."""
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return sorted(cursor.fetchall(), key=lambda row: row[0])


@pytest.fixture
def shop(mariadb: MariadbServer, mariadb_database: str) -> Iterator[Shop]:
    """The department's own connection."""
    with contextlib.closing(mariadb.connect(mariadb_database)) as connection:
        yield Shop(connection)
