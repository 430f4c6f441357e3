"""First copies of tables without a key: every row is there exactly as often as at the source."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread, Timer
from typing import Any

import psycopg
import pytest

from agent.capture import Capture, CaptureSettings
from agent.exchange import Exchange, migrate, open_exchange
from agent.sources.settings import TableSettings
from agent.sources.source import Limits
from agent.worker import run_worker
from proto.errors import Transient
from tests.integration.test_postgresql_copy import hanging_commit
from tests.support.exchanges import NODE, ROOMY, STREAM
from tests.support.listener import SOON, Listener, truth, unopened
from tests.support.mirror import Mirror
from tests.support.postgres import Cluster
from tests.support.rows import values

LOG = TableSettings(table="log", name="登记", append_only=True)
TABLE = "CREATE TABLE log (n int, v text)"
INSERT = "INSERT INTO log SELECT %s, %s FROM generate_series(1, %s)"
KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'exchange-agent%'"
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


def test_a_commit_that_others_do_not_see_yet_is_not_lost(db, listen):
    """The stream has delivered it, the snapshot would not hold it: the copy begins when it does."""
    db.execute(TABLE)
    hr = listen(LOG)
    with hanging_commit(db, "INSERT INTO log VALUES (1, '悬')"):
        while not hr.batches:
            hr.listen()
        hr.mirror.appended.clear()
        hr.source.start_copy("登记", b"")
        for _ in range(5):
            hr.listen()
            assert list(hr.source.pages()) == []
    hr.finish("登记")

    assert hr.mirror.rows("登记") == [(1, "悬")]


def test_nor_is_one_that_an_earlier_session_delivered(db, listen):
    """A restart forgets what was delivered, so whoever was open at the start is waited for."""
    db.execute(TABLE)
    hr = listen(LOG)
    with hanging_commit(db, "INSERT INTO log VALUES (1, '悬')"):
        while not hr.batches:
            hr.listen()
        hr.source.close()
        hr.source.open(hr.position)
        hr.mirror.appended.clear()
        hr.source.start_copy("登记", b"")
        for _ in range(5):
            hr.listen()
            assert list(hr.source.pages()) == []
    hr.finish("登记")

    assert hr.mirror.rows("登记") == [(1, "悬")]


def test_an_open_transaction_comes_with_the_stream(db, listen, postgres, business):
    """It began before the copy, and ends while pages are released or long after."""
    db.execute(TABLE)
    db.execute("INSERT INTO log SELECT n, '旧' FROM generate_series(1, 50) n")
    hr = listen(LOG, page_rows=10)
    with postgres.connect(business, autocommit=False) as slow:
        slow.execute("INSERT INTO log VALUES (100, '慢')")
        hr.source.start_copy("登记", b"")
        for number in range(5):
            hr.listen()
            db.execute("INSERT INTO log VALUES (%s, '新')", (number,))
        hr.finish("登记")
        assert len(hr.mirror.rows("登记")) == 55
        slow.execute("INSERT INTO log VALUES (101, '慢')")
    hr.listen()

    mirrored, there = as_often(hr, db)
    assert mirrored == there


def test_a_copy_gives_way_to_whoever_waits_for_the_table(db, listen, postgres, business):
    """The department's TRUNCATE would wait for its end, and everybody's inserts behind it; then it begins again."""
    db.execute(TABLE)
    db.execute("INSERT INTO log SELECT n, repeat('旧', 1000) FROM generate_series(1, 20000) n")
    hr = listen(LOG, page_rows=20)
    hr.source.start_copy("登记", b"")
    while not list(itertools.islice(hr.source.pages(), 1)):
        hr.listen()
    emptying = Thread(target=db.execute, args=("TRUNCATE log",))
    emptying.start()
    with pytest.raises(Transient, match="gives way to process"):
        while True:
            hr.source.read(SOON)
    hr.source.close()
    emptying.join(5)
    assert not emptying.is_alive()
    db.execute("INSERT INTO log VALUES (7, '新')")
    hr.source.open(hr.position)
    hr.copy("登记")

    assert hr.mirror.rows("登记") == [(7, "新")]


def test_a_locked_table_stops_no_other(db, listen, postgres, business):
    """The copy begins when the lock is gone; meanwhile the stream goes on."""
    db.execute(TABLE)
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("INSERT INTO log VALUES (1, '旧')")
    hr = listen(LOG, "t")
    with postgres.connect(business, autocommit=False) as other:
        other.execute("LOCK TABLE log")
        hr.source.start_copy("登记", b"")
        for number in range(3):
            db.execute("INSERT INTO t VALUES (%s)", (number,))
            hr.listen()
            assert list(hr.source.pages()) == []
            assert len(hr.mirror.rows("t")) == number + 1
    hr.finish("登记")

    assert hr.mirror.rows("登记") == [(1, "旧")]


def test_a_table_that_is_just_rewritten_is_not_seen_as_empty(db, listen, postgres, business):
    """A snapshot from before the rewrite would see none of its rows, and the log does not repeat them."""
    db.execute(TABLE)
    db.execute("INSERT INTO log VALUES (1, '旧')")
    hr = listen(LOG)
    for _ in range(4):
        hr.mirror.appended.clear()
        with postgres.connect(business, autocommit=False) as other:
            other.execute("ALTER TABLE log ALTER v TYPE text USING v || ''")
            hr.source.start_copy("登记", b"")
            timer = Timer(0.3, other.commit)
            timer.start()
            while not timer.finished.is_set():
                hr.source.read(Limits(wait_s=0.01))
                assert list(hr.source.pages()) == []
            timer.join()
        hr.finish("登记")

        assert hr.mirror.rows("登记") == [(1, "旧")]


def test_all_partitions_are_copied(db, listen):
    """From one snapshot, under the root's name."""
    db.execute("CREATE TABLE log (n int, v text) PARTITION BY RANGE (n)")
    for start in (0, 100):
        db.execute(f"CREATE TABLE log{start} PARTITION OF log FOR VALUES FROM ({start}) TO ({start + 100})")
    db.execute("INSERT INTO log SELECT n, '旧' FROM generate_series(0, 199) n")
    hr = listen(LOG, page_rows=30)
    hr.source.start_copy("登记", b"")
    db.execute("INSERT INTO log VALUES (5, '新'), (105, '新')")
    hr.finish("登记")

    mirrored, there = as_often(hr, db)
    assert mirrored == there


def test_another_structure_than_when_it_was_asked_for_holds_the_table(db, listen):
    """Rows that came before the snapshot have values the copy would not bring; a fresh copy mends it."""
    db.execute(TABLE)
    hr = listen(LOG)
    hr.source.start_copy("登记", b"")
    db.execute("ALTER TABLE log ADD w int")
    db.execute("INSERT INTO log VALUES (1, '新', 1)")
    held = next(found for _ in range(200) if (found := released(hr)))
    assert held == [("登记", "its structure changed while it was copied")]

    hr.copy("登记")
    assert hr.mirror.rows("登记") == truth(db, "SELECT n, v, w FROM log")


def test_nobody_alters_the_table_while_it_is_read(db, listen):
    """So no change of another structure can come between pages; afterwards the stream follows."""
    db.execute(TABLE)
    db.execute("INSERT INTO log VALUES (1, '旧')")
    hr = listen(LOG)
    hr.source.start_copy("登记", b"")
    for _ in range(5):
        hr.listen()  # the snapshot is taken meanwhile, and the table read
    with pytest.raises(psycopg.errors.LockNotAvailable):
        db.execute("SET lock_timeout = '100ms'; ALTER TABLE log ADD w int")
    hr.finish("登记")
    db.execute("ALTER TABLE log ADD w int")
    db.execute("INSERT INTO log VALUES (2, '新', 1)")
    hr.listen()

    assert hr.held() == []
    assert hr.mirror.schemas["登记"].columns[-1].name == "w"


def released(hr: Listener) -> list[tuple[str, str]]:
    """One turn, in which no page may come; what it holds."""
    hr.source.read(Limits(wait_s=0.05))
    assert list(hr.source.pages()) == []
    return hr.held()


def test_the_server_may_forget_the_snapshot(db, listen):
    """After the last page nothing of ours keeps the server from vacuuming."""
    db.execute(TABLE)
    db.execute("INSERT INTO log VALUES (1, '旧')")
    hr = listen(LOG)
    hr.copy("登记")
    query = "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()"
    waiting_s = time.monotonic() + 5
    while db.execute(query).fetchone() != (0,):
        assert time.monotonic() < waiting_s


@pytest.mark.parametrize("seed", range(2))
def test_a_copy_under_load(listen, db, postgres, business, seed):
    """Writers commit, roll back, use savepoints and now and then empty the table; large transactions come in parts."""
    db.execute(TABLE)
    db.execute("INSERT INTO log SELECT n, repeat('旧', 50) FROM generate_series(1, 20000) n")
    hr, draw = listen(LOG, page_rows=500), random.Random(seed)
    with writing(postgres, business, seed):
        for _ in range(3):
            while not copied_under_load(hr, draw):
                hr.source.close()
                hr.source.open(hr.position)
    hr.listen(Limits(wait_s=0.5))

    mirrored, there = as_often(hr, db)
    assert mirrored == there


def copied_under_load(hr: Listener, draw: random.Random) -> bool:
    """Copy to the end; False when the copy gave way."""
    hr.mirror = Mirror()
    hr.source.start_copy("登记", b"")
    done = False
    while not done:
        try:
            batch = hr.source.read(Limits(rows=draw.choice((20, 2000)), wait_s=0.2))
        except Transient:
            return False
        if batch is not None:
            hr.mirror.apply(batch)
        if batch is None or not batch.continues:
            hr.position = batch.position if batch else hr.position
            for page in hr.source.pages():
                hr.mirror.merge(page.schema, page.frames.data)
                done = page.is_last
    return True


def test_kills_in_the_middle_of_a_copy(db, postgres, business, tmp_path):
    """Every session of ours is ended again and again: the copy begins anew, with an emptied table."""
    db.execute(TABLE)
    db.execute("INSERT INTO log SELECT n, repeat('旧', 200) FROM generate_series(1, 40000) n")
    source = unopened(postgres, business, LOG, page_rows=500)
    engine = open_exchange(f"sqlite:///{tmp_path}/exchange.db", NODE)
    migrate(engine)
    exchange = Exchange(engine, STREAM, ROOMY)
    capture, stop = Capture(source, exchange, lambda _: None, CaptureSettings(Limits(wait_s=0.05))), Event()
    thread = Thread(target=run_worker, args=("capture", capture.step, stop, capture.state), daemon=True)
    generations: set[int] = set()
    with writing(postgres, business, 7, pause_s=0.01):
        thread.start()
        while len(generations) < 3:
            time.sleep(0.005)
            status = exchange.tables().get("登记")
            if status and 0 < status.copy.rows_copied < 30000 and status.copy.generation not in generations:
                generations.add(status.copy.generation)
                db.execute(KILL)
    until(lambda: exchange.tables()["登记"].copy.copied)
    until(lambda: capture.state.read().marker_us > time.time_ns() // 1000 - 100_000)
    stop.set()
    capture.stop()
    thread.join()
    schema = exchange.tables()["登记"].schema
    assert schema is not None
    found = Counter(values(exchange.mirror.scan("登记"), schema))
    exchange.close()
    engine.dispose()

    assert found == Counter(db.execute("SELECT n, v FROM log").fetchall())


def until(what: Callable[[], bool]) -> None:
    """Wait for what must happen soon."""
    ends_s = time.monotonic() + 30
    while not what():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


@contextmanager
def writing(postgres: Cluster, business: str, seed: int, pause_s: float = 0.0) -> Iterator[None]:
    """Three writers at work; those that pause never empty the table."""
    stop = Event()
    writers = [
        Thread(
            target=write, args=(postgres.connect(business), stop, random.Random(f"{seed}-{number}"), pause_s)
        )
        for number in range(3)
    ]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def write(connection: psycopg.Connection[Any], stop: Event, draw: random.Random, pause_s: float) -> None:
    """Rows that may equal each other, in transactions of all kinds."""
    with connection:
        while not stop.wait(pause_s):
            # Two who empty the table at once meet; the server ends one of them, and that one wrote nothing.
            with suppress(psycopg.errors.DeadlockDetected), connection.transaction():
                if draw.random() < 0.3:
                    connection.execute("SET LOCAL synchronous_commit = off")
                rows = draw.choice((1, 1, 1, 2, 300))
                connection.execute(INSERT, (draw.randint(1, 9), "乙", rows))
                with connection.transaction():
                    connection.execute(INSERT, (draw.randint(1, 9), "丙", 1))
                    if draw.random() < 0.3:
                        raise psycopg.Rollback
                if not pause_s and draw.random() < 0.003:
                    connection.execute("TRUNCATE log")
                if draw.random() < 0.2:
                    raise psycopg.Rollback
