"""A real MariaDB server for tests. A server that cannot start is a failure."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pymysql
import pytest

from demo.binaries import account
from demo.embedded_mariadb import EmbeddedMariadb
from tests.support.shelf import DISK, shelf

_numbers = itertools.count(1)


@cache
def template() -> Path:
    """A fresh data directory, made once per session and copied from then on; it goes when the session ends."""
    home = Path(tempfile.mkdtemp(prefix="exchange-mariadb-template-", dir=shelf()))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    if user := account():
        shutil.chown(home, user)
    data = home / "data"
    EmbeddedMariadb(home).initialise(data)
    return data


class MariadbServer(EmbeddedMariadb):
    """A server in a temporary directory, its binlog in rows with full metadata; quick and unsafe unless ``fsync=True``."""

    def __init__(self, *, fsync: bool = False, settings: dict[str, str] | None = None) -> None:
        where = DISK if fsync else shelf()
        super().__init__(settings=settings or {}, fsync=fsync, shelf=where)

    def initialise(self, data: Path) -> None:
        """Copy the session's template."""
        subprocess.run(["cp", "-a", str(template()), str(data)], check=True)

    def new_database(self, prefix: str = "db") -> str:
        """Create a database nobody else in this session uses and return its name."""
        return self.create_database(f"{prefix}_{next(_numbers)}")

    def drop_database(self, name: str) -> None:
        """Drop *name* and whoever is still connected to it."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
            for (number,) in cursor.fetchall():
                with contextlib.suppress(pymysql.err.OperationalError):  # gone by itself
                    cursor.execute(f"KILL {number}")
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    """A MariaDB shared by the session."""
    with MariadbServer() as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb: MariadbServer) -> Iterator[str]:
    """The name of a fresh database on *mariadb*; dropped afterwards."""
    if not mariadb.running:
        mariadb.start()
    name = mariadb.new_database("business")
    yield name
    if not mariadb.running:
        mariadb.start()
    mariadb.drop_database(name)
