"""A column's type in one form, whether the catalogue or the log tells it, and what kind of values it holds.

The log shows a column as its rows are written: a uuid is sixteen bytes there, and MariaDB's JSON is a text. So a type
has the form the log shows (``shown``) and the name the catalogue gives (``native``) where that says more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from agent.sources.mysql.tablemap import ColumnType, MapColumn
from proto.values import Kind

_INTEGERS: Final = {
    "tinyint": (Kind.INT16, Kind.INT16),
    "smallint": (Kind.INT16, Kind.INT32),
    "mediumint": (Kind.INT32, Kind.INT32),
    "int": (Kind.INT32, Kind.INT64),
    "bigint": (Kind.INT64, Kind.DECIMAL),
}
"""The kind of each integer type, signed and unsigned."""
_KINDS: Final = {
    "decimal": Kind.DECIMAL,
    "float": Kind.FLOAT32,
    "double": Kind.FLOAT64,
    "char": Kind.TEXT,
    "varchar": Kind.TEXT,
    "text": Kind.TEXT,
    "binary": Kind.BYTES,
    "varbinary": Kind.BYTES,
    "blob": Kind.BYTES,
    "bit": Kind.OTHER,
    "enum": Kind.TEXT,
    "set": Kind.TEXT,
    "date": Kind.DATE,
    "time": Kind.INTERVAL,
    "datetime": Kind.TIMESTAMP,
    "timestamp": Kind.TIMESTAMPTZ,
    "year": Kind.INT16,
    "json": Kind.JSON,
    "geometry": Kind.OTHER,
    "uuid": Kind.UUID,
    "inet4": Kind.OTHER,
    "inet6": Kind.OTHER,
}
_SHOWN: Final = {
    ColumnType.TINY: "tinyint",
    ColumnType.SHORT: "smallint",
    ColumnType.INT24: "mediumint",
    ColumnType.LONG: "int",
    ColumnType.LONGLONG: "bigint",
    ColumnType.NEWDECIMAL: "decimal",
    ColumnType.FLOAT: "float",
    ColumnType.DOUBLE: "double",
    ColumnType.BIT: "bit",
    ColumnType.ENUM: "enum",
    ColumnType.SET: "set",
    ColumnType.DATE: "date",
    ColumnType.NEWDATE: "date",
    ColumnType.TIME: "time",
    ColumnType.TIME2: "time",
    ColumnType.DATETIME: "datetime",
    ColumnType.DATETIME2: "datetime",
    ColumnType.TIMESTAMP: "timestamp",
    ColumnType.TIMESTAMP2: "timestamp",
    ColumnType.YEAR: "year",
    ColumnType.JSON: "json",
    ColumnType.GEOMETRY: "geometry",
}
_STRINGS: Final = {
    ColumnType.STRING: ("char", "binary"),
    ColumnType.VARCHAR: ("varchar", "varbinary"),
    ColumnType.VAR_STRING: ("varchar", "varbinary"),
    ColumnType.VARCHAR_COMPRESSED: ("varchar", "varbinary"),
    ColumnType.BLOB: ("text", "blob"),
    ColumnType.BLOB_COMPRESSED: ("text", "blob"),
}
"""What a string type is with and without a character set."""
JSON_TEXT: Final = "longtext"
"""What MariaDB's JSON is, with a check."""
_TEXTS: Final = {"tinytext": 1, "text": 2, "mediumtext": 3, "longtext": 4}
_BLOBS: Final = {"tinyblob": 1, "blob": 2, "mediumblob": 3, "longblob": 4}
_SPACES: Final = (
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometrycollection", "geomcollection"),
)
_NUMBERS: Final = re.compile(r"\((\d+)(?:,(\d+))?\)")
_MEMBER: Final = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "0": "\0", "Z": "\x1a"}
_JSON_CHECK: Final = re.compile(
    r"""^ +(?:CONSTRAINT|([`"])(?P<column>(?:(?!\1).|\1\1)+)\1) .*"""
    r"""CHECK \(json_valid\(([`"])(?P<checked>(?:(?!\3).|\3\3)+)\3\)\),?$""",
    re.IGNORECASE | re.MULTILINE,
)
"""A line of SHOW CREATE TABLE: a column and its check, or a check of the table, that is for JSON and nothing more."""
_UNSIGNED_BY_NATURE: Final = ("unsigned", "zerofill")


@dataclass(frozen=True, slots=True)
class Type:
    """What a column holds."""

    shown: str
    size: int = 0
    """Bytes at most of a string, bytes of a BLOB's length, digits of a DECIMAL, bits, digits after the second."""
    scale: int = 0
    unsigned: bool = False
    charset: str = ""
    members: tuple[str, ...] = ()
    native: str = ""
    """The catalogue's name where the log shows less."""

    @property
    def kind(self) -> Kind:
        """What its values become."""
        if self.shown in _INTEGERS:
            return _INTEGERS[self.shown][self.unsigned]
        if self.shown == "bit" and self.size == 1:
            return Kind.BOOL
        return _KINDS[self.native or self.shown]

    @property
    def as_shown(self) -> Type:
        """What the log alone would tell of it."""
        return replace(self, native="")


_SIMPLE: Final = {
    **{name: Type("blob", size) for name, size in _BLOBS.items()},
    **dict.fromkeys(_SPACES, Type("geometry")),
    "uuid": Type("binary", 16, native="uuid"),
    "inet6": Type("binary", 16, native="inet6"),
    "inet4": Type("binary", 4, native="inet4"),
}
"""Types that are told by their names."""


def from_map(column: MapColumn) -> Type | None:
    """The type the log shows; None for one that is unknown here."""
    if (shown := _SHOWN.get(column.type)) is not None:
        size, scale = column.metadata, 0
        if shown == "decimal":
            size, scale = divmod(column.metadata, 256)
        elif shown not in ("bit", "time", "datetime", "timestamp"):
            size = 0
        charset = column.charset if shown in ("enum", "set") else ""
        return Type(shown, size, scale, _is_unsigned(shown, column), charset, column.members)
    if column.type not in _STRINGS:
        return None
    text, plain = _STRINGS[column.type]
    # A compressed column has a byte more, for the way it is compressed.
    size = column.metadata - (column.type is ColumnType.VARCHAR_COMPRESSED)
    if column.charset in ("", "binary"):
        return Type(plain, size)
    return Type(text, size, charset=column.charset)


def from_catalog(data_type: str, column_type: str, octets: int, charset: str) -> Type | None:
    """The type the catalogue tells; None for one that is unknown here."""
    if data_type in ("char", "varchar", "binary", "varbinary"):
        return Type(data_type, octets, charset=charset)
    if data_type in ("enum", "set"):
        return Type(data_type, charset=charset, members=members(column_type))
    if data_type in _TEXTS:
        return Type("text", _TEXTS[data_type], charset=charset)
    if data_type not in _KINDS and data_type not in _INTEGERS:
        return _SIMPLE.get(data_type)
    return _SIMPLE.get(data_type) or _plain(data_type, column_type)


def json_text(charset: str) -> Type:
    """MariaDB's JSON: a text that is checked."""
    return Type("text", 4, charset=charset, native="json")


def json_columns(definition: str) -> frozenset[str]:
    """The columns that are checked to be JSON, from what SHOW CREATE TABLE says.

    The catalogue's own list of checks shows nothing to an account that may only read.
    """
    lines = (each.groupdict() for each in _JSON_CHECK.finditer(definition))
    names = [line["checked"] for line in lines if line["column"] in (None, line["checked"])]
    return frozenset(name.replace("``", "`").replace('""', '"') for name in names)


def _plain(data_type: str, column_type: str) -> Type:
    numbers = _NUMBERS.search(column_type)
    size = scale = 0
    if data_type in ("decimal", "bit", "time", "datetime", "timestamp") and numbers:
        size, scale = int(numbers[1]), int(numbers[2] or 0)
    unsigned = any(word in column_type for word in _UNSIGNED_BY_NATURE)
    return Type(data_type, size, scale, unsigned and (data_type in _INTEGERS))


def _is_unsigned(shown: str, column: MapColumn) -> bool:
    # Of a DECIMAL or FLOAT it changes no value.
    return shown in _INTEGERS and bool(column.unsigned)


def members(column_type: str) -> tuple[str, ...]:
    """The members of an ENUM or SET from the catalogue's text."""
    return tuple(_unescaped(found) for found in _MEMBER.findall(column_type))


def _unescaped(text: str) -> str:
    return re.sub(
        r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text.replace("''", "'"), flags=re.DOTALL
    )


def same_values(before: Type, after: Type) -> bool:
    """Whether rows that were there keep their values, to the byte, when a column of type *before* becomes *after*."""
    if before.native != after.native:
        return False
    if before.shown in _INTEGERS and after.shown in _INTEGERS:
        return _widens(before, after)
    if {before.shown, after.shown} <= {"varchar", "text"}:
        return _same_charset(before, after) and _longer(before, after)
    if before.shown != after.shown:
        return False
    return _same_within(before, after)


def _same_within(before: Type, after: Type) -> bool:
    match before.shown:
        case "decimal":
            return before.scale == after.scale and before.size <= after.size
        case "char" | "varbinary" | "blob" | "time" | "datetime" | "timestamp":
            return before.size <= after.size and _same_charset(before, after)
        case "enum" | "set":
            return set(before.members) <= set(after.members) and _same_order(before, after)
        case "bit" | "binary":
            return before.size == after.size
    return True


def _same_order(before: Type, after: Type) -> bool:
    """A SET's text names its members in their order."""
    return before.shown == "enum" or after.members[: len(before.members)] == before.members


def _same_charset(before: Type, after: Type) -> bool:
    """Every character of *before* is in *after*: nothing became a question mark."""
    return before.charset == after.charset or after.charset in ("utf8mb4", "gb18030", "utf16", "utf32")


def _longer(before: Type, after: Type) -> bool:
    """Between VARCHAR and TEXT sizes are counted differently; both are bytes at most or bytes of a length."""
    if before.charset != after.charset:
        return True  # counted in other bytes; the server itself refuses what does not fit, in its strict mode
    return _bytes(before) <= _bytes(after)


def _bytes(each: Type) -> int:
    return (1 << 8 * each.size) - 1 if each.shown == "text" else each.size


def _widens(before: Type, after: Type) -> bool:
    order = list(_INTEGERS)
    if before.unsigned == after.unsigned:
        return order.index(before.shown) <= order.index(after.shown)
    return before.unsigned and order.index(before.shown) < order.index(after.shown)
