"""First copies of tables without a key: every row is there exactly as often as at the source."""

from __future__ import annotations

from collections import Counter

import psycopg
import pytest

from agent.sources.settings import TableSettings
from tests.support.listener import Listener

LOG = TableSettings(table="log", name="登记", append_only=True)
TABLE = "CREATE TABLE log (n int, v text)"
pytestmark = pytest.mark.timeout(60)


def as_often(
    hr: Listener, db: psycopg.Connection
) -> tuple[Counter[tuple[object, ...]], Counter[tuple[object, ...]]]:
    """How often each row is in the mirror, and how often it is at the source."""
    return Counter(hr.mirror.rows("登记")), Counter(db.execute("SELECT n, v FROM log").fetchall())


def test_rows_that_were_there_are_copied(db, listen):
    """Equal rows as often as they are there, in pages; changes before, beside and after come once."""
    db.execute(TABLE)
    db.execute("INSERT INTO log SELECT n % 40, '同' FROM generate_series(1, 100) n")
    hr = listen(LOG, page_rows=7)
    db.execute("INSERT INTO log VALUES (1, 'before'), (1, 'before')")
    hr.source.start_copy("登记", b"")
    db.execute("INSERT INTO log VALUES (1, 'beside'), (1, 'beside')")
    hr.finish("登记")
    db.execute("INSERT INTO log VALUES (1, 'after'), (1, 'after')")
    hr.listen()

    mirrored, there = as_often(hr, db)
    assert mirrored == there
    assert there[1, "before"] == there[1, "beside"] == there[1, "after"] == 2
