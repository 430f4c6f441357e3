"""Where the rows that others share lie: one room per provider's stream, apart from the mirrors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection, Engine

from agent.exchange.receptions import Reception
from proto.batch import Batch, Delta
from proto.errors import BatchCorrupt
from proto.schema import TableSchema
from replica.opening import open_replica
from replica.replica import Replica


class Inbound:
    """The inbound tables of one exchange database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rooms: dict[str, Replica] = {}

    def room(self, row: Reception) -> Replica:
        """The room a grant's table is in."""
        if row.room not in self._rooms:
            self._rooms[row.room] = open_replica(self._engine, row.room)
        return self._rooms[row.room]

    def apply(
        self, connection: Connection, row: Reception, batches: Iterable[Batch], *, fresh: bool
    ) -> Reception:
        """Bring the rows of *batches* into the table; *fresh*: they begin a copy, so the table begins with nothing."""
        if fresh and row.reads is None:
            # Perhaps another grant had the table before.
            self.room(row).drop(connection, row.place)
        for batch in batches:
            for delta in batch.deltas:
                row = self._apply(connection, row, replace(delta, truncated=True) if fresh else delta)
                fresh = False
        if fresh:
            self.empty(connection, row)
        return row

    def empty(self, connection: Connection, row: Reception) -> int:
        """Remove every row; returns how many there were."""
        schema = row.reads
        if schema is None:
            return 0
        room = self.room(row)
        rows = room.count(connection, schema)
        room.apply(connection, (Delta(schema, truncated=True),))
        return rows

    def drop(self, connection: Connection, row: Reception) -> None:
        """Remove the table and whatever is in it."""
        if row.place:
            self.room(row).drop(connection, row.place)

    def _apply(self, connection: Connection, row: Reception, delta: Delta) -> Reception:
        room, delta = self.room(row), as_here(delta, row.place)
        known = row.reads
        if known is not None and known.fingerprint != delta.schema.fingerprint and delta.truncated:
            # An emptied table has no values to lose, so its shape may change freely.
            room.drop(connection, row.place)
        room.prepare(connection, delta.schema)
        room.apply(connection, (delta,))
        return replace(row, schema=replace(delta.schema, name=row.name))


def refuse_foreign(batch: Batch, row: Reception) -> None:
    """Raise BatchCorrupt when a delivery brings rows of another table than the grant's."""
    for delta in batch.deltas:
        if delta.schema.name != row.name:
            what = f"a delivery of {row.name} brings rows of {delta.schema.name[:80]}"
            raise BatchCorrupt(what, where=row.grant_id)


def as_here(delta: Delta, name: str) -> Delta:
    """*delta* for a table of another name."""
    return delta if delta.schema.name == name else replace(delta, schema=_named(delta.schema, name))


def _named(schema: TableSchema, name: str) -> TableSchema:
    return replace(schema, name=name)
