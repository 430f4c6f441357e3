"""Any ODBC source through pyodbc, with the traps of the drivers disarmed.

Measured: Debian's psqlodbc logs every statement to /tmp and loads whole results unless told otherwise; MariaDB's
driver corrupts strings of 128 characters and more unless they are sent as UTF-8, and cuts texts at a zero character, some
at their last one, unless they are asked for as UTF-8 or as bytes; decimals lose digits in other modes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.sources.polling.connection import (
    NativeColumn,
    NativeIndex,
    Row,
    as_it_stores,
    ask_clock,
    mysql_timeout,
    says_no_entry,
    session_statements,
    translated,
    unreached,
)
from agent.sources.polling.dialects import BY_ODBC, DIALECTS, MARK, Dialect, dialect_of
from agent.sources.polling.settings import PollingSettings
from proto.errors import Refused, Transient
from proto.values import Plain

try:
    import pyodbc
except ImportError as missing:
    raise Refused(
        "the ODBC driver manager is not installed", where="odbc", fix="apt-get install libodbc2"
    ) from missing

_PACKAGES: Final = (
    ("postgres", "odbc-postgresql"),
    ("maria", "odbc-mariadb"),
    ("mysql", "odbc-mariadb"),
    ("sqlite", "libsqliteodbc"),
    ("freetds", "tdsodbc"),
)
_LOGIN_S: Final = 15


@dataclass(frozen=True, slots=True)
class Manners:
    """How a driver has to be told to lose nothing and to keep no result in memory."""

    names: tuple[str, ...]
    """Parts of what it is called in a connection string, and of its library's own name."""
    must: str
    """Whatever the settings say."""
    may: str
    """Unless the settings say otherwise."""


_MANNERS: Final = (
    # True booleans, whole texts, and no log of every statement in /tmp.
    Manners(
        ("postgres", "psqlodbc"),
        "BoolsAsChar=0;TextAsLongVarchar=1;MaxLongVarcharSize=1073741823;CommLog=0;Debug=0",
        "UseDeclareFetch=1;Fetch=1000",
    ),
    # It does not hear of pyodbc's login timeout: a server that takes calls and never speaks would keep us for ever.
    Manners(("maria", "maodbc"), f"CHARSET=utf8mb4;CONN_TIMEOUT={_LOGIN_S}", "NO_CACHE=1;FORWARDONLY=1"),
    # A file that is not there is not made.
    Manners(("sqlite",), "LongNames=0;NoCreat=1", "NoTXN=1;Timeout=10000"),
)
_NO_UNICODE: Final = "psqlodbca"
_CUTS_WIDE: Final = "maodbc"
"""What it brings as UTF-16 it cuts at a zero character, and some names and texts at their last one."""
_UNKNOWN: Final = Manners((), "", "")
_PARTS: Final = re.compile(r"\s*([^=;]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)")
_LISTS: Final = frozenset({"IM002", "IM003", "01000"})
"""What the driver manager says when it finds no driver under the name given."""


class OdbcDatabase:
    """One ODBC connection."""

    def __init__(self, settings: PollingSettings) -> None:
        self.where = settings.name
        given = settings.odbc.get_secret_value() if settings.odbc else ""
        # A bare name is a DSN for pyodbc.
        given = given if "=" in given else f"DSN={given}"
        self._link = self._connect(given)
        product = str(self._link.getinfo(pyodbc.SQL_DBMS_NAME))
        self.dialect: Dialect = DIALECTS[settings.dialect] if settings.dialect else dialect_of(product)
        self._link.decimal_mode = "text"
        self.dialect = BY_ODBC.get(self.dialect.name, self.dialect)
        if self.dialect.name == "mysql":
            self._link.setencoding("utf-8")
        self._timeout(settings)
        self.clock = ask_clock(self)
        for statement in session_statements(self.dialect, settings):
            self.query(statement)
        self.dialect = as_it_stores(self)

    def query(self, statement: str, parameters: Sequence[Plain] = ()) -> list[Row]:
        """All rows at once."""
        try:
            with self._link.cursor() as cursor:
                cursor.execute(statement.replace(MARK, "?"), *parameters)
                return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        except (pyodbc.Error, UnicodeDecodeError) as error:
            raise self._translated(error) from None

    def stream(self, statement: str, rows: int) -> Iterator[list[Row]]:
        """The driver fetches as it is asked."""
        try:
            with self._link.cursor() as cursor:
                cursor.execute(statement)
                while found := cursor.fetchmany(rows):
                    yield [tuple(row) for row in found]
        except (pyodbc.Error, UnicodeDecodeError) as error:
            raise self._translated(error) from None

    def columns(self, schema: str, table: str) -> list[NativeColumn]:
        """As the driver's catalogue function tells; it takes patterns, so what it brings is compared."""
        with_place = self._place(schema, table)
        found = self._catalogue(lambda cursor: cursor.columns(**with_place), schema, table)
        return [NativeColumn(row.column_name, self._declared(row), bool(row.nullable)) for row in found]

    def primary_key(self, schema: str, table: str) -> tuple[str, ...]:
        """In key order."""
        with_place = self._place(schema, table)
        found = self._catalogue(lambda cursor: cursor.primaryKeys(**with_place), schema, table)
        return tuple(row.column_name for row in sorted(found, key=lambda row: int(row.key_seq)))

    def indexes(self, schema: str, table: str) -> list[NativeIndex]:
        """Gathered from one row per column."""
        with_place = self._place(schema, table)
        found = self._catalogue(lambda cursor: cursor.statistics(**with_place), schema, table)
        gathered: dict[str, list[Any]] = {}
        for row in found:
            if row.column_name:
                gathered.setdefault(row.index_name, []).append(row)
        return [
            NativeIndex(tuple(row.column_name for row in rows), not rows[0].non_unique)
            for rows in gathered.values()
        ]

    def close(self) -> None:
        """Whatever state the connection is in."""
        try:
            self._link.close()
        except pyodbc.Error:
            return

    def _connect(self, given: str) -> Any:
        """A DSN may hide which driver it is, so the driver is asked for its library's name."""
        driver = _driver(given)
        guess = _manners(driver)
        link = self._opened(given, guess)
        library = str(link.getinfo(pyodbc.SQL_DRIVER_NAME))
        if library.startswith(_NO_UNICODE):
            link.close()
            what = f'the ODBC driver "{driver}" cannot carry every character'
            raise Refused(what, where=self.where, fix="take Driver={PostgreSQL Unicode}")
        known = _manners(library)
        if known not in (guess, _UNKNOWN):
            link.close()
            link = self._opened(given, known)
        if _CUTS_WIDE in library:
            link.setdecoding(pyodbc.SQL_WCHAR, encoding="utf-8", ctype=pyodbc.SQL_CHAR)
        return link

    def _opened(self, given: str, manners: Manners) -> Any:
        try:
            return pyodbc.connect(_mannered(given, manners), autocommit=True, timeout=_LOGIN_S)
        except pyodbc.Error as error:
            if str(error.args[0]) in _LISTS:
                raise self._no_driver(given) from None
            words = str(error.args[1]) if len(error.args) > 1 else ""
            raise unreached(self._translated(error), words, self.where) from None

    def _no_driver(self, given: str) -> Refused:
        driver, source = _driver(given), _words(given).get("dsn", "")
        there = ", ".join(pyodbc.drivers()) or "none"
        if source and "driver" not in _words(given):
            known = ", ".join(pyodbc.dataSources()) or "none"
            what = f'the ODBC data source "{source}" or its driver is not there; defined: {known}; drivers: {there}'
            fix = "define it in /etc/odbc.ini under an ASCII name, or write Driver={…};Server=…"
            return Refused(what, where=self.where, fix=fix)
        package = next((package for name, package in _PACKAGES if name in driver.lower()), "")
        fix = f"apt-get install {package}" if package else "install the vendor's ODBC driver"
        return Refused(
            f'there is no ODBC driver "{driver}"; installed: {there}',
            where=self.where,
            fix=f"{fix}, or name one that is installed",
        )

    def _timeout(self, settings: PollingSettings) -> None:
        seconds = settings.load.statement_timeout_s
        if self.dialect.name == "mysql":
            self.query(mysql_timeout(str(self._link.getinfo(pyodbc.SQL_DBMS_VER)), seconds))
        elif self.dialect.name not in ("postgresql", "kingbase", "sqlite"):
            self._link.timeout = int(seconds)

    def _place(self, schema: str, table: str) -> dict[str, str]:
        place = {"table": table}
        if schema:
            place["catalog" if self.dialect.schema_is_catalog else "schema"] = schema
        return place

    def _declared(self, row: Any) -> str:
        """The type, with its digits where a CAST needs them; for a numeric without limits digits are invented."""
        name = str(row.type_name)
        exact = self.dialect.casts == "kind" and name.lower() in ("decimal", "numeric", "number")
        return f"{name}({row.column_size},{row.decimal_digits or 0})" if exact and row.column_size else name

    def _catalogue(self, ask: Any, schema: str, table: str) -> list[Any]:
        try:
            with self._link.cursor() as cursor:
                rows = list(ask(cursor))
        except pyodbc.Error as error:
            raise self._translated(error) from None
        owner = "table_cat" if self.dialect.schema_is_catalog else "table_schem"
        fits = [row for row in rows if row.table_name == table]
        return [row for row in fits if not schema or getattr(row, owner) == schema]

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, UnicodeDecodeError):
            return translated("22021", "", self.where)
        state = str(error.args[0]) if error.args else ""
        words = str(error.args[1]) if len(error.args) > 1 else ""
        if state.startswith("08") and not says_no_entry(words):
            return Transient(
                "the database cannot be reached or hung up",
                where=self.where,
                fix="see whether its server runs and the network lets us through",
            )
        return translated(state, words, self.where)


def _words(address: str) -> dict[str, str]:
    return {word.lower(): value.strip("{}") for word, value in _PARTS.findall(address)}


def _driver(address: str) -> str:
    """The driver that *address* names, itself or by its DSN."""
    words = _words(address)
    name = words.get("dsn", "")
    known: dict[str, str] = pyodbc.dataSources() if name else {}
    return words.get("driver") or known.get(name) or name or words.get("filedsn", "")


def _manners(name: str) -> Manners:
    return next((each for each in _MANNERS if any(part in name.lower() for part in each.names)), _UNKNOWN)


def _mannered(address: str, manners: Manners) -> str:
    """*address* with what the driver must be told in place of what it says, and what it may be told added."""
    must = {word.lower() for word, _ in _PARTS.findall(manners.must)}
    said = [(word, value) for word, value in _PARTS.findall(address) if word.lower() not in must]
    known = {word.lower() for word, _ in said}
    said += _PARTS.findall(manners.must)
    said += [(word, value) for word, value in _PARTS.findall(manners.may) if word.lower() not in known]
    return ";".join(f"{word}={value}" for word, value in said)
