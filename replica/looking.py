"""Looks at tables that follow a stream without knowing their schema: which there are, and what columns they have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnClause, Connection, column, select, table, text

from proto.values import Kind

_SQLITE: Final = "sqlite"
_TABLES: Final = {
    _SQLITE: text(
        "SELECT substr(name, length(:room) + 2) FROM sqlite_schema "
        "WHERE type = 'table' AND substr(name, 1, length(:room) + 1) = :room || '.'"
    ),
    "postgresql": text(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = :room AND c.relkind IN ('r', 'p')"
    ),
}
_COLUMNS: Final = {
    _SQLITE: text("SELECT name, lower(type), pk FROM pragma_table_info(:room || '.' || :name) ORDER BY cid"),
    "postgresql": text(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), "
        "coalesce(array_position(i.indkey::smallint[], a.attnum) + 1, 0) "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary "
        "WHERE n.nspname = :room AND c.relname = :name AND c.relkind IN ('r', 'p') ORDER BY a.attnum"
    ),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A table as it is here."""

    kinds: dict[str, Kind]
    key: tuple[str, ...]


def tables_in(connection: Connection, room: str) -> set[str]:
    """The names of the tables in *room*."""
    return set(connection.scalars(_TABLES[connection.dialect.name], {"room": room}))


def table_in(connection: Connection, room: str, name: str) -> Seen | None:
    """Columns and key of one table; None when it is not there."""
    dialect = connection.dialect.name
    rows = connection.execute(_COLUMNS[dialect], {"room": room, "name": name}).all()
    kinds = {row[0]: _kinds(dialect).get(row[1], Kind.OTHER) for row in rows}
    key = sorted((row[2], row[0]) for row in rows if row[2])
    return Seen(kinds, tuple(each for _, each in key)) if rows else None


def repeats(connection: Connection, room: str, name: str, key: tuple[str, ...], rows: int) -> tuple[int, int]:
    """Of up to *rows* rows: how many were looked at, and how many of them have another's *key*."""
    columns: list[ColumnClause[Any]] = [column(each) for each in key]
    is_file = connection.dialect.name == _SQLITE
    place = table(f"{room}.{name}", *columns) if is_file else table(name, *columns, schema=room)
    values = [tuple(row) for row in connection.execute(select(*columns).select_from(place).limit(rows))]
    return len(values), len(values) - len(set(values))


@cache
def _kinds(dialect: str) -> dict[str, Kind]:
    # Imported late, as in replica.opening.
    if dialect == _SQLITE:
        from replica.sqlite import TYPES
    else:
        from replica.postgresql_stage import TYPES
    # Two kinds are held by one type there; the first listed is the plain one.
    return {declared: kind for kind, declared in reversed(TYPES.items())}
