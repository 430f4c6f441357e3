"""The SQL of one replicated table in PostgreSQL.

Columns are always named, because frames and table may order them differently.
"""

# ruff: noqa: S608 - statements are put together from quoted identifiers and words of our own, never from values

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

from proto.schema import Column, TableSchema
from replica.dialect import Changes, quote
from replica.postgresql_stage import TYPES, column_type

_MARK: Final = "\0"
"""Stands for a parameter: the one character that no name can hold."""


class Statements:
    """The SQL of one table."""

    def __init__(self, room: str, schema: TableSchema) -> None:
        self.table = f"{quote(room)}.{quote(schema.name)}"
        self._schema = schema
        self._names = [quote(column.name) for column in schema.columns]
        self._columns = ", ".join(self._names)
        self._key = ", ".join(quote(name) for name in schema.key)

    @cached_property
    def create(self) -> bytes:
        """Make the table: only its key must be filled, whatever the source demands of the rest."""
        parts = [f"{quote(column.name)} {self._declared(column)}" for column in self._schema.columns]
        if self._key:
            parts.append(f"PRIMARY KEY ({self._key})")
        return f"CREATE TABLE {self.table} ({', '.join(parts)})".encode()

    def alter(self, needed: Changes) -> bytes:
        """Add and widen columns; what is there is rewritten as the source would send it now."""
        parts = [f"ADD COLUMN {quote(column.name)} {TYPES[column.kind]}" for column in needed.added]
        for column in needed.widened:
            name, wanted = quote(column.name), TYPES[column.kind]
            declared = self._declared(column)
            parts.append(f"ALTER COLUMN {name} TYPE {declared} USING {name}::{wanted}")
        return f"ALTER TABLE {self.table} {', '.join(parts)}".encode()

    def _declared(self, column: Column) -> str:
        return column_type(column.kind) if column.name in self._schema.key else TYPES[column.kind]

    @cached_property
    def copy(self) -> bytes:
        """Frames straight into the table."""
        return f"COPY {self.table} ({self._columns}) FROM STDIN (FORMAT binary)".encode()

    @cached_property
    def merge_row(self) -> bytes:
        """Add or replace one row given as parameters."""
        marks = ", ".join(_MARK * len(self._names))
        merged = ", ".join(f"{name} = excluded.{name}" for name in self._names)
        insert = f"INSERT INTO {self.table} ({self._columns}) VALUES ({marks})"
        return _parametrised(f"{insert} ON CONFLICT ({self._key}) DO UPDATE SET {merged}")

    @cached_property
    def delete_row(self) -> bytes:
        """Remove the row whose key is given as parameters."""
        found = " AND ".join(f"{quote(name)} = {_MARK}" for name in self._schema.key)
        return _parametrised(f"DELETE FROM {self.table} WHERE {found}")

    def scan(self, ordered: bool) -> bytes:
        """All rows as frames."""
        order = f" ORDER BY {self._key}" if ordered and self._key else ""
        return f"COPY (SELECT {self._columns} FROM {self.table}{order}) TO STDOUT (FORMAT binary)".encode()

    @cached_property
    def count(self) -> bytes:
        """How many rows there are."""
        return f"SELECT count(*) FROM {self.table}".encode()

    def page(self, after: Sequence[str], rows: int) -> bytes:
        """The rows after a key given as literals (none: from the first), as frames."""
        place = f" WHERE ({self._key}) > ({', '.join(after)})" if after else ""
        chosen = f"SELECT {self._columns} FROM {self.table}{place} ORDER BY {self._key} LIMIT {rows}"
        return f"COPY ({chosen}) TO STDOUT (FORMAT binary)".encode()

    def rows(self, keys: Sequence[Sequence[str]]) -> bytes:
        """The rows with these keys, given as literals, as frames."""
        wanted = ", ".join(f"({', '.join(key)})" for key in keys)
        names = ", ".join(f"f{place}" for place in range(len(self._schema.key)))
        chosen = ", ".join(f"t.{name}" for name in self._names)
        found = self._found(range(len(self._schema.key)))
        query = f"SELECT {chosen} FROM (VALUES {wanted}) AS s({names}) JOIN {self.table} t ON {found}"
        return f"COPY ({query}) TO STDOUT (FORMAT binary)".encode()

    def delete_staged(self, stage: str) -> bytes:
        """Remove the rows whose keys are staged."""
        return f"DELETE FROM {self.table} t USING {stage} s WHERE {self._found(range(len(self._schema.key)))}".encode()

    def update_staged(self, stage: str) -> bytes:
        """Replace the rows that are there; the key too, since equal keys need not be the same bytes (1.0, 1.00)."""
        every = range(len(self._names))
        return self._update(stage, every, every, self._schema.key_indexes)

    def insert_staged(self, stage: str) -> bytes:
        """Add the staged rows that are not there."""
        chosen = ", ".join(f"s.f{place}" for place in range(len(self._names)))
        absent = f"NOT EXISTS (SELECT FROM {self.table} t WHERE {self._found(self._schema.key_indexes)})"
        return f"INSERT INTO {self.table} ({self._columns}) SELECT {chosen} FROM {stage} s WHERE {absent}".encode()

    def update_partly(self, stage: str, columns: Sequence[int]) -> bytes:
        """Set the present columns of the rows whose old keys come first in the stage."""
        width = len(self._schema.key)
        return self._update(stage, columns, range(width, width + len(columns)), range(width))

    def clear_way(self, stage: str, columns: Sequence[int]) -> bytes | None:
        """Remove rows that sit on the new key of a row about to move there; None when no key can change."""
        places = {column: len(self._schema.key) + place for place, column in enumerate(columns)}
        moved = [places.get(column, old) for old, column in enumerate(self._schema.key_indexes)]
        if moved == list(range(len(moved))):
            return None
        pairs = [(new, old) for old, new in enumerate(moved)]
        differs = " OR ".join(f"s.f{new} <> s.f{old}" for new, old in pairs if new != old)
        mover = f"EXISTS (SELECT FROM {self.table} o WHERE {self._found(range(len(moved)), 'o')})"
        return f"DELETE FROM {self.table} t USING {stage} s WHERE ({differs}) AND {self._found(moved)} AND {mover}".encode()

    def _update(self, stage: str, columns: Sequence[int], places: Sequence[int], key: Sequence[int]) -> bytes:
        pairs = zip(columns, places, strict=True)
        assigned = ", ".join(f"{self._names[column]} = s.f{place}" for column, place in pairs)
        return f"UPDATE {self.table} t SET {assigned} FROM {stage} s WHERE {self._found(key)}".encode()

    def _found(self, places: Sequence[int], table: str = "t") -> str:
        pairs = zip(self._schema.key, places, strict=True)
        return " AND ".join(f"{table}.{quote(name)} = s.f{place}" for name, place in pairs)


def _parametrised(statement: str) -> bytes:
    """Mark the parameters as binary; the driver would take a name's percent signs for more of them."""
    return statement.replace("%", "%%").replace(_MARK, "%b").encode()
