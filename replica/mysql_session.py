"""One driver connection to MariaDB or MySQL made ready for frames: strict, in UTF-8 and UTC, with its staging tables.

A statement that ends with a warning has failed: a warning is how these servers say that they changed a value.
"""

# ruff: noqa: S608 - statements are put together from quoted identifiers and literals of our own making

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn, cast

from pymysql.connections import Connection as Driver
from sqlalchemy import Connection

from proto.batch import Frames
from proto.errors import BadRow, FrameCorrupt, Refused
from proto.frames import check
from proto.values import Kind
from replica.dialect import notes, refuse_miscounted
from replica.mysql_errors import bad_row
from replica.mysql_rows import pieces
from replica.mysql_sql import Statements
from replica.mysql_values import Unholdable

Rows = list[tuple[Any, ...]]

PACKET_TOO_LARGE: Final = 1153
PIECE_BYTES: Final = 1024 * 1024
PIECE_ROWS: Final = 500
"""Keys in one statement at most: from about a thousand on the server plans such a list in another way, with a copy."""
MOST_ROWS: Final = 20_000
LOCK_WAIT_S: Final = 10
"""How long a table may be altered by somebody, or in use while we alter it, before we try again later."""
_SPARE_BYTES: Final = 4096
"""What a statement has beside its rows."""
_SETTINGS: Final = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,NO_ZERO_IN_DATE', "
    f"time_zone = '+00:00', net_write_timeout = 3600, net_read_timeout = 3600, lock_wait_timeout = {LOCK_WAIT_S}"
)
_SERVER: Final = "SELECT @@version, @@max_allowed_packet"


class Session:
    """What is known of one driver connection; it ends with it."""

    def __init__(self, driver: Driver[Any]) -> None:
        if driver.charset != "utf8mb4":
            driver.set_character_set("utf8mb4")
        self._driver = driver
        self._stages: set[str] = set()
        self.run(_SETTINGS)
        version, packet_bytes = self.ask(_SERVER)[0]
        self.collation = "utf8mb4_nopad_bin" if "mariadb" in version.lower() else "utf8mb4_0900_bin"
        self._packet_bytes = packet_bytes - _SPARE_BYTES
        self._piece_bytes = min(PIECE_BYTES, self._packet_bytes // 2)

    def run(self, statement: str | bytes, complain: Callable[[int, str], NoReturn] | None = None) -> int:
        """Execute; returns the rows found or changed. A warning goes to *complain*."""
        with self._driver.cursor() as cursor:
            cursor.execute(cast(str, statement))
            changed = cursor.rowcount
            if complain is not None and cursor.warning_count:
                cursor.execute("SHOW WARNINGS")
                for level, number, said in cursor.fetchall():
                    if level != "Note":
                        complain(number, said)
            return int(changed)

    def ask(self, question: str | bytes, values: Sequence[str | int] = ()) -> Rows:
        """The rows that answer *question*."""
        with self._driver.cursor() as cursor:
            cursor.execute(cast(str, question), values or None)
            return list(cursor.fetchall())

    def send(self, start: bytes, frames: Frames, kinds: Sequence[Kind], at: Target, end: bytes = b"") -> int:
        """Execute *start* with the rows of *frames* and *end*, as often as it takes; returns the rows it changed."""
        refuse_miscounted(check(frames.data, len(kinds)), frames)
        with at.plain_words():
            rows = pieces(frames.data, kinds, self._piece_bytes, PIECE_ROWS if end else MOST_ROWS)
            return sum(self._send(start + some + end, at) for some, _ in rows)

    def ask_for(self, start: bytes, keys: Frames, kinds: Sequence[Kind], at: Target) -> Iterator[Rows]:
        """The rows that answer *start* with *keys* in brackets, some keys at a time."""
        with at.plain_words():
            for some, _ in pieces(keys.data, kinds, self._piece_bytes, PIECE_ROWS):
                yield self.ask(start + some + b")")

    def stage(self, statements: Statements, kinds: Sequence[Kind], frames: Frames, at: Target) -> str:
        """The name of a temporary table filled with *frames*; its columns are f0, f1 …"""
        name = "exchange_stage_" + hashlib.sha256(" ".join(kinds).encode()).hexdigest()[:16]
        if name in self._stages:
            self.run(f"DELETE FROM {name}")
        else:
            self.run(statements.stage(name, kinds))
            self._stages.add(name)
        self.send(f"INSERT INTO {name} VALUES ".encode(), frames, kinds, at)
        return name

    def _send(self, statement: bytes, at: Target) -> int:
        if len(statement) > self._packet_bytes:
            # Sent all the same it would end the connection, and look like a bad one for ever.
            raise at.refuse(PACKET_TOO_LARGE, "")
        return self.run(statement, at.complain)


class Target:
    """Where rows go, for the words of an error."""

    def __init__(self, table: str, where: str, columns: Sequence[str]) -> None:
        self.table = table
        self.where = where
        self.columns = columns

    def refuse(self, number: int, said: str) -> BadRow:
        """The error for a row that the server does not take."""
        return bad_row(number, said, self.table, self.where, self.columns)

    def complain(self, number: int, said: str) -> NoReturn:
        """Turn a warning into an error."""
        raise self.refuse(number, said)

    @contextmanager
    def plain_words(self) -> Generator[None]:
        """Bytes that are no value of their kind are a bad row; bytes that are no frames are not."""
        try:
            yield
        except FrameCorrupt:
            raise
        except Refused as error:
            raise self._bad(f"a value is not in its column's binary form ({error.what})") from None
        except Unholdable as error:
            raise self._bad(f'{error.why}, column "{self.columns[error.column]}"') from None

    def _bad(self, what: str) -> BadRow:
        return BadRow(self.table, what, where=self.where, fix="mend the row at the source")


def driver_of(connection: Connection) -> Driver[Any]:
    """The driver's connection, in a transaction that SQLAlchemy knows of."""
    notes(connection)
    return cast("Driver[Any]", connection.connection.driver_connection)


def session_of(connection: Connection) -> Session:
    """The session that belongs to the driver's connection and ends with it."""
    driver = driver_of(connection)
    session: Session | None = connection.info.get(Session)
    if session is None:
        session = connection.info[Session] = Session(driver)
    return session
