"""What MariaDB and MySQL refuse, in our words: their messages hold row values, so none of them is ever repeated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import pymysql

from proto.errors import BadRow, Credential, DiskBlocked, ExchangeError, SchemaHold, Transient
from replica.dialect import COPY_AFRESH

_SHAPE: Final = {
    1005: "the table cannot be made, perhaps because its name is too long for a file",
    1050: "something else has the table's name",
    1054: "a column is no longer there",
    1059: "a name is longer than 64 characters",
    1060: "two columns have the same name for the server",
    1067: "a column has a default that the server does not take",
    1068: "the table has two primary keys",
    1071: "the key is longer than InnoDB takes",
    1091: "a column is no longer there",
    1103: "the server does not take the table's name",
    1117: "the table has too many columns",
    1118: "the table has too many columns for one row",
    1136: "the table has other columns",
    1146: "the table is no longer there",
    1166: "the server does not take a column's name",
    1173: "the server demands a primary key, the table has none",
    1176: "the table's primary key is no longer there",
    1347: "something else has the table's name",
    1364: "a column that is not ours must be filled",
    3750: "the server demands a primary key, the table has none",
}
_REASONS: Final = {
    1048: "a key column is empty",
    1062: "two rows have the same key, or the table has another unique index that refuses the row",
    1153: "a row is longer than the server's max_allowed_packet",
    1264: "a number is out of its column's range",
    1265: "a value does not fit its column",
    1292: "a date or a number does not fit its column",
    1300: "a text is not UTF-8",
    1366: "a value does not fit its column",
    1406: "a value is longer than its column takes; in a key that is a few hundred characters",
    1416: "a value does not fit its column",
    1451: "another table refers to the row",
    1452: "the row refers to one that is not there",
    1644: "a trigger refuses the row",
    1690: "a number is out of its column's range",
    3819: "a constraint refuses the row",
    4025: "a constraint refuses the row",
}
_FULL: Final = frozenset({3, 1021, 1026, 1114})
_RIGHTS: Final = frozenset({1044, 1045, 1142, 1143, 1227, 1370, 1419, 1698, 1820, 1862})
_LOST: Final = frozenset({0, 1053, 1927, 2002, 2003, 2006, 2013, 2014, 2055})
_PASSING: Final = _LOST | {
    *(1020, 1040, 1129, 1158, 1159, 1160, 1161, 1180, 1203, 1205, 1206, 1213, 1226, 1290, 1317, 1412),
    *(1637, 1836, 1969, 3024, 3058, 3572, 4031),
}
_NO_SPACE: Final = re.compile(r"errno: (28|122)\b|error 28\b")
_COLUMN: Final = re.compile(
    r"[Cc]olumn (?:`[^`]*`\.`[^`]*`\.)?[`'](.+?)[`'](?: at row \d+| cannot be null|$)"
)
_FIELD: Final = re.compile(r"f(\d+)")


def number_of(error: pymysql.err.Error) -> int:
    """The server's or the driver's number of what happened; −1 for what has none."""
    first = error.args[0] if error.args else -1
    return first if isinstance(first, int) else -1


def is_lost(error: pymysql.err.Error) -> bool:
    """Whether the connection cannot be used any more."""
    return number_of(error) in _LOST


def translate(
    error: pymysql.err.Error, table: str, where: str, columns: Sequence[str] = ()
) -> ExchangeError | None:
    """What the daemon should do about *error*; None when it is a bug of ours."""
    number, said = number_of(error), str(error.args[1]) if len(error.args) > 1 else ""
    if number in _FULL or _NO_SPACE.search(said):
        return DiskBlocked("the database server's disk is full", where=where, fix="make room on its disk")
    if number in _RIGHTS:
        fix = "grant it all rights on the exchange database"
        return Credential(f"the database account may not do this ({number})", where=where, fix=fix)
    if number in _PASSING:
        return Transient(f"the database asks to try again ({number})", where=where)
    if number in _SHAPE:
        return SchemaHold(table, f"{_SHAPE[number]} ({number})", where=where, fix=COPY_AFRESH)
    if number in _REASONS:
        return bad_row(number, said, table, where, columns)
    return None


def bad_row(number: int, said: str, table: str, where: str, columns: Sequence[str] = ()) -> BadRow:
    """A row that the server cannot hold, for an error or a warning of this number."""
    reason = _REASONS.get(number, "MariaDB cannot hold a value")
    what = f"{reason}{_column(said, columns)} ({number})"
    fix = "raise max_allowed_packet on the server" if number == 1153 else "mend the row at the source"
    return BadRow(table, what, where=where, fix=fix)


def _column(said: str, columns: Sequence[str]) -> str:
    """The column at fault; staging tables call their columns f0, f1 … after their place."""
    match = _COLUMN.search(said)
    if match is None:
        return ""
    name = match[1]
    staged = _FIELD.fullmatch(name)
    if staged and name not in columns and int(staged[1]) < len(columns):
        name = columns[int(staged[1])]
    return f', column "{name}"' if name in columns else ""
