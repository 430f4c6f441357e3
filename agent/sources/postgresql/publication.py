"""The publication: what the server sends at all.

It holds exactly the captured tables and, where the server can (15 and later), exactly the captured columns. A table
enters it only when its replica identity lets updates and deletes pass, because otherwise the *source's own* updates
would fail; for the same reason a table with replica identity FULL is published whole. Tables without a key, declared
append-only, have a publication of their own that does not publish updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

from agent.sources.postgresql.catalog import literal, quoted
from agent.sources.postgresql.connection import Connection, translated
from agent.sources.postgresql.shapes import Shape
from proto.errors import Credential

COLUMN_LISTS_SINCE: Final = 150000

_CONTENT: Final = """
SELECT r.oid, r.prrelid, to_jsonb(r) ->> 'prattrs', to_jsonb(r) ->> 'prqual',
    ARRAY(SELECT a.attname FROM jsonb_path_query(to_jsonb(r), '$.prattrs[*] ? (@ != null)') number
          JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = number::int)::text[]
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = %s
"""
# Column lists and filters came with 15: read as JSON, the columns that an older catalogue lacks are NULL.
_PUBLICATION: Final = """
SELECT p.pubinsert AND p.pubtruncate, p.pubupdate AND p.pubdelete, p.pubviaroot,
    ARRAY(SELECT c.oid FROM pg_publication_tables t JOIN pg_namespace n ON n.nspname = t.schemaname
          JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename WHERE t.pubname = p.pubname)::oid[]
FROM pg_publication p WHERE p.pubname = %s
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A table in a publication. ``oid`` changes when it was taken out and put back."""

    oid: int
    relid: int
    columns: frozenset[str] | None
    """None = all of them."""
    is_filtered: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication as the catalogue has it now."""

    name: str
    publishes_changes: bool
    """Updates and deletes too."""
    via_root: bool
    implied: frozenset[int]
    """Tables that are in it because it covers everything or their schema."""
    entries: tuple[Entry, ...]

    def entry(self, relid: int) -> Entry | None:
        """How the table is published; None if it is not."""
        found = next((entry for entry in self.entries if entry.relid == relid), None)
        if found is None and relid in self.implied:
            return Entry(0, relid, None, False)
        return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """The publication we need."""

    name: str
    shapes: tuple[Shape, ...]
    publishes_changes: bool
    column_lists: bool

    def columns(self, shape: Shape) -> tuple[str, ...] | None:
        """The columns to list for a table; None = publish it whole."""
        if not self.column_lists or shape.settings.columns is None or shape.facts.identity == "f":
            return None
        captured = [part.name for part in shape.parts]
        return (*captured, *(name for name in shape.facts.identity_columns if name not in captured))

    @property
    def tables_sql(self) -> str:
        """What stands behind FOR TABLE or SET TABLE."""
        return ", ".join(map(self.table_sql, self.shapes))

    def table_sql(self, shape: Shape) -> str:
        """One table with its columns."""
        columns = self.columns(shape)
        listed = f" ({', '.join(map(quoted, columns))})" if columns else ""
        return f"{shape.facts.from_clause}{listed}"

    @property
    def create_sql(self) -> str:
        """The statement that makes it."""
        publish = "insert, update, delete, truncate" if self.publishes_changes else "insert, truncate"
        return (
            f"CREATE PUBLICATION {quoted(self.name)} FOR TABLE {self.tables_sql} "
            f"WITH (publish = {literal(publish)}, publish_via_partition_root = true)"
        )

    @property
    def alter_sql(self) -> str:
        """The statement that gives an existing one the right tables and columns."""
        return f"ALTER PUBLICATION {quoted(self.name)} SET TABLE {self.tables_sql}"

    def lacks(self, shape: Shape, publication: Publication | None) -> str:
        """Why *publication* does not serve for one table; empty if it does."""
        entry = publication.entry(shape.facts.relid) if publication else None
        if publication is None or entry is None:
            return f"is not in publication {self.name}"
        if entry.is_filtered:
            return f"is filtered by a WHERE clause in publication {self.name}"
        if shape.facts.relkind == "p" and not publication.via_root:
            return f"is partitioned, and publication {self.name} does not publish via the root"
        if self.publishes_changes and not publication.publishes_changes:
            return f"lacks updates, deletes or truncates in publication {self.name}"
        wanted = {part.name for part in shape.parts}
        missing = [] if entry.columns is None else sorted(wanted - entry.columns)
        return f"lacks column {missing[0]} in publication {self.name}" if missing else ""

    def is_exactly(self, publication: Publication) -> bool:
        """Whether *publication* holds these tables and columns and no others."""
        there = {entry.relid: entry.columns for entry in publication.entries}
        wanted = {
            shape.facts.relid: frozenset(columns) if (columns := self.columns(shape)) else None
            for shape in self.shapes
        }
        return there == wanted


def wanted_publications(name: str, shapes: Iterable[Shape], server_version: int) -> tuple[Wanted, ...]:
    """What must be published for *shapes*: one publication, or two when there are append-only tables without a key."""
    keyed = tuple(shape for shape in shapes if shape.schema.key)
    keyless = tuple(shape for shape in shapes if not shape.schema.key)
    lists = server_version >= COLUMN_LISTS_SINCE
    both = (Wanted(name, keyed, True, lists), Wanted(f"{name}_append", keyless, False, lists))
    return tuple(wanted for wanted in both if wanted.shapes)


def read_publication(connection: Connection, name: str) -> Publication | None:
    """The publication as it is now; None if there is none."""
    with translated(name):
        row = connection.execute(_PUBLICATION, (name,)).fetchone()
        content = connection.execute(_CONTENT, (name,)).fetchall()
    if row is None:
        return None
    entries = tuple(
        Entry(oid, relid, frozenset(names) if attributes else None, bool(filtered))
        for oid, relid, attributes, filtered, names in content
    )
    inserts, changes, via_root, covered = row
    implied = frozenset(covered) if inserts else frozenset()
    return Publication(name, inserts and changes, via_root, implied, entries)


def publish(connection: Connection, wanted: Sequence[Wanted]) -> None:
    """Make or alter the publications so that they are exactly what is wanted; nothing is touched when they are.

    An account that owns nothing cannot, and need not if the administrator's publication serves every table.
    """
    for each in wanted:
        publication = read_publication(connection, each.name)
        if publication is not None and each.is_exactly(publication):
            continue
        statement = each.create_sql if publication is None else each.alter_sql
        try:
            _execute(connection, statement)
        except Credential as error:
            if any(each.lacks(shape, publication) for shape in each.shapes):
                raise Credential(
                    error.what, where=each.name, fix=f"{statement};\nset manage_publication: false"
                ) from error


def _execute(connection: Connection, statement: str) -> None:
    with translated("publication"):
        connection.execute("BEGIN READ WRITE")
        try:
            connection.execute(statement.encode())
            connection.execute("COMMIT")
        except psycopg.Error:
            connection.execute("ROLLBACK")
            raise
