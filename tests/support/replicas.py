"""Databases that hold replicas: one fixture for all dialects."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from proto.batch import Delta
from proto.frames import split
from proto.schema import TableSchema
from replica.opening import open_replica
from replica.replica import Replica, TableDigest
from tests.support.mariadb import MariadbServer
from tests.support.postgres import Cluster
from tests.support.tables import driver_execute

DIALECTS = ("sqlite", "postgres15", "postgres18", "mariadb")
_rooms = itertools.count(1)


@dataclass
class Home:
    """A database with one room of its own, and a replica in it."""

    dialect: str
    engine: Engine
    room: str
    replica: Replica = field(init=False)

    def __post_init__(self) -> None:
        self.replica = open_replica(self.engine, self.room)

    @property
    def is_sqlite(self) -> bool:
        """Where a test needs to know."""
        return self.dialect == "sqlite"

    @property
    def is_mariadb(self) -> bool:
        """Where a test needs to know: DDL has no part in transactions, and dates end at year 9999."""
        return self.dialect == "mariadb"

    @property
    def is_postgresql(self) -> bool:
        """Where a test needs to know."""
        return not self.is_sqlite and not self.is_mariadb

    def table(self, name: str) -> str:
        """The table's name in SQL."""
        if self.is_mariadb:
            return f"`{self.room}.{name}`"
        quoted = name.replace('"', '""')
        return f'"{self.room}.{quoted}"' if self.is_sqlite else f'"{self.room}"."{quoted}"'

    def quote(self, name: str) -> str:
        """A column's name in SQL."""
        return f"`{name}`" if self.is_mariadb else f'"{name}"'

    def prepare(self, schema: TableSchema) -> None:
        """Prepare in a transaction of its own."""
        with self.engine.begin() as connection:
            self.replica.prepare(connection, schema)

    def apply(self, *deltas: Delta) -> int:
        """Prepare and apply in one transaction."""
        with self.engine.begin() as connection:
            for delta in deltas:
                self.replica.prepare(connection, delta.schema)
            return self.replica.apply(connection, deltas)

    def rows(self, schema: TableSchema) -> list[bytes]:
        """The table's frames, as scanned."""
        with self.engine.begin() as connection:
            return [f for page in self.replica.scan(connection, schema) for f in split(page.data)]

    def digest(self, schema: TableSchema) -> TableDigest:
        """The table's digest."""
        with self.engine.begin() as connection:
            return self.replica.digest(connection, schema)

    def run(self, statement: str) -> None:
        """Do something behind the replica's back."""
        with self.engine.begin() as connection:
            driver_execute(connection, statement)


@pytest.fixture(scope="session")
def _engines(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Engine]]:
    engines: dict[str, Engine] = {}
    yield engines
    for engine in engines.values():
        engine.dispose()


def _engine(
    dialect: str, request: pytest.FixtureRequest, engines: dict[str, Engine], directory: Path
) -> Engine:
    if dialect == "sqlite":
        return create_engine(f"sqlite:///{directory}/replica.db")
    if dialect not in engines:
        cluster: Cluster | MariadbServer = request.getfixturevalue(dialect)
        engines[dialect] = create_engine(cluster.url(cluster.new_database("replicas")))
    return engines[dialect]


@pytest.fixture(params=DIALECTS)
def home(request: pytest.FixtureRequest, _engines: dict[str, Engine], tmp_path: Path) -> Home:
    """An empty room in each dialect in turn."""
    return Home(request.param, _engine(request.param, request, _engines, tmp_path), f"room_{next(_rooms)}")


@pytest.fixture
def new_home() -> Callable[[str, Engine], Home]:
    """Makes an empty room in a database of the test's own."""
    return lambda dialect, engine: Home(dialect, engine, f"room_{next(_rooms)}")


@pytest.fixture
def homes(request: pytest.FixtureRequest, _engines: dict[str, Engine], tmp_path: Path) -> list[Home]:
    """An empty room in every dialect at once."""
    engines = [(name, _engine(name, request, _engines, tmp_path)) for name in DIALECTS]
    return [Home(name, engine, f"room_{next(_rooms)}") for name, engine in engines]
