"""Engines whose process dies before their n-th statement: a commit counts twice, before and after it happened."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import Engine, event

from central.store import open_store


class Killed(BaseException):
    """Stands for kill -9: nothing catches it, nothing after it runs."""


@dataclass
class Doom:
    """Counts statements of all connections of one process; the *nth* one and all after it do not happen."""

    nth: int
    count: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    seen: int = 0

    def step(self) -> None:
        """One more thing is about to happen."""
        self.seen = next(self.count)
        if self.seen >= self.nth:
            raise Killed

    @property
    def is_dead(self) -> bool:
        """Nothing happens any more."""
        return self.seen >= self.nth


def dying_engine(url: str, nth: int) -> tuple[Engine, Doom]:
    """An engine of a process that dies before its *nth* statement, whoever sends it: central, or a replica's driver."""
    engine, doom = open_store(url), Doom(nth)
    connect = _sqlite(doom) if url.startswith("sqlite") else _postgresql(doom)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        return connect(*arguments, **options)

    return engine, doom


def _sqlite(doom: Doom) -> Callable[..., sqlite3.Connection]:
    class Cursor(sqlite3.Cursor):
        def execute(self, *arguments: Any) -> Any:
            _unless_setup(doom, arguments[0])
            return super().execute(*arguments)

        def executemany(self, *arguments: Any) -> Any:
            doom.step()
            return super().executemany(*arguments)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def commit(self) -> None:
            doom.step()
            super().commit()
            doom.step()

        def rollback(self) -> None:
            if doom.is_dead:
                self.close()
            else:
                super().rollback()

    return lambda *arguments, **options: sqlite3.connect(*arguments, factory=Connection, **options)


def _postgresql(doom: Doom) -> Callable[..., psycopg.Connection[Any]]:
    class Cursor(psycopg.Cursor[Any]):
        def execute(self, *arguments: Any, **options: Any) -> Any:
            _unless_setup(doom, arguments[0])
            return super().execute(*arguments, **options)

        def executemany(self, *arguments: Any, **options: Any) -> None:
            doom.step()
            super().executemany(*arguments, **options)

        @contextmanager
        def copy(self, *arguments: Any, **options: Any) -> Iterator[psycopg.Copy]:
            doom.step()
            with super().copy(*arguments, **options) as copy:
                yield copy

    class Connection(psycopg.Connection[Any]):
        def commit(self) -> None:
            doom.step()
            super().commit()
            doom.step()

        def rollback(self) -> None:
            if doom.is_dead:
                self.close()
            else:
                super().rollback()

    return lambda *arguments, **options: Connection.connect(*arguments, cursor_factory=Cursor, **options)


def _unless_setup(doom: Doom, statement: Any) -> None:
    # What a fresh connection asks before its first transaction cannot lose or repeat anything.
    if not str(statement).startswith(("PRAGMA", "select pg_catalog", "show ")):
        doom.step()
