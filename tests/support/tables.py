"""Short ways to say what a table is and what changed in it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from sqlalchemy import Connection

from proto.batch import Delta, Frames, Partial
from proto.frames import pack, split
from proto.schema import Column, TableSchema
from proto.values import Kind, from_text

Texts = Sequence[str | None]
"""A row as PostgreSQL prints its values."""


def schema_of(name: str, columns: dict[str, Kind], key: Sequence[str] = ("id",)) -> TableSchema:
    """A schema, its columns in order."""
    return TableSchema(name, tuple(Column(column, kind) for column, kind in columns.items()), tuple(key))


def frame(kinds: Sequence[Kind], texts: Texts) -> bytes:
    """One row."""
    pairs = zip(kinds, texts, strict=True)
    return pack([None if text is None else from_text(kind, text) for kind, text in pairs])


def frames(schema: TableSchema, *rows: Texts) -> Frames:
    """Full rows."""
    return Frames(b"".join(frame(schema.kinds, row) for row in rows), len(rows))


def keys(schema: TableSchema, *rows: Texts) -> Frames:
    """Keys of rows."""
    kinds = [schema.kinds[place] for place in schema.key_indexes]
    return Frames(b"".join(frame(kinds, row) for row in rows), len(rows))


def partial(schema: TableSchema, columns: Sequence[int], *rows: Texts) -> Partial:
    """Old keys and present columns of rows."""
    kinds = [schema.kinds[place] for place in (*schema.key_indexes, *columns)]
    return Partial(tuple(columns), Frames(b"".join(frame(kinds, row) for row in rows), len(rows)))


def inserts(schema: TableSchema, *rows: Texts) -> Delta:
    """A delta of new rows."""
    return Delta(schema, inserts=frames(schema, *rows))


def upserts(schema: TableSchema, *rows: Texts) -> Delta:
    """A delta of rows to replace or add."""
    return Delta(schema, upserts=frames(schema, *rows))


def deletes(schema: TableSchema, *rows: Texts) -> Delta:
    """A delta of keys to remove."""
    return Delta(schema, deletes=keys(schema, *rows))


def listed(data: Frames) -> list[bytes]:
    """The single frames."""
    return split(data.data)


def driver_execute(connection: Connection, statement: str) -> None:
    """Execute on the driver's cursor: SQLAlchemy would read colons and percent signs."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(statement)
