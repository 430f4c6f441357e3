"""Small tables and their rows for tests of the upper rooms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agent.exchange import Exchange
from agent.sources.source import Page
from proto import frames
from proto.batch import Batch, Delta, Frames
from proto.schema import Column, TableSchema
from proto.values import Kind

PERSON: Final = TableSchema(
    "person", (Column("id", Kind.INT64, nullable=False), Column("name", Kind.TEXT)), ("id",)
)
VISIT: Final = TableSchema("visit", (Column("id", Kind.INT64), Column("what", Kind.TEXT)), ())
"""Append-only: whatever comes twice shows."""

BAD_PERSON = TableSchema(
    "person", (Column("id", Kind.INT64, nullable=False), Column("name", Kind.BOOL)), ("id",)
)
"""The same name with another kind of column: no mirror of PERSON can become this."""


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


def mirrored(exchange: Exchange, schema: TableSchema = PERSON) -> list[tuple[object, ...]]:
    """What the mirror of *schema* holds."""
    return values(exchange.mirror.scan(schema.name), schema)


def bad(number: int) -> Delta:
    """A change that no mirror of PERSON can follow."""
    return Delta(BAD_PERSON, upserts=Frames(frames.pack_rows([(number, 1)], BAD_PERSON.kinds), 1))


def page(*ids: int, last: bool = False) -> Page:
    """A page of a first copy of people."""
    key = frames.pack([ids[-1].to_bytes(8)]) if ids else b""
    return Page(PERSON, people(*ids), key, last)
