"""What happens at a PostgreSQL source while nobody listens: the log does not tell it, the next opening finds it."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from agent.capture import Capture, CaptureSettings
from agent.exchange import Exchange, migrate, open_exchange
from agent.sources.settings import TableSettings
from agent.sources.source import Limits
from agent.worker import run_worker
from proto.states import State
from tests.integration.test_postgresql_keyless import until
from tests.support.exchanges import NODE, ROOMY, STREAM
from tests.support.listener import truth, unopened
from tests.support.rows import values

PERSON = (
    "CREATE TABLE 人员 (id int PRIMARY KEY, name varchar(20), secret text)",
    "INSERT INTO 人员 VALUES (1, '王'), (2, '李')",
)
PARTED = (
    "CREATE TABLE 人员 (id int PRIMARY KEY, name text) PARTITION BY RANGE (id)",
    "CREATE TABLE p0 PARTITION OF 人员 FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE p1 (id int PRIMARY KEY, name text)",
    "INSERT INTO 人员 VALUES (1, '王'), (2, '李')",
    "INSERT INTO p1 VALUES (101, '张')",
)
OUT = "ALTER PUBLICATION exchange_hr DROP TABLE 人员"
BACK = "ALTER PUBLICATION exchange_hr ADD TABLE 人员"
ATTACH = "ALTER TABLE 人员 ATTACH PARTITION p1 FOR VALUES FROM (100) TO (200)"
MISSED = {
    "default": (PERSON, ["ALTER TABLE 人员 ADD age int DEFAULT 7"], "column age was added with a value"),
    "not null": (PERSON, ["ALTER TABLE 人员 ADD age int NOT NULL DEFAULT 7"], "column age was added"),
    "serial": (PERSON, ["ALTER TABLE 人员 ADD no serial"], "column no was added with a value"),
    "dropped": (PERSON, ["ALTER TABLE 人员 DROP secret"], "column secret was dropped"),
    "again": (
        PERSON,
        ["ALTER TABLE 人员 DROP secret", "ALTER TABLE 人员 ADD secret text"],
        "another one took its name",
    ),
    "type": (PERSON, ["ALTER TABLE 人员 ALTER name TYPE varchar(1)"], "column name changed its type"),
    "out and back": (PERSON, [OUT, "UPDATE 人员 SET name = '赵'", BACK], "taken out of its publication"),
    "new table": (
        PERSON,
        [
            "DROP TABLE 人员",
            PERSON[0],
            "INSERT INTO 人员 VALUES (3, '孙')",
            "ALTER PUBLICATION exchange_hr ADD TABLE 人员",
        ],
        "another table took its name",
    ),
    "key": (
        PERSON,
        ["ALTER TABLE 人员 DROP CONSTRAINT 人员_pkey, ADD PRIMARY KEY (id, name)"],
        "its key became (id, name)",
    ),
    "attached": (PARTED, [ATTACH], "partition p1 was attached"),
    "detached": (PARTED, ["ALTER TABLE 人员 DETACH PARTITION p0"], "partition p0 was dropped or detached"),
    "detached and back": (
        PARTED,
        [
            "ALTER TABLE 人员 DETACH PARTITION p0",
            "DELETE FROM p0",
            "ALTER TABLE 人员 ATTACH PARTITION p0 FOR VALUES FROM (0) TO (100)",
        ],
        "partition p0",
    ),
}
HARMLESS = {
    "nothing": (PERSON, []),
    "empty column": (
        PERSON,
        ["ALTER TABLE 人员 ADD age int", "INSERT INTO 人员 VALUES (3, '孙')", "UPDATE 人员 SET age = id"],
    ),
    "wider": (PERSON, ["ALTER TABLE 人员 ALTER name TYPE varchar(40)", "INSERT INTO 人员 VALUES (3, '孙')"]),
    "rows": (PERSON, ["INSERT INTO 人员 VALUES (3, '孙')", "UPDATE 人员 SET name = '赵' WHERE id = 1"]),
    "born": (
        PARTED,
        [
            "CREATE TABLE p2 PARTITION OF 人员 FOR VALUES FROM (200) TO (300)",
            "INSERT INTO 人员 VALUES (201, '孙')",
        ],
    ),
}


@pytest.mark.parametrize("case", MISSED)
def test_what_the_log_does_not_tell_holds_the_table(db, listen, case):
    """And a fresh copy makes it right again; what was found once is not found twice."""
    before, meanwhile, what = MISSED[case]
    for statement in before:
        db.execute(statement)
    hr = listen("人员")
    hr.copy("人员")
    marks = hr.source.marks()
    hr.source.close()
    for statement in meanwhile:
        db.execute(statement)
    hr.source.recall(marks)
    hr.source.open(hr.position)
    ((table, told),) = hr.held()
    assert table == "人员" and what in told
    assert hr.source.marks() == {}

    hr.copy("人员")
    assert hr.mirror.rows("人员") == truth(db, "SELECT * FROM 人员")
    hr.source.recall(hr.source.marks())
    hr.source.close()
    hr.source.open(hr.position)
    assert hr.held() == []


@pytest.mark.parametrize("case", HARMLESS)
def test_what_the_log_tells_holds_nothing(db, listen, case):
    """Rows, columns that begin empty, wider types, partitions that begin empty."""
    before, meanwhile = HARMLESS[case]
    for statement in before:
        db.execute(statement)
    hr = listen("人员")
    hr.copy("人员")
    marks = hr.source.marks()
    hr.source.close()
    for statement in meanwhile:
        db.execute(statement)
    hr.source.recall(marks)
    hr.source.open(hr.position)
    hr.listen()

    assert hr.held() == []
    assert hr.source.marks().keys() == {"人员"}
    assert [row[:2] for row in hr.mirror.rows("人员")] == truth(db, "SELECT id, name FROM 人员")


def test_a_column_that_is_listed_later_was_there_before(db, listen, postgres, business):
    """Its values were never captured, so the table has to be copied afresh."""
    for statement in PERSON:
        db.execute(statement)
    db.execute("CREATE PUBLICATION exchange_hr FOR TABLE 人员 WITH (publish_via_partition_root)")
    hr = listen(TableSettings(table="人员", columns=("name",)), manage_publication=False)
    marks = hr.source.marks()
    hr.source.close()
    wider = unopened(postgres, business, "人员", manage_publication=False)
    wider.recall(marks)
    wider.open(hr.position)
    (hold,) = wider.holds()
    wider.close()

    assert "column secret was not captured before" in str(hold)


def test_the_agent_remembers(db, postgres, business, tmp_path):
    """Its exchange database does: a table with a new default is held across restarts until it is copied afresh."""
    for statement in PERSON:
        db.execute(statement)
    engine = open_exchange(f"sqlite:///{tmp_path}/exchange.db", NODE)
    migrate(engine)

    def run(*statements: str, then: str = "") -> Exchange:
        exchange = Exchange(engine, STREAM, ROOMY)
        source = unopened(postgres, business, "人员")
        capture = Capture(source, exchange, lambda _: None, CaptureSettings(Limits(wait_s=0.05)))
        stop = Event()
        thread = Thread(target=run_worker, args=("capture", capture.step, stop, capture.state), daemon=True)
        thread.start()
        until(lambda: (known := exchange.tables().get("人员")) is not None and known.state != State.SNAPSHOT)
        if then:
            # Once what this session found is stored: a person orders the copy because of that.
            until(lambda: capture.state.read().marker_us > 0)
            capture.order_copy("人员")
            until(lambda: exchange.tables()["人员"].state is State.RUNNING)
        for statement in statements:
            db.execute(statement)
        asked_us = capture.state.read().marker_us
        until(lambda: capture.state.read().marker_us > asked_us + 100_000)
        stop.set()
        capture.stop()
        thread.join()
        exchange.close()
        return exchange

    run()
    db.execute("ALTER TABLE 人员 ADD age int DEFAULT 7")
    for _ in range(2):
        held = run("INSERT INTO 人员 VALUES ((SELECT max(id) + 1 FROM 人员), '孙')")
        assert held.tables()["人员"].state is State.SCHEMA_HOLD
        assert held.quarantine() == []
    mended = run(then="a fresh copy")
    schema = mended.tables()["人员"].schema
    assert schema is not None
    assert values(mended.mirror.scan("人员"), schema) == truth(db, "SELECT * FROM 人员")
    engine.dispose()
