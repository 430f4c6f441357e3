"""The door through which a source sees what the mirror has: committed rows, read only, each call one transaction.

It is :class:`agent.sources.source.Mirror`. A table that is not mirrored yet is an empty one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from agent.exchange.tablestates import TableStatus
from proto.batch import NO_FRAMES, Frames
from proto.errors import Refused
from proto.schema import TableSchema
from replica.replica import Replica, TableDigest


class MirrorDoor:
    """Reads the mirror of one stream. Every method may be called from any thread."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[Connection]],
        replica: Replica,
        status: Callable[[str], TableStatus | None],
    ) -> None:
        self._reading = reading
        self._replica = replica
        self._status = status

    def schema(self, table: str) -> TableSchema | None:
        """How its frames of *table* are laid out; None while there is no such table."""
        status = self._status(table)
        return status.schema if status else None

    def count(self, table: str) -> int:
        """How many rows it has of *table*."""
        schema = self.schema(table)
        if schema is None:
            return 0
        with self._reading() as connection:
            return self._replica.count(connection, schema)

    def page(self, table: str, after_key: bytes, rows: int) -> Frames:
        """Up to *rows* rows after *after_key*, in the mirror's order."""
        schema = self.schema(table)
        if schema is None:
            return NO_FRAMES
        with self._reading() as connection:
            return self._replica.page(connection, schema, after_key, rows)

    def rows(self, table: str, keys: Frames) -> Frames:
        """The rows with exactly these keys."""
        schema = self.schema(table)
        if schema is None or not keys:
            return NO_FRAMES
        with self._reading() as connection:
            return self._replica.rows(connection, schema, keys)

    # For comparison; a table that is not mirrored yet has nothing to be compared.

    def scan(self, table: str) -> Iterator[Frames]:
        """All rows of *table* as canonical frames, in key order."""
        with self._reading() as connection:
            yield from self._replica.scan(connection, self._known(table))

    def digest(self, table: str) -> TableDigest:
        """Rows and content digest of *table*."""
        with self._reading() as connection:
            return self._replica.digest(connection, self._known(table))

    def _known(self, table: str) -> TableSchema:
        schema = self.schema(table)
        if schema is None:
            raise Refused(f"table {table} has no mirror yet")
        return schema
