"""A table at the source that writes down what its server would log."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from agent.sources.mysql.binlog import EventType
from proto import frames
from proto.values import Kind
from tests.support import binlog_model as model
from tests.support.binlog_model import FULL, ID, NAME, Sample, Text

NOTE = Sample("TEXT", 252, b"\2", Kind.TEXT, model.words(2), {"charset": "utf8mb4"})
WIDE = Sample("VARCHAR(90) gbk", 15, b"\xb4\0", Kind.TEXT, model.words(1, "gbk"), {"charset": "gbk"})
TABLE = [ID, NAME, NOTE, WIDE]
ALL = [True] * 4
INSERT, UPDATE, DELETE = FULL
Values = tuple[Text, ...]


def key(number: int) -> bytes:
    """A key frame."""
    return frames.pack([struct.pack(">i", number)])


def framed(*values: Text) -> bytes:
    """The frame of a row of TABLE."""
    return frames.pack(fields(values))


def fields(values: Sequence[Text]) -> list[bytes | None]:
    """The canonical form of a row of TABLE."""
    number = struct.pack(">i", int(values[0] or 0))
    return [number, *(None if value is None else value.encode() for value in values[1:])]


def insert(*rows: Values, kind: EventType = INSERT) -> bytes:
    """Rows that came."""
    return model.rows(kind, 4, b"".join(model.row(TABLE, row) for row in rows))


def update(*pairs: tuple[Values, Values], kind: EventType = UPDATE) -> bytes:
    """Rows that were and are."""
    data = b"".join(model.row(TABLE, row) for pair in pairs for row in pair)
    return model.rows(kind, 4, data)


def delete(*rows: Values, kind: EventType = DELETE) -> bytes:
    """Rows that went."""
    return model.rows(kind, 4, b"".join(model.row(TABLE, row) for row in rows))


class Server:
    """A table at the source that writes down what its server would log."""

    def __init__(self, full: bool) -> None:
        self.full = full
        self.rows: dict[int, Values] = {}
        self.logged: list[bytes] = []
        self.table_id = model.TABLE_ID

    def write(self, number: int, *values: Text) -> None:
        """Insert, or update the row that is there."""
        before, row = self.rows.get(number), (str(number), *values)
        self.rows[number] = row
        if before is None:
            self._log(INSERT, model.row(TABLE, row))
        else:
            self._update(before, row)

    def move(self, number: int, to: int, note: Text) -> None:
        """Change a row's key and a value."""
        if number in self.rows and to not in self.rows:
            before = self.rows.pop(number)
            self.rows[to] = (str(to), before[1], note, before[3])
            self._update(before, self.rows[to])

    def remove(self, number: int) -> None:
        """Delete."""
        before = self.rows.pop(number, None)
        if before is not None:
            image = ALL if self.full else [True, False, False, False]
            self._log(DELETE, model.row(TABLE, before, image), image)

    def empty(self) -> None:
        """Truncate; the number of the table is another one then."""
        self.rows.clear()
        self.logged.append(b"")
        self.open()

    def open(self) -> None:
        """The server opens the table again."""
        self.table_id += 1
        self.logged.append(model.table_map(TABLE, table_id=self.table_id))

    def _update(self, before: Values, row: Values) -> None:
        old, new = ALL, ALL
        if not self.full:
            old = [True, False, False, False]
            new = [was != now for was, now in zip(before, row, strict=True)]
            if not any(new):
                return
        self._log(UPDATE, model.row(TABLE, before, old) + model.row(TABLE, row, new), old, new)

    def _log(self, kind: EventType, data: bytes, *images: list[bool]) -> None:
        self.logged.append(model.rows(kind, 4, data, images=images, table_id=self.table_id))
