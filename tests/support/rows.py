"""Small tables and their rows for tests of the upper rooms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proto import frames
from proto.batch import Batch, Delta, Frames
from proto.schema import Column, TableSchema
from proto.values import Kind

PERSON: Final = TableSchema(
    "person", (Column("id", Kind.INT64, nullable=False), Column("name", Kind.TEXT)), ("id",)
)
VISIT: Final = TableSchema("visit", (Column("id", Kind.INT64), Column("what", Kind.TEXT)), ())
"""Append-only: whatever comes twice shows."""


def people(*ids: int, name: str = "p") -> Frames:
    """Rows of PERSON."""
    return Frames(frames.pack_rows([(i, f"{name}{i}") for i in ids], PERSON.kinds), len(ids))


def visits(*ids: int) -> Frames:
    """Rows of VISIT."""
    return Frames(frames.pack_rows([(i, "came") for i in ids], VISIT.kinds), len(ids))


def batch(position: str, *deltas: Delta, continues: bool = False) -> Batch:
    """A batch of one source commit."""
    return Batch(position, deltas, first_commit_us=1, last_commit_us=2, transactions=1, continues=continues)


def both(position: int, *ids: int, continues: bool = False) -> Batch:
    """People and their visits."""
    deltas = (Delta(PERSON, inserts=people(*ids)), Delta(VISIT, inserts=visits(*ids)))
    return batch(f"{position:04}", *deltas, continues=continues)


def values(pages: Iterable[Frames], schema: TableSchema) -> list[tuple[object, ...]]:
    """What frames say, sorted."""
    return sorted((row for page in pages for row in frames.rows(page.data, schema.kinds)), key=repr)
