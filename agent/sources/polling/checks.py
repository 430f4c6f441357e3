"""Every prerequisite of polling, looked at without changing anything, and what it will cost the database.

That the session is read-only is asked of it where it can say so; that the account itself has no other right is for
its grants to say, and the advice names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from agent.sources.polling.connection import Database, DataTrouble, TableTrouble, connect
from agent.sources.polling.reader import Reader
from agent.sources.polling.settings import PollingSettings, PollingTable
from agent.sources.polling.shapes import Shape, read_shape
from agent.sources.source import Finding
from proto.errors import ExchangeError, TableHold

_MAY_WRITE: Final = (
    "SELECT has_table_privilege(CAST(\0 AS text), 'INSERT') OR has_table_privilege(CAST(\0 AS text), 'UPDATE') "
    "OR has_table_privilege(CAST(\0 AS text), 'DELETE')"
)
_READ_ONLY: Final = {
    "postgresql": ("SHOW default_transaction_read_only", "on"),
    "kingbase": ("SHOW default_transaction_read_only", "on"),
    "sqlite": ("PRAGMA query_only", "1"),
}
"""How a session says that it cannot write."""


def check(settings: PollingSettings) -> list[Finding]:
    """All findings; when the database cannot be reached, that alone."""
    try:
        with closing(connect(settings)) as database:
            return list(_findings(settings, database))
    except ExchangeError as error:
        return [Finding("connection", False, error.what, error.fix or "see whether the server runs")]


def _findings(settings: PollingSettings, database: Database) -> Iterator[Finding]:
    name = database.dialect.name
    known = (
        "" if name != "generic" else ", which we know nothing of: set 'dialect' if it resembles one we know"
    )
    yield Finding("connection", True, f"connected, the database speaks {name}{known}")
    yield _read_only(database)
    for table in settings.tables:
        try:
            yield from _table(settings, table, database)
        except (TableTrouble, DataTrouble) as trouble:
            fix = f"GRANT SELECT ON {table.table}"
            yield Finding(table.catalogued, False, f"it cannot be read ({trouble.code})", fix)
        except TableHold as hold:
            yield Finding(table.catalogued, False, hold.what, hold.fix)


def _read_only(database: Database) -> Finding:
    asked = _READ_ONLY.get(database.dialect.name)
    if asked is None:
        sentence = (
            "the session asks for reading only; whether the account could write is for its grants to say"
        )
        return Finding("read-only", True, sentence, "give the account SELECT on the captured tables alone")
    statement, wanted = asked
    said = str(database.query(statement)[0][0])
    return Finding("read-only", said == wanted, f"the session says {statement.split()[-1]} = {said}")


def _table(settings: PollingSettings, table: PollingTable, database: Database) -> Iterator[Finding]:
    shape = read_shape(database, table)
    reader = Reader(database, shape, table.parts)
    reader.page(b"", 1)
    yield _rights(table, shape, database)
    yield _key(table, shape, database)
    yield from _watermark(table, shape, database)
    yield _deletes(table)
    yield _load(settings, table, reader)


def _rights(table: PollingTable, shape: Shape, database: Database) -> Finding:
    name = f"{table.catalogued}: rights"
    if database.dialect.name not in ("postgresql", "kingbase"):
        return Finding(name, True, "it can be read")
    if database.query(_MAY_WRITE, [shape.table] * 3)[0][0]:
        fix = f"REVOKE INSERT, UPDATE, DELETE ON {shape.table} FROM the account"
        return Finding(name, True, "it can be read, and the account could write to it", fix)
    return Finding(name, True, "it can be read and not written")


def _key(table: PollingTable, shape: Shape, database: Database) -> Finding:
    key = shape.schema.key
    indexes = database.indexes(*table.parts)
    unique = {index.columns for index in indexes if index.unique} | {database.primary_key(*table.parts)}
    if any(columns and set(columns) <= set(key) for columns in unique):
        return Finding(f"{table.catalogued}: key", True, f"{', '.join(key)} is unique")
    fix = f"CREATE UNIQUE INDEX ON {shape.table} ({', '.join(key)})"
    return Finding(f"{table.catalogued}: key", False, f"no unique index makes {', '.join(key)} a key", fix)


def _watermark(table: PollingTable, shape: Shape, database: Database) -> Iterator[Finding]:
    name = f"{table.catalogued}: watermark"
    if shape.watermark is None:
        sentence = "no watermark: every change is found by the comparison alone"
        yield Finding(name, True, sentence, "name a column that rises with every change: 'watermark'")
        return
    column, quoted = table.watermark, database.dialect.quote(table.watermark)
    if any(index.columns[:1] == (column,) for index in database.indexes(*table.parts)):
        yield Finding(name, True, f"{column} ({shape.watermark.column.kind}) is indexed")
    else:
        sentence = f"{column} ({shape.watermark.column.kind}) is not indexed: each poll reads the whole table"
        yield Finding(name, True, sentence, f"CREATE INDEX ON {shape.table} ({quoted})")
    first = database.dialect.page(["1"], shape.table, f"WHERE {quoted} IS NULL", quoted, 1)
    if database.query(first):
        sentence = f"{column} is NULL in some rows: their changes are found by the comparison alone"
        yield Finding(f"{name} NULL", True, sentence, f"fill {column}, and declare it NOT NULL")


def _deletes(table: PollingTable) -> Finding:
    name = f"{table.catalogued}: deletes"
    if table.compare_every_s is None:
        sentence = "deletes and silent updates are never seen: comparison is switched off"
        return Finding(name, True, sentence, "set compare_every_s")
    windows = f", between {', '.join(table.compare_windows)}" if table.compare_windows else ""
    hours = table.compare_every_s / 3600
    return Finding(name, True, f"deletes and silent updates are seen every {hours:g} hours{windows}")


def _load(settings: PollingSettings, table: PollingTable, reader: Reader) -> Finding:
    name, rows, rate = f"{table.catalogued}: load", reader.estimate(), settings.load.rows_per_s
    if not rows:
        return Finding(name, True, "the catalogue has no estimate of its size")
    hours = rows / rate / 3600 if rate else 0.0
    lasts = f"about {hours:.1f} hours at {rate} rows/s" if rate else "as fast as the database answers"
    poll = f"; a poll every {table.every_s:g} s" if table.watermark else ""
    return Finding(name, True, f"about {rows} rows: one comparison reads them all, {lasts}{poll}")
