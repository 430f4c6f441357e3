"""What really happened at the source, by another decoder than ours: ``test_decoding`` on a slot of its own, read with SQL.

No fault is ever aimed at that slot, and nothing of the product is used here: two implementations rarely share a bug.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

PATIENCE_S: Final = 60.0
UNCHANGED: Final = "unchanged-toast-datum"
TEXT_FORMS: Final = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex"

# The server's own transactions, such as those of autovacuum, are nobody's loss.
_READ: Final = """SELECT lsn - '0/0'::pg_lsn, data
FROM pg_logical_slot_get_changes(%s, NULL, NULL, 'skip-empty-xacts', '1')"""
_NAME: Final = r'"(?:[^"]|"")+"|[^\s"\[.:,]+'
_TABLES: Final = re.compile(rf"table ((?:(?:{_NAME})\.(?:{_NAME})(?:, )?)+): ([A-Z]+):")
_TABLE: Final = re.compile(rf"(?:{_NAME})\.({_NAME})")
_COLUMN: Final = re.compile(rf" ({_NAME})\[([^\[\]]*(?:\[\])?)\]:('[^']*(?:''[^']*)*'|[^ ]+)")
_REAL: Final = struct.Struct("f")
_pause = Event()

Value = int | float | bytes | str | None
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """A table's columns with their types, and which of them are its key; none for an append-only table."""

    types: Mapping[str, str]
    key: tuple[str, ...]

    def key_of(self, row: Mapping[str, Value]) -> Row:
        """The values of the key columns."""
        return tuple(row[name] for name in self.key)


@dataclass(frozen=True, slots=True)
class Change:
    """One row as the decoder printed it."""

    table: str
    verb: str
    new: dict[str, Value]
    old: dict[str, Value]
    """The key before, where it was printed."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A committed transaction; ``lsn`` is the end of its commit."""

    lsn: int
    changes: tuple[Change, ...]


def plain(type_name: str, value: Any) -> Value:
    """A value in the one form in which all ends are compared, whether it came as text or as SQLite keeps it."""
    return None if value is None else _PLAIN.get(type_name, str)(value)


def _real(value: Any) -> float:
    # The shortest text of a real, read as a double, is not the double that the real widens to.
    number: float = _REAL.unpack(_REAL.pack(float(value)))[0]
    return number


def _bytea(value: Any) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(value[2:])


def _boolean(value: Any) -> int:
    return int(value in {"true", "t", 1})


_PLAIN: Final[dict[str, Callable[[Any], Value]]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), int),
    "double precision": float,
    "real": _real,
    "boolean": _boolean,
    "bytea": _bytea,
}


def columns_of(connection: psycopg.Connection[Any], tables: Mapping[str, str]) -> dict[str, Columns]:
    """What the catalogue says about *tables* (catalogued name → name in the database)."""
    found = {}
    for name, place in tables.items():
        rows = connection.execute(
            "SELECT attname, format_type(atttypid, NULL), attnum = ANY(coalesce(indkey, '')) FROM pg_attribute"
            " LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (place,),
        ).fetchall()
        found[name] = Columns({row[0]: row[1] for row in rows}, tuple(row[0] for row in rows if row[2]))
    return found


def parse(line: str) -> list[Change]:
    """The changes in one line of ``test_decoding``; a TRUNCATE names several tables."""
    head = _TABLES.match(line)
    if head is None:
        raise AssertionError(f"test_decoding printed something unknown: {line[:200]!r}")
    tables = [_bare(each) for each in _TABLE.findall(head[1])]
    if head[2] == "TRUNCATE":
        return [Change(table, "TRUNCATE", {}, {}) for table in tables]
    old: dict[str, Value] = {}
    at = head.end()
    if line.startswith(" old-key:", at):
        old, at = _tuple(line, at + len(" old-key:"))
        at += len(" new-tuple:")
    values, _ = _tuple(line, at)
    if head[2] == "DELETE":
        return [Change(tables[0], "DELETE", {}, values)]
    return [Change(tables[0], head[2], values, old)]


def _tuple(line: str, at: int) -> tuple[dict[str, Value], int]:
    values: dict[str, Value] = {}
    while (column := _COLUMN.match(line, at)) is not None:
        name, type_name, text = column.groups()
        values[_bare(name)] = _value(type_name, text)
        at = column.end()
    return values, at


def _value(type_name: str, text: str) -> Value:
    if text.startswith("'"):
        return plain(type_name, text[1:-1].replace("''", "'"))
    if text in {"null", UNCHANGED}:
        return None if text == "null" else UNCHANGED
    return plain(type_name, text)


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


class Decoder:
    """The reference's slot in one business database; survives restarts of its server."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._slot = f"reference_{conninfo_to_dict(dsn)['dbname']}"
        self._last = 0
        with self._connect() as connection:
            connection.execute(
                "SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", (self._slot,)
            )

    def read(self) -> list[Transaction]:
        """What was committed since the last call, in commit order, each transaction once."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._read()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                _pause.wait(0.1)

    def _read(self) -> list[Transaction]:
        with self._connect() as connection:
            lines = connection.execute(_READ, (self._slot,)).fetchall()
        # A server that crashed may have forgotten that it showed us some already.
        fresh = [each for each in _transactions(lines) if each.lsn > self._last]
        if fresh:
            self._last = fresh[-1].lsn
        return fresh

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._dsn, autocommit=True, connect_timeout=10, options=TEXT_FORMS)


def _transactions(lines: list[tuple[Any, str]]) -> Iterator[Transaction]:
    changes: list[Change] = []
    for lsn, line in lines:
        if line.startswith("BEGIN"):
            changes = []
        elif line.startswith("COMMIT"):
            yield Transaction(int(lsn), tuple(changes))
        else:
            changes += parse(line)
