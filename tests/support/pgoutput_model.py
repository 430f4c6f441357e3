"""A table at the source that writes down what its server would send, and a replica that follows it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from agent.sources.postgresql.pgoutput import Collector, TablePlan
from proto import frames
from proto.batch import Delta
from proto.schema import Column, TableSchema
from proto.values import Kind
from tests.support import wire
from tests.support.wire import UNCHANGED, Value

Row = tuple[bytes | None, ...]
RELID = 5
COLUMNS = ("id", "a", "big", "wide")
SCHEMA = TableSchema(
    "t", tuple(Column(name, Kind.INT32 if name == "id" else Kind.TEXT) for name in COLUMNS), ("id",)
)


def key(number: int) -> bytes:
    """A key's bytes."""
    return struct.pack(">i", number)


def described(identity: str = "d", relid: int = RELID, extra: Sequence[tuple[str, bool]] = ()) -> bytes:
    """The relation's description; FULL flags every column."""
    return wire.relation(
        relid, "t", [*((name, name == "id" or identity == "f") for name in COLUMNS), *extra], identity
    )


def collector(compiled: bool, schema: TableSchema = SCHEMA) -> Collector:
    """One that captures every relation as *schema*."""
    return Collector(lambda _: TablePlan(schema, tuple(range(len(schema.columns)))), compiled=compiled)


def transaction(*changes: bytes, lsn: int = 100) -> list[bytes]:
    """A transaction that starts its commit record at *lsn* and ends 10 later."""
    return [wire.begin(lsn, wire.PG_EPOCH_US + lsn, lsn), *changes, wire.commit(lsn, lsn + 10)]


def apply(table: dict[bytes, Row], deltas: Iterable[Delta]) -> None:
    """What every replica does with deltas, on a dictionary by key frame."""
    for delta in deltas:
        if delta.truncated:
            table.clear()
        seen: list[bytes] = frames.split(delta.deletes.data)
        for gone in frames.split(delta.deletes.data):
            table.pop(gone, None)
        for part in delta.partials:
            seen += [update_partly(table, part.columns, frame) for frame in frames.split(part.frames.data)]
        for section in (delta.upserts, delta.inserts):
            for frame in frames.split(section.data):
                name = frames.keys(frame, (0,))[0]
                seen.append(name)
                assert section is delta.upserts or name not in table, "an insert met a row"
                table[name] = tuple(frames.fields(frame))
        assert len(set(seen)) == len(seen), "a key appears twice in one delta"


def update_partly(table: dict[bytes, Row], columns: tuple[int, ...], frame: bytes) -> bytes:
    """Apply one partial update; returns the old key."""
    old = frames.pack(frames.fields(frame)[:1])
    if old in table:
        merged = frames.merge_partial(frames.pack(table.pop(old)), SCHEMA, columns, frame)
        table[frames.keys(merged, (0,))[0]] = tuple(frames.fields(merged))
    return old


class Server:
    """A table at the source that writes down what its server would send."""

    def __init__(self, identity: str) -> None:
        self.full = identity == "f"
        self.rows: dict[int, Row] = {}
        self.sent: list[bytes] = []

    def write(self, number: int, a: bytes, big: bytes | None, wide: bytes | None) -> None:
        """Insert, or update the row that is there; a large value of None stays as it is and is not logged."""
        before = self.rows.get(number)
        if before is None:
            self.rows[number] = (key(number), a, big, wide)
            self.sent.append(wire.insert(RELID, self.rows[number]))
        else:
            self._update(number, number, a, big, wide)

    def move(self, number: int, to: int, a: bytes, big: bytes | None) -> None:
        """Change a row's key."""
        if number in self.rows and to not in self.rows:
            self._update(number, to, a, big, None)

    def rotate(self, numbers: Sequence[int]) -> None:
        """Give each row the key of the next one in one statement, as a deferred constraint allows."""
        found = [number for number in dict.fromkeys(numbers) if number in self.rows]
        if not self.full or len(found) < 2:
            return
        turned = dict(zip(found, [*found[1:], found[0]], strict=True))
        before = dict(self.rows)
        for number, to in turned.items():
            self.rows[to] = (key(to), *before[number][1:])
            self.sent.append(wire.update(RELID, self.rows[to], before[number], b"O"))

    def displace(self, number: int, a: bytes) -> None:
        """Insert a row over another one that is deleted, or changed and then deleted, before the commit."""
        before = self.rows.get(number)
        if self.full and before is not None:
            changed = (before[0], a, *before[2:])
            self.rows[number] = (key(number), b"new", None, None)
            self.sent += [
                wire.insert(RELID, self.rows[number]),
                wire.update(RELID, changed, before, b"O"),
                wire.delete(RELID, changed, b"O"),
            ]

    def remove(self, number: int) -> None:
        """Delete."""
        before = self.rows.pop(number, None)
        if before is not None:
            self.sent.append(wire.delete(RELID, *self._old(before)))

    def empty(self) -> None:
        """Truncate."""
        self.rows.clear()
        self.sent.append(wire.truncate(RELID))

    def _update(self, number: int, to: int, a: bytes, big: bytes | None, wide: bytes | None) -> None:
        before = self.rows.pop(number)
        self.rows[to] = (key(to), a, before[2] if big is None else big, before[3] if wide is None else wide)
        sent: list[Value] = [
            key(to),
            a,
            UNCHANGED if big is None else big,
            UNCHANGED if wide is None else wide,
        ]
        if self.full or number != to:
            self.sent.append(wire.update(RELID, sent, *self._old(before)))
        else:
            self.sent.append(wire.update(RELID, sent))

    def _old(self, before: Row) -> tuple[Row, bytes]:
        return (before, b"O") if self.full else ((before[0], None, None, None), b"K")
