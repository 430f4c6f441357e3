"""Connections to a MariaDB or MySQL business database, and its errors in our words.

Every session is read-only, in UTC, with a sql_mode that changes no value. Errors are told apart by number, never by
their text, which servers translate.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pymysql
from pymysql.cursors import SSCursor

from agent.sources.mysql.dsn import Address
from agent.sources.mysql.settings import MysqlSettings
from proto.errors import Credential, ExchangeError, Transient

Row = tuple[Any, ...]
Driver = Any
"""The driver's connection; what we need of it is more than its stubs know."""
QUESTION_TIMEOUT_S: Final = 600
_SESSION: Final = (
    "SET SESSION sql_mode = '', time_zone = '+00:00', lock_wait_timeout = 10, wait_timeout = 86400, "
    "net_write_timeout = 600, group_concat_max_len = 1048576",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
)
# Values come as the bytes that are stored, each column in its own character set.
_RAW: Final = "SET SESSION character_set_results = NULL"
# A statement of ours that runs longer than this is not worth its load.
_PATIENCE: Final = {
    True: f"SET SESSION max_statement_time = {QUESTION_TIMEOUT_S}",
    False: f"SET SESSION max_execution_time = {QUESTION_TIMEOUT_S * 1000}",
}
_CREDENTIAL: Final = frozenset(
    {1044, 1045, 1049, 1130, 1142, 1143, 1227, 1251, 1524, 1698, 1820, 1862, 2026, 2049, 2054, 2059, 2061}
    | {3118, 3159, 3955, 4151}
)
LOGIN_FIX: Final = "mend the account or its password; 'exchange-agent check' says what is missing"


class Connection:
    """One session for questions."""

    def __init__(self, settings: MysqlSettings, *, raw: bool = False) -> None:
        """Open it; raises Credential or Transient. *raw* leaves every value the bytes that are stored."""
        self.name = settings.name
        self.driver = _login(settings, raw=raw)
        info = str(self.driver.get_server_info())
        self.is_mariadb = "mariadb" in info.lower()
        self.version = _version(info)
        for statement in (*_SESSION, _PATIENCE[self.is_mariadb], *((_RAW,) if raw else ())):
            self.run(statement)

    def run(self, statement: str) -> None:
        """A statement whose answer does not matter."""
        with translated(self.name), self.driver.cursor() as cursor:
            cursor.execute(statement)

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of an answer."""
        with translated(self.name), self.driver.cursor() as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall())

    def row(self, query: str, values: Sequence[object] = ()) -> Row:
        """The first row of an answer; empty if there is none."""
        return next(iter(self.rows(query, values)), ())

    def dicts(self, query: str) -> list[dict[str, Any]]:
        """The rows of a SHOW statement, by the names of its columns, which differ between versions."""
        with translated(self.name), self.driver.cursor() as cursor:
            cursor.execute(query)
            names = [str(column[0]) for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def each(self, query: str) -> SSCursor:
        """A cursor over rows that stay at the server until they are fetched; close it."""
        cursor: SSCursor = self.driver.cursor(SSCursor)
        with translated(self.name):
            cursor.execute(query)
        return cursor

    @property
    def is_open(self) -> bool:
        """Not hung up by us; what the other side did shows at the next question."""
        return bool(self.driver.open)

    def close(self) -> None:
        """Hang up, whatever is still on the way."""
        if (result := self.driver._result) is not None:
            # Nobody may wait for the rest of an answer on a connection that is gone.
            result.unbuffered_active = False
        hang_up(self.driver)


def _login(settings: MysqlSettings, *, raw: bool) -> Driver:
    raw_options: dict[str, Any] = {"conv": {}, "use_unicode": False} if raw else {}
    return login(settings, **raw_options)


def login(settings: MysqlSettings, **options: Any) -> Driver:
    """A connection as the driver makes it, with the account's rights and nothing set; Credential or Transient."""
    address, patience_s = settings.address, max(1, round(settings.connect_timeout_s))
    with translated(settings.name):
        driver = pymysql.connect(
            host=address.host,
            port=address.port,
            unix_socket=address.option("socket") or None,
            user=address.user,
            password=address.password.encode(),
            database=address.database or None,
            charset="utf8mb4",
            autocommit=True,
            local_infile=False,
            connect_timeout=patience_s,
            # The driver's connect_timeout ends with TCP: a server that takes calls and never speaks would keep us.
            read_timeout=patience_s,
            write_timeout=60,
            program_name=f"exchange-agent {settings.name}"[:63],
            **_protection(address, settings.name),
            **options,
        )
    driver._read_timeout = QUESTION_TIMEOUT_S + 30  # type: ignore[attr-defined]
    return driver


def _protection(address: Address, where: str) -> dict[str, Any]:
    try:
        context = address.tls()
    except OSError as error:
        raise Credential(
            f"a certificate file of the dsn cannot be used: {error.strerror or error}",
            where=where,
            fix=LOGIN_FIX,
        ) from error
    return {"ssl_disabled": True} if context is None else {"ssl": context}


def hang_up(driver: Driver) -> None:
    """Close at once: no farewell, and no rest of an answer is waited for."""
    driver._force_close()


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except pymysql.err.Error as error:
        raise error_of(error, where) from error
    except OSError as error:
        raise Transient(f"the connection broke: {error.strerror or error}", where=where) from error


def error_of(error: pymysql.err.Error, where: str) -> ExchangeError:
    """What an error of the server or of the connection asks of us."""
    number, what = number_of(error), said(error)
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLError):
        fix = "name the authority's certificate in the dsn: ssl_ca=/path"
        return Credential(
            f"the server's certificate is refused: {cause.reason or what}", where=where, fix=fix
        )
    if number in _CREDENTIAL:
        return Credential(f"{what} ({number})", where=where, fix=LOGIN_FIX)
    return Transient(f"{what} ({number})" if number else what, where=where)


def number_of(error: pymysql.err.Error) -> int:
    """The server's or the driver's number of an error; 0 if it has none."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def said(error: pymysql.err.Error) -> str:
    """What the server said."""
    return " ".join(str(error.args[-1] if error.args else error).split())


def _version(info: str) -> tuple[int, ...]:
    """The numbers of a version; some MariaDB servers write 5.5.5- before theirs."""
    text = info.removeprefix("5.5.5-").partition("-")[0]
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def quoted(identifier: str) -> str:
    """An identifier for a statement, whatever it contains."""
    return "`" + identifier.replace("`", "``") + "`"
