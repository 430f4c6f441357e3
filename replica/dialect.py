"""What all dialects share: what a table must look like, what may change in it, what is certain, and the digest."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, RootTransaction

from proto.batch import Delta, Frames
from proto.errors import BadRow, FrameCorrupt, SchemaHold
from proto.frames import split
from proto.schema import Column, TableSchema
from proto.values import Kind
from replica.replica import TableDigest

COPY_AFRESH: Final = "tell the table's readers, then copy the table afresh: the copy makes it anew"
PAGE_BYTES: Final = 8 * 1024 * 1024
"""A page of a scan ends here although it could take more rows."""

# Each kind with those that hold every one of its values in exactly one way, so that rows already here become
# what the source would send for them now. Floats, dates and times are not here: their text depends on settings.
WIDER: Final[Mapping[Kind, frozenset[Kind]]] = {
    Kind.INT16: frozenset({Kind.INT32, Kind.INT64, Kind.DECIMAL, Kind.TEXT}),
    Kind.INT32: frozenset({Kind.INT64, Kind.DECIMAL, Kind.TEXT}),
    Kind.INT64: frozenset({Kind.DECIMAL, Kind.TEXT}),
    Kind.FLOAT32: frozenset({Kind.FLOAT64}),
    Kind.DECIMAL: frozenset({Kind.TEXT}),
    Kind.UUID: frozenset({Kind.TEXT}),
    Kind.JSON: frozenset({Kind.TEXT}),
    Kind.JSONB: frozenset({Kind.TEXT}),
    Kind.TEXT: frozenset({Kind.OTHER}),
    Kind.OTHER: frozenset({Kind.TEXT}),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as the database describes it."""

    types: Mapping[str, str]
    """Column names and declared types, in the table's order."""
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an existing table needs to hold a schema."""

    added: tuple[Column, ...] = ()
    widened: tuple[Column, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.widened)


def changes(schema: TableSchema, shape: Shape, types: Mapping[Kind, str], where: str) -> Changes:
    """What turns *shape* into *schema* without losing a value; raises SchemaHold when nothing does."""
    if shape.key != schema.key:
        raise _hold(
            schema, where, f"its key is {_listed(shape.key)} here and {_listed(schema.key)} at the source"
        )
    names = {column.name for column in schema.columns}
    if dropped := [name for name in shape.types if name not in names]:
        raise _hold(schema, where, f"the source no longer has column {_listed(dropped)}")
    added = tuple(column for column in schema.columns if column.name not in shape.types)
    widened = tuple(column for column in schema.columns if _widens(schema, shape, types, column, where))
    return Changes(added, widened)


def _widens(schema: TableSchema, shape: Shape, types: Mapping[Kind, str], column: Column, where: str) -> bool:
    here = shape.types.get(column.name, types[column.kind])
    if here == types[column.kind]:
        return False
    if any(types[kind] == here and column.kind in wider for kind, wider in WIDER.items()):
        return True
    what = f'column "{column.name}" is {here} here and {column.kind} at the source, which may lose values'
    raise _hold(schema, where, what)


def _hold(schema: TableSchema, where: str, what: str) -> SchemaHold:
    return SchemaHold(schema.name, what, where=where, fix=COPY_AFRESH)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names) or "empty (append-only)"


def quote(name: str) -> str:
    """An identifier in the double quotes that every dialect here takes."""
    return '"' + name.replace('"', '""') + '"'


def refuse_keyless_changes(delta: Delta) -> None:
    """Raise BadRow when *delta* changes or removes rows of a table that has no key to find them by."""
    if not delta.schema.key and (delta.deletes or delta.partials):
        raise BadRow(
            delta.schema.name,
            "rows of a table declared append-only were changed or deleted at the source",
            fix="give the table a key, then copy it afresh",
        )


def refuse_miscounted(found: int, frames: Frames) -> None:
    """Raise FrameCorrupt when the frames are not as many as was announced."""
    if found != frames.count:
        raise FrameCorrupt(f"{found} rows came where {frames.count} were announced")


@dataclass(slots=True)
class Notes:
    """What was done in one transaction; forgotten with it."""

    transaction: weakref.ref[RootTransaction]
    altered: set[str] = field(default_factory=set)
    """Tables made, altered or dropped in it: whether they stay so is known only in a later transaction."""
    filled: set[str] = field(default_factory=set)
    """Staging tables that hold rows of it."""
    planned: bool = False
    """The planner was told what kind of statements to expect."""
    touched: set[str] = field(default_factory=set)
    """Tables read or written in it: where DDL has no part in transactions, nobody can alter them before it ends."""


def notes(connection: Connection) -> Notes:
    """The notes of the connection's transaction, which is begun if there is none."""
    transaction = connection.get_transaction() or connection.begin()
    kept: Notes | None = connection.info.get(Notes)
    if kept is None or kept.transaction() is not transaction:
        kept = connection.info[Notes] = Notes(weakref.ref(transaction))
    return kept


class Known:
    """Tables whose shape is certain, by fingerprint: seen in a transaction that had not altered them.

    So the rollback of the transaction that made a table cannot leave a belief behind.
    """

    def __init__(self) -> None:
        self._fingerprints: dict[str, bytes] = {}

    def has(self, schema: TableSchema) -> bool:
        """Whether the table is certain to hold *schema*."""
        return self._fingerprints.get(schema.name) == schema.fingerprint

    def learn(self, connection: Connection, schema: TableSchema) -> None:
        """The table was found able to hold *schema*, by looking at it on *connection*."""
        if schema.name not in notes(connection).altered:
            self._fingerprints[schema.name] = schema.fingerprint

    def forget(self, name: str) -> None:
        """Look again before the next use."""
        self._fingerprints.pop(name, None)


def digest_of(pages: Iterable[Frames]) -> TableDigest:
    """The digest of a table read as frames, in any order; every end of a comparison uses this."""
    rows = total = 0
    for page in pages:
        rows += page.count
        for frame in split(page.data):
            total += int.from_bytes(hashlib.blake2b(frame, digest_size=16).digest(), "big")
    return TableDigest(rows, (total % 2**128).to_bytes(16, "big"))
