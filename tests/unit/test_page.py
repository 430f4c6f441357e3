"""A page of a first copy and the changes that overtook it, against a model of the table's whole history."""

from __future__ import annotations

import random

import pytest

from agent.sources.collapse import Absent, Pending
from agent.sources.page import overtaken
from proto import frames
from proto.batch import Delta, Frames
from proto.schema import Column, TableSchema
from proto.values import Kind
from tests.support.mirror import Mirror

SCHEMA = TableSchema(
    "t", (Column("id", Kind.INT32), Column("a", Kind.TEXT), Column("big", Kind.TEXT)), ("id",)
)
Table = dict[int, tuple[str, str]]
FIRST, LAST = 10, 20
"""The page holds the keys from FIRST on, below LAST; keys before it were copied, keys after it were not."""


def fields(number: int, row: tuple[str, str]) -> list[bytes | None]:
    """A row's fields."""
    return [number.to_bytes(4, "big"), row[0].encode(), row[1].encode()]


def change(table: Table, pending: Pending, draw: random.Random) -> None:
    """One change, in the model and as the log tells it: an update leaves out a large value that it does not touch."""
    number, kind = draw.randrange(30), draw.random()
    value = f"{draw.random()}"
    if number not in table:
        table[number] = (value, value)
        pending.insert(fields(number, table[number]))
    elif kind < 0.3:
        pending.delete([number.to_bytes(4, "big"), Absent.UNCHANGED, Absent.UNCHANGED])
        del table[number]
    elif kind < 0.7:
        table[number] = (value, table[number][1])
        pending.update(None, [number.to_bytes(4, "big"), value.encode(), Absent.UNCHANGED])
    elif kind < 0.98:
        table[number] = (value, value)
        pending.update(None, fields(number, table[number]))
    else:
        table.clear()
        pending.truncate()


def rows(table: Table, *, below: int, start: int = 0) -> Frames:
    """The rows of a range of keys."""
    found = [frames.pack(fields(n, table[n])) for n in sorted(table) if start <= n < below]
    return Frames(b"".join(found), len(found))


@pytest.mark.parametrize("seed", range(200))
def test_a_page_seen_at_any_moment_ends_as_the_table_does(seed):
    """Wherever in the window the page was read, and however the changes were gathered into batches."""
    draw = random.Random(seed)
    table: Table = {number: ("old", f"old{number}") for number in range(0, 30, 2)}
    mirror = Mirror()
    mirror.merge(SCHEMA, rows(table, below=FIRST).data)
    window: list[Delta] = []
    pending = Pending(SCHEMA, window, tells_all=False)
    pending.keep_vanished = True
    changes = draw.randrange(1, 25)
    seen_at = draw.randrange(changes + 1)
    page = rows(table, start=FIRST, below=LAST)
    for number in range(changes):
        if number == seen_at:
            page = rows(table, start=FIRST, below=LAST)
        change(table, pending, draw)
        if draw.random() < 0.4:
            pending.close()
    if seen_at == changes:
        page = rows(table, start=FIRST, below=LAST)
    pending.close()
    for delta in window:
        mirror.change(delta)
    mirror.merge(SCHEMA, overtaken(page, SCHEMA, window).data)

    copied = [row for row in mirror.rows("t") if isinstance(row[0], int) and row[0] < LAST]
    assert copied == [(number, *table[number]) for number in sorted(table) if number < LAST]


def test_a_quiet_window_leaves_the_page_untouched():
    """The common case costs nothing."""
    page = rows({1: ("a", "b")}, below=9)

    assert overtaken(page, SCHEMA, []) is page
