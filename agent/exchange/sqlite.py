"""An exchange database in one file: the default, nothing to install.

Write-ahead log and full synchronisation: a commit that returned survives a power cut. Every writing transaction
begins IMMEDIATE, so that none fails halfway because another one wrote in between.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from proto.errors import DiskBlocked, ExchangeError, Fenced, Poisoned, Refused, Transient

BUSY_S: Final = 30.0
GIVE_BACK_PAGES: Final = 4096
"""Per call: a bounded pause for capture."""
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})
_UNWRITABLE: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    }
)
"""What SQLite says where it is a quota or a limit, not the volume itself, that is used up."""
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)


class FileGuard:
    """A lock file beside the database; the kernel lets go of it when the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def is_held(self) -> bool:
        """A file lock is not lost while the process lives."""
        return self._descriptor is not None

    def release(self) -> None:
        """Let another process have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class SqlitePlace:
    """SQLite as the home of an exchange database."""

    schema: str | None = None
    prefix = "exchange_"

    def open(self, url: str, node: str) -> Engine:
        """An engine on the file; its directory must exist."""
        path = make_url(url).database
        if not path or path == ":memory:":
            raise Refused(
                "an exchange database needs a file", where=url, fix="use sqlite:////path/exchange.db"
            )
        engine = create_engine(url, connect_args={"timeout": BUSY_S}, pool_size=8)
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine

    def guard(self, engine: Engine, stream: str) -> FileGuard:
        """Lock ``<file>-<source>.lock``."""
        path = _file(engine).with_name(f"{_file(engine).name}-{stream.rpartition('/')[2]}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise Fenced(
                f"process {holder or 'unknown'} already works on this exchange database",
                where=stream,
                fix="stop the other exchange-agent, then resume the stream",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return FileGuard(descriptor)

    def lock_migrations(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE already keeps every other writer out."""

    def free_and_total(self, engine: Engine) -> tuple[int, int] | None:
        """Of the volume that holds the file."""
        usage = shutil.disk_usage(_file(engine).parent)
        return usage.free, usage.total

    def file(self, engine: Engine) -> Path:
        """The one all of it is in."""
        return _file(engine)

    def hold_still(self, connection: Connection) -> None:
        """Every transaction of SQLite's does."""

    def give_back(self, engine: Engine) -> None:
        """Shrink the file by what pruning freed; otherwise it keeps its largest size for ever."""
        with engine.begin() as connection:
            driver = connection.connection.driver_connection
            if driver is not None:
                # Fetching is what drives it: each step of the statement frees one page.
                driver.execute(f"PRAGMA incremental_vacuum({GIVE_BACK_PAGES})").fetchall()
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            if driver is not None:
                # Files become shorter only now; whoever reads an older state is not waited for.
                for pragma in (
                    "busy_timeout = 0",
                    "wal_checkpoint(TRUNCATE)",
                    f"busy_timeout = {BUSY_S * 1000:.0f}",
                ):
                    driver.execute(f"PRAGMA {pragma}").fetchall()

    def scrub(self, engine: Engine) -> bool:
        """Write the file anew from what is alive, and empty its log; needs as much room again for a while."""
        # A connection of its own: ours keep what is temporary in memory, and this is as large as the file.
        try:
            with closing(sqlite3.connect(_file(engine), timeout=BUSY_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("VACUUM")
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise Transient(
                f"the file could not be written anew: {error}", where=str(_file(engine))
            ) from error
        # Who still reads an older state keeps the log; it is tried again.
        return not busy

    def translate(self, error: DBAPIError, where: str) -> ExchangeError | None:
        """By SQLite's primary result code."""
        detail = getattr(error.orig, "sqlite_errorcode", 0)
        code = detail & 0xFF
        if code in _FULL or detail in _UNWRITABLE:
            return DiskBlocked(
                f"the exchange database cannot be written: {error.orig}",
                where=where,
                fix="free space on its volume, or raise the quota",
            )
        if code in _DAMAGED:
            return Poisoned(
                f"the exchange database is damaged: {error.orig}",
                where=where,
                fix="restore the file from a backup, or move it away and copy the tables afresh",
            )
        if code in _PASSING or error.connection_invalidated:
            return Transient(f"the exchange database did not answer as it should: {error.orig}", where=where)
        return None


def _file(engine: Engine) -> Path:
    return Path(engine.url.database or "").absolute()


def _prepare(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # isolation_level None: the driver begins nothing by itself, _begin does.
    connection.isolation_level = None
    # These two are the file's own. Set again they would need the write lock: a reader that connects while a large
    # transaction is written would wait for its end.
    for pragma, wanted, setting in (("auto_vacuum", 2, "INCREMENTAL"), ("journal_mode", "wal", "WAL")):
        if connection.execute(f"PRAGMA {pragma}").fetchone() != (wanted,):
            connection.execute(f"PRAGMA {pragma} = {setting}").fetchall()
    for pragma in (
        "synchronous = FULL",
        "wal_autocheckpoint = 4000",
        "temp_store = MEMORY",
        "cache_size = -32768",
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    reads = connection.get_execution_options().get("exchange_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
