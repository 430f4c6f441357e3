"""The SQL of one replicated table in MariaDB and MySQL.

Columns are always named, because frames and table may order them differently, and because the department may have
added columns of its own that are computed from ours.
"""

# ruff: noqa: S608 - statements are put together from quoted identifiers and literals of our own making

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

from proto.schema import Column, TableSchema
from proto.values import Kind
from replica.mysql_values import ASCII, TYPES

KEY_BYTES: Final = 3072
"""What InnoDB takes as one key at most."""
_KEY_PART_BYTES: Final = 2
_FIXED_BYTES: Final = {
    Kind.BOOL: 1,
    Kind.INT16: 2,
    Kind.INT32: 4,
    Kind.INT64: 8,
    Kind.FLOAT32: 32,
    Kind.FLOAT64: 32,
    Kind.DATE: 3,
    Kind.TIME: 6,
    Kind.TIMESTAMP: 8,
    Kind.TIMESTAMPTZ: 8,
    Kind.INTERVAL: 100,
    Kind.UUID: 36,
}


def quote(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("`", "``") + "`"


def physical_type(kind: Kind) -> str:
    """The column type as the server's catalogue spells it."""
    return TYPES[kind].partition(" ")[0]


class Statements:
    """The SQL of one table; *collation* is the server's that compares texts byte by byte."""

    def __init__(self, table: str, schema: TableSchema, collation: str) -> None:
        self.table = quote(table)
        self._schema = schema
        self._collation = collation
        self._names = [quote(column.name) for column in schema.columns]
        self._columns = ", ".join(self._names)
        self._key = ", ".join(quote(name) for name in schema.key)
        self._by_key = " FORCE INDEX (PRIMARY)" if schema.key else ""

    @cached_property
    def create(self) -> str:
        """Make the table: only its key must be filled, whatever the source demands of the rest."""
        parts = [self._declared(column) for column in self._schema.columns]
        if self._key:
            parts.append(f"PRIMARY KEY ({self._key})")
        options = f"ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE={self._collation}"
        return f"CREATE TABLE {self.table} ({', '.join(parts)}) {options}"

    def alter(self, dropped: Sequence[str], added: Sequence[Column], widened: Sequence[Column]) -> str:
        """Drop, add and widen columns. A key column may need another length when its neighbour widens."""
        if any(column.name in self._schema.key for column in widened):
            keys = [c for c in self._schema.columns if c.name in self._schema.key and c not in widened]
            widened = [*widened, *(column for column in keys if column.kind not in _FIXED_BYTES)]
        parts = [f"DROP COLUMN {quote(name)}" for name in dropped]
        parts += [f"ADD COLUMN {self._declared(column)}" for column in added]
        parts += [f"MODIFY COLUMN {self._declared(column)}" for column in widened]
        return f"ALTER TABLE {self.table} {', '.join(parts)}"

    def stage(self, name: str, kinds: Sequence[Kind]) -> str:
        """A temporary table for rows of these kinds."""
        columns = ", ".join(f"f{place} {self._typed(kind)}" for place, kind in enumerate(kinds))
        options = f"ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={self._collation}"
        return f"CREATE TEMPORARY TABLE {name} ({columns}) {options}"

    @cached_property
    def put(self) -> bytes:
        """Add rows that follow; a row with the same key makes way."""
        verb = "REPLACE" if self._key else "INSERT"
        return f"{verb} INTO {self.table} ({self._columns}) VALUES ".encode()

    @cached_property
    def delete(self) -> bytes:
        """Remove the rows whose keys follow, in brackets."""
        return f"DELETE t FROM {self.table} t{self._by_key} WHERE ({self._key}) IN (".encode()

    @cached_property
    def empty(self) -> bytes:
        """Remove all rows; TRUNCATE would commit what the caller has not."""
        return f"DELETE FROM {self.table}".encode()

    @cached_property
    def count(self) -> bytes:
        """How many rows there are."""
        return f"SELECT count(*) FROM {self.table}".encode()

    def scan(self, ordered: bool) -> bytes:
        """All rows."""
        order = f"{self._by_key} ORDER BY {self._key}" if ordered and self._key else ""
        return f"SELECT {self._read} FROM {self.table}{order}".encode()

    def page(self, after: Sequence[bytes], rows: int) -> bytes:
        """The rows after a key given as literals (none: from the first)."""
        # (a, b) > (x, y) would be right and read the whole index; so it is said in ranges.
        place = b" WHERE " + self._after(after) if after else b""
        start = f"SELECT {self._read} FROM {self.table}{self._by_key}".encode()
        return start + place + f" ORDER BY {self._key} LIMIT {rows}".encode()

    @cached_property
    def rows(self) -> bytes:
        """The rows whose keys follow, in brackets."""
        return f"SELECT {self._read} FROM {self.table}{self._by_key} WHERE ({self._key}) IN (".encode()

    def update_partly(self, stage: str, columns: Sequence[int]) -> str:
        """Set the present columns of the rows whose old keys come first in the stage."""
        width = len(self._schema.key)
        pairs = zip(columns, range(width, width + len(columns)), strict=True)
        assigned = ", ".join(f"t.{self._names[column]} = s.f{place}" for column, place in pairs)
        return f"UPDATE {stage} s STRAIGHT_JOIN {self._joined('t', range(width))} SET {assigned}"

    def clear_way(self, stage: str, columns: Sequence[int]) -> str | None:
        """Remove rows that sit on the new key of a row about to move there; None when no key can change."""
        places = {column: len(self._schema.key) + place for place, column in enumerate(columns)}
        moved = [places.get(column, old) for old, column in enumerate(self._schema.key_indexes)]
        if moved == list(range(len(moved))):
            return None
        differs = " OR ".join(f"NOT (s.f{new} <=> s.f{old})" for old, new in enumerate(moved) if new != old)
        movers = self._joined("o", range(len(moved)))
        return f"DELETE t FROM {stage} s STRAIGHT_JOIN {movers} STRAIGHT_JOIN {self._joined('t', moved)} WHERE {differs}"

    @cached_property
    def _read(self) -> str:
        return ", ".join(_readable(quote(column.name), column.kind) for column in self._schema.columns)

    def _joined(self, alias: str, places: Sequence[int]) -> str:
        pairs = zip(self._schema.key, places, strict=True)
        found = " AND ".join(f"{alias}.{quote(name)} = s.f{place}" for name, place in pairs)
        return f"{self.table} {alias} FORCE INDEX (PRIMARY) ON {found}"

    def _after(self, values: Sequence[bytes]) -> bytes:
        names = [quote(name).encode() for name in self._schema.key]
        ways = []
        for place, (name, value) in enumerate(zip(names, values, strict=True)):
            equal = [names[at] + b" = " + values[at] for at in range(place)]
            ways.append(b" AND ".join([*equal, name + b" > " + value]))
        return names[0] + b" >= " + values[0] + b" AND ((" + b") OR (".join(ways) + b"))"

    def _declared(self, column: Column) -> str:
        if column.name not in self._schema.key:
            return f"{quote(column.name)} {self._typed(column.kind)}"
        return f"{quote(column.name)} {self._key_type(column.kind)} NOT NULL"

    def _typed(self, kind: Kind) -> str:
        return physical_type(kind) + (" CHARACTER SET ascii COLLATE ascii_bin" if kind in ASCII else "")

    def _key_type(self, kind: Kind) -> str:
        if kind in _FIXED_BYTES:
            return self._typed(kind)
        if kind is Kind.BYTES:
            return f"varbinary({self._key_share})"
        if kind in ASCII:
            return f"varchar({self._key_share}) CHARACTER SET ascii COLLATE ascii_bin"
        return f"varchar({self._key_share // 4})"

    @cached_property
    def _key_share(self) -> int:
        """What each column without a length of its own may take of the key."""
        kinds = [self._schema.kinds[place] for place in self._schema.key_indexes]
        taken = sum(_FIXED_BYTES.get(kind, 0) + _KEY_PART_BYTES for kind in kinds) - _KEY_PART_BYTES
        return (KEY_BYTES - taken) // max(1, sum(kind not in _FIXED_BYTES for kind in kinds))


def _readable(name: str, kind: Kind) -> str:
    """Dates and times as texts: the driver's own would lose what Python's cannot say."""
    if kind is Kind.TIMESTAMPTZ:
        return f"CONCAT({name}, '+00')"
    return f"CONCAT({name})" if kind in {Kind.DATE, Kind.TIME, Kind.TIMESTAMP} else name
