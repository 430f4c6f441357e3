"""How each database wants to be asked: the one table of quirks of databases that are only read.

A column is asked for in the form that loses nothing on its way through any driver: whole numbers, truth values and
bytes as they are, everything else as the text that ``proto.values`` reads. ``MARK`` stands for a parameter. What was
run against real servers and what only follows the manuals is listed in docs/polling.md.
"""

# ruff: noqa: S608 - statements are put together from quoted identifiers and words of our own, never from values

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from agent.sources.polling import mysqltypes
from proto.values import Kind

MARK: Final = "\0"
"""Stands for a parameter: the one character that no name can hold."""
_INTS: Final = (Kind.INT16, Kind.INT32, Kind.INT64)
PLAIN: Final = frozenset({Kind.BOOL, *_INTS, Kind.BYTES, Kind.TEXT})
"""Kinds that every driver brings as they are."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What has to be said differently."""

    name: str
    quotes: tuple[str, str] = ('"', '"')
    limit: Literal["limit", "fetch", "top", "rownum"] = "fetch"
    session: tuple[str, ...] = ()
    """Make the session read-only, exact and in UTC; ``{timeout_ms}`` and ``{timeout_s}`` are filled in."""
    now: str = ""
    """The wall clock and UTC, as text, before the session was set to UTC."""
    estimate: str = ""
    """About how many rows a table has, from the catalogue, by schema and name; nothing is counted."""
    casts: Literal["type", "kind", "none"] = "none"
    """Parameters are cast to the column's own type, to one chosen by its kind, or not at all."""
    texts: str = "{0}"
    """How a value that is not PLAIN becomes text."""
    by_kind: tuple[tuple[Kind, str, str], ...] = ()
    """Kind, expression to read it, expression of a parameter; where they differ from the rest."""
    bytes_of: str = "{0}"
    """The bytes of a text column as they are stored."""
    text_as_bytes: bool = False
    """Texts are read as UTF-8 bytes and decoded here, because the database checks nothing or a driver would cut them."""
    typeless: bool = False
    """A column may hold other than its type says, so parameters are plain values and keys must be written one way."""
    schema_is_catalog: bool = False
    own_types: bool = False
    """Kinds and expressions follow the server's own catalogue (:mod:`mysqltypes`), as its log does."""
    snapshot: str = ""
    """Begins a transaction in which all pages see one state; given where a driver would keep a whole result in memory."""

    def quote(self, name: str) -> str:
        """An identifier, whatever it contains."""
        left, right = self.quotes
        return left + name.replace(right, right * 2) + right

    def table(self, schema: str, name: str) -> str:
        """A table's full name."""
        return f"{self.quote(schema)}.{self.quote(name)}" if schema else self.quote(name)

    def read(self, name: str, kind: Kind, source_type: str) -> str:
        """The expression that brings a column without loss."""
        column = self.quote(name)
        if self.own_types and (own := mysqltypes.expressions(source_type, kind)):
            return own[0].format(column)
        for special, reads, _ in self.by_kind:
            if special is kind:
                return reads.format(column)
        return column if kind in PLAIN else self.texts.format(column)

    def raw(self, name: str) -> str:
        """The expression that brings a text column's bytes."""
        return self.bytes_of.format(self.quote(name))

    def parameter(self, kind: Kind, source_type: str) -> str:
        """The expression of a parameter that is compared with a column."""
        if self.own_types and (own := mysqltypes.expressions(source_type, kind)):
            return own[1].format(MARK)
        if self.casts == "type":
            return f"CAST({MARK} AS {source_type})" if source_type else MARK
        if self.casts == "kind":
            for special, _, takes in self.by_kind:
                if special is kind:
                    exact = source_type.lower().startswith(("decimal", "numeric", "number"))
                    return takes.format(MARK, source_type if exact else "DECIMAL(38,0)")
        return MARK

    def page(self, columns: Sequence[str], table: str, rest: str, order: str, rows: int) -> str:
        """The first *rows* rows in *order*; *rest* is empty or starts with WHERE."""
        chosen = ", ".join(columns)
        body = f"FROM {table}{f' {rest}' if rest else ''} ORDER BY {order}"
        match self.limit:
            case "top":
                return f"SELECT TOP ({rows}) {chosen} {body}"
            case "fetch":
                return f"SELECT {chosen} {body} FETCH FIRST {rows} ROWS ONLY"
            case "rownum":
                # Named, because two columns of an inner query may not be called alike.
                chosen = ", ".join(f"{column} AS c{place}" for place, column in enumerate(columns))
                return f"SELECT * FROM (SELECT {chosen} {body}) WHERE ROWNUM <= {rows}"
            case _:
                return f"SELECT {chosen} {body} LIMIT {rows}"


POSTGRESQL: Final = Dialect(
    "postgresql",
    limit="limit",
    session=(
        "SET default_transaction_read_only = on",
        "SET statement_timeout = {timeout_ms}",
        "SET TimeZone = 'UTC'",
        "SET DateStyle = 'ISO, MDY'",
        "SET IntervalStyle = 'postgres'",
        "SET extra_float_digits = 3",
        "SET bytea_output = 'hex'",
        "SET row_security = off",
    ),
    now="SELECT to_char(localtimestamp, 'YYYY-MM-DD HH24:MI:SS.US'), "
    "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
    estimate="SELECT CAST(c.reltuples AS bigint) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE n.nspname = {MARK} AND c.relname = {MARK}",
    casts="type",
    texts="CAST({0} AS text)",
    bytes_of="convert_to({0}, 'SQL_ASCII')",
)

# CAST makes NULL of what is longer than max_allowed_packet; CONVERT does not.
_MYSQL_TEXT: Final = "CONVERT({0} USING utf8mb4)"
_MYSQL_KINDS: Final = (
    # The ODBC driver brings an unsigned INT beyond the middle as a negative number.
    *((kind, _MYSQL_TEXT, "{0}") for kind in _INTS),
    (Kind.DECIMAL, _MYSQL_TEXT, "CAST({0} AS {1})"),
    (Kind.DATE, _MYSQL_TEXT, "CAST({0} AS DATE)"),
    (Kind.TIME, _MYSQL_TEXT, "CAST({0} AS TIME(6))"),
    (Kind.TIMESTAMP, _MYSQL_TEXT, "CAST({0} AS DATETIME(6))"),
    (Kind.TIMESTAMPTZ, _MYSQL_TEXT, "CAST({0} AS DATETIME(6))"),
    # It goes to 838 hours, and below zero.
    (Kind.INTERVAL, _MYSQL_TEXT, "CAST({0} AS TIME(6))"),
    (Kind.BOOL, "{0}", "({0} = 't')"),
    # As text a FLOAT has six digits; as a DOUBLE it has all of its own.
    (Kind.FLOAT32, "CAST({0} AS DOUBLE)", "{0}"),
    (Kind.FLOAT64, "{0}", "{0}"),
)
MYSQL: Final = Dialect(
    "mysql",
    quotes=("`", "`"),
    limit="limit",
    session=("SET SESSION TRANSACTION READ ONLY", "SET SESSION time_zone = '+00:00'"),
    now="SELECT CAST(localtimestamp(6) AS CHAR), CAST(utc_timestamp(6) AS CHAR)",
    estimate="SELECT table_rows FROM information_schema.tables "
    f"WHERE table_schema = COALESCE(NULLIF({MARK}, ''), DATABASE()) AND table_name = {MARK}",
    casts="kind",
    texts=_MYSQL_TEXT,
    by_kind=_MYSQL_KINDS,
    bytes_of="CONVERT({0} USING binary)",
    schema_is_catalog=True,
    own_types=True,
    # Debian's ODBC driver keeps 90 MiB of 400,000 rows, whatever it is told.
    snapshot="START TRANSACTION WITH CONSISTENT SNAPSHOT",
)
_MYSQL_BYTES: Final = f"CONVERT({_MYSQL_TEXT} USING binary)"
MYSQL_BYTES: Final = replace(
    MYSQL,
    texts=_MYSQL_BYTES,
    by_kind=(
        (Kind.TEXT, _MYSQL_BYTES, "{0}"),
        *((kind, _MYSQL_BYTES if how == _MYSQL_TEXT else how, takes) for kind, how, takes in _MYSQL_KINDS),
    ),
    text_as_bytes=True,
)
"""For Debian's MariaDB driver, which silently cuts texts that it brings as UTF-16; bytes come whole, and faster."""
SQLITE: Final = Dialect(
    "sqlite",
    limit="limit",
    session=("PRAGMA query_only = 1",),
    now="SELECT strftime('%Y-%m-%d %H:%M:%f', 'now', 'localtime'), strftime('%Y-%m-%d %H:%M:%f', 'now')",
    texts="CAST({0} AS BLOB)",
    by_kind=(
        # The ODBC driver takes whatever is called INTEGER for 32 bits, and ends a text at its first zero byte.
        *((kind, "CAST({0} AS BLOB)", "{0}") for kind in (Kind.BOOL, *_INTS)),
        (Kind.TEXT, "CAST({0} AS BLOB)", "{0}"),
        # As text a REAL has fifteen digits, which is what a decimal that SQLite took for one was written with.
        (Kind.DECIMAL, "CAST({0} AS BLOB)", "{0}"),
        (Kind.FLOAT32, "{0}", "{0}"),
        (Kind.FLOAT64, "{0}", "{0}"),
    ),
    bytes_of="CAST({0} AS BLOB)",
    text_as_bytes=True,
    typeless=True,
)
# Twenty digits bring each double back; seventeen do not, as SQLite prints.
_SQLITE_FLOAT: Final = (
    "CAST(CASE WHEN typeof({0}) <> 'real' THEN {0} WHEN {0} = 9e999 THEN 'Infinity' WHEN {0} = -9e999 THEN '-Infinity' "
    "ELSE printf('%!.20e', {0}) END AS BLOB)"
)
SQLITE_BYTES: Final = replace(
    SQLITE,
    by_kind=(
        *((kind, how, takes) for kind, how, takes in SQLITE.by_kind if how != "{0}"),
        (Kind.FLOAT32, _SQLITE_FLOAT, "{0}"),
        (Kind.FLOAT64, _SQLITE_FLOAT, "{0}"),
        (Kind.BYTES, "CAST({0} AS BLOB)", "{0}"),
    ),
)
"""For the SQLite ODBC driver: it rounds REALs, makes NULL of texts among numbers, and cuts texts at a zero byte."""
SQLSERVER: Final = Dialect(
    "sqlserver",
    quotes=("[", "]"),
    limit="top",
    session=(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET LOCK_TIMEOUT {timeout_ms}",
        "SET ANSI_PADDING ON",
    ),
    now="SELECT CONVERT(varchar(33), SYSDATETIME(), 121), CONVERT(varchar(33), SYSUTCDATETIME(), 121)",
    estimate="SELECT SUM(p.rows) FROM sys.partitions p JOIN sys.tables t ON t.object_id = p.object_id JOIN sys.schemas s "
    f"ON s.schema_id = t.schema_id WHERE p.index_id IN (0, 1) AND s.name = {MARK} AND t.name = {MARK}",
    casts="kind",
    texts="CONVERT(nvarchar(max), {0})",
    by_kind=(
        (Kind.DECIMAL, "CONVERT(varchar(60), {0}, 2)", "CAST({0} AS {1})"),
        (Kind.DATE, "CONVERT(varchar(10), {0}, 23)", "CONVERT(date, {0}, 23)"),
        (Kind.TIME, "CONVERT(varchar(16), {0}, 114)", "CONVERT(time(7), {0}, 114)"),
        # The seventh digit of a second has no place in any kind.
        (
            Kind.TIMESTAMP,
            "CONVERT(varchar(33), CONVERT(datetime2(6), {0}), 121)",
            "CONVERT(datetime2(7), {0}, 121)",
        ),
        (
            Kind.TIMESTAMPTZ,
            "CONVERT(varchar(33), CONVERT(datetime2(6), SWITCHOFFSET({0}, '+00:00')), 121)",
            "CONVERT(datetimeoffset(7), {0}, 121)",
        ),
        (Kind.FLOAT32, "CONVERT(varchar(40), {0}, 3)", "CAST({0} AS real)"),
        (Kind.FLOAT64, "CONVERT(varchar(40), {0}, 3)", "CAST({0} AS float)"),
        (Kind.UUID, "CONVERT(char(36), {0})", "CONVERT(uniqueidentifier, {0})"),
    ),
    bytes_of="CONVERT(varbinary(max), {0})",
)
_ORACLE_KINDS: Final = (
    (
        Kind.DECIMAL,
        "TO_CHAR({0}, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')",
        "TO_NUMBER({0}, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')",
    ),
    (Kind.DATE, "TO_CHAR({0}, 'YYYY-MM-DD')", "TO_DATE({0}, 'YYYY-MM-DD')"),
    (
        Kind.TIMESTAMP,
        "TO_CHAR({0}, 'YYYY-MM-DD HH24:MI:SS.FF6')",
        "TO_TIMESTAMP({0}, 'YYYY-MM-DD HH24:MI:SS.FF6')",
    ),
    (
        Kind.TIMESTAMPTZ,
        "TO_CHAR(SYS_EXTRACT_UTC({0}), 'YYYY-MM-DD HH24:MI:SS.FF6')",
        "FROM_TZ(TO_TIMESTAMP({0}, 'YYYY-MM-DD HH24:MI:SS.FF6'), 'UTC')",
    ),
    (Kind.FLOAT32, "{0}", "{0}"),
    (Kind.FLOAT64, "{0}", "{0}"),
)
ORACLE: Final = Dialect(
    "oracle",
    limit="rownum",
    session=("ALTER SESSION SET TIME_ZONE = 'UTC'",),
    now="SELECT TO_CHAR(SYSTIMESTAMP, 'YYYY-MM-DD HH24:MI:SS.FF6'), "
    "TO_CHAR(SYS_EXTRACT_UTC(SYSTIMESTAMP), 'YYYY-MM-DD HH24:MI:SS.FF6') FROM DUAL",
    estimate=f"SELECT num_rows FROM all_tables WHERE owner = {MARK} AND table_name = {MARK}",
    casts="kind",
    texts="TO_CHAR({0})",
    by_kind=_ORACLE_KINDS,
    bytes_of="UTL_RAW.CAST_TO_RAW({0})",
)
GENERIC: Final = Dialect("generic", texts="{0}")

DIALECTS: Final[dict[str, Dialect]] = {
    "postgresql": POSTGRESQL,
    "kingbase": replace(POSTGRESQL, name="kingbase"),
    "mysql": MYSQL,
    "sqlite": SQLITE,
    "sqlserver": SQLSERVER,
    "oracle": ORACLE,
    # DM8 speaks Oracle's SQL and takes LIMIT as well.
    "dm": replace(ORACLE, name="dm", limit="limit", session=("SET TIME_ZONE = '+00:00'",)),
    "generic": GENERIC,
}
BY_ODBC: Final = {"mysql": MYSQL_BYTES, "sqlite": SQLITE_BYTES}
"""Where the ODBC driver loses what the database's own would bring."""
_NAMES: Final = (
    ("postgres", "postgresql"),
    ("kingbase", "kingbase"),
    ("mysql", "mysql"),
    ("maria", "mysql"),
    ("sqlite", "sqlite"),
    ("microsoft sql server", "sqlserver"),
    ("mssql", "sqlserver"),
    ("oracle", "oracle"),
    ("dm", "dm"),
)


def dialect_of(product: str) -> Dialect:
    """The dialect of a database that calls itself *product*."""
    words = product.lower()
    return DIALECTS[next((name for start, name in _NAMES if words.startswith(start)), "generic")]


_TEXTS: Final = (
    "text char varchar character nchar nvarchar nvarchar2 varchar2 bpchar ntext longtext mediumtext tinytext clob nclob "
    "long enum set name"
)
_TYPES: Final[dict[str, Kind]] = {
    **dict.fromkeys(("bool", "boolean"), Kind.BOOL),
    **dict.fromkeys(("smallint", "int2", "tinyint", "year", "smallserial"), Kind.INT16),
    **dict.fromkeys(("int", "integer", "int4", "mediumint", "serial", "smallint unsigned"), Kind.INT32),
    **dict.fromkeys(("bigint", "int8", "bigserial", "integer unsigned", "int unsigned"), Kind.INT64),
    "tinyint unsigned": Kind.INT16,
    "mediumint unsigned": Kind.INT32,
    **dict.fromkeys(("real", "float4", "binary_float"), Kind.FLOAT32),
    **dict.fromkeys(("float8", "double precision", "double", "binary_double", "float"), Kind.FLOAT64),
    **dict.fromkeys(("numeric", "decimal", "number", "dec", "money"), Kind.DECIMAL),
    **dict.fromkeys(("smallmoney", "bigint unsigned"), Kind.DECIMAL),
    **dict.fromkeys(_TEXTS.split(), Kind.TEXT),
    **dict.fromkeys(("character varying", "national char", "long varchar"), Kind.TEXT),
    **dict.fromkeys(
        [
            "bytea",
            "blob",
            "binary",
            "varbinary",
            "longblob",
            "mediumblob",
            "tinyblob",
            "image",
            "raw",
            "bit",
            "rowversion",
        ],
        Kind.BYTES,
    ),
    "long raw": Kind.BYTES,
    "date": Kind.DATE,
    **dict.fromkeys(("time", "time without time zone"), Kind.TIME),
    **dict.fromkeys(
        ("timestamp", "timestamp without time zone", "datetime", "datetime2", "smalldatetime"), Kind.TIMESTAMP
    ),
    **dict.fromkeys(("timestamptz", "timestamp with time zone", "datetimeoffset"), Kind.TIMESTAMPTZ),
    "interval": Kind.INTERVAL,
    "json": Kind.JSON,
    "jsonb": Kind.JSONB,
    **dict.fromkeys(("uuid", "uniqueidentifier"), Kind.UUID),
}
_OWN: Final[dict[str, dict[str, Kind]]] = {
    # What an unsigned or a SQLite integer holds need not fit the word it was declared with.
    "sqlite": {
        **dict.fromkeys(("int", "integer", "smallint", "tinyint", "int4", "int2"), Kind.INT64),
        "real": Kind.FLOAT64,
    },
    "sqlserver": {"bit": Kind.BOOL, "timestamp": Kind.BYTES, "tinyint": Kind.INT16},
    # Oracle's DATE has a time of day.
    "oracle": {"date": Kind.TIMESTAMP, "float": Kind.DECIMAL, "integer": Kind.DECIMAL},
    "postgresql": {"bit": Kind.OTHER, "money": Kind.OTHER, "name": Kind.OTHER},
}


def kind_of(dialect: Dialect, declared: str) -> Kind:
    """The kind of a column whose type the catalogue calls *declared*."""
    if dialect.own_types and (known := mysqltypes.kind_of(declared)):
        return known
    word = " ".join(_without_parameters(declared).lower().split())
    own = _OWN.get("postgresql" if dialect.name == "kingbase" else dialect.name, {})
    return own.get(word) or _TYPES.get(word, Kind.OTHER)


def _without_parameters(declared: str) -> str:
    head, bracket, rest = declared.partition("(")
    tail = rest.partition(")")[2] if bracket else ""
    return (head + tail).partition(" COLLATE ")[0].partition(" CHARACTER SET ")[0]
