"""Any database that SQLAlchemy has a dialect for, by URL; results come through the driver's server-side cursor."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event, exc, inspect, make_url
from sqlalchemy.engine import CursorResult
from sqlalchemy.pool import NullPool

from agent.sources.polling.connection import (
    NativeColumn,
    NativeIndex,
    Row,
    as_it_stores,
    ask_clock,
    mysql_timeout,
    session_statements,
    translated,
    unreached,
)
from agent.sources.polling.dialects import DIALECTS, MARK, Dialect, dialect_of
from agent.sources.polling.settings import PollingSettings
from proto.errors import Refused
from proto.values import Plain

_DRIVERS: Final = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""SQLAlchemy's own choice for the last two is a driver that needs a compiler."""
_CONNECT: Final[dict[str, dict[str, Any]]] = {
    # Where the server has no encoding of its own, the driver would take its words for bytes.
    "psycopg": {"connect_timeout": 15, "client_encoding": "utf8"},
    # The driver's connect_timeout ends with TCP: a server that takes calls and never speaks would keep us for ever.
    "pymysql": {"connect_timeout": 15, "read_timeout": 15, "charset": "utf8mb4"},
}
_MYSQL_INDEXES: Final = (
    "SELECT index_name, column_name, non_unique FROM information_schema.statistics "  # noqa: S608
    f"WHERE table_schema = COALESCE(NULLIF({MARK}, ''), DATABASE()) AND table_name = {MARK} "
    "ORDER BY index_name, seq_in_index"
)
_STATES: Final = {
    1044: "28000",
    1045: "28000",
    1698: "28000",
    1054: "42S22",
    1146: "42S02",
    1142: "42501",
    1143: "42501",
    1969: "57014",
    3024: "57014",
}
"""MySQL's own numbers where its driver tells no SQLSTATE."""


class UrlDatabase:
    """One connection of an engine that keeps no pool."""

    def __init__(self, settings: PollingSettings) -> None:
        self.where = settings.name
        self._engine = _engine(settings)
        native = self._engine.dialect
        self.dialect: Dialect = DIALECTS[settings.dialect] if settings.dialect else dialect_of(native.name)
        self._named = native.paramstyle in ("format", "pyformat")
        try:
            self._link = self._engine.connect()
        except exc.DBAPIError as error:
            raise self._connecting(error) from None
        self.clock = ask_clock(self)
        for statement in session_statements(self.dialect, settings):
            self.query(statement)
        self.dialect = as_it_stores(self)
        if self.dialect.name == "mysql":
            version = str(self.query("SELECT VERSION()")[0][0])
            self.query(mysql_timeout(version, settings.load.statement_timeout_s))

    def query(self, statement: str, parameters: Sequence[Plain] = ()) -> list[Row]:
        """All rows at once."""
        try:
            result = self._run(statement, tuple(parameters))
            return [tuple(row) for row in result] if result.returns_rows else []
        except (exc.DBAPIError, UnicodeDecodeError) as error:
            raise self._translated(error) from None

    def stream(self, statement: str, rows: int) -> Iterator[list[Row]]:
        """Through a server-side cursor where the driver has one, which lives in a transaction."""
        try:
            self._run("BEGIN", ())
            result = self._run(statement, (), stream_results=True, max_row_buffer=rows)
            for found in result.partitions(rows):
                yield [tuple(row) for row in found]
            self._run("COMMIT", ())
        except (exc.DBAPIError, UnicodeDecodeError) as error:
            raise self._translated(error) from None

    def columns(self, schema: str, table: str) -> list[NativeColumn]:
        """As the dialect reflects them."""
        try:
            found = inspect(self._link).get_columns(table, schema or None)
        except exc.NoSuchTableError:
            return []
        except exc.DBAPIError as error:
            raise self._translated(error) from None
        return [
            NativeColumn(str(column["name"]), self._declared(column["type"]), bool(column["nullable"]))
            for column in found
        ]

    def primary_key(self, schema: str, table: str) -> tuple[str, ...]:
        """In key order."""
        try:
            key = inspect(self._link).get_pk_constraint(table, schema or None)
        except exc.DBAPIError as error:
            raise self._translated(error) from None
        return tuple(key["constrained_columns"])

    def indexes(self, schema: str, table: str) -> list[NativeIndex]:
        """The primary key's first, which reflection does not list."""
        if self.dialect.name == "mysql":
            return self._listed(schema, table)
        try:
            found = inspect(self._link).get_indexes(table, schema or None)
        except exc.DBAPIError as error:
            raise self._translated(error) from None
        listed = [
            NativeIndex(tuple(name for name in index["column_names"] if name), bool(index["unique"]))
            for index in found
        ]
        key = self.primary_key(schema, table)
        return [NativeIndex(key, True), *listed] if key else listed

    def _listed(self, schema: str, table: str) -> list[NativeIndex]:
        """Reflection would need SHOW CREATE TABLE, which an account that reads some columns only may not."""
        gathered: dict[str, list[Row]] = {}
        for row in self.query(_MYSQL_INDEXES, (schema, table)):
            gathered.setdefault(row[0], []).append(row)
        return [
            NativeIndex(tuple(row[1] for row in rows if row[1]), not rows[0][2]) for rows in gathered.values()
        ]

    def close(self) -> None:
        """Whatever state the connection is in."""
        try:
            self._link.close()
        except exc.SQLAlchemyError:
            self._link.invalidate()
        self._engine.dispose()

    def _run(self, statement: str, parameters: tuple[Plain, ...], **options: Any) -> CursorResult[Any]:
        marked = (
            statement.replace("%", "%%").replace(MARK, "%s")
            if self._named and parameters
            else statement.replace(MARK, "?")
        )
        return self._link.exec_driver_sql(marked, parameters or None, execution_options=options)

    def _declared(self, kind: Any) -> str:
        try:
            return str(kind.compile(self._engine.dialect))
        except exc.SQLAlchemyError:
            # A type that SQLAlchemy does not know: its values travel as text.
            return ""

    def _connecting(self, error: exc.DBAPIError) -> Exception:
        cause = error.orig
        # MySQL's driver puts a number before its words.
        words = cause.args[-1] if cause is not None and cause.args else ""
        return unreached(self._translated(error), str(words), self.where)

    def _translated(self, error: Exception) -> Exception:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        if isinstance(cause, UnicodeDecodeError):
            return translated("22021", "", self.where)
        number = cause.args[0] if cause is not None and cause.args else None
        state = getattr(cause, "sqlstate", None) or (
            _STATES.get(number, "") if isinstance(number, int) else ""
        )
        return translated(state, str(cause), self.where)


def engine_of(address: str, where: str, **options: Any) -> Engine:
    """An engine without a pool, for the account that *address* names. Raises Refused."""
    url = _completed(address, where)
    try:
        engine = create_engine(
            url, poolclass=NullPool, connect_args=_arguments(url), hide_parameters=True, **options
        )
    except (exc.NoSuchModuleError, ImportError) as error:
        fix = "take postgresql+psycopg, mysql+pymysql or sqlite, or install the driver"
        raise Refused(f"there is no driver for {url.drivername}", where=where, fix=fix) from error
    if engine.dialect.driver == "pymysql":
        event.listen(engine, "connect", _logged_in)
    return engine


def _engine(settings: PollingSettings) -> Engine:
    address = settings.url.get_secret_value() if settings.url else ""
    url = _completed(address, settings.name)
    if url.get_backend_name() != "sqlite":
        return engine_of(address, settings.name, isolation_level="AUTOCOMMIT")
    path = Path(url.database or "").absolute()
    # The file is opened so that nothing can write to it, not even a mistake of ours.
    return create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )


def _logged_in(driver: Any, _: object) -> None:
    """From here on the server itself limits how long a statement takes."""
    driver._read_timeout = None


def _arguments(url: URL) -> dict[str, Any]:
    """How the driver connects. A password as text would have to be Latin-1 for PyMySQL."""
    arguments = _CONNECT.get(url.get_driver_name(), {})
    if url.get_driver_name() == "pymysql" and url.password is not None:
        return arguments | {"password": str(url.password).encode()}
    return arguments


def _completed(address: str, where: str) -> URL:
    """The URL with a driver that is installed with us."""
    try:
        url = make_url(address)
    except exc.ArgumentError:
        raise Refused(
            "the address is not a URL", where=where, fix="postgresql+psycopg://user@host/database"
        ) from None
    driver = _DRIVERS.get(url.drivername)
    return url.set(drivername=f"{url.drivername}+{driver}") if driver else url
