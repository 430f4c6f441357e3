"""The platform's tables of one stream, changed one delta at a time; what goes wrong is one table's trouble."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Connection, Engine

from central.apply import lease
from central.ledger import note_shape
from central.store import writing
from central.store.names import room_of
from proto.batch import Batch, Delta
from proto.errors import BadRow, Refused, SchemaHold
from proto.schema import TableSchema
from replica.opening import open_replica

Fingerprints = dict[str, bytes]
"""Of shapes, by table."""


class _Undone(Exception):
    """Nothing of an attempt is to stay."""


class Tables:
    """Works in the caller's transaction; remembers which shapes are written down."""

    def __init__(self, engine: Engine, stream: str) -> None:
        self._engine = engine
        self._stream = stream
        self._replica = open_replica(engine, room_of(stream))
        self._shapes: Fingerprints = {}

    def put(self, connection: Connection, delta: Delta, shapes: Fingerprints) -> None:
        """Apply *delta* and note its shape in *shapes* if that is new. Raises TableHold; the transaction is lost then."""
        self._apply(connection, delta)
        self._note_shape(connection, delta.schema, shapes)

    def committed(self, shapes: Fingerprints) -> None:
        """*shapes* were written down for good."""
        self._shapes.update(shapes)

    def forget(self) -> None:
        """Somebody else may have worked here."""
        self._shapes.clear()

    def attempt(self, token: int, before: Sequence[Delta], part: Delta) -> None:
        """Apply *part* after *before* and leave nothing of it. Raises what refuses it."""
        with suppress(_Undone), writing(self._engine, durable=False) as connection:
            lease.hold(connection, self._stream, token)
            for delta in (*before, part):
                self._apply(connection, delta)
            raise _Undone

    def _apply(self, connection: Connection, delta: Delta) -> None:
        try:
            self._make_fit(connection, delta)
            self._replica.apply(connection, (delta,))
        except Refused as error:
            raise BadRow(delta.schema.name, error.what, where=error.where, fix=error.fix) from error

    def _make_fit(self, connection: Connection, delta: Delta) -> None:
        try:
            self._replica.prepare(connection, delta.schema)
        except SchemaHold:
            # An emptied table has nothing to lose: it is made anew in its new shape.
            if not delta.truncated:
                raise
            self._replica.drop(connection, delta.schema.name)
            self._replica.prepare(connection, delta.schema)

    def _note_shape(self, connection: Connection, schema: TableSchema, shapes: Fingerprints) -> None:
        known = shapes.get(schema.name) or self._shapes.get(schema.name)
        if known != schema.fingerprint:
            note_shape(connection, self._stream, schema)
            shapes[schema.name] = schema.fingerprint


def deltas_of(batch: Batch, table: str) -> list[Delta]:
    """What *batch* brings to *table*, from where it was last emptied: what came before that counts for nothing."""
    found: list[Delta] = []
    for delta in batch.deltas:
        if delta.schema.name == table:
            found = [delta] if delta.truncated else [*found, delta]
    return found
