"""Structures change, publications are taken away, commits hang: a PostgreSQL source notices, and nothing is lost."""

from __future__ import annotations

import pytest

from agent.sources.settings import TableSettings
from tests.support.listener import truth


def test_a_new_nullable_column_is_carried_from_then_on(db, listen):
    """Also in the transaction that makes it, and beside changes before it."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    hr = listen("t")
    db.execute("INSERT INTO t VALUES (1, 'x')")
    with db.transaction():
        db.execute("INSERT INTO t VALUES (2, 'y')")
        db.execute("ALTER TABLE t ADD b int")
        db.execute("INSERT INTO t VALUES (3, 'z', 7)")
    hr.listen()
    names = [[c.name for c in delta.schema.columns] for batch in hr.batches for delta in batch.deltas]

    assert names[0] == ["id", "a"]
    assert names[-1] == ["id", "a", "b"]
    assert sum(batch.rows for batch in hr.batches) == 3
    assert hr.held() == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("ADD c int DEFAULT 7", "column c was added with a value for rows that were there before"),
        ("ADD c int GENERATED ALWAYS AS IDENTITY", "column c was added with a value for rows that were there before"),
        ("DROP a", "column a was dropped or renamed"),
        ("RENAME a TO b", "column a was dropped or renamed"),
        ("ALTER a TYPE int USING 1", "column a changed its type"),
        ("ALTER n TYPE numeric(10, 4)", "column n changed its type"),
        ("DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, n)", "its key is now (id, n)"),
        ("REPLICA IDENTITY NOTHING", "its replica identity does not contain its key"),
        ("DROP CONSTRAINT t_pkey", "the table has no primary key"),
    ],
)  # fmt: skip
def test_a_change_that_needs_a_decision_holds_the_table(db, listen, change, why):
    """At that place in the log: what was before is delivered, what comes after waits for a fresh copy."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text, n numeric(10, 2) NOT NULL)")
    db.execute("CREATE TABLE other (id int PRIMARY KEY)")
    hr = listen("t", "other")
    db.execute("INSERT INTO t VALUES (1, '1', 1)")
    db.execute(f"ALTER TABLE t {change}")
    db.execute("INSERT INTO t (id, n) VALUES (2, 2)")
    db.execute("INSERT INTO other VALUES (1)")
    hr.listen()
    ((table, what),) = hr.held()

    assert table == "t"
    assert what.startswith(why)
    assert [row[0] for row in hr.mirror.rows("t")] == [1]
    assert hr.mirror.rows("other") == [(1,)]


@pytest.mark.parametrize(
    "change", ["n TYPE numeric(12, 2)", "n TYPE numeric", "v TYPE varchar(20)", "v TYPE varchar"]
)
def test_a_wider_column_keeps_every_value(db, listen, change):
    """Nothing was rewritten, so nothing is held."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, n numeric(10, 2), v varchar(10))")
    hr = listen("t")
    db.execute("INSERT INTO t VALUES (1, 1, 'a')")
    db.execute(f"ALTER TABLE t ALTER {change}")
    db.execute("INSERT INTO t VALUES (2, 2.00, 'b')")

    assert hr.listen().rows("t") == [(1, "1.00", "a"), (2, "2.00", "b")]
    assert hr.held() == []


def test_another_table_under_the_old_name_is_not_followed_unseen(db, listen):
    """A rename swap holds the table; a fresh copy brings the new one."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    db.execute("CREATE TABLE u (id int PRIMARY KEY, v text)")
    db.execute("INSERT INTO u VALUES (9, 'u')")
    hr = listen("t", look_every_s=0.01)
    db.execute("INSERT INTO t VALUES (1, 'a')")
    hr.listen()
    with db.transaction():
        db.execute("ALTER TABLE t RENAME TO old")
        db.execute("ALTER TABLE u RENAME TO t")
    db.execute("INSERT INTO t VALUES (2, 'b')")
    hr.listen()

    assert hr.held() == [("t", "the table was renamed or dropped")]
    hr.copy("t")
    db.execute("INSERT INTO t VALUES (3, 'c')")
    assert hr.listen().rows("t") == truth(db, "SELECT * FROM t")
    assert hr.held() == []


def test_a_missing_table_is_captured_once_it_is_there(db, listen):
    """It is published then, without opening the stream again."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    hr = listen("t", "late")
    assert hr.held() == [("late", "table late does not exist")]
    db.execute("CREATE TABLE late (id int PRIMARY KEY)")
    db.execute("INSERT INTO late VALUES (1)")
    hr.copy("late")
    db.execute("INSERT INTO late VALUES (2)")

    assert hr.listen().rows("late") == [(1,), (2,)]


def test_a_table_taken_out_of_its_publication_is_held(db, listen):
    """Nothing arrives when that happens, so the catalogue is watched; putting it back does not hide it."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("CREATE TABLE other (id int PRIMARY KEY)")
    hr = listen("t", "other", look_every_s=0.01)
    db.execute("ALTER PUBLICATION exchange_hr DROP TABLE t")
    db.execute("INSERT INTO t VALUES (1)")
    db.execute("ALTER PUBLICATION exchange_hr ADD TABLE t")
    hr.listen()

    assert hr.held() == [("t", "the table was taken out of its publication, or put back")]
    hr.copy("t")
    db.execute("INSERT INTO t VALUES (2)")
    assert hr.listen().rows("t") == [(1,), (2,)]


def test_a_table_that_was_not_published_while_we_were_away_is_held(db, listen):
    """It is published again when we come back, but what passed by unpublished is lost."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("CREATE TABLE other (id int PRIMARY KEY)")
    hr = listen("t", "other")
    hr.source.close()
    db.execute("ALTER PUBLICATION exchange_hr DROP TABLE t")
    db.execute("INSERT INTO t VALUES (1)")
    hr.source.open(hr.position)

    assert hr.held() == [("t", "the table is not in publication exchange_hr")]
    assert hr.copy("t").rows("t") == [(1,)]


def test_a_publication_of_the_administrator_serves(db, listen, postgres, business):
    """An account without rights beyond reading captures; without the publication it says what to run."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v text, secret text)")
    db.execute("CREATE ROLE reader LOGIN REPLICATION")
    db.execute("GRANT SELECT (id, v) ON t TO reader")
    reader = f"host=127.0.0.1 port={postgres.port} user=reader dbname={business}"
    try:
        with pytest.raises(Exception, match="CREATE PUBLICATION") as refused:
            listen(TableSettings(table="t", columns=("v",)), dsn=reader)
        statement = str(refused.value).split(" — ")[1].splitlines()[0]
        db.execute(statement.encode())
        hr = listen(TableSettings(table="t", columns=("v",)), dsn=reader)
        db.execute("INSERT INTO t VALUES (1, 'a', 'hidden')")

        assert hr.copy("t").rows("t") == [("a", 1)]
        assert [finding for finding in hr.source.check() if not finding.passed] == []
        hr.source.give_up_place()
    finally:
        db.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_check_finds_what_would_go_wrong(db, listen, postgres):
    """Each finding that fails names a statement, and the statement mends it."""
    db.execute("CREATE TABLE bare (v text)")
    db.execute("CREATE TABLE mute (id int PRIMARY KEY)")
    db.execute("ALTER TABLE mute REPLICA IDENTITY NOTHING")
    db.execute("CREATE TABLE named (code text NOT NULL)")
    db.execute("CREATE UNIQUE INDEX by_code ON named (code)")
    db.execute("CREATE TABLE good (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)")
    hr = listen("bare", "mute", TableSettings(table="named", key=("code",)), "good", "missing")
    failed = {finding.name: finding for finding in hr.source.check() if not finding.passed}

    assert {"table bare", "table mute", "table named", "table missing", "no superuser"} <= failed.keys()
    assert {"table bare", "table mute", "table named", "table missing"} == {
        f"table {table}" for table, _ in hr.held()
    }
    for name in ("mute", "named"):
        db.execute(failed[f"table {name}"].fix.split(";")[0].encode())
    left = {finding.name for finding in hr.source.check() if not finding.passed}
    assert {"table mute", "table named"} & left == set()
