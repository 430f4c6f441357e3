"""The PostgreSQL source against real servers: what tables do in the life of a department."""

from __future__ import annotations

import time

import pytest

from agent.sources.postgresql.place import Place
from agent.sources.settings import TableSettings
from agent.sources.source import Limits
from tests.support.listener import SOON, truth


def test_large_values_left_out_of_the_log_stay_as_they_were(db, listen):
    """An update beside an unchanged large value is a partial update, with REPLICA IDENTITY FULL a full one."""
    for table, identity in (("plain", "DEFAULT"), ("told", "FULL")):
        db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, small text, big text)")
        db.execute(f"ALTER TABLE {table} ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY {identity}")
        db.execute(f"INSERT INTO {table} VALUES (1, 'a', repeat('x', 10000))")
    hr = listen("plain", "told")
    hr.copy("plain")
    hr.copy("told")
    for table in ("plain", "told"):
        db.execute(f"UPDATE {table} SET small = 'b'")
    hr.listen()
    found = {delta.schema.name: bool(delta.partials) for batch in hr.batches for delta in batch.deltas}

    assert hr.mirror.rows("plain") == hr.mirror.rows("told") == [(1, "b", "x" * 10000)]
    assert found == {"plain": True, "told": False}


def test_keys_swap_inside_a_transaction(db, listen):
    """Under a deferred constraint two rows may hold one key for a moment."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text)")
    db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    hr = listen("t")
    db.execute("INSERT INTO t SELECT n, n::text FROM generate_series(1, 9) n")
    with db.transaction():
        db.execute("UPDATE t SET id = id + 1")
        db.execute("UPDATE t SET id = 11 - id WHERE id IN (5, 6)")
        db.execute("UPDATE t SET id = 1 WHERE id = 10")

    assert hr.listen().rows("t") == truth(db, "SELECT * FROM t")


def test_what_a_savepoint_undid_never_arrives(db, listen):
    """Subtransactions, released and rolled back."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    hr = listen("t")
    with db.transaction():
        db.execute("INSERT INTO t VALUES (1, 'kept')")
        with pytest.raises(ZeroDivisionError), db.transaction():
            db.execute("INSERT INTO t VALUES (2, 'undone')")
            db.execute("UPDATE t SET v = 'undone'")
            raise ZeroDivisionError
        with db.transaction():
            db.execute("INSERT INTO t VALUES (3, 'released')")

    assert hr.listen().rows("t") == [(1, "kept"), (3, "released")]


def test_names_may_contain_anything(db, listen):
    """Chinese, quotes, dots, percent signs, spaces."""
    db.execute('CREATE SCHEMA "人事"')
    db.execute(
        'CREATE TABLE "人事"."a.b""c %s" ("编 号" int, "x.""y" text, "%(z)s" inet[], PRIMARY KEY ("编 号"))'
    )
    db.execute("""INSERT INTO "人事"."a.b""c %s" VALUES (1, 'before', NULL)""")
    table = TableSettings(table='人事."a.b""c %s"', name="人员", columns=("%(z)s", 'x."y'))
    hr = listen(table)
    db.execute("""INSERT INTO "人事"."a.b""c %s" VALUES (2, 'after', '{10.0.0.1}')""")
    hr.copy("人员")

    assert [column.name for column in hr.mirror.schemas["人员"].columns] == ["%(z)s", 'x."y', "编 号"]
    assert hr.mirror.rows("人员") == [(None, "before", 1), ("{10.0.0.1}", "after", 2)]


def test_only_listed_columns_leave_the_server(db, listen, postgres):
    """The publication itself lists them where the server can, from 15 on; others may come, change and go."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, shared text, secret text)")
    hr = listen(TableSettings(table="t", columns=("shared",)))
    row = db.execute("SELECT to_jsonb(r) ->> 'prattrs' FROM pg_publication_rel r").fetchone()
    db.execute("INSERT INTO t VALUES (1, 'a', 'hidden')")
    db.execute("ALTER TABLE t ADD more int NOT NULL DEFAULT 7")
    db.execute("ALTER TABLE t DROP secret")
    db.execute("INSERT INTO t VALUES (2, 'b', 8)")

    assert row == ("[1, 2]" if postgres.version >= 15 else None,)
    assert hr.listen().rows("t") == [("a", 1), ("b", 2)]
    assert hr.held() == []


def test_partitions_are_one_table(db, listen):
    """Rows move between partitions, new partitions come; all under the root's name."""
    db.execute("CREATE TABLE t (day date, id int, v text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day)")
    for year in (2023, 2024):
        db.execute(
            f"CREATE TABLE t{year} PARTITION OF t FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
        )
    db.execute("INSERT INTO t VALUES ('2023-05-05', 1, 'old')")
    hr = listen("t", look_every_s=0.01)
    hr.copy("t")
    db.execute("UPDATE t SET day = '2024-05-05'")
    db.execute("CREATE TABLE t2025 PARTITION OF t FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')")
    db.execute("INSERT INTO t VALUES ('2025-01-01', 2, 'new')")

    assert hr.listen().rows("t") == [("2024-05-05", 1, "old"), ("2025-01-01", 2, "new")]
    assert hr.held() == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("ALTER TABLE t ATTACH PARTITION t1 FOR VALUES FROM (100) TO (200)", "partition t1 was attached"),
        ("DROP TABLE t0", "partition t0 was dropped or detached"),
        ("ALTER TABLE t DETACH PARTITION t0", "partition t0 was dropped or detached"),
    ],
)
def test_rows_that_come_or_go_with_a_partition_hold_the_table(db, listen, change, what):
    """The log does not tell them; after a fresh copy the table is right again."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE t0 PARTITION OF t FOR VALUES FROM (0) TO (100)")
    db.execute("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (200) TO (300)")
    db.execute("CREATE TABLE t1 (id int PRIMARY KEY)")
    hr = listen("t", look_every_s=0.01)
    db.execute("INSERT INTO t1 VALUES (150)")
    db.execute("INSERT INTO t VALUES (1), (201)")
    hr.listen()
    db.execute(change)
    hr.listen()

    assert hr.held() == [("t", f"{what} with its rows, which the log does not tell")]

    hr.copy("t")
    db.execute("INSERT INTO t VALUES (202)")
    hr.listen()
    assert hr.mirror.rows("t") == truth(db, "SELECT * FROM t")
    assert hr.held() == []


def test_a_large_transaction_may_end_without_a_word(db, listen):
    """Its last rows are of a table that is held; still one batch says that it is complete."""
    for table in ("t", "held"):
        db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v text)")
    hr = listen("t", "held")
    db.execute("INSERT INTO held VALUES (-2, '1')")
    db.execute("ALTER TABLE held DROP v")
    db.execute("INSERT INTO held VALUES (-1)")
    hr.listen()
    assert [table for table, _ in hr.held()] == ["held"]
    with db.transaction():
        db.execute("INSERT INTO t SELECT n, repeat('x', 100000) FROM generate_series(1, 100) n")
        db.execute("INSERT INTO held SELECT generate_series(1, 20000)")
    hr.listen(Limits(rows=1, wait_s=0.5))

    assert (hr.batches[-1].continues, hr.batches[-1].deltas) == (False, ())
    assert len(hr.mirror.rows("t")) == 100


def test_truncate_takes_along_what_it_cascades_to(db, listen):
    """All tables of one TRUNCATE, at once."""
    db.execute("CREATE TABLE parent (id int PRIMARY KEY)")
    db.execute("CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)")
    hr = listen("parent", "child")
    db.execute("INSERT INTO parent VALUES (1)")
    db.execute("INSERT INTO child VALUES (1, 1)")
    hr.listen()
    db.execute("TRUNCATE parent CASCADE")

    assert (hr.listen().rows("parent"), hr.mirror.rows("child")) == ([], [])


def test_an_append_only_table_needs_no_key(db, listen):
    """Every row arrives once, and the department can still change old ones: that is not followed."""
    db.execute("CREATE TABLE log (at timestamptz DEFAULT now(), line text)")
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("INSERT INTO log (line) VALUES ('before')")
    hr = listen(TableSettings(table="log", append_only=True), "t")
    db.execute("INSERT INTO log (line) VALUES ('same'), ('same')")
    db.execute("INSERT INTO t VALUES (1)")
    hr.copy("log")
    db.execute("UPDATE log SET line = 'changed' WHERE line = 'before'")
    hr.listen()

    assert sorted(row[1] for row in hr.mirror.rows("log")) == ["before", "same", "same"]
    assert hr.mirror.rows("t") == [(1,)]


def test_an_idle_slot_follows_what_others_do(db, listen):
    """A batch without deltas carries the position on, so that the server can forget."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("CREATE TABLE other (v text)")
    hr = listen("t", look_every_s=0.2)
    db.execute("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
    before = hr.source.retained().bytes
    hr.listen(Limits(wait_s=0.5))
    # The server writes a few words of its own as well; what they move on is a batch like the others.
    *_, batch = hr.batches
    hr.source.confirm(batch.position)
    hr.source.read(SOON)
    row = db.execute("SELECT confirmed_flush_lsn::text FROM pg_replication_slots").fetchone()

    assert {each.deltas for each in hr.batches} == {()}
    assert before > 2_000_000
    assert Place.parse(batch.position).at(0) == Place.parse(hr.source.proof().position).at(0)
    assert row is not None
    assert str(Place.parse(batch.position)).endswith(row[0])


def test_a_commit_is_returned_at_once(db, listen):
    """The trickle's first leg: a few milliseconds from commit to batch."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz)")
    hr = listen("t")
    delays_s = []
    for number in range(50):
        db.execute("INSERT INTO t VALUES (%s, clock_timestamp())", (number,))
        started_s = time.monotonic()
        assert hr.source.read(Limits(wait_s=5)) is not None
        delays_s.append(time.monotonic() - started_s)

    assert sorted(delays_s)[25] < 0.05
