"""A table's columns and key: as the driver tells them, or in the server's own words where a driver's say too little.

MariaDB and MySQL are asked themselves, so that a table has the kinds that their log gives it, that names may hold any
character, and that an account may be one that reads some columns only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from agent.sources.mysql.types import JSON_TEXT, json_columns
from agent.sources.polling.connection import Database, NativeColumn, TableTrouble
from agent.sources.polling.dialects import MARK

_HERE: Final = f"WHERE table_schema = COALESCE(NULLIF({MARK}, ''), DATABASE()) AND table_name = {MARK}"
_COLUMNS: Final = (
    "SELECT column_name, column_type, is_nullable FROM information_schema.columns "  # noqa: S608
    f"{_HERE} ORDER BY ordinal_position"
)
_KEY: Final = (
    "SELECT column_name FROM information_schema.statistics "  # noqa: S608
    f"{_HERE} AND index_name = 'PRIMARY' ORDER BY seq_in_index"
)
_EXACT: Final = "decimal"


def columns_of(database: Database, schema: str, table: str) -> list[NativeColumn]:
    """In their order; none when there is no such table."""
    if not database.dialect.own_types:
        return database.columns(schema, table)
    found = [[_text(word) for word in row] for row in database.query(_COLUMNS, (schema, table))]
    texts = any(declared == JSON_TEXT for _, declared, _ in found)
    checked = _json_columns(database, schema, table) if texts else frozenset()
    return [
        NativeColumn(name, "json" if name in checked else _castable(declared), nullable == "YES")
        for name, declared, nullable in found
    ]


def key_of(database: Database, schema: str, table: str) -> tuple[str, ...]:
    """The columns of the primary key; none when it has none."""
    if not database.dialect.own_types:
        return database.primary_key(schema, table)
    return tuple(_text(row[0]) for row in database.query(_KEY, (schema, table)))


def _json_columns(database: Database, schema: str, table: str) -> frozenset[str]:
    """The texts that are checked to be JSON; none where the account reads single columns only: then nobody tells it."""
    with suppress(TableTrouble):
        rows = database.query(f"SHOW CREATE TABLE {database.dialect.table(schema, table)}")
        return json_columns(_text(rows[0][1])) if rows else frozenset()
    return frozenset()


def _castable(declared: str) -> str:
    """As a CAST can say it: a DECIMAL without a sign is a DECIMAL."""
    return declared.partition(" ")[0] if declared.startswith(_EXACT) else declared


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
