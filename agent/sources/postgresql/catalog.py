"""What pg_catalog says about tables, columns, types and keys; read-only, nothing cached but types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.sources.postgresql.connection import Connection, translated
from proto.values import Kind

KINDS: Final[dict[int, Kind]] = {
    16: Kind.BOOL,
    21: Kind.INT16,
    23: Kind.INT32,
    20: Kind.INT64,
    700: Kind.FLOAT32,
    701: Kind.FLOAT64,
    1700: Kind.DECIMAL,
    25: Kind.TEXT,
    1043: Kind.TEXT,
    1042: Kind.TEXT,
    19: Kind.TEXT,
    17: Kind.BYTES,
    1082: Kind.DATE,
    1083: Kind.TIME,
    1114: Kind.TIMESTAMP,
    1184: Kind.TIMESTAMPTZ,
    1186: Kind.INTERVAL,
    114: Kind.JSON,
    3802: Kind.JSONB,
    2950: Kind.UUID,
}
"""The built-in types that have a kind of their own, by their fixed numbers."""

# Send functions whose bytes are the value's text already; an enum's number differs between databases, its label does not.
_TEXT_SENDERS: Final = {
    "textsend",
    "varcharsend",
    "bpcharsend",
    "namesend",
    "enum_send",
    "xml_send",
    "citextsend",
}

# A domain stands for its base type. A part without a send function inside an array or a composite makes the server
# fail while it sends the row; alone it is sent as text.
_TYPES: Final = """
WITH RECURSIVE chain(first, oid, depth) AS (
    SELECT o, o, 0 FROM unnest(%s::oid[]) o
    UNION ALL SELECT c.first, t.typbasetype, c.depth + 1
    FROM chain c JOIN pg_type t ON t.oid = c.oid WHERE t.typtype = 'd'),
based AS (SELECT DISTINCT ON (first) first, oid FROM chain ORDER BY first, depth DESC),
part(first, oid) AS (
    SELECT first, oid FROM based
    UNION SELECT p.first, inner_type.oid
    FROM part p JOIN pg_type t ON t.oid = p.oid CROSS JOIN LATERAL (
        SELECT t.typelem AS oid WHERE t.typcategory = 'A'
        UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid
            AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid OR r.rngmultitypid = t.oid
    ) inner_type)
SELECT b.first, b.oid, format_type(b.oid, -1), coalesce(f.proname, ''),
    EXISTS (SELECT FROM part p JOIN pg_type i ON i.oid = p.oid
            WHERE p.first = b.first AND p.oid <> b.oid AND i.typsend = 0)
FROM based b JOIN pg_type t ON t.oid = b.oid LEFT JOIN pg_proc f ON f.oid = t.typsend
"""

_TABLES: Final = """
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, c.relispartition,
    has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'), c.relpersistence = 'p'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN unnest(%s::text[], %s::text[]) AS asked(nspname, relname) USING (nspname, relname)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""

_COLUMNS: Final = """
SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod),
    a.attnotnull, a.atthasdef OR a.atthasmissing OR a.attidentity <> '', a.attgenerated <> ''
FROM pg_attribute a
WHERE a.attrelid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""

# Only an index that can be a key: unique, whole, on plain columns.
_INDEXES: Final = """
SELECT i.indrelid, c.relname, i.indisprimary, i.indisreplident, i.indimmediate,
    ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
          WHERE k.place <= i.indnkeyatts ORDER BY k.place)::text[]
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY(%s::oid[]) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
"""

_Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """A column's type, seen through domains."""

    base: int
    name: str
    """How to write the base type in a cast; quoted and qualified where needed."""
    kind: Kind
    sends_text: bool
    """Its bytes on the wire are its text already."""
    is_binary: bool
    """It has a send function; otherwise the server sends text."""
    breaks: bool
    """It contains a type without a send function: the server cannot send a row that holds it."""

    @property
    def needs_asking(self) -> bool:
        """Whether only the server can turn what it sends into text."""
        return self.kind is Kind.OTHER and self.is_binary and not self.sends_text


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column as the catalogue has it now."""

    name: str
    type_oid: int
    modifier: int
    source_type: str
    not_null: bool
    fills_old_rows: bool
    """Rows that were there before the column may hold a value that no log message carried."""
    generated: bool


@dataclass(frozen=True, slots=True)
class Index:
    """A unique index that can serve as a key."""

    name: str
    is_primary: bool
    is_identity: bool
    is_immediate: bool
    """A deferrable key is unique only at the end of a transaction; the server does not take it as an identity."""
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as the catalogue has it now."""

    relid: int
    namespace: str
    name: str
    relkind: str
    identity: str
    is_partition: bool
    readable: bool
    is_logged: bool
    """Unlogged and temporary tables are not in the server's log."""
    columns: tuple[ColumnFacts, ...]
    indexes: tuple[Index, ...]

    @property
    def quoted(self) -> str:
        """The table's name for a statement."""
        return f"{quoted(self.namespace)}.{quoted(self.name)}"

    @property
    def from_clause(self) -> str:
        """What to select from: the rows that are published under this name, no inherited table's."""
        return self.quoted if self.relkind == "p" else f"ONLY {self.quoted}"

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key; empty if there is none."""
        return next((index.columns for index in self.indexes if index.is_primary), ())

    @property
    def identity_columns(self) -> tuple[str, ...]:
        """The columns an update or delete names its row by."""
        if self.identity == "f":
            return tuple(column.name for column in self.columns if not column.generated)
        if self.identity == "i":
            return next((index.columns for index in self.indexes if index.is_identity), ())
        usable = (index.columns for index in self.indexes if index.is_primary and index.is_immediate)
        return next(usable, ()) if self.identity == "d" else ()


class Catalog:
    """Questions to one connection."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._types: dict[int, TypeFacts] = {}

    def tables(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], TableFacts]:
        """The tables at *places* that exist."""
        asked = list(places)
        with translated(self._name):
            rows = self._connection.execute(
                _TABLES, ([schema for schema, _ in asked], [name for _, name in asked])
            ).fetchall()
            oids = [row[0] for row in rows]
            columns = self._connection.execute(_COLUMNS, (oids,)).fetchall()
            indexes = self._connection.execute(_INDEXES, (oids,)).fetchall()
        return {(row[1], row[2]): _facts(row, columns, indexes) for row in rows}

    def types(self, oids: Sequence[int]) -> dict[int, TypeFacts]:
        """The facts of each type, by the number a column names it by."""
        unknown = sorted(set(oids) - self._types.keys())
        if unknown:
            with translated(self._name):
                rows = self._connection.execute(_TYPES, (unknown,)).fetchall()
            for first, base, name, sender, breaks in rows:
                kind = KINDS.get(base, Kind.OTHER)
                self._types[first] = TypeFacts(
                    base, name, kind, sender in _TEXT_SENDERS, sender != "", breaks
                )
        return {oid: self._types[oid] for oid in oids if oid in self._types}

    def expected_rows(self, relid: int) -> int:
        """The planner's estimate, over all partitions."""
        with translated(self._name):
            row = self._connection.execute(
                "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_class c WHERE c.oid = %s OR c.oid IN "
                "(SELECT relid FROM pg_partition_tree(%s) WHERE isleaf)",
                (relid, relid),
            ).fetchone()
        return int(row[0]) if row else 0


def _facts(table: _Row, columns: Sequence[_Row], indexes: Sequence[_Row]) -> TableFacts:
    its_columns = tuple(ColumnFacts(*row[1:]) for row in columns if row[0] == table[0])
    its_indexes = tuple(
        Index(row[1], row[2], row[3], row[4], tuple(row[5])) for row in indexes if row[0] == table[0]
    )
    relid, namespace, name, relkind, identity, is_partition, readable, is_logged = table
    return TableFacts(
        relid,
        namespace,
        name,
        relkind,
        identity,
        is_partition,
        readable,
        is_logged,
        its_columns,
        its_indexes,
    )


def quoted(identifier: str) -> str:
    """An identifier for a statement, whatever it contains."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string for a statement; sessions have standard_conforming_strings on."""
    return "'" + text.replace("'", "''") + "'"
