"""What information_schema says about tables, columns and keys; read-only, nothing cached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from agent.sources.mysql.connection import Connection, Row, quoted
from agent.sources.mysql.types import JSON_TEXT, Type, from_catalog, json_columns, json_text
from proto.errors import Credential

_TABLE: Final = """
SELECT table_schema, table_name, table_type, coalesce(engine, ''), coalesce(table_rows, 0)
FROM information_schema.tables WHERE table_schema = %s AND table_name = %s
"""
_COLUMNS: Final = """
SELECT column_name, lower(data_type), column_type, coalesce(character_octet_length, 0),
    coalesce(character_set_name, ''), coalesce(collation_name, ''), is_nullable = 'YES', column_default, extra
FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""
_INDEXES: Final = """
SELECT index_name, column_name, coalesce(sub_part, 0) FROM information_schema.statistics
WHERE table_schema = %s AND table_name = %s AND non_unique = 0 ORDER BY index_name, seq_in_index
"""
TRANSACTIONAL: Final = frozenset({"InnoDB", "RocksDB", "TokuDB", "ROCKSDB"})


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column as the catalogue has it now."""

    name: str
    type: Type | None
    """None when no kind of ours holds it."""
    source_type: str
    charset: str
    collation: str
    nullable: bool
    default: str | None
    generated: bool

    @property
    def fills_old_rows(self) -> bool:
        """Whether rows that were there before the column hold a value in it that no change brought."""
        return not self.nullable or (self.default or "NULL").upper() != "NULL"


@dataclass(frozen=True, slots=True)
class Index:
    """A unique index; ``whole`` when it counts its columns in full."""

    name: str
    columns: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as the catalogue has it now."""

    schema: str
    name: str
    is_table: bool
    engine: str
    rows: int
    """An estimate."""
    columns: tuple[ColumnFacts, ...]
    indexes: tuple[Index, ...]

    @property
    def quoted(self) -> str:
        """The table's name for a statement."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key; empty if there is none."""
        return next((index.columns for index in self.indexes if index.name == "PRIMARY"), ())

    @property
    def by_name(self) -> Mapping[str, ColumnFacts]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}


class Catalog:
    """Questions to one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        row = connection.row("SELECT @@lower_case_table_names")
        self.folds_names = bool(row and int(row[0]))
        """The server tells names of tables and databases apart by their letters, not by their case."""

    def table(self, place: tuple[str, str]) -> TableFacts | None:
        """The table at *place*, if it exists and the account may see it."""
        ask = self._connection.rows
        found = ask(_TABLE, place)
        if not found:
            return None
        schema, name, sort, engine, estimate = found[0]
        rows = int(estimate)
        told = ask(_COLUMNS, place)
        json = self._json_columns(schema, name) if any(row[1] == JSON_TEXT for row in told) else frozenset()
        columns = tuple(_column(row, json) for row in told)
        return TableFacts(
            schema, name, sort == "BASE TABLE", engine, rows, columns, _indexes(ask(_INDEXES, place))
        )

    def _json_columns(self, schema: str, name: str) -> frozenset[str]:
        """None where the account may read single columns only: then nobody tells it."""
        with suppress(Credential):
            row = self._connection.row(f"SHOW CREATE TABLE {quoted(schema)}.{quoted(name)}")
            return json_columns(str(row[1])) if row else frozenset()
        return frozenset()


def _column(row: Row, json: frozenset[str]) -> ColumnFacts:
    name, data_type, column_type, octets, charset, collation, nullable, default, extra = row
    found = from_catalog(data_type, column_type, int(octets), charset)
    if name in json and data_type == JSON_TEXT:
        found = json_text(charset)
    generated = "GENERATED" in extra.upper().replace("DEFAULT_GENERATED", "")
    return ColumnFacts(name, found, column_type, charset, collation, bool(nullable), default, generated)


def _indexes(rows: Sequence[Row]) -> tuple[Index, ...]:
    names = dict.fromkeys(row[0] for row in rows)
    return tuple(
        Index(
            name,
            tuple(row[1] for row in rows if row[0] == name),
            not any(row[2] for row in rows if row[0] == name),
        )
        for name in names
    )
