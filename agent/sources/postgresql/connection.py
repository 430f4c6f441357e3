"""Connections to a PostgreSQL business database, and its errors in our words.

Every session is read-only unless a statement says otherwise, writes values in one fixed way, and refuses to be
silently filtered by row security. Errors are told apart by SQLSTATE, never by their text, which servers translate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agent.sources.postgresql.ping import takes_logins
from agent.sources.postgresql.place import parse_lsn
from proto.errors import Credential, ExchangeError, Fenced, Gap, Poisoned, Transient

Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT_S: Final = 10
SESSION: Final = """
SET default_transaction_read_only = on; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET xmloption = 'content'; SET search_path = pg_catalog;
SET standard_conforming_strings = on; SET row_security = off; SET lock_timeout = '10s'; SET statement_timeout = '10min'
"""
_LOG_END: Final = "SELECT pg_current_wal_insert_lsn()::text, current_setting('wal_block_size')"
_PAGE_HEADER_BYTES: Final = 40
_CREDENTIAL: Final = {"28P01", "28000", "42501"}
# object in use, undefined object, undefined file, object not in prerequisite state: what a slot or publication answers.
_SLOT: Final[dict[str, type[ExchangeError]]] = {"55006": Fenced, "42704": Gap, "58P01": Gap, "55000": Gap}
_FIX: Final[dict[type[ExchangeError], str]] = {
    Fenced: "stop the other reader, then: exchange-agent resume",
    Gap: "copy all tables afresh: exchange-agent snapshot --all",
    Credential: "mend the account, its password or pg_hba.conf; 'exchange-agent check' says what is missing",
}
# The server has no SQLSTATE for us while we log in. A full house is worth a second try, and so is a server that was
# still coming up when it refused us, although it answers by the time it is asked again. These are their words.
_PASSING: Final = (
    *("too many", "connection slots", "太多", "连接位置"),
    *("starting up", "shutting down", "recovery mode", "not yet accepting"),
    *("启动中", "正在关闭", "恢复模式", "尚未接受"),
)


def connect(dsn: str, name: str, *, walsender: bool = False) -> Connection:
    """Open a session; raises Credential or Transient."""
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, **conninfo_to_dict(dsn)}
    options |= {"application_name": f"exchange-agent {name}"[:63], "client_encoding": "UTF8"}
    if walsender:
        options["replication"] = "database"
    try:
        connection = psycopg.connect(make_conninfo("", **options), autocommit=True)
    except psycopg.OperationalError as error:
        raise _login_error(options, str(error), name) from None
    if not walsender:
        with translated(name):
            connection.execute(SESSION)
    return connection


def log_end(connection: Connection, where: str) -> int:
    """How far the server's log reaches, whether on disk yet or not: what is committed lies before it."""
    with translated(where):
        row = connection.execute(_LOG_END).fetchone()
    lsn, page = (parse_lsn(row[0]), int(row[1])) if row else (0, 1)
    # At a page's start the server names the first byte after the page's header, which no record's end ever reaches.
    return lsn - lsn % page if lsn % page <= _PAGE_HEADER_BYTES else lsn


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise error_of(error.sqlstate or "", error.diag.message_primary or str(error), where) from error


def error_of(sqlstate: str, what: str, where: str) -> ExchangeError:
    """What an error of an ordinary statement asks of us."""
    if sqlstate in _CREDENTIAL:
        return Credential(f"{what} ({sqlstate})", where=where, fix=_FIX[Credential])
    if sqlstate.startswith("22"):
        return Poisoned(f"{what} ({sqlstate})", where=where)
    return Transient(f"{what} ({sqlstate})" if sqlstate else what, where=where)


def slot_error(result: pq.abc.PGresult, where: str) -> ExchangeError:
    """What an error of the replication protocol asks of us."""
    sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    what = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    if kind := _SLOT.get(sqlstate):
        return kind(f"{what} ({sqlstate})", where=where, fix=_FIX[kind])
    return error_of(sqlstate, what, where)


def _login_error(options: dict[str, Any], said: str, where: str) -> ExchangeError:
    """A server that answers others but not us refuses us."""
    what = " ".join(said.split())
    passes = any(word in what.lower() for word in _PASSING)
    if passes or not takes_logins(options, float(options["connect_timeout"]) or CONNECT_TIMEOUT_S):
        return Transient(what, where=where, fix="check its address and that it runs")
    return Credential(what, where=where, fix=_FIX[Credential])
