"""What a reader sees at central or in the exchange database: position and rows in one snapshot, by plain SQL.

Nothing of the product is used, so that the product's own reading cannot hide what it wrote.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final

import psycopg
from sqlalchemy import make_url

from tests.support.judge import Sight
from tests.support.reference import TEXT_FORMS, Columns, Row, plain

PATIENCE_S: Final = 60.0
_pause = Event()
Fetch = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class View:
    """One stream's tables in one database."""

    url: str
    room: str
    cursor: str
    """A query for (position, sequence number) of the stream; ``{}`` stands for the bookkeeping's own prefix."""
    prefixes: tuple[str, str]
    """The bookkeeping's prefix on PostgreSQL and on SQLite."""
    tables: Mapping[str, Columns]

    def look(self) -> Sight:
        """Read everything in one transaction; waits for a server that is just being restarted."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._look_sqlite() if self.url.startswith("sqlite") else self._look_postgresql()
            except (psycopg.OperationalError, sqlite3.OperationalError):
                if time.monotonic() > deadline:
                    raise
                _pause.wait(0.1)

    def lsn(self) -> int:
        """How far the stream is, without reading its tables."""
        return View(self.url, self.room, self.cursor, self.prefixes, {}).look().lsn

    def _look_postgresql(self) -> Sight:
        dsn = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10, options=TEXT_FORMS) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # PostgreSQL's TRUNCATE empties a table for older snapshots too; locked before the snapshot is taken, it waits.
            for name in self.tables:
                connection.execute(f'LOCK TABLE "{self.room}"."{name}" IN ACCESS SHARE MODE'.encode())
            return self._sight(lambda query: connection.execute(query.encode()).fetchall(), 0)

    def _look_sqlite(self) -> Sight:
        path = Path(make_url(self.url).database or "")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            return self._sight(lambda query: connection.execute(query).fetchall(), 1)

    def _sight(self, fetch: Fetch, kind: int) -> Sight:
        found = fetch(self.cursor.format(self.prefixes[kind]))
        position, seq = found[0] if found else ("", 0)
        tables = {name: self._rows(fetch, name, kind) for name in self.tables}
        return Sight(lsn_of(position), seq, tables)

    def _rows(self, fetch: Fetch, table: str, kind: int) -> list[Row]:
        types = self.tables[table].types
        cast = "::text" if kind == 0 else ""
        listed = ", ".join(f'"{name}"{cast}' for name in types)
        place = f'"{self.room}"."{table}"' if kind == 0 else f'"{self.room}.{table}"'
        return [
            tuple(plain(type_name, value) for type_name, value in zip(types.values(), row, strict=True))
            for row in fetch(f"SELECT {listed} FROM {place}")
        ]


def central_view(url: str, stream: str, tables: Mapping[str, Columns]) -> View:
    """The platform's tables of *stream*."""
    query = f"SELECT position, seq FROM {{}}central_applied WHERE stream = '{stream}'"
    return View(url, stream.replace("/", "_"), query, ("exchange_central.", ""), tables)


def exchange_view(url: str, stream: str, tables: Mapping[str, Columns]) -> View:
    """The mirror in the exchange database."""
    query = f"SELECT position, seq FROM {{}}checkpoint WHERE stream = '{stream}'"
    return View(url, stream.rpartition("/")[2], query, ("exchange_node.", "exchange_"), tables)


def lsn_of(position: str) -> int:
    """The log position in ``pg/<system>/<timeline>/<LSN>``; 0 for none."""
    if not position:
        return 0
    high, low = position.split("/")[-2:]
    return int(high, 16) << 32 | int(low, 16)
