"""Tables that follow a stream, in whichever database: the contract that every dialect keeps.

All methods work on the caller's open SQLAlchemy connection and never commit: the caller moves its cursor in
the same transaction. Only the dialect files know SQL of sinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from proto.batch import Delta, Frames
from proto.schema import TableSchema


@dataclass(frozen=True, slots=True)
class TableDigest:
    """What a table holds, in a form that can be compared across databases."""

    rows: int
    content: bytes
    """16 bytes: sum of the BLAKE2b-128 of every canonical frame, modulo 2**128, big-endian."""


class Replica(Protocol):
    """The tables of one stream in one database. ``room`` keeps streams apart: a schema or a name prefix."""

    def prepare(self, connection: Connection, schema: TableSchema) -> None:
        """Make the table, or alter it so that it can hold *schema*: added columns, widened kinds.

        Raises SchemaHold when the table there cannot become this without losing values (dropped or retyped
        columns, another key). Idempotent, cheap when nothing changed.
        """
        ...

    def apply(self, connection: Connection, deltas: Iterable[Delta]) -> int:
        """Apply in order; returns rows touched. Replaying a delta that is already there changes nothing.

        Partial updates and deletes of absent rows do nothing. Raises BadRow naming table and reason when the
        sink cannot hold a row (the transaction is then unusable: roll it back), Transient on lost connections,
        deadlocks, serialization failures and timeouts, DiskBlocked on a full disk.
        """
        ...

    def scan(self, connection: Connection, schema: TableSchema, page_rows: int = 20_000) -> Iterator[Frames]:
        """The table's rows as canonical frames, in key order (for an append-only table in any order)."""
        ...

    def page(self, connection: Connection, schema: TableSchema, after_key: bytes, rows: int) -> Frames:
        """Up to *rows* rows after the key frame *after_key* (``b""`` = from the first), in the order of a scan.

        Fewer only at the table's end. Only for tables with a key.
        """
        ...

    def rows(self, connection: Connection, schema: TableSchema, keys: Frames) -> Frames:
        """The rows that have exactly one of *keys*, in any order; keys that are not there bring none."""
        ...

    def count(self, connection: Connection, schema: TableSchema) -> int:
        """How many rows the table has."""
        ...

    def digest(self, connection: Connection, schema: TableSchema) -> TableDigest:
        """Rows and content digest of the table; equal tables have equal digests in every dialect."""
        ...

    def drop(self, connection: Connection, name: str) -> None:
        """Forget one table and its rows."""
        ...
