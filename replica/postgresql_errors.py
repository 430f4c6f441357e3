"""What PostgreSQL refuses, in our words: its messages hold row values, so none of them is ever repeated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import psycopg

from proto.errors import BadRow, Credential, DiskBlocked, ExchangeError, Halt, SchemaHold, Transient
from replica.dialect import COPY_AFRESH

_SHAPE: Final = {
    "42P01": "the table is no longer there",
    "3F000": "the table's schema is no longer there",
    "42703": "a column is no longer there",
    "42804": "a column has another type",
    "42P07": "something else has the table's name",
    "42P10": "the table's primary key is no longer there",
    "42701": "a column has the name of a system column",
    "54011": "the table has too many columns for PostgreSQL",
    "42809": "something else has the table's name",
}
_REASONS: Final = {
    "22021": "a text holds a character that PostgreSQL cannot store, such as U+0000",
    "22P05": "a text holds a character that the database's encoding does not have",
    "22P03": "a value is not in its column's binary form",
    "08P01": "a value ends before its column's binary form does",
    "23502": "a key column is empty",
    "23505": "two rows have the same key, or the table has another unique index that refuses the row",
    "54000": "a row or a key is longer than PostgreSQL stores",
}
_HALTING: Final = ("53100", "42501", "28")
_TRANSIENT: Final = ("08", "40", "53", "57", "55P03", "55006", "58030", "25006", "25P03", "25P04")
# 08P01 is how a receive function says that bytes are missing: the row is bad, not the connection.
_BAD_ROW: Final = ("22", "23", "54000", "08P01")
_COLUMN: Final = re.compile(r"^COPY .*, line \d+, column (.+?)(?::|$)", re.MULTILINE)
_FIELD: Final = re.compile(r"f(\d+)")


def translate(
    error: psycopg.Error, table: str, where: str, columns: Sequence[str] = ()
) -> ExchangeError | None:
    """What the daemon should do about *error*; None when it is a bug of ours."""
    code = error.sqlstate
    if code is None:
        return Transient("the database connection failed", where=where) if _lost(error) else None
    if code.startswith(_HALTING):
        return _halt(code, where)
    if code in _SHAPE:
        return SchemaHold(table, _SHAPE[code], where=where, fix=COPY_AFRESH)
    if code.startswith(_BAD_ROW):
        return BadRow(table, _reason(error, code, columns), where=where, fix="mend the row at the source")
    if code.startswith(_TRANSIENT):
        return Transient(f"the database asks to try again ({_name(code)})", where=where)
    return None


def _halt(code: str, where: str) -> Halt:
    if code == "53100":
        return DiskBlocked("the database server's disk is full", where=where, fix="make room on its disk")
    return Credential(
        "the database role may not do this", where=where, fix="grant it the schema and its tables"
    )


def _lost(error: psycopg.Error) -> bool:
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _reason(error: psycopg.Error, code: str, columns: Sequence[str]) -> str:
    reason = _REASONS.get(code, "PostgreSQL cannot hold a value")
    column = _column(error, columns)
    return f"{reason}{column} ({_name(code)}, {code})"


def _column(error: psycopg.Error, columns: Sequence[str]) -> str:
    """The column at fault; staging tables call their columns f0, f1 … after their place."""
    match = _COLUMN.search(error.diag.context or "")
    name = error.diag.column_name or (match and match[1])
    if not name:
        return ""
    staged = _FIELD.fullmatch(name)
    if staged and name not in columns and int(staged[1]) < len(columns):
        name = columns[int(staged[1])]
    return f', column "{name}"'


def _name(code: str) -> str:
    try:
        return psycopg.errors.lookup(code).__name__
    except KeyError:
        return code
