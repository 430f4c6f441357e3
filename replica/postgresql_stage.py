"""Temporary tables that PostgreSQL merges frames from: one per list of kinds and connection, reused for all tables.

Each commit that touched any of them empties *all* of them (0.25 ms each where texts need a TOAST table), so there
are few, and small changes do without. A temporary table also holds back the server's vacuum horizon for as long as
it lives, so each is made anew after a while.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Final, cast

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.sql import quote
from sqlalchemy import Connection

from proto.batch import Frames
from proto.frames import fields, split
from proto.schema import TableSchema
from proto.values import Kind, to_text
from replica.dialect import Notes, notes, refuse_miscounted

Driver = psycopg.Connection[tuple[Any, ...]]

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
MOST_STAGES: Final = 8
STAGE_LIFE_S: Final = 3600.0
TYPES: Final = {
    Kind.BOOL: "boolean",
    Kind.INT16: "smallint",
    Kind.INT32: "integer",
    Kind.INT64: "bigint",
    Kind.FLOAT32: "real",
    Kind.FLOAT64: "double precision",
    Kind.DECIMAL: "numeric",
    Kind.TEXT: "text",
    Kind.BYTES: "bytea",
    Kind.DATE: "date",
    Kind.TIME: "time without time zone",
    Kind.TIMESTAMP: "timestamp without time zone",
    Kind.TIMESTAMPTZ: "timestamp with time zone",
    Kind.INTERVAL: "interval",
    Kind.JSON: "json",
    Kind.JSONB: "jsonb",
    Kind.UUID: "uuid",
    Kind.OTHER: "text",
}
"""How the catalogue spells the type that holds each kind."""

# Statistics do not exist for staging tables, so the planner would guess: with a large table it takes a hash join
# that reads it all. A lookup per staged row is what we want at every size. Costs of forbidden plans would call
# for the compiler, hence jit.
_PLAN: Final = b"""SET LOCAL jit = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
SET LOCAL enable_seqscan = off"""


class Value(bytes):
    """A field's canonical bytes on their way to PostgreSQL, with its type."""


def _value_class(kind: Kind) -> tuple[type[Value], type[Dumper]]:
    oid = psycopg.adapters.types[TYPES[kind]].oid
    value = type(f"{kind.name.title()}Value", (Value,), {"__slots__": ()})
    dumper = type(
        f"{kind.name.title()}Dumper",
        (Dumper,),
        {"format": Format.BINARY, "oid": oid, "dump": lambda _, field: field},
    )
    return value, dumper


_VALUES: Final = {kind: _value_class(kind) for kind in Kind}


def values_of(fields: Sequence[bytes | None], kinds: Sequence[Kind]) -> list[Value | None]:
    """A frame's fields as parameters of a statement."""
    pairs = zip(fields, kinds, strict=True)
    return [None if field is None else _VALUES[kind][0](field) for field, kind in pairs]


def literals_of(driver: Driver, schema: TableSchema, keys: bytes) -> list[list[str]]:
    """Key frames as literals of a statement that takes no parameters; quoted as the connection wants it."""
    kinds = [schema.kinds[place] for place in schema.key_indexes]
    types = [column_type(kind) for kind in kinds]
    found: list[list[str]] = []
    for frame in split(keys):
        words = zip(kinds, types, fields(frame), strict=True)
        found.append(
            [
                f"{quote('' if word is None else to_text(kind, word), driver)}::{name}"
                for kind, name, word in words
            ]
        )
    return found


def copy_in(driver: Driver, statement: bytes, frames: Frames) -> int:
    """Send frames as they are into ``COPY … FROM STDIN (FORMAT binary)``."""
    with driver.cursor() as cursor:
        with cursor.copy(statement) as copy:
            copy.write(HEADER)
            copy.write(frames.data)
            copy.write(TRAILER)
        refuse_miscounted(cursor.rowcount, frames)
        return frames.count


def column_type(kind: Kind) -> str:
    """The type of a column that is compared: texts byte by byte, whatever the server's locale becomes."""
    return TYPES[kind] + (' COLLATE "C"' if TYPES[kind] == "text" else "")


class Session:
    """One driver connection made ready for frames: UTF-8, types for fields, and its staging tables."""

    def __init__(self, driver: Driver) -> None:
        self._made_at_s: dict[str, float] = {}
        """When each stage that is certain to exist was first seen; the least recently used first."""
        for value, dumper in _VALUES.values():
            driver.adapters.register_dumper(value, dumper)

    def stage(self, connection: Connection, kinds: Sequence[Kind], frames: Frames) -> str:
        """The name of an empty staging table filled with *frames*; its columns are f0, f1 …"""
        driver, here = driver_of(connection), notes(connection)
        name = "pg_temp.stage_" + hashlib.sha256(" ".join(kinds).encode()).hexdigest()[:16]
        self._ensure(driver, here, name, kinds)
        if name in here.filled:
            driver.execute(f"TRUNCATE {name}".encode())
        here.filled.add(name)
        copy_in(driver, f"COPY {name} FROM STDIN (FORMAT binary)".encode(), frames)
        if not here.planned:
            driver.execute(_PLAN)
            here.planned = True
        return name

    def _ensure(self, driver: Driver, here: Notes, name: str, kinds: Sequence[Kind]) -> None:
        made_at_s = self._made_at_s.pop(name, None)
        now_s = time.monotonic()
        if made_at_s is not None and now_s - made_at_s < STAGE_LIFE_S:
            self._made_at_s[name] = made_at_s
            return
        if made_at_s is not None:
            driver.execute(f"DROP TABLE IF EXISTS {name}".encode())
        if not self._exists(driver, name):
            self._make(driver, name, kinds)
            here.altered.add(name)
        elif name not in here.altered:
            self._made_at_s[name] = now_s

    def _exists(self, driver: Driver, name: str) -> bool:
        found = driver.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
        return bool(found and found[0])

    def _make(self, driver: Driver, name: str, kinds: Sequence[Kind]) -> None:
        while len(self._made_at_s) >= MOST_STAGES:
            oldest = next(iter(self._made_at_s))
            driver.execute(f"DROP TABLE IF EXISTS {oldest}".encode())
            del self._made_at_s[oldest]
        columns = ", ".join(f"f{place} {column_type(kind)}" for place, kind in enumerate(kinds))
        driver.execute(f"CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DELETE ROWS".encode())


def driver_of(connection: Connection) -> Driver:
    """The driver's connection, in a transaction that SQLAlchemy knows of."""
    notes(connection)
    driver = cast(Driver, connection.connection.driver_connection)
    if driver.pgconn.parameter_status(b"client_encoding") != b"UTF8":
        driver.execute("SET client_encoding TO 'UTF8'")
    return driver


def session_of(connection: Connection) -> Session:
    """The session that belongs to the driver's connection and ends with it."""
    session: Session | None = connection.info.get(Session)
    if session is None:
        session = connection.info[Session] = Session(driver_of(connection))
    return session
