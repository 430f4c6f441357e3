"""One connection to a business database, whichever driver carries it: read only, one statement at a time.

Errors are told apart by what the daemon should do. A statement that fails for its data, its time or its structure is
one table's trouble; everything else ends the session. No message repeats a value of a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from agent.sources.polling.dialects import Dialect
from agent.sources.polling.settings import PollingSettings
from proto.errors import Credential, ExchangeError, Refused, Transient
from proto.values import Kind, Plain, from_text

Row = tuple[Any, ...]
_NO_ENTRY: Final = frozenset({"28000", "28P01"})
_NO_ENTRY_WORDS: Final = (
    "access denied",
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    '" is not permitted to log in',
    "login failed",
    "ora-01017",
)
_NO_ROLE: Final = re.compile(r'role "[^"]*" does not exist')
_FILE_WORDS: Final = ("unable to open database file", "connect failed", "disk I/O error")
"""What SQLite and its ODBC driver say of a file that they cannot open."""
_DECORATION: Final = re.compile(r"\[[^]]*\]\s*|\(SQL\w+\)|\(\d+\)")
"""What ODBC drivers put around their words."""
_TABLE_STATES: Final = frozenset({"42P01", "42703", "42S02", "42S22", "42501", "42000", "42883"})
_DATA_STATES: Final = frozenset({"22P02", "22021", "22P05", "22007", "22008", "22003", "22018"})


class TableTrouble(Exception):
    """A statement failed because of the table's structure or rights; *code* names how, never a value."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class DataTrouble(Exception):
    """A statement failed because a value cannot be read; *code* names how, never the value."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class NativeColumn:
    """A column as the catalogue has it."""

    name: str
    type: str
    """As a CAST can say it, as far as the catalogue tells."""
    nullable: bool


@dataclass(frozen=True, slots=True)
class NativeIndex:
    """An index as the catalogue has it."""

    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True, slots=True)
class Clock:
    """How the server's wall clock stands to UTC, as it was before the session was set to UTC."""

    ahead_us: int = 0


class Database(Protocol):
    """An open connection."""

    dialect: Dialect
    where: str
    clock: Clock

    def query(self, statement: str, parameters: Sequence[Plain] = ()) -> list[Row]:
        """All rows of a statement whose result is small."""
        ...

    def stream(self, statement: str, rows: int) -> Iterator[list[Row]]:
        """The rows of a statement, *rows* at a time; memory stays flat."""
        ...

    def columns(self, schema: str, table: str) -> list[NativeColumn]:
        """The table's columns in order; none when there is no such table."""
        ...

    def primary_key(self, schema: str, table: str) -> tuple[str, ...]:
        """The columns of the primary key; none when it has none."""
        ...

    def indexes(self, schema: str, table: str) -> list[NativeIndex]:
        """Its indexes, the primary key's included where the catalogue lists it."""
        ...

    def close(self) -> None:
        """Hang up; never raises."""
        ...


def session_statements(dialect: Dialect, settings: PollingSettings) -> list[str]:
    """What is said first, with the limits of the settings filled in."""
    seconds = settings.load.statement_timeout_s
    return [
        statement.format(timeout_ms=int(seconds * 1000), timeout_s=seconds) for statement in dialect.session
    ]


def ask_clock(database: Database) -> Clock:
    """Ask before the session is set to UTC; where the dialect has no words for it, our own zone stands in."""
    if not database.dialect.now:
        return Clock(int(datetime.now().astimezone().utcoffset() / timedelta(microseconds=1)))  # type: ignore[operator]
    wall, utc = (stamp_us(str(word)) for word in database.query(database.dialect.now)[0])
    return Clock(wall - utc)


def as_it_stores(database: Database) -> Dialect:
    """A PostgreSQL that checks no characters gives texts as bytes, so that they are checked here."""
    dialect = database.dialect
    if dialect.casts != "type" or database.query("SHOW server_encoding")[0][0] != "SQL_ASCII":
        return dialect
    return replace(dialect, text_as_bytes=True, by_kind=((Kind.TEXT, dialect.bytes_of, "{0}"),))


def utc_us(database: Database) -> int:
    """The server's clock now, microseconds since 2000 UTC."""
    if not database.dialect.now:
        return stamp_us(datetime.now(UTC).replace(tzinfo=None).isoformat(" "))
    return stamp_us(str(database.query(database.dialect.now)[0][1]))


def stamp_us(words: str) -> int:
    """Microseconds since 2000 of a time as text."""
    return int.from_bytes(from_text(Kind.TIMESTAMP, words), signed=True)


def mysql_timeout(version: str, seconds: float) -> str:
    """MariaDB counts seconds, MySQL milliseconds; a driver of either may speak to both."""
    if "maria" in version.lower() or version.startswith(("10.", "11.", "12.")):
        return f"SET SESSION max_statement_time = {seconds}"
    return f"SET SESSION max_execution_time = {int(seconds * 1000)}"


def says_no_entry(words: str) -> bool:
    """Whether a server's words are those to an account that it does not let in."""
    said = words.lower()
    return any(word in said for word in _NO_ENTRY_WORDS) or _NO_ROLE.search(said) is not None


def unreached(found: Exception, words: str, where: str) -> Exception:
    """There is no connection; the driver's words, which name host, account and database and never a row, say why."""
    # MariaDB's ODBC driver goes on with rubbish after a zero character.
    said = (
        _DECORATION.sub("", words.strip().partition("\n")[0].partition("\0")[0]).strip()
        or "no reason was given"
    )
    if isinstance(found, Credential):
        fix = "correct the account or its password, or let it in at the server"
        return Credential(f"the database refuses the account: {said}", where=where, fix=fix)
    if isinstance(found, Transient | TableTrouble | DataTrouble):
        fix = "start its server, correct the address in the settings, or let the network pass us"
        if any(word in said for word in _FILE_WORDS):
            fix = "correct the path in the settings, or let this account read the file and its folder"
        return Transient(f"the database cannot be reached: {said}", where=where, fix=fix)
    return found


def translated(state: str, words: str, where: str) -> ExchangeError | TableTrouble | DataTrouble:
    """What to do about a failed statement or connection, by SQLSTATE and the server's words."""
    said = words.lower()
    if state in _NO_ENTRY or says_no_entry(said):
        return Credential(
            "the database refuses the account", where=where, fix="correct the account or its password"
        )
    if "file is not a database" in said:
        return Refused("the file is not an SQLite database", where=where, fix="correct the path")
    if state in _TABLE_STATES or "no such table" in said or "no such column" in said:
        return TableTrouble(state or "no such table or column")
    if state in _DATA_STATES:
        return DataTrouble(state)
    if state in ("57014", "HYT00", "70100") or "max_statement_time" in said:
        return Transient(
            "a statement took longer than it may",
            where=where,
            fix="raise load.statement_timeout_s, lower load.page_rows, or have the watermark column indexed",
        )
    return Transient(f"the database did not answer as it should ({state or 'no code'})", where=where)
