"""Rows as MariaDB and MySQL send them, as frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pymysql
from pymysql.cursors import SSCursor
from sqlalchemy import Connection

from proto.batch import Frames
from proto.frames import pack_rows
from proto.values import Kind
from replica.dialect import PAGE_BYTES
from replica.mysql_session import driver_of, session_of
from replica.mysql_shapes import aside
from replica.mysql_values import FLOAT_KINDS

Row = tuple[Any, ...]


def framed(rows: Sequence[Row], kinds: Sequence[Kind]) -> Frames:
    """The rows as frames; floats lie as text, which Python reads quicker than we do."""
    floats = [place for place, kind in enumerate(kinds) if kind in FLOAT_KINDS]
    if floats:
        rows = [_with_numbers(row, floats) for row in rows]
    return Frames(pack_rows(rows, kinds), len(rows))


def pages(cursor: SSCursor, kinds: Sequence[Kind], page_rows: int) -> Iterator[Frames]:
    """Pages of at most *page_rows* rows, fewer when rows are large: each page is sized by the one before."""
    wanted = min(page_rows, 100)
    while rows := cursor.fetchmany(wanted):
        page = framed(rows, kinds)
        yield page
        wanted = max(1, min(page_rows, PAGE_BYTES * len(rows) // (len(page.data) or 1)))


def cut_short(connection: Connection, cursor: SSCursor) -> None:
    """Let the server stop sending: otherwise every row that is left would have to be read before anything else."""
    number: int = driver_of(connection).thread_id()  # type: ignore[no-untyped-call]
    with aside(connection) as other, suppress(pymysql.err.OperationalError):  # it may have come to its end
        other.run(f"KILL QUERY {number}")
    with suppress(pymysql.err.OperationalError):
        cursor.close()
    with suppress(pymysql.err.OperationalError):  # what came too late for the scan hits this one
        session_of(connection).run("DO 0")


def _with_numbers(row: Row, floats: Sequence[int]) -> Row:
    changed = list(row)
    for place in floats:
        if changed[place] is not None:
            changed[place] = float(changed[place])
    return tuple(changed)
