"""What a reader of a source holds after applying batches and pages: rows by key, as frames.

A judge for tests: as plain as the contract of :mod:`proto.batch` reads, sharing no code with the product's sinks.
"""

from __future__ import annotations

from proto import frames
from proto.batch import Batch, Delta
from proto.schema import TableSchema
from proto.values import Plain


class Mirror:
    """Tables by catalogued name; parts of a large transaction become visible together."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[bytes, bytes]] = {}
        self.appended: dict[str, list[bytes]] = {}
        self.schemas: dict[str, TableSchema] = {}
        self._parts: list[Delta] = []

    def apply(self, batch: Batch) -> None:
        """Take in a batch; the parts of a transaction wait for the last one."""
        self._parts += batch.deltas
        if not batch.continues:
            waiting, self._parts = self._parts, []
            for delta in waiting:
                self.change(delta)

    def merge(self, schema: TableSchema, data: bytes) -> None:
        """Take in the rows of a page."""
        self.schemas[schema.name] = schema
        if not schema.key:
            self.appended.setdefault(schema.name, []).extend(frames.split(data))
            return
        table = self.tables.setdefault(schema.name, {})
        table.update(zip(frames.keys(data, schema.key_indexes), frames.split(data), strict=True))

    def change(self, delta: Delta) -> None:
        """Truncate, deletes, partials, upserts, inserts."""
        name, schema = delta.schema.name, delta.schema
        self.schemas[name] = schema
        if not schema.key:
            if delta.truncated:
                self.appended.pop(name, None)
            self.merge(schema, delta.inserts.data)
            return
        table = self.tables.setdefault(name, {})
        if delta.truncated:
            table.clear()
        for key in frames.split(delta.deletes.data):
            table.pop(key, None)
        for part in delta.partials:
            for frame in frames.split(part.frames.data):
                self._change_partly(table, schema, part.columns, frame)
        for section in (delta.upserts, delta.inserts):
            self.merge(schema, section.data)

    def rows(self, name: str) -> list[tuple[Plain, ...]]:
        """The rows of a table as plain values, in the order of their values."""
        held = [*self.tables.get(name, {}).values(), *self.appended.get(name, [])]
        return sorted(frames.rows(b"".join(held), self.schemas[name].kinds), key=_order) if held else []

    @staticmethod
    def _change_partly(
        table: dict[bytes, bytes], schema: TableSchema, columns: tuple[int, ...], frame: bytes
    ) -> None:
        fields = frames.fields(frame)
        old = table.pop(frames.pack(fields[: len(schema.key)]), None)
        if old is None:
            return
        row = frames.fields(old)
        for column, field in zip(columns, fields[len(schema.key) :], strict=True):
            row[column] = field
        table[frames.pack([row[at] for at in schema.key_indexes])] = frames.pack(row)


def _order(row: tuple[Plain, ...]) -> list[tuple[bool, str | int | float | bytes]]:
    return [(value is not None, value if value is not None else 0) for value in row]
