"""A PostgreSQL source under test: what it brought so far, beside the department's own connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.source import PostgresqlSource
from agent.sources.settings import TableSettings
from agent.sources.source import Limits, Source
from proto.batch import Batch
from proto.errors import TableHold
from tests.support.mirror import Mirror
from tests.support.postgres import Cluster

Connection = psycopg.Connection[Any]
SOON = Limits(wait_s=0.2)


def unopened(
    cluster: Cluster, database: str, *tables: TableSettings | str, **settings: Any
) -> PostgresqlSource:
    """A source that is not open yet."""
    chosen = tuple(TableSettings(table=each) if isinstance(each, str) else each for each in tables)
    dsn = SecretStr(settings.pop("dsn", cluster.dsn(database)))
    return PostgresqlSource(
        PostgresqlSettings(kind="postgresql", name="hr", dsn=dsn, tables=chosen, **settings)
    )


class Listener:
    """A source and what it brought so far."""

    def __init__(
        self, cluster: Cluster, database: str, *tables: TableSettings | str, **settings: Any
    ) -> None:
        self.source: Source = unopened(cluster, database, *tables, **settings)
        self.position = self.source.open("")
        self.mirror = Mirror()
        self.batches: list[Batch] = []

    def listen(self, limits: Limits = SOON) -> Mirror:
        """Take in what is waiting."""
        while (batch := self.source.read(limits)) is not None:
            self.mirror.apply(batch)
            self.batches.append(batch)
            self.position = batch.position
        return self.mirror

    def copy(self, table: str) -> Mirror:
        """Take a first copy, with the changes beside it."""
        self.source.start_copy(table, b"")
        self.mirror.tables.pop(table, None)
        self.mirror.appended.pop(table, None)
        return self.finish(table)

    def finish(self, table: str) -> Mirror:
        """Take in the pages of a copy that began."""
        deadline_s, done = time.monotonic() + 30, False
        while not done:
            assert time.monotonic() < deadline_s
            if batch := self.source.read(SOON):
                self.mirror.apply(batch)
            for page in self.source.pages():
                self.mirror.merge(page.schema, page.frames.data)
                done = page.is_last and page.schema.name == table
        return self.listen()

    def held(self) -> list[tuple[str, str]]:
        """Table and reason of every hold since the last call."""
        return [(hold.table, hold.what) for hold in self.source.holds() if isinstance(hold, TableHold)]


Listen = Callable[..., Listener]


@pytest.fixture
def listen(postgres: Cluster, business: str) -> Iterator[Listen]:
    """Make listeners on a fresh database; they are closed afterwards."""
    made: list[Listener] = []

    def make(*tables: TableSettings | str, **settings: Any) -> Listener:
        made.append(Listener(postgres, business, *tables, **settings))
        return made[-1]

    yield make
    for each in made:
        each.source.close()


@pytest.fixture
def db(postgres: Cluster, business: str) -> Iterator[Connection]:
    """The department's own connection."""
    with postgres.connect(business) as connection:
        yield connection


def truth(db: Connection, query: str) -> list[tuple[Any, ...]]:
    """What the database says, in the mirror's order."""
    return sorted(db.execute(query.encode()).fetchall(), key=lambda row: row[0])
