"""A death before any statement of the exchange database, whichever library sends it."""

from __future__ import annotations

import itertools
import sqlite3
from typing import Any

import psycopg
import pymysql.cursors
from sqlalchemy import Engine, event

from tests.support.exchanges import Killed


class Fate:
    """Counts statements from :meth:`watch` on and dies before the chosen one; 0 = never."""

    def __init__(self, nth: int = 0) -> None:
        self._nth = nth
        self._numbers = itertools.count(1)
        self._watching = False
        self.died = False

    def watch(self) -> None:
        """Count from here on."""
        self._watching = True

    def step(self) -> None:
        """One more statement is about to be sent; after a death nothing is sent at all."""
        if not self._watching:
            return
        if self.died or next(self._numbers) == self._nth:
            self.died = True
            raise Killed

    def govern(self, engine: Engine) -> None:
        """Be the fate of every connection of *engine*."""
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "commit", lambda _connection: self.step())

    def _connect(self, dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        if dialect.name == "sqlite":
            options["factory"] = _sqlite_connection(self)
        elif dialect.name == "mysql":
            options["cursorclass"] = _pymysql_cursor(self)
        else:
            options["cursor_factory"] = _psycopg_cursor(self)


def _sqlite_connection(fate: Fate) -> type[sqlite3.Connection]:
    class DyingCursor(sqlite3.Cursor):
        def execute(self, *args: Any) -> Any:
            fate.step()
            return super().execute(*args)

        def executemany(self, *args: Any) -> Any:
            fate.step()
            return super().executemany(*args)

    class DyingConnection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(DyingCursor)

        def execute(self, *args: Any) -> Any:
            fate.step()
            return super().execute(*args)

        def executemany(self, *args: Any) -> Any:
            fate.step()
            return super().executemany(*args)

    return DyingConnection


def _pymysql_cursor(fate: Fate) -> type[pymysql.cursors.Cursor]:
    class DyingCursor(pymysql.cursors.Cursor):
        def execute(self, *args: Any) -> Any:
            fate.step()
            return super().execute(*args)

    return DyingCursor


def _psycopg_cursor(fate: Fate) -> type[psycopg.Cursor[Any]]:
    class DyingCursor(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            fate.step()
            return super().execute(*args, **kwargs)

        def executemany(self, *args: Any, **kwargs: Any) -> None:
            fate.step()
            super().executemany(*args, **kwargs)

        def copy(self, *args: Any, **kwargs: Any) -> Any:
            fate.step()
            return super().copy(*args, **kwargs)

    return DyingCursor
