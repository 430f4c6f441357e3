"""Every prerequisite of polling, looked at without changing anything, and what it will cost the database.

That the session is read-only is asked of it where it can say so; that the account itself may write nothing is read in
its grants, on PostgreSQL, Kingbase, MariaDB and MySQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from agent.sources.polling.columns import key_of
from agent.sources.polling.connecting import connect
from agent.sources.polling.connection import Database, DataTrouble, TableTrouble
from agent.sources.polling.reader import Reader
from agent.sources.polling.rights import grant, taking_away, unreadable
from agent.sources.polling.settings import PollingSettings, PollingTable
from agent.sources.polling.shapes import UNSEEN, Shape, read_shape
from agent.sources.source import Finding
from proto.errors import ExchangeError, TableHold

_READ_ONLY: Final = {
    "postgresql": ("SHOW default_transaction_read_only", "on"),
    "kingbase": ("SHOW default_transaction_read_only", "on"),
    "sqlite": ("PRAGMA query_only", "1"),
}
"""How a session says that it cannot write."""


def check(settings: PollingSettings) -> list[Finding]:
    """All findings; the first one after which nothing more can be seen is the last."""
    found: list[Finding] = []
    try:
        with closing(connect(settings)) as database:
            found.extend(_findings(settings, database))
    except ExchangeError as error:
        found.append(Finding("connection", False, error.what, error.fix or "see whether the server runs"))
    return found


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
        except TableTrouble as trouble:
            sentence = f"it cannot be read ({trouble.code})"
            yield Finding(table.catalogued, False, sentence, _grant(table, database))
        except DataTrouble as trouble:
            fix = "mend the row, or say how it is written: kinds or charsets"
            yield Finding(table.catalogued, False, f"one of its rows cannot be read ({trouble.code})", fix)
        except TableHold as hold:
            unseen = UNSEEN in hold.what and not database.dialect.typeless
            fix = f"correct the settings, or:\n{_grant(table, database)}" if unseen else hold.fix
            yield Finding(table.catalogued, False, hold.what, fix)


def _grant(table: PollingTable, database: Database) -> str:
    """What lets the account read all that the settings name."""
    named = (*(table.columns or ()), *(table.key or ()), *([table.watermark] if table.watermark else []))
    return grant(database, table.parts, tuple(dict.fromkeys(named)) if table.columns else ())


def _read_only(database: Database) -> Finding:
    asked = _READ_ONLY.get(database.dialect.name)
    if database.dialect.name == "mysql":
        return Finding("read-only", True, "the session reads only")
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
    if missing := unreadable(database, shape):
        sentence = f"these columns cannot be read: {', '.join(missing)}"
        yield Finding(f"{table.catalogued}: rights", False, sentence, grant(database, table.parts, missing))
        return
    reader = Reader(database, shape, table.parts)
    reader.page(b"", 1)
    yield no_writing(f"{table.catalogued}: rights", shape, table.parts, database)
    yield _key(table, shape, database)
    yield from _watermark(table, shape, database)
    yield _deletes(table)
    yield _load(settings, table, reader)


def no_writing(
    name: str,
    shape: Shape,
    place: tuple[str, str],
    database: Database,
    may: frozenset[str] = frozenset(),
) -> Finding:
    """Whether the account may read the table and nothing else but *may*."""
    mend = taking_away(database, shape, place, may)
    if mend is None:
        return Finding(name, True, "it can be read")
    if mend:
        return Finding(name, False, "it can be read, and the account could write to it", mend)
    return Finding(name, True, "it can be read and not written")


def _key(table: PollingTable, shape: Shape, database: Database) -> Finding:
    name, key, quote = f"{table.catalogued}: key", shape.schema.key, database.dialect.quote
    indexes = database.indexes(*table.parts)
    unique = {index.columns for index in indexes if index.unique} | {key_of(database, *table.parts)}
    if any(columns and set(columns) <= set(key) for columns in unique):
        return Finding(name, True, f"{', '.join(key)} is unique")
    index = quote("_".join((table.catalogued, *key, "key")))
    fix = f"CREATE UNIQUE INDEX {index} ON {shape.table} ({', '.join(map(quote, key))});"
    return Finding(name, False, f"no unique index says that {', '.join(key)} tells one row from another", fix)


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
        index = database.dialect.quote(f"{table.catalogued}_{column}_idx")
        yield Finding(name, True, sentence, f"CREATE INDEX {index} ON {shape.table} ({quoted});")
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
