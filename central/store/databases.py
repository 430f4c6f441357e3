"""What differs between the two databases central may stand on; nothing above this file asks which one it is."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Connection, Engine, Pool, event
from sqlalchemy.exc import DBAPIError

from central.store.columns import SCHEMA
from proto.errors import Credential, DiskBlocked, ExchangeError, Refused, Transient

if TYPE_CHECKING:
    import psycopg

ROW_WAIT_S: Final = 3
"""How long a statement waits for somebody's lock before its transaction is tried anew."""
FILE_WAIT_S: Final = 10
MIGRATION_WAIT_S: Final = 600
IDLE_IN_TRANSACTION_S: Final = 30
"""A process frozen inside a transaction lets go of its rows after this; then its stream can move elsewhere."""
CONNECT_WAIT_S: Final = 10
_MIGRATION_LOCK: Final = 0x65786368616E6765
_KEEPALIVE: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_CLASH: Final = "somebody else wrote the same row at this moment"
_MIB: Final = 1024 * 1024
_SQLITE_CACHE_KIB: Final = 16 * 1024

WRITES: Final = "exchange_writes"
"""Execution option of a connection: absent = it only reads; True = durable commits; False = the ledger is enough."""


class Database(Protocol):
    """One kind of database."""

    def options(self, url: URL) -> dict[str, Any]:
        """Arguments for ``create_engine``."""
        ...

    def listen(self, engine: Engine) -> None:
        """Attach what must happen on each connection and at the start of each transaction."""
        ...

    def turn(self, engine: Engine) -> contextlib.AbstractContextManager[object]:
        """Wait for our turn to write."""
        ...

    def lock_for_migration(self, connection: Connection) -> None:
        """Let only one process migrate, until the end of the transaction; make what the tables need to exist."""
        ...

    def one_moment(self, connection: Connection) -> Connection:
        """Let every statement of the next transaction see the same moment."""
        ...

    def together(self, connection: Connection) -> contextlib.AbstractContextManager[object]:
        """Send the statements inside without waiting for each answer, if the driver can; none may return rows."""
        ...

    def meaning(self, error: DBAPIError) -> ExchangeError | None:
        """What a daemon should do about *error*; None = it is a bug."""
        ...


class Postgresql:
    """PostgreSQL through psycopg 3."""

    def options(self, url: URL) -> dict[str, Any]:
        """Durable unless a transaction says otherwise, and never waiting for ever."""
        if url.drivername not in {"postgresql", "postgresql+psycopg"}:
            raise Refused(
                f"driver {url.drivername} is not ours", where="database", fix="use postgresql+psycopg"
            )
        server = {
            "synchronous_commit": "on",
            "timezone": "UTC",
            "lock_timeout": f"{ROW_WAIT_S}s",
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
        }
        settings = " ".join(f"-c {name}={value}" for name, value in server.items())
        arguments = {"application_name": "exchange-central", "connect_timeout": CONNECT_WAIT_S, **_KEEPALIVE}
        return {"connect_args": {**arguments, "options": settings}, "isolation_level": "READ COMMITTED"}

    def listen(self, engine: Engine) -> None:
        """A transaction that need not be durable says so first."""
        event.listen(engine, "begin", self._begin)

    def turn(self, _engine: Engine) -> contextlib.AbstractContextManager[object]:
        """Rows are locked one by one; nobody waits for the whole database."""
        return contextlib.nullcontext()

    def lock_for_migration(self, connection: Connection) -> None:
        """An advisory lock, because the tables one could lock are not there yet."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{MIGRATION_WAIT_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")

    def one_moment(self, connection: Connection) -> Connection:
        """By its isolation level."""
        return connection.execution_options(isolation_level="REPEATABLE READ")

    @contextlib.contextmanager
    def together(self, connection: Connection) -> Iterator[None]:
        """In the driver's pipeline mode; an error of any statement comes at the end."""
        from psycopg import Error  # where central stands on a file, no command waits for this driver

        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        try:
            with driver.pipeline():
                yield
        except Error as error:
            raise DBAPIError(None, None, error) from error

    def meaning(self, error: DBAPIError) -> ExchangeError | None:
        """By SQLSTATE; the server's text stays out, it may hold values."""
        state = getattr(error.orig, "sqlstate", None) or ("08000" if error.connection_invalidated else "")
        what = f"PostgreSQL says {state} ({type(error.orig).__name__})"
        if state in {"53100", "58030"}:
            what = f"central's disk is full: {what}"
            return DiskBlocked(what, where="database", fix="free space on the database server")
        if state.startswith("28"):
            return Credential(what, where="database", fix="check user, password and pg_hba.conf")
        if state[:2] in {"08", "40", "53", "55", "57"} or state in {"25P03", "25006"}:
            return Transient(what, where="database")
        if state == "23505":
            return Transient(_CLASH, where="database")
        # A connection that could not be opened has no SQLSTATE.
        return Transient(what, where="database") if not state and _is_operational(error) else None

    @staticmethod
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITES) is False:
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


class Sqlite:
    """An SQLite file in WAL mode."""

    def __init__(self) -> None:
        self._turns: WeakKeyDictionary[Pool, threading.Lock] = WeakKeyDictionary()

    def options(self, url: URL) -> dict[str, Any]:
        """One file, reached by all threads; its tables have no schema."""
        if not url.database or url.database == ":memory:" or "mode=memory" in url.database:
            raise Refused("central needs a file", where="database", fix="use sqlite:////path/to/central.db")
        return {
            "connect_args": {"timeout": FILE_WAIT_S, "check_same_thread": False},
            "execution_options": {"schema_translate_map": {SCHEMA: None}},
        }

    def listen(self, engine: Engine) -> None:
        """Transactions begin where we say, and writers begin as writers."""
        self._turns[engine.pool] = threading.Lock()
        event.listen(engine, "connect", self._connect)
        event.listen(engine, "begin", self._begin)

    def turn(self, engine: Engine) -> contextlib.AbstractContextManager[object]:
        """One writer at a time anyway: in line it waits for a lock, not in SQLite's growing sleeps."""
        return self._in_line(self._turns[engine.pool])

    @contextlib.contextmanager
    def _in_line(self, lock: threading.Lock) -> Iterator[None]:
        if not lock.acquire(timeout=FILE_WAIT_S * 3):
            raise Transient("other writers took too long", where="database")
        try:
            yield
        finally:
            lock.release()

    def lock_for_migration(self, connection: Connection) -> None:
        """The transaction began as a writer; that is the lock."""

    def one_moment(self, connection: Connection) -> Connection:
        """As every transaction of a file in WAL mode does."""
        return connection

    def together(self, _connection: Connection) -> contextlib.AbstractContextManager[object]:
        """There is nobody to wait for."""
        return contextlib.nullcontext()

    def meaning(self, error: DBAPIError) -> ExchangeError | None:
        """By SQLite's error code."""
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        what = f"SQLite says {getattr(error.orig, 'sqlite_errorname', '')}"
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT}:
            return Transient(what, where="database")
        if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}:
            what = f"central's database cannot be written, its disk may be full: {what}"
            return DiskBlocked(what, where="database", fix="free space, check that the file can be written")
        if code == sqlite3.SQLITE_CONSTRAINT and _is_clash(error):
            return Transient(_CLASH, where="database")
        if code == sqlite3.SQLITE_CANTOPEN:
            return Refused(
                "the database file cannot be opened", where="database", fix="check path and rights"
            )
        return None

    @staticmethod
    def _connect(connection: Any, _record: object) -> None:
        # Python's own transaction control would begin late and commit before DDL.
        connection.isolation_level = None
        connection.create_function("exchange_now_us", 0, lambda: time.time_ns() // 1000)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            f"cache_size = -{_SQLITE_CACHE_KIB}",
            f"journal_size_limit = {64 * _MIB}",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @staticmethod
    def _begin(connection: Connection) -> None:
        durable = connection.get_execution_options().get(WRITES)
        if durable is None:
            connection.exec_driver_sql("BEGIN")
            return
        # A commit without its own fsync is still before every later one in the same log, and durable with it.
        if connection.info.get("durable", True) is not durable:
            connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.info["durable"] = durable
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _is_clash(error: DBAPIError) -> bool:
    clashes = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}
    return getattr(error.orig, "sqlite_errorcode", 0) in clashes


def _is_operational(error: DBAPIError) -> bool:
    return type(error.orig).__name__ in {"OperationalError", "ConnectionTimeout", "InterfaceError"}


_DATABASES: Final[dict[str, Database]] = {"postgresql": Postgresql(), "sqlite": Sqlite()}


def database_of(name: str) -> Database:
    """The database behind SQLAlchemy's *name* of it."""
    if name not in _DATABASES:
        raise Refused(
            f"central cannot stand on {name}", where="database", fix="use sqlite or postgresql+psycopg"
        )
    return _DATABASES[name]
