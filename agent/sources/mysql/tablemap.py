"""What the binlog says of a table before it says of its rows: types, and with full row metadata names and more.

A MariaDB server as installed sends no optional part, a MySQL server signs and character sets; what is not told is
None or empty, and whoever plans the table takes it from the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from agent.sources.mysql.charsets import charset_of, decoder
from agent.sources.mysql.events import HEADER_BYTES, Cursor, text_of
from proto.errors import Refused

MOST_COLUMNS: Final = 4096


class ColumnType(IntEnum):
    """How a column's values are written in rows."""

    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    NULL = 6
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    NEWDATE = 14
    VARCHAR = 15
    BIT = 16
    TIMESTAMP2 = 17
    DATETIME2 = 18
    TIME2 = 19
    BLOB_COMPRESSED = 140
    VARCHAR_COMPRESSED = 141
    VECTOR = 242
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    TINY_BLOB = 249
    MEDIUM_BLOB = 250
    LONG_BLOB = 251
    BLOB = 252
    VAR_STRING = 253
    STRING = 254
    GEOMETRY = 255


@dataclass(frozen=True, slots=True)
class MapColumn:
    """One column of a table map."""

    type: ColumnType
    """CHAR, ENUM and SET, which are all written as strings, are told apart here."""
    metadata: int = 0
    """Bytes at most of a string, of an ENUM or SET, of a BLOB's length; digits after the second's point; bits of
    a BIT; 256 × precision + scale of a DECIMAL."""
    unsigned: bool | None = None
    charset: str = ""
    name: str = ""
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table as the rows after it are written; ``primary_key`` holds the places of its columns."""

    table_id: int
    schema: str
    table: str
    columns: tuple[MapColumn, ...]
    nullable: tuple[bool, ...]
    primary_key: tuple[int, ...] | None = None


def read_table_map(event: bytes) -> TableMap:
    """The table map in an event without its checksum."""
    cursor = Cursor(event, HEADER_BYTES)
    table_id = cursor.number(6)
    cursor.take(2)
    schema, table = cursor.name(), cursor.name()
    count = cursor.packed()
    if not 0 < count <= MOST_COLUMNS:
        raise Refused("a table map of the binlog has an impossible number of columns")
    types = cursor.take(count)
    metadata = Cursor(cursor.counted())
    columns = [_column(code, metadata) for code in types]
    if not metadata.is_at_end:
        raise Refused("a table map of the binlog tells more of its columns than they have")
    nullable = tuple(bits(cursor.take((count + 7) // 8), count))
    told = _Told(columns)
    while not cursor.is_at_end:
        kind = cursor.number(1)
        told.take_in(kind, Cursor(cursor.counted()))
    return TableMap(table_id, schema, table, told.result(), nullable, told.primary_key)


def bits(bitmap: bytes, count: int) -> Iterator[bool]:
    """The first *count* bits, the lowest of each byte first."""
    return (bool(bitmap[at >> 3] >> (at & 7) & 1) for at in range(count))


def _column(code: int, metadata: Cursor) -> MapColumn:
    try:
        kind = ColumnType(code)
    except ValueError:
        raise Refused(f"a table map of the binlog has a column of the unknown type {code}") from None
    if kind is ColumnType.STRING:
        return _string(metadata)
    if kind is ColumnType.BIT:
        spare, whole = metadata.take(2)
        return MapColumn(kind, 8 * whole + spare)
    if kind is ColumnType.NEWDECIMAL:
        return MapColumn(kind, int.from_bytes(metadata.take(2)))
    return MapColumn(kind, metadata.number(_METADATA_BYTES.get(kind, 0)))


def _string(metadata: Cursor) -> MapColumn:
    # The two highest bits of a long CHAR's length lie, inverted, in bits 4 and 5 of its type.
    code, length = metadata.take(2)
    if code & 0x30 != 0x30:
        length |= ((code & 0x30) ^ 0x30) << 4
        code |= 0x30
    if code not in (ColumnType.STRING, ColumnType.ENUM, ColumnType.SET):
        raise Refused("a table map of the binlog has a string of an unknown type")
    return MapColumn(ColumnType(code), length)


_METADATA_BYTES: Final = {
    ColumnType.FLOAT: 1,
    ColumnType.DOUBLE: 1,
    ColumnType.TIMESTAMP2: 1,
    ColumnType.DATETIME2: 1,
    ColumnType.TIME2: 1,
    ColumnType.BLOB: 1,
    ColumnType.BLOB_COMPRESSED: 1,
    ColumnType.GEOMETRY: 1,
    ColumnType.VECTOR: 1,
    ColumnType.JSON: 1,
    ColumnType.VARCHAR: 2,
    ColumnType.VARCHAR_COMPRESSED: 2,
    ColumnType.VAR_STRING: 2,
}
_NUMERIC: Final = frozenset(
    (
        *(ColumnType.TINY, ColumnType.SHORT, ColumnType.INT24, ColumnType.LONG, ColumnType.LONGLONG),
        *(ColumnType.NEWDECIMAL, ColumnType.FLOAT, ColumnType.DOUBLE, ColumnType.YEAR),
    )
)
_CHARACTER: Final = frozenset(
    (
        *(ColumnType.STRING, ColumnType.VAR_STRING, ColumnType.VARCHAR, ColumnType.BLOB),
        *(ColumnType.GEOMETRY, ColumnType.VECTOR),
        *(ColumnType.BLOB_COMPRESSED, ColumnType.VARCHAR_COMPRESSED),
    )
)


@dataclass
class _Told:
    """The columns and what the optional part adds to them; a part of unknown kind is passed over."""

    columns: list[MapColumn]
    primary_key: tuple[int, ...] | None = None
    raw_members: dict[int, list[bytes]] = field(default_factory=dict)

    def take_in(self, kind: int, part: Cursor) -> None:
        """One part."""
        if (reader := _PARTS.get(kind)) is not None:
            reader(self, part)

    def result(self) -> tuple[MapColumn, ...]:
        """The columns; members are read last, because their character set is told after them."""
        for at, raw in self.raw_members.items():
            self._change(at, members=_members(raw, self.columns[at].charset or "utf8mb4"))
        return tuple(self.columns)

    def of(self, types: frozenset[ColumnType]) -> list[int]:
        """The places of the columns of these types."""
        return [at for at, column in enumerate(self.columns) if column.type in types]

    def signs(self, part: Cursor) -> None:
        """One bit per number, the highest first."""
        numbers = self.of(_NUMERIC)
        bitmap = part.take((len(numbers) + 7) // 8)
        for number, at in enumerate(numbers):
            self._change(at, unsigned=bool(bitmap[number >> 3] & (0x80 >> (number & 7))))

    def default_charset(self, places: list[int], part: Cursor) -> None:
        """One for all, then those that differ."""
        usual = part.packed()
        collations = dict.fromkeys(range(len(places)), usual)
        while not part.is_at_end:
            number = part.packed()
            collations[number] = part.packed()
        self._charsets(places, [collations[number] for number in range(len(places))])

    def each_charset(self, places: list[int], part: Cursor) -> None:
        """One for each column."""
        self._charsets(places, list(_numbers(part)))

    def names(self, part: Cursor) -> None:
        """In order."""
        for at in range(len(self.columns)):
            self._change(at, name=text_of(part.counted()))

    def members(self, kind: ColumnType, part: Cursor) -> None:
        """Of each ENUM, or of each SET."""
        for at in self.of(frozenset((kind,))):
            self.raw_members[at] = [part.counted() for _ in range(part.packed())]

    def key(self, part: Cursor) -> None:
        """Whole columns."""
        self._key(list(_numbers(part)))

    def key_of_prefixes(self, part: Cursor) -> None:
        """Each column with how much of it counts."""
        self._key(list(_numbers(part))[::2])

    def _key(self, places: Sequence[int]) -> None:
        if any(at >= len(self.columns) for at in places):
            raise Refused("a table map of the binlog has a key of other columns")
        self.primary_key = tuple(places)

    def _charsets(self, places: list[int], collations: Sequence[int]) -> None:
        for at, collation in zip(places, collations, strict=True):
            self._change(at, charset=charset_of(collation))

    def _change(self, at: int, **told: object) -> None:
        self.columns[at] = replace(self.columns[at], **told)  # type: ignore[arg-type]


def _numbers(part: Cursor) -> Iterator[int]:
    while not part.is_at_end:
        yield part.packed()


def _members(raw: list[bytes], charset: str) -> tuple[str, ...]:
    """Empty when they cannot be read: the catalogue knows them too."""
    try:
        read = decoder(charset)
        return tuple(read(member).decode() for member in raw)
    except (UnicodeDecodeError, Refused):
        return ()


_CHOICES: Final = frozenset((ColumnType.ENUM, ColumnType.SET))
_PARTS: Final[dict[int, Callable[[_Told, Cursor], None]]] = {
    1: _Told.signs,
    2: lambda told, part: told.default_charset(told.of(_CHARACTER), part),
    3: lambda told, part: told.each_charset(told.of(_CHARACTER), part),
    4: _Told.names,
    5: lambda told, part: told.members(ColumnType.SET, part),
    6: lambda told, part: told.members(ColumnType.ENUM, part),
    8: _Told.key,
    9: _Told.key_of_prefixes,
    10: lambda told, part: told.default_charset(told.of(_CHOICES), part),
    11: lambda told, part: told.each_charset(told.of(_CHOICES), part),
}
