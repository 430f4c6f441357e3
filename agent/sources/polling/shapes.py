"""A table as it is now at the source: its schema, how its columns are asked for, and how what comes becomes frames."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

from agent.sources.polling.columns import columns_of, key_of
from agent.sources.polling.connection import Database, NativeColumn, Row
from agent.sources.polling.dialects import Dialect, kind_of
from agent.sources.polling.settings import PollingTable
from proto import frames
from proto.batch import Frames
from proto.errors import BadRow, Refused, SchemaHold
from proto.schema import Column, TableSchema
from proto.values import INTEGERS, Kind, Plain, from_plain, from_text, to_plain, to_text

WATERMARKS: Final = frozenset(
    {Kind.INT16, Kind.INT32, Kind.INT64, Kind.DECIMAL, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ}
)
UNSEEN: Final = "or the account may not see it"
_STAMPS: Final = frozenset({Kind.TIMESTAMP, Kind.TIMESTAMPTZ})
_DATED: Final = frozenset({Kind.DATE, *_STAMPS})
_ZERO_DATE: Final = re.compile(r"0000-\d\d-\d\d|\d{4}-00-|\d{4}-\d\d-00")
_COMPARED_BY_VALUE: Final = frozenset(
    {Kind.BYTES, Kind.BOOL, Kind.DECIMAL, Kind.FLOAT32, Kind.FLOAT64, *INTEGERS}
)

Reads = Callable[[Any], bytes]
"""From what the driver brings to the canonical form; raises Refused, which never repeats the value."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column: how it is asked for, compared and read."""

    column: Column
    expression: str
    parameter: str
    reads: Reads


@dataclass(frozen=True)
class Shape:
    """Everything that a reader of one table needs to know."""

    schema: TableSchema
    table: str
    """As a statement names it."""
    fields: tuple[Field, ...]
    key: tuple[Field, ...]
    watermark: Field | None
    dialect: Dialect

    def frames(self, rows: Sequence[Row]) -> Frames:
        """Rows as the driver brought them, as frames. Raises BadRow."""
        return Frames(b"".join(self._frame(self.fields, row) for row in rows), len(rows))

    def key_frames(self, rows: Sequence[Row]) -> list[bytes]:
        """Rows that hold the key alone, as key frames. Raises BadRow."""
        return [self._frame(self.key, row) for row in rows]

    def key_values(self, key: bytes) -> list[Plain]:
        """A key frame as parameters."""
        return [
            None if word is None else self.value(field.column.kind, word)
            for field, word in zip(self.key, frames.fields(key), strict=True)
        ]

    def value(self, kind: Kind, word: bytes) -> Plain:
        """A value as a parameter: as text that is cast, or as itself where types are only advice."""
        if self.dialect.typeless or kind in INTEGERS or (kind is Kind.BYTES and self.dialect.casts != "type"):
            return to_plain(kind, word)
        text = to_text(kind, word)
        return text.removesuffix("+00") if kind is Kind.TIMESTAMPTZ and self.dialect.casts == "kind" else text

    def _frame(self, fields: Sequence[Field], row: Row) -> bytes:
        words: list[bytes | None] = []
        for field, value in zip(fields, row, strict=False):
            words.append(None if value is None else self._word(field, value))
        key = self.schema.key
        if any(word is None and field.column.name in key for word, field in zip(words, fields, strict=True)):
            raise BadRow(
                self.schema.name, "a key column is NULL", fix="choose key columns that are never NULL"
            )
        return frames.pack(words)

    def _word(self, field: Field, value: Any) -> bytes:
        column = field.column
        try:
            word = field.reads(value)
        except Refused as error:
            what = f'column "{column.name}": {error.what}'
            fix = f"mend the row at the source, or say what the column holds: kinds or charsets of {column.name}"
            raise BadRow(self.schema.name, what, fix=fix) from None
        if self.dialect.typeless and column.name in self.schema.key:
            self._refuse_second_spelling(column, value, word)
        return word

    def _refuse_second_spelling(self, column: Column, value: Any, word: bytes) -> None:
        """A key must be found again by what is kept of it; SQLite compares spellings."""
        spelled = isinstance(value, bytes) and column.kind not in _COMPARED_BY_VALUE
        if spelled and value != to_text(column.kind, word).encode():
            what = f'key column "{column.name}" is not written as {column.kind} is'
            raise BadRow(self.schema.name, what, fix=f"say what it holds: kinds: {{{column.name}: text}}")


def read_shape(database: Database, settings: PollingTable) -> Shape:
    """The table as the catalogue has it now. Raises SchemaHold."""
    name = settings.catalogued
    found = {column.name: column for column in columns_of(database, *settings.parts)}
    if not found:
        raise SchemaHold(
            name,
            f"there is no table {settings.table}, {UNSEEN}",
            fix=f"correct 'table' (upper and lower case count){_or_grant(database.dialect, settings)}",
        )
    wanted = settings.columns or tuple(found)
    asked = (*wanted, *(settings.key or ()), *((settings.watermark,) if settings.watermark else ()))
    if missing := sorted(set(asked) - found.keys()):
        what = f"it has no column {', '.join(missing)}, {UNSEEN}"
        fix = f"correct the settings{_or_grant(database.dialect, settings, missing)}"
        raise SchemaHold(name, what, fix=fix)
    key = _key_of(database, settings, wanted)
    dialect = database.dialect
    fields = tuple(_field(dialect, settings, found[column], column in key) for column in wanted)
    schema = TableSchema(name, tuple(field.column for field in fields), key)
    named = {field.column.name: field for field in fields}
    watermark = _watermark(dialect, settings, found) if settings.watermark else None
    table = dialect.table(*settings.parts)
    return Shape(schema, table, fields, tuple(named[column] for column in key), watermark, dialect)


def _or_grant(dialect: Dialect, settings: PollingTable, columns: Sequence[str] = ()) -> str:
    if dialect.typeless:
        return ""
    named = f" ({', '.join(map(dialect.quote, columns))})" if columns else ""
    return f", or: GRANT SELECT{named} ON {dialect.table(*settings.parts)} TO the account"


def _key_of(database: Database, settings: PollingTable, wanted: Sequence[str]) -> tuple[str, ...]:
    name = settings.catalogued
    key = settings.key or key_of(database, *settings.parts)
    if not key:
        fix = "name the columns of a unique index: 'key', or add a primary key"
        raise SchemaHold(name, "it has no primary key", fix=fix)
    if outside := [column for column in key if column not in wanted]:
        raise SchemaHold(name, f"key column {outside[0]} is not captured", fix="add it to 'columns'")
    if coded := [column for column in key if column in settings.charsets]:
        what = f"key column {coded[0]} cannot have a character set of its own"
        raise SchemaHold(name, what, fix="take another key, or leave the table out")
    return tuple(key)


def _watermark(dialect: Dialect, settings: PollingTable, found: dict[str, NativeColumn]) -> Field:
    field = _field(dialect, settings, found[settings.watermark], False)
    if field.column.kind not in WATERMARKS:
        what = f"watermark {settings.watermark} is {field.column.source_type}: neither a number nor a time"
        raise SchemaHold(settings.catalogued, what, fix="choose a time or a counter, or none at all")
    return field


def _field(dialect: Dialect, settings: PollingTable, native: NativeColumn, is_key: bool) -> Field:
    kind = settings.kinds.get(native.name) or kind_of(dialect, native.type)
    charset = settings.charsets.get(native.name)
    column = Column(native.name, kind, native.type, native.nullable and not is_key)
    reads: Reads = partial(canonical, kind)
    expression = dialect.read(native.name, kind, native.type)
    if charset:
        expression, reads = dialect.raw(native.name), partial(_decoded, kind, charset)
    elif dialect.text_as_bytes:
        reads = partial(_decoded, kind, "utf-8")
    return Field(column, expression, dialect.parameter(kind, native.type), reads)


def _decoded(kind: Kind, charset: str, value: Any) -> bytes:
    """Bytes are text in *charset*, strictly; anything else is as the driver has it."""
    if isinstance(value, (bytes, bytearray, memoryview)) and kind is not Kind.BYTES:
        try:
            value = bytes(value).decode(charset)
        except UnicodeDecodeError as error:
            raise Refused(f"its bytes are not {charset} at byte {error.start}") from None
    return canonical(kind, value)


def canonical(kind: Kind, value: Any) -> bytes:
    """The canonical form of what a driver brought. Raises Refused for what the kind cannot hold."""
    match value:
        case bool() | int():
            return _from_integer(kind, int(value))
        case float():
            return from_plain(kind, int(value) if kind in INTEGERS and value.is_integer() else value)
        case bytes() | bytearray() | memoryview():
            return _from_bytes(kind, bytes(value))
        case Decimal():
            value = format(value, "f")
        case dt.datetime() | dt.date() | dt.time():
            value = _clocked(value)
    return _from_words(kind, str(value))


def _from_integer(kind: Kind, value: int) -> bytes:
    return from_plain(kind, value) if kind in _FROM_NUMBERS else from_text(kind, str(value))


_FROM_NUMBERS: Final = frozenset({Kind.BOOL, Kind.FLOAT32, Kind.FLOAT64, *INTEGERS})


def _from_words(kind: Kind, words: str) -> bytes:
    if kind in _DATED and _ZERO_DATE.match(words):
        raise Refused("a value is a date without a year, month or day")
    if kind in _STAMPS:
        words = words.replace("T", " ", 1).removesuffix("Z")
        if kind is Kind.TIMESTAMPTZ and not _has_offset(words):
            words += "+00"
    elif kind is Kind.TIME:
        words = words.strip()
    return from_text(kind, words)


def _has_offset(words: str) -> bool:
    clock = words.partition(" ")[2]
    return "+" in clock or "-" in clock or words.endswith("infinity")


def _from_bytes(kind: Kind, value: bytes) -> bytes:
    if kind is Kind.BOOL and len(value) == 1:
        return from_plain(kind, value[0])
    if kind is Kind.UUID:
        return from_text(kind, value.hex())
    return from_plain(kind, value)


def _clocked(value: dt.datetime | dt.date | dt.time) -> str:
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(dt.UTC).replace(tzinfo=None)
        return value.isoformat(" ")
    return value.isoformat()


def before(kind: Kind, word: bytes, overlap: float) -> bytes:
    """A watermark *overlap* seconds (of a counter: units) earlier; never below what the kind holds."""
    if kind in INTEGERS:
        lowest = -(1 << (8 * len(word) - 1))
        return from_plain(kind, max(lowest, int.from_bytes(word, signed=True) - int(overlap)))
    if kind is Kind.DECIMAL:
        return from_text(kind, format(Decimal(to_text(kind, word)) - Decimal(int(overlap)), "f"))
    steps = int(overlap // 86_400) + 1 if kind is Kind.DATE else int(overlap * 1_000_000)
    number = int.from_bytes(word, signed=True)
    limit = 1 << (8 * len(word) - 1)
    if number in (limit - 1, -limit):
        # Infinity stays where it is.
        return word
    return (number - steps).to_bytes(len(word), signed=True)


def least(kind: Kind, one: bytes, other: bytes) -> bytes:
    """The earlier of two watermarks."""
    if kind is Kind.DECIMAL:
        return min(one, other, key=lambda word: Decimal(to_text(kind, word)))
    return min(one, other, key=lambda word: int.from_bytes(word, signed=True))
