"""One captured table: how its rows are laid out, read and handed on to be collapsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from agent.sources.collapse import Absent, Field, Pending
from agent.sources.mysql.events import HEADER_BYTES, Cursor, EventType, inflated
from agent.sources.mysql.plan import Plan
from agent.sources.mysql.reader import Reader, Unreadable, Wanted
from agent.sources.mysql.readers import reader_of
from agent.sources.mysql.rows import Raw, layout_of, split
from agent.sources.mysql.tablemap import MOST_COLUMNS, TableMap, bits
from proto.batch import Delta
from proto.errors import BadRow, Refused, SchemaHold

_AFRESH: Final = "mend the row at the source, or leave the column out, then copy the table afresh"


_POST_HEADER_END: Final = HEADER_BYTES + 8


class Operation(IntEnum):
    """What happened to a row; the numbers are the ones in ``_binlog``."""

    INSERT = 0
    UPDATE = 1
    DELETE = 2


OPERATIONS: Final[dict[int, Operation]] = {
    EventType.WRITE_ROWS_V1: Operation.INSERT,
    EventType.UPDATE_ROWS_V1: Operation.UPDATE,
    EventType.DELETE_ROWS_V1: Operation.DELETE,
    EventType.WRITE_ROWS: Operation.INSERT,
    EventType.UPDATE_ROWS: Operation.UPDATE,
    EventType.DELETE_ROWS: Operation.DELETE,
    EventType.MARIADB_WRITE_ROWS_COMPRESSED_V1: Operation.INSERT,
    EventType.MARIADB_UPDATE_ROWS_COMPRESSED_V1: Operation.UPDATE,
    EventType.MARIADB_DELETE_ROWS_COMPRESSED_V1: Operation.DELETE,
    EventType.MARIADB_WRITE_ROWS_COMPRESSED: Operation.INSERT,
    EventType.MARIADB_UPDATE_ROWS_COMPRESSED: Operation.UPDATE,
    EventType.MARIADB_DELETE_ROWS_COMPRESSED: Operation.DELETE,
}
_SECOND_VERSION: Final = frozenset(
    (
        *(EventType.WRITE_ROWS, EventType.UPDATE_ROWS, EventType.DELETE_ROWS),
        EventType.MARIADB_WRITE_ROWS_COMPRESSED,
        EventType.MARIADB_UPDATE_ROWS_COMPRESSED,
        EventType.MARIADB_DELETE_ROWS_COMPRESSED,
    )
)
_PLAIN: Final = tuple(
    EventType(kind) for kind in OPERATIONS if kind < EventType.MARIADB_WRITE_ROWS_COMPRESSED_V1
)


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of one table that were changed in the same way; they lie in ``data`` from ``at`` on."""

    operation: Operation
    images: tuple[tuple[bool, ...], ...]
    """Which columns the rows tell: of the row that was, of the row that is, or of both in this order."""
    data: bytes
    at: int
    is_whole: bool
    """Every column is there."""


@dataclass(frozen=True, slots=True)
class _Usual:
    """How the rows of an event begin when they tell every column; the bits over may be set or not."""

    heads: tuple[bytes, bytes]
    operation: Operation
    images: tuple[tuple[bool, ...], ...]
    at: int


class UnreadableValue(BadRow):
    """A value that no kind can hold; ``raw`` keeps its bytes for whoever looks into it, and no log shows them."""

    def __init__(self, wanted: Wanted, why: str, raw: bytes) -> None:
        where = f"{wanted.table}.{wanted.name}"
        super().__init__(wanted.table, f'column "{wanted.name}": a value {why}', where=where, fix=_AFRESH)
        self.raw = raw


class Lane:
    """A captured table: reads its changes and collapses them."""

    def __init__(self, table: TableMap, plan: Plan, closed: list[Delta]) -> None:
        if len(plan.columns) != len(plan.schema.columns):
            raise Refused("a plan has another number of columns than its schema", where=plan.schema.name)
        self.table = table
        # The image of the old row may be whole, but only its key is looked at: no two rows share one, ever.
        self.pending = Pending(plan.schema, closed, tells_all=False)
        self.picks = tuple(column.at for column in plan.columns)
        if any(not 0 <= at < len(table.columns) for at in self.picks):
            raise SchemaHold(plan.schema.name, "the table has fewer columns than the catalogue", fix=_AFRESH)
        self.layouts = tuple(map(layout_of, table.columns))
        self._wanted = tuple(
            Wanted(plan.schema.name, ours.name, ours.kind, table.columns[column.at], column)
            for ours, column in zip(plan.schema.columns, plan.columns, strict=True)
        )
        self.readers: tuple[Reader, ...] = tuple(map(reader_of, self._wanted))
        self._usual: dict[int, _Usual] = {kind: _usual(kind, len(self.layouts)) for kind in _PLAIN}

    def change_in(self, event: bytes) -> Change:
        """The rows of an event; nearly all begin alike, and looking closer at each costs more than a row does."""
        usual = self._usual.get(event[4])
        if usual is None or not event.startswith(usual.heads, _POST_HEADER_END):
            return read_change(event, len(self.layouts))
        return Change(usual.operation, usual.images, event, usual.at, True)

    def take_in(self, change: Change, at: int) -> int:
        """The row at *at*, and the one after it if it was updated; returns where they end."""
        row, at = split(change.data, at, self.layouts, change.images[0])
        if change.operation is Operation.INSERT:
            self.pending.insert(self._row(row))
        elif change.operation is Operation.DELETE:
            self.pending.delete(self._needed(row, ()))
        else:
            after, at = split(change.data, at, self.layouts, change.images[1])
            self.pending.update(self._needed(row, after), self._row(after))
        return at

    def _row(self, raw: list[Raw]) -> list[Field]:
        return [self._value(number, raw[pick]) for number, pick in enumerate(self.picks)]

    def _needed(self, raw: list[Raw], after: Sequence[Raw]) -> list[Field]:
        """The old row as far as it counts: its key, and what the new one does not tell. The rest may be unreadable."""
        key = self.pending.schema.key_indexes
        return [
            self._value(at, raw[pick])
            if at in key or (after and after[pick] is Absent.UNCHANGED)
            else Absent.UNCHANGED
            for at, pick in enumerate(self.picks)
        ]

    def _value(self, number: int, raw: Raw) -> Field:
        if raw is None or isinstance(raw, Absent):
            return raw
        try:
            return self.readers[number].read(raw)
        except (Unreadable, Refused) as error:
            why = error.what if isinstance(error, Refused) else str(error)
            raise UnreadableValue(self._wanted[number], why, raw) from None


def read_change(event: bytes, columns: int) -> Change:
    """The rows of an event of a table with so many columns."""
    kind = EventType(event[4])
    operation = OPERATIONS[kind]
    cursor = Cursor(event, _POST_HEADER_END)
    if kind in _SECOND_VERSION:
        cursor.take(max(cursor.number(2) - 2, 0))
    count = cursor.packed()
    if count != columns or count > MOST_COLUMNS:
        raise Refused("rows of the binlog have another number of columns than their table")
    images = tuple(
        tuple(bits(cursor.take((count + 7) // 8), count)) for _ in range(1 + (operation is Operation.UPDATE))
    )
    is_whole = all(map(all, images))
    if kind >= EventType.MARIADB_WRITE_ROWS_COMPRESSED_V1:
        return Change(operation, images, inflated(cursor.rest()), 0, is_whole)
    return Change(operation, images, event, cursor.at, is_whole)


def _usual(kind: EventType, columns: int) -> _Usual:
    extra = b"\2\0" if kind in _SECOND_VERSION else b""
    count = bytes([columns]) if columns < 0xFB else b"\xfc" + columns.to_bytes(2, "little")
    size, images = (columns + 7) // 8, 2 if OPERATIONS[kind] is Operation.UPDATE else 1
    exact = extra + count + ((1 << columns) - 1).to_bytes(size, "little") * images
    filled = extra + count + b"\xff" * size * images
    told = ((True,) * columns,) * images
    return _Usual((exact, filled), OPERATIONS[kind], told, _POST_HEADER_END + len(exact))
