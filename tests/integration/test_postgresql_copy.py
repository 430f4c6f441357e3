"""First copies beside the stream of PostgreSQL: every race between the two ends with the same rows."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from agent.sources.source import Limits, Page
from proto import frames
from tests.support.listener import SOON, truth
from tests.support.mirror import Mirror


def test_a_moved_row_with_a_large_value_is_not_lost_by_a_copy(db, listen):
    """Its new key lies where the copy has been: the value the log lacks comes from the source."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, big text)")
    db.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    db.execute("INSERT INTO t SELECT n, repeat(n::text, 10000) FROM generate_series(1, 30) n")
    hr = listen("t", page_rows=10)
    hr.source.start_copy("t", b"")
    pages: list[Page] = []
    while not pages:
        assert hr.source.read(SOON) is None
        for page in hr.source.pages():
            hr.mirror.merge(page.schema, page.frames.data)
            pages.append(page)
            break
    db.execute("UPDATE t SET id = -id WHERE id > 25")
    hr.source.close()
    hr.source.open(hr.position)
    hr.source.start_copy("t", pages[-1].last_key)
    while not pages[-1].is_last:
        if batch := hr.source.read(SOON):
            hr.mirror.apply(batch)
        for page in hr.source.pages():
            hr.mirror.merge(page.schema, page.frames.data)
            pages.append(page)

    assert hr.mirror.rows("t") == truth(db, "SELECT * FROM t")


@contextmanager
def hanging_commit(db, query: str) -> Iterator[None]:
    """A commit that is in the log already, but waits for a standby: others do not see it until the block ends."""
    db.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    db.execute("SELECT pg_reload_conf()")
    other = psycopg.connect(db.info.dsn, autocommit=True)
    other.execute("SET synchronous_commit = on")
    while other.execute("SHOW synchronous_standby_names").fetchone() != ("nobody",):
        time.sleep(0.01)
    thread = threading.Thread(target=other.execute, args=(query,))
    thread.start()
    try:
        yield
    finally:
        release(db.info.dsn)
        thread.join()
        other.close()


def release(dsn):
    """Let commits that hang end."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
        connection.execute("SELECT pg_reload_conf()")


def test_a_page_that_cannot_see_a_delivered_commit_is_read_again(db, listen):
    """The log knows a commit before other sessions do: such a page would overwrite the newer row."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    db.execute("INSERT INTO t VALUES (1, 'old')")
    hr = listen("t")
    with hanging_commit(db, "UPDATE t SET v = 'new'"):
        while not hr.batches:
            hr.listen()
        assert truth(db, "SELECT * FROM t") == [(1, "old")]
        hr.source.start_copy("t", b"")
        pages = []
        for _ in range(5):
            hr.source.read(SOON)
            pages += hr.source.pages()
        assert pages == []
    while not pages:
        hr.source.read(SOON)
        pages += hr.source.pages()
    hr.mirror.merge(pages[0].schema, pages[0].frames.data)

    assert hr.mirror.rows("t") == [(1, "new")]


def test_a_move_in_a_part_is_completed_once_others_see_it(db, listen):
    """The commit of a transaction that comes in parts hangs: its moved rows are looked up when they can be seen."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, big text)")
    db.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    db.execute("INSERT INTO t SELECT n, repeat(n::text, 10000) FROM generate_series(1, 30) n")
    hr = listen("t", page_rows=10)
    hr.source.start_copy("t", b"")
    pages: list[Page] = []
    while not pages:
        hr.source.read(SOON)
        for page in hr.source.pages():
            hr.mirror.merge(page.schema, page.frames.data)
            pages.append(page)
            break
    large = (
        "UPDATE t SET id = -id WHERE id > 25; "
        "INSERT INTO t SELECT n, repeat('x', 100000) FROM generate_series(100, 160) n"
    )
    with hanging_commit(db, large):
        timer = threading.Timer(1.0, release, args=(db.info.dsn,))
        timer.start()
        while (batch := hr.source.read(Limits(rows=5, wait_s=5))) is None:
            pass
        timer.join()
    assert batch.continues
    hr.mirror.apply(batch)
    while not pages[-1].is_last:
        if batch := hr.source.read(Limits(rows=5, wait_s=0.2)):
            hr.mirror.apply(batch)
        for page in hr.source.pages():
            hr.mirror.merge(page.schema, page.frames.data)
            pages.append(page)

    assert hr.mirror.rows("t") == truth(db, "SELECT * FROM t")


def test_a_page_waits_until_the_stream_has_caught_up(db, listen):
    """Whatever a page may have seen was delivered before it, so nothing at central is from the future."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    hr = listen("t", page_rows=1000)
    db.execute(
        "DO $$ BEGIN FOR n IN REVERSE 20000 .. 1 LOOP INSERT INTO t VALUES (n, repeat('v', 100)); COMMIT; END LOOP; END $$"
    )
    hr.source.start_copy("t", b"")
    pages: list[Page] = []
    ahead: list[bytes] = []
    while not pages or not pages[-1].is_last:
        if batch := hr.source.read(Limits(rows=20, wait_s=0.2)):
            hr.mirror.apply(batch)
        for page in hr.source.pages():
            ahead += set(frames.split(page.frames.data)) - set(hr.mirror.tables["t"].values())
            pages.append(page)

    assert ahead == []
    assert len(pages) > 5
    assert hr.mirror.rows("t") == truth(db, "SELECT * FROM t")


def test_a_row_that_only_the_page_saw_is_dropped(db, listen):
    """It came and went between two reads: the batch says so, because a page was under way."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    hr = listen("t")
    db.execute("INSERT INTO t VALUES (1), (2)")
    hr.source.start_copy("t", b"")
    assert list(hr.source.pages()) == []
    time.sleep(0.5)
    db.execute("DELETE FROM t WHERE id = 1")

    assert hr.finish("t").rows("t") == [(2,)]


def test_rows_hidden_by_row_security_are_not_silently_left_out(db, listen, postgres, business):
    """A copy that would be filtered is refused; the stream knows no such filter."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    db.execute("CREATE ROLE reader LOGIN REPLICATION")
    db.execute("GRANT SELECT ON t TO reader")
    db.execute("CREATE PUBLICATION exchange_hr FOR TABLE t WITH (publish_via_partition_root)")
    try:
        hr = listen("t", dsn=f"host=127.0.0.1 port={postgres.port} user=reader dbname={business}")
        hr.source.start_copy("t", b"")
        for _ in range(10):
            hr.source.read(SOON)
            assert list(hr.source.pages()) == []

        assert hr.held() == [("t", "the account may not read the table")]
        hr.source.give_up_place()
    finally:
        db.execute("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_under_load_ends_with_the_same_rows(db, listen, postgres, business, seed):
    """Two writers that insert, update, move, delete, truncate and roll back; restarts at pages; a long wait for no one."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text, big text, r int4range)")
    db.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    db.execute(
        "INSERT INTO t SELECT n, n::text, repeat(md5(n::text), 100), int4range(n, n + 2) FROM generate_series(1, 2000) n"
    )
    hr, draw, stop = listen("t", page_rows=50), random.Random(seed), threading.Event()
    writers = [
        threading.Thread(
            target=write, args=(postgres.connect(business), stop, random.Random(f"{seed}-{number}"))
        )
        for number in range(2)
    ]
    for writer in writers:
        writer.start()
    try:
        restarts = copy_with_restarts(hr, draw)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    mirror = hr.listen(Limits(wait_s=0.5))
    whole = Mirror()
    for found in hr.source.scan("t"):
        whole.merge(mirror.schemas["t"], found.data)

    assert restarts > 0
    assert mirror.tables["t"] == whole.tables.get("t", {})


def copy_with_restarts(hr, draw):
    """Copy until done, closing and opening again at some pages; how often."""
    key, done, restarts = b"", False, 0
    hr.source.start_copy("t", key)
    while not done:
        batch = hr.source.read(Limits(rows=500))
        if batch is not None:
            hr.mirror.apply(batch)
            if not batch.continues:
                hr.position = batch.position
                hr.source.confirm(hr.position)
        for page in hr.source.pages():
            hr.mirror.merge(page.schema, page.frames.data)
            key, done = page.last_key, page.is_last
            if draw.random() < 0.4 and not done:
                hr.source.close()
                hr.source.open(hr.position)
                hr.source.start_copy("t", key)
                restarts += 1
                break
    return restarts


def write(connection, stop, draw):
    """Small transactions, some of which the log knows before the disk does, some undone."""
    with connection:
        while not stop.is_set():
            try:
                with connection.transaction():
                    if draw.random() < 0.3:
                        connection.execute("SET LOCAL synchronous_commit = off")
                    for _ in range(draw.randint(1, 4)):
                        change(connection, draw)
                    if draw.random() < 0.1:
                        raise psycopg.Rollback
            except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                continue


def change(connection, draw):
    """One change of one row."""
    number, to, kind = draw.randint(1, 2500), draw.randint(1, 2500), draw.random()
    if kind < 0.3:
        connection.execute("UPDATE t SET a = %s WHERE id = %s", (str(draw.random()), number))
    elif kind < 0.4:
        connection.execute("UPDATE t SET big = repeat(%s, 500) WHERE id = %s", (str(draw.random()), number))
    elif kind < 0.6:
        connection.execute("DELETE FROM t WHERE id = %s", (number,))
    elif kind < 0.8:
        connection.execute(
            "INSERT INTO t VALUES (%s, 'n', repeat('xy', 3000)) ON CONFLICT DO NOTHING", (number,)
        )
    elif kind < 0.99995:
        connection.execute(
            "UPDATE t SET id = %s WHERE id = %s AND NOT EXISTS (SELECT FROM t WHERE id = %s)",
            (to, number, to),
        )
    else:
        connection.execute("TRUNCATE t")
