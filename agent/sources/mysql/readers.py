"""The one table of readers: a column's type in the binlog chooses who reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.sources.mysql import moments, numbers, words
from agent.sources.mysql.reader import Reader, Wanted
from agent.sources.mysql.tablemap import ColumnType


def reader_of(wanted: Wanted) -> Reader:
    """How to read a column; SchemaHold when it cannot become what is wanted."""
    chosen = _READERS.get(wanted.column.type)
    if chosen is None:
        raise wanted.refusal()
    return chosen(wanted)


_READERS: Final[dict[ColumnType, Callable[[Wanted], Reader]]] = {
    ColumnType.TINY: numbers.integer,
    ColumnType.SHORT: numbers.integer,
    ColumnType.INT24: numbers.integer,
    ColumnType.LONG: numbers.integer,
    ColumnType.LONGLONG: numbers.integer,
    ColumnType.FLOAT: numbers.real,
    ColumnType.DOUBLE: numbers.real,
    ColumnType.NEWDECIMAL: numbers.decimal,
    ColumnType.BIT: numbers.bit,
    ColumnType.YEAR: numbers.year,
    ColumnType.DATE: moments.date,
    ColumnType.NEWDATE: moments.date,
    ColumnType.DATETIME2: moments.datetime2,
    ColumnType.TIMESTAMP2: moments.timestamp2,
    ColumnType.TIME2: moments.time2,
    ColumnType.DATETIME: moments.old_datetime,
    ColumnType.TIMESTAMP: moments.old_timestamp,
    ColumnType.TIME: moments.old_time,
    ColumnType.STRING: words.string,
    ColumnType.VARCHAR: words.text,
    ColumnType.VAR_STRING: words.text,
    ColumnType.TINY_BLOB: words.text,
    ColumnType.MEDIUM_BLOB: words.text,
    ColumnType.LONG_BLOB: words.text,
    ColumnType.BLOB: words.text,
    ColumnType.VARCHAR_COMPRESSED: words.compressed,
    ColumnType.BLOB_COMPRESSED: words.compressed,
    ColumnType.ENUM: words.member,
    ColumnType.SET: words.members,
    ColumnType.GEOMETRY: words.place,
    ColumnType.VECTOR: words.place,
    ColumnType.JSON: words.binary_json,
}
