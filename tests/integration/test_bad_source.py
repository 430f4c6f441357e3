"""Mistakes at the business database, as its people meet them: one clear error, a named state, and nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg import pq
from psycopg.conninfo import make_conninfo

from demo.system import attempt
from tests.support.office import AGENT, PERSON, Office
from tests.support.postgres import Cluster

pytestmark = pytest.mark.timeout(180)
LATER = "INSERT INTO house VALUES (1000, 'new'); UPDATE person SET name = 'changed' WHERE id = 7"


@pytest.fixture
def office(postgres15: Cluster, tmp_path: Path) -> Iterator[Office]:
    """An office in which nothing is wrong yet."""
    with Office(postgres15, tmp_path) as made:
        yield made


def test_nothing_is_wrong_with_a_careful_office(office):
    """An account that may read and nothing else passes every check, and everything arrives."""
    office.system.central.start()
    office.system.agent.start()
    office.until("IDLE")
    assert office.missing() == {}
    office.sql(LATER)
    office.arrives("person", "house")


def test_init_offers_what_the_account_may_read(office, tmp_path):
    """Rights on single columns are enough; without any, one line says so and no file is left."""
    office.sql(f"REVOKE ALL ON person, house FROM {office.account}")
    office.sql(f"GRANT SELECT (id, name) ON person TO {office.account}")
    out = tmp_path / "made.yaml"
    words = (
        "init",
        "--dsn",
        office.system.business_dsn,
        "--node",
        "n",
        "--central",
        "c.example:1",
        "--out",
        str(out),
    )
    done = attempt(AGENT, *words)
    assert done.returncode == 0, done.stderr
    assert [table["columns"] for table in yaml.safe_load(out.read_text())["sources"][0]["tables"]] == [
        ["id", "name"]
    ]
    office.sql(f"REVOKE ALL (id, name) ON person FROM {office.account}")
    for path in tmp_path.glob("ma*"):
        path.unlink()
    done = attempt(AGENT, *words)

    assert (done.returncode, done.stderr.count("\n"), out.exists()) == (2, 1, False)
    assert "no table can be shared" in done.stderr and "GRANT SELECT" in done.stdout


def test_a_wrong_password(office):
    """CREDENTIAL; what mends it is named; the right password in the settings is enough, without a restart."""
    hba = office.cluster.data / "pg_hba.conf"
    hba.write_text(f"host all {office.account} 127.0.0.1/32 scram-sha-256\n{hba.read_text()}")
    office.sql("SELECT pg_reload_conf()")
    right = office.system.business_dsn
    office.edit_source(dsn=right.replace("right@", "wrong@"))
    office.system.start()
    report = office.until("CREDENTIAL")
    assert "password authentication failed" in report.sentence and "check" in report.fix
    assert f'ALTER ROLE "{office.account}" PASSWORD' in office.missing()["source hr: connection"]
    assert "wrong" not in office.system.agent.log.read_text()
    office.edit_source(dsn=right)

    office.arrives("person", "house")


def test_an_account_without_the_replication_right(office):
    """The statement that check prints is what was missing."""
    office.sql(f"ALTER ROLE {office.account} NOREPLICATION")
    office.system.start()
    assert "replication" in office.until("CREDENTIAL").sentence
    missing = office.missing()
    assert list(missing) == ["source hr: replication right"]
    office.sql(fix_of(missing.popitem()[1]))
    office.do("resume")

    office.arrives("person", "house")


def test_a_column_that_may_not_be_read(office):
    """Its table is held with the statement that mends it; the other one goes on."""
    office.sql(
        f"REVOKE ALL ON person FROM {office.account}; GRANT SELECT (id, name) ON person TO {office.account}"
    )
    office.system.start()
    held = office.until_held("person")
    assert held.state == "SCHEMA_HOLD" and "may not read" in held.sentence
    assert "held: person" in office.until("IDLE").sentence
    office.sql(LATER)
    office.arrives("house")
    office.sql(held.fix.partition("; then")[0])
    office.do("snapshot", "person")

    office.arrives("person", "house")


def test_a_server_whose_log_says_too_little(tmp_path):
    """wal_level needs the administrator and a restart; then it begins by itself."""
    with Cluster(15, settings={"wal_level": "replica"}) as cluster, Office(cluster, tmp_path) as office:
        office.system.start()
        assert "restart the server" in office.until("BACKING_OFF", "wal_level").fix
        missing = office.missing()
        assert (
            list(missing) == ["source hr: wal_level"]
            and "restart the server" in missing["source hr: wal_level"]
        )
        (cluster.data / "postgresql.auto.conf").write_text("wal_level = 'logical'\n")
        cluster.restart()

        office.arrives("person", "house")


BROKEN_TABLES: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing": ({"table": "public.absent"}, "does not exist", "CREATE TABLE absent (id int PRIMARY KEY)"),
    "key missing": (
        {"table": "public.ledger", "key": ["number"]},
        "number",
        "ALTER TABLE ledger ADD number int PRIMARY KEY DEFAULT 1",
    ),
    "not in the log": (
        {"table": "public.cache"},
        "unlogged",
        "ALTER TABLE cache SET LOGGED",
    ),
    "no key": ({"table": "public.ledger"}, "no primary key", "ALTER TABLE ledger ADD PRIMARY KEY (code)"),
    "key not in the identity": (
        {"table": "public.ledger", "key": ["code"]},
        "replica identity",
        "ALTER TABLE ledger REPLICA IDENTITY USING INDEX ledger_code_key",
    ),
}


@pytest.fixture(params=BROKEN_TABLES)
def broken(request: pytest.FixtureRequest) -> tuple[dict[str, Any], str, str]:
    """A table's settings, what is wrong with it, and the statement that mends it."""
    return BROKEN_TABLES[request.param]


@contextmanager
def office_with(cluster: Cluster, home: Path, *tables: dict[str, Any]) -> Iterator[Office]:
    """An office whose settings also name a table that is not as it should be."""
    with Office(cluster, home, tables, manage_publication=False) as office:
        office.sql(
            "CREATE TABLE ledger (code text NOT NULL UNIQUE, what text); INSERT INTO ledger VALUES ('a', 'b');"
            "CREATE UNLOGGED TABLE cache (id int PRIMARY KEY); INSERT INTO cache VALUES (1);"
            f"GRANT SELECT ON ledger TO {office.account}"
        )
        yield office


def mend(office: Office, name: str, statement: str) -> None:
    """Run the statement, and share the table."""
    office.sql(statement, f"GRANT SELECT ON {name} TO {office.account}")
    office.sql(f"ALTER PUBLICATION exchange_hr ADD TABLE {name}")
    office.sql(
        "INSERT INTO absent VALUES (1)" if name == "absent" else "INSERT INTO person VALUES (1000, 'n', 'x')"
    )


def test_one_broken_table_beside_a_good_one(broken, postgres15, tmp_path):
    """It is held with the reason; the good one is copied and streamed; mended and copied, both are whole."""
    table, why, statement = broken
    name = table["table"].partition(".")[2]
    with office_with(postgres15, tmp_path, table, PERSON) as office:
        office.system.start()
        held = office.until_held(name)
        assert (held.state, why in held.sentence) == ("SCHEMA_HOLD", True), held
        assert why in office.missing()[f"source hr: table {name}"]
        office.arrives("person")
        mend(office, name, statement)
        office.do("snapshot", name)

        office.arrives("person", name)


def test_nothing_but_a_broken_table(broken, postgres15, tmp_path):
    """The agent lives, says what is wrong, and begins by itself once it is mended."""
    table, why, statement = broken
    name = table["table"].partition(".")[2]
    with office_with(postgres15, tmp_path, table) as office:
        office.system.start()
        office.until("BACKING_OFF", why)
        mend(office, name, statement)
        office.do("resume")

        office.arrives(name)


def test_the_departments_own_updates_never_fail(postgres15, tmp_path):
    """A published table that cannot name its rows refuses updates to everybody: such a table is not published."""
    ledger = {"table": "public.ledger", "key": ["code"]}
    with office_with(postgres15, tmp_path, PERSON, ledger, {"table": "public.absent"}) as office:
        office.sql("DROP PUBLICATION exchange_hr")
        office.edit_source(dsn=office.system.business_dsn.replace(f"{office.account}:right@", "postgres@"))
        office.edit_source(manage_publication=True)
        office.system.start()
        office.until_held("ledger")
        office.sql("CREATE TABLE absent (id int PRIMARY KEY)")
        office.do("snapshot", "absent")
        office.sql("UPDATE ledger SET what = 'mine'")
        office.arrives("person", "absent")
        office.sql("UPDATE ledger SET what = 'still mine'", "INSERT INTO absent VALUES (1)")

        office.arrives("person", "absent")


def test_a_table_without_a_key_that_only_grows(postgres15, tmp_path):
    """Declared append-only it is shared from now on, and check says what that means."""
    with office_with(postgres15, tmp_path, {"table": "public.ledger", "append_only": True}, PERSON) as office:
        office.sql(
            "TRUNCATE ledger; CREATE PUBLICATION exchange_hr_append FOR TABLE ledger WITH (publish = 'insert')"
        )
        office.system.start()
        office.until("IDLE")
        office.sql("INSERT INTO ledger VALUES ('c', 'd'), ('e', 'f')")

        office.arrives("person", "ledger")


def test_a_publication_that_is_missing_and_then_lacks_a_table(postgres15, tmp_path):
    """First the whole stream waits, then one table; each time the statement is told."""
    with Office(postgres15, tmp_path, publish="", manage_publication=False) as office:
        office.system.start()
        statement = office.until("CREDENTIAL").fix
        assert statement in office.missing()["source hr: publication exchange_hr"]
        office.publish("person")
        office.do("resume")
        held = office.until_held("house")
        assert "not in publication" in held.sentence
        office.arrives("person")
        office.sql(held.fix.partition("; then")[0])
        office.do("snapshot", "house")
        office.sql(LATER)

        office.arrives("person", "house")


def settled(office: Office) -> None:
    """Everything is there; the agent is away."""
    office.system.start()
    office.arrives("person", "house")
    assert office.system.agent.stop() == 0


@contextmanager
def reading_the_slot(office: Office) -> Iterator[int]:
    """Somebody else reads from our slot and confirms nothing; the process at the server."""
    dsn = make_conninfo(office.cluster.dsn(office.database), replication="database")
    wire = pq.PGconn.connect(dsn.encode())
    try:
        assert wire.status == pq.ConnStatus.OK, wire.error_message
        options = "proto_version '1', publication_names 'exchange_hr'"
        wire.send_query(f"START_REPLICATION SLOT exchange_hr LOGICAL 0/0 ({options})".encode())
        while wire.is_busy():
            wire.consume_input()
        result = wire.get_result()
        assert result is not None and result.status == pq.ExecStatus.COPY_BOTH, wire.error_message
        yield wire.backend_pid
    finally:
        wire.finish()


def test_a_slot_that_somebody_else_reads(office):
    """FENCED with the other process; once it is gone, the stream goes on where it was."""
    settled(office)
    with reading_the_slot(office) as pid:
        office.system.agent.start()
        report = office.until("FENCED")
        assert str(pid) in report.sentence and "exchange-agent resume" in report.fix
        office.sql(LATER)
    office.do("resume")

    office.arrives("person", "house")


def test_a_slot_of_another_database_is_not_taken(office, tmp_path):
    """Two databases of one server whose sources have the same name: the newcomer is told, the first loses nothing."""
    settled(office)
    with Office(office.cluster, tmp_path / "newcomer") as newcomer:
        newcomer.system.start()
        report = newcomer.until("FENCED")
        assert office.database in report.sentence and "'slot'" in report.fix
        assert "'slot'" in newcomer.missing()["source hr: slot exchange_hr"]
        newcomer.system.agent.stop()
        newcomer.edit_source(slot="exchange_newcomer")
        newcomer.system.agent.start()
        newcomer.arrives("person", "house")
        newcomer.system.agent.stop()
    office.sql(LATER)
    office.system.agent.start()

    office.arrives("person", "house")


def test_a_slot_whose_log_is_gone(tmp_path):
    """GAP; one table alone does not mend it; all of them copied afresh do."""
    with (
        Cluster(15, settings={"max_slot_wal_keep_size": "1MB"}) as cluster,
        Office(cluster, tmp_path) as office,
    ):
        settled(office)
        office.sql(LATER)
        for _ in range(3):
            office.sql("SELECT pg_logical_emit_message(false, 'noise', repeat('x', 20000000))")
            office.sql("SELECT pg_switch_wal()", "CHECKPOINT")
        office.system.agent.start()
        report = office.until("GAP")
        assert "exchange-agent snapshot --all" in report.fix
        code, _, complaint = office.ask("snapshot", "person")
        assert code == 2 and "snapshot --all" in complaint
        assert "snapshot --all" in office.missing()["source hr: slot exchange_hr"]
        office.do("snapshot", "--all")

        office.arrives("person", "house")


def fix_of(finding: str) -> str:
    """The statement in what :meth:`Office.missing` says."""
    return finding.partition(" — ")[2]
