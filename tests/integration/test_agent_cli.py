"""The agent's commands as a person uses them: real processes, a real database, a real central."""

from __future__ import annotations

import getpass
import json
import os
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from agent.cli.console import socket_of
from agent.local import LocalClient, NotRunning
from central.ca import Authority, make_authority
from central.store.names import room_of
from demo.system import System, attempt, command
from proto.v1 import node_pb2
from tests.support.central import eventually
from tests.support.postgres import Cluster

AGENT = command("exchange-agent")


@pytest.fixture
def database(postgres15: Cluster) -> Iterator[str]:
    """A business database with a table that can be shared and one that cannot."""
    name = postgres15.new_database("business")
    dsn = f"postgresql://postgres@127.0.0.1:{postgres15.port}/{name}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE person (id bigint PRIMARY KEY, name text)")
        connection.execute('CREATE TABLE "日志" (at timestamptz, what text)')
        connection.execute("INSERT INTO person SELECT n, '人' || n FROM generate_series(1, 500) n")
    yield dsn
    postgres15.drop_database(name)


@pytest.fixture
def system(tmp_path: Path, database: str) -> Iterator[System]:
    """Central and agent, ready to start."""
    made = System(tmp_path / "system", database, [{"table": "public.person"}])
    made.prepare()
    yield made
    made.stop()


def ask(system: System, *arguments: str) -> tuple[int, str, str]:
    """One command with the system's settings: exit code, what it printed, what it complained of."""
    done = attempt(AGENT, *arguments, "-c", str(system.agent_config))
    return done.returncode, done.stdout, done.stderr


def stream(system: System) -> node_pb2.StreamReport:
    """What the running agent says of the only stream; says nothing while nobody answers."""
    try:
        with LocalClient(socket_of(system.agent_config)) as agent:
            return agent.status().streams[0]
    except NotRunning:
        return node_pb2.StreamReport()


def until(system: System, state: str) -> node_pb2.StreamReport:
    """Wait for the stream's state; returns what it says then."""
    deadline = time.monotonic() + 40
    while (report := stream(system)).state != state:
        assert time.monotonic() < deadline, f"{report}{system.agent.tail()}"
        threading.Event().wait(0.05)
    return report


def edit(system: System, **changes: Any) -> None:
    """Change settings of the agent's file."""
    settings = yaml.safe_load(system.agent_config.read_text())
    for name, value in changes.items():
        place = settings
        *way, last = name.split("__")
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        place[last] = value
    system.agent_config.write_text(yaml.safe_dump(settings, allow_unicode=True))


@pytest.mark.cold
def test_from_init_to_a_clean_stop(system, database):
    """The way of a first day: init, run, status, pause, resume, snapshot, batch show, stop."""
    out = system.agent_config.parent / "made.yaml"
    where = ("--node", "population", "--central", f"127.0.0.1:{system.port}", "--source", "hr")
    done = attempt(AGENT, "init", "--dsn", database, *where, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "public.日志" in done.stdout and "no primary key" in done.stdout
    out.rename(system.agent_config)
    edit(system, exchange__least_free_bytes=0)
    system.start()
    idle = until(system, "IDLE")
    assert [(table.table, table.rows_copied) for table in idle.tables] == [("person", 500)]

    assert ask(system, "pause")[:2] == (0, "paused: hr\n")
    assert until(system, "PAUSED").sentence.startswith(f"stopped by {getpass.getuser()} on 20")
    assert ask(system, "resume")[:2] == (0, "resumed: hr\n")
    until(system, "IDLE")
    assert ask(system, "snapshot", "person")[0] == 0
    eventually(lambda: stream(system).captured_seq > idle.captured_seq)
    until(system, "IDLE")
    code, said, _ = ask(system, "batch", "show", "2")
    assert code == 0 and "insert  id=1, name=人1" in said, said
    assert ask(system, "quarantine", "list")[:2] == (0, "nothing is held back\n")
    eventually(lambda: "IDLE" in ask(system, "status")[1])
    eventually(lambda: json.loads(ask(system, "status", "--json")[1])["streams"][0]["state"] == "IDLE")

    began = time.monotonic()
    assert system.agent.stop() == 0
    assert time.monotonic() - began < 10
    assert all(equality.holds for equality in system.compare())


def test_init_keeps_the_password_out_of_the_settings(database, tmp_path):
    """It goes into a file of its own that only its owner may read."""
    dsn = database.replace("postgres@", "postgres:s3cret%2F%40word@")
    where = ("--node", "hr", "--central", "central.example:7443", "--table", "person")
    done = attempt(AGENT, "init", "--dsn", dsn, *where, "--out", str(tmp_path / "agent.yaml"))

    assert done.returncode == 0, done.stderr
    assert "s3cret" not in (tmp_path / "agent.yaml").read_text() + done.stdout
    secret = tmp_path / "main-password"
    assert secret.read_text() == "s3cret/@word\n"
    assert (
        stat.S_IMODE(secret.stat().st_mode) == stat.S_IMODE((tmp_path / "agent.yaml").stat().st_mode) == 0o600
    )
    again = attempt(AGENT, "init", "--dsn", dsn, *where, "--out", str(tmp_path / "agent.yaml"))
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "already there" in again.stderr


def test_nobody_answers_when_the_agent_is_not_running(system):
    """One line with the next step."""
    code, said, complaint = ask(system, "status")

    assert (code, said, complaint.count("\n")) == (1, "", 1)
    assert "not running" in complaint
    assert "exchange-agent run" in complaint and "journalctl -u exchange-agent" in complaint
    assert ask(system, "check", "--settings-only") == (0, "the settings are in order\n", "")


def test_a_fault_in_the_file_is_named_with_its_place(system):
    """Every fault at once, each with line and column, and nothing is started."""
    edit(system, sources__0__slut="x", limits={"batch_rows": "many"})
    for word in ("run", "check"):
        code, _, complaint = ask(system, word)
        assert code == 2
        assert "did you mean slot?" in complaint and "batch_rows" in complaint
        assert all(line.startswith(f"{system.agent_config}:") for line in complaint.splitlines()), complaint


def test_a_second_agent_does_not_start(system):
    """The first one answers on the socket; the second says so and leaves everything alone."""
    system.start()
    until(system, "IDLE")
    code, _, complaint = ask(system, "run")

    assert code == 2
    assert "another exchange-agent answers" in complaint
    assert stream(system).state == "IDLE"


def test_a_refused_account_is_a_state_not_an_end(system, database):
    """The agent lives on, says CREDENTIAL, and does not try again at once."""
    edit(system, sources__0__dsn=database.replace("postgres@", "nobody_here@"))
    system.start()
    report = until(system, "CREDENTIAL")

    assert "nobody_here" in report.sentence
    assert system.agent.running
    assert system.agent.log.read_text().count("worker_parked") == 1


def test_an_expired_certificate_is_named_with_its_date(system):
    """gRPC would only say that the socket closed (G9)."""
    _expire_certificate(system)
    system.start()
    report = until(system, "CREDENTIAL")
    assert "certificate expired on" in report.sentence
    code, said, _ = ask(system, "check")

    assert code == 1
    assert "✗ certificate" in said and "expired on" in said


def test_a_certificate_of_another_authority_is_named(system, tmp_path):
    """Found in the files, before anything is sent."""
    other = make_authority("另一个 CA")
    other.issue_node("population").write(tmp_path / "node.pem", tmp_path / "node.key")
    edit(system, central__certificate=str(tmp_path / "node.pem"), central__key=str(tmp_path / "node.key"))
    system.start()

    assert "另一个 CA" in until(system, "CREDENTIAL").sentence


def test_central_may_be_away(system, database):
    """Capture goes on; push says what it waits for, and both go on by themselves until everything arrived (SD12.3)."""
    system.start()
    until(system, "IDLE")
    system.stop()
    with psycopg.connect(system.business_dsn, autocommit=True) as connection:
        connection.execute("UPDATE person SET name = '张三' WHERE id = 1")
    system.agent.start()
    report = until(system, "BACKING_OFF")
    assert "not reachable" in report.sentence
    eventually(lambda: stream(system).waiting_batches > 0)
    with psycopg.connect(database, autocommit=True) as business:
        for row in range(501, 521):
            captured = stream(system).captured_seq
            business.execute("INSERT INTO person VALUES (%s, '晚到')", (row,))
            while stream(system).captured_seq == captured:
                threading.Event().wait(0.05)
    system.central.start()

    assert until(system, "IDLE").waiting_batches == 0
    with closing(sqlite3.connect(system.home / "central" / "central.db")) as central:
        query = f'SELECT count(*), sum(name = ?) FROM "{room_of(stream(system).stream)}.person"'
        assert central.execute(query, ("晚到",)).fetchone() == (520, 20)


def test_nothing_leaves_before_the_platform_was_heard_once(system):
    """A new node cannot know what may leave, so not even its own exchange database gets a row (SD05.2)."""
    system.agent.start()
    eventually(lambda: "nothing leaves before the platform was heard once" in stream(system).sentence)
    assert stream(system).captured_seq == 0
    assert "CREATE TABLE" in tables_of(system) and "person" not in tables_of(system)
    system.central.start()

    until(system, "IDLE")


def tables_of(system: System) -> str:
    """How the exchange database's tables are made."""
    path = system.home / "agent" / "exchange.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as exchange:
        return "\n".join(row[0] or "" for row in exchange.execute("SELECT sql FROM sqlite_master"))


@pytest.mark.cold
def test_a_second_sigterm_ends_at_once(system):
    """The first one may still wait for central; the second does not."""
    system.start()
    until(system, "IDLE")
    os.kill(system.central.pid, signal.SIGSTOP)
    try:
        with psycopg.connect(system.business_dsn, autocommit=True) as connection:
            connection.execute("UPDATE person SET name = 'x' WHERE id = 1")
        eventually(lambda: stream(system).waiting_batches, 1)
        process = system.agent.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        eventually(lambda: "stop_requested" in system.agent.log.read_text())
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(5)
    finally:
        os.kill(system.central.pid, signal.SIGCONT)

    assert (code, time.monotonic() - began < 1.5) == (128 + signal.SIGTERM, True)
    system.agent.process = None


def test_a_worker_that_dies_of_a_bug_ends_the_agent(system):
    """Half an agent would look alive; a table that vanishes under it is nothing it can mend."""
    system.start()
    until(system, "IDLE")
    with sqlite3.connect(system.agent_config.parent / "exchange.db") as connection:
        connection.execute("DROP TABLE exchange_outbox")
    with psycopg.connect(system.business_dsn, autocommit=True) as connection:
        connection.execute("UPDATE person SET name = 'y' WHERE id = 2")
    eventually(lambda: system.agent.running, False)

    assert system.agent.process is not None
    assert system.agent.process.wait() == 1
    assert "worker_died" in system.agent.log.read_text()
    system.agent.process = None


def test_check_prints_what_mends_it(system, database):
    """An account that may do nothing yet: the administrator runs the statements of check, and all is in order."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS ex_reader")
        connection.execute("CREATE ROLE ex_reader LOGIN")
        edit(system, sources__0__dsn=database.replace("postgres@", "ex_reader@"))
        system.central.start()
        eventually(
            lambda: "central" in {one["name"] for one in checked(system) if one["passed"]}, within_s=30
        )
        missing = [one for one in checked(system) if not one["passed"]]
        assert missing and all(one["name"].startswith("source hr") and one["fix"] for one in missing)
        code, said, _ = ask(system, "check")
        assert code == 1 and missing[0]["fix"].splitlines()[0] in said

        for one in missing:
            for step in one["fix"].splitlines():
                assert step.endswith(";") or step == "set manage_publication: false"
                if step.endswith(";"):
                    connection.execute(step)
        edit(system, sources__0__manage_publication=False)
        assert [one for one in checked(system) if not one["passed"]] == []
        assert ask(system, "check")[0] == 0
        connection.execute("DROP PUBLICATION exchange_hr; DROP OWNED BY ex_reader; DROP ROLE ex_reader")


def checked(system: System) -> list[dict[str, Any]]:
    """What ``check --json`` found."""
    found: list[dict[str, Any]] = json.loads(ask(system, "check", "--json")[1])
    return found


def _expire_certificate(system: System) -> None:
    tls = yaml.safe_load(system.central_config.read_text())["issuer"]
    authority = Authority.load(Path(tls["certificate"]), Path(tls["key"]))
    bundle = system.agent_config.parent
    for name in ("node.pem", "node.key"):
        (bundle / name).unlink()
    then = datetime.now(UTC) - timedelta(days=10)
    authority.issue_node("population", days=1, start=then).write(bundle / "node.pem", bundle / "node.key")


def test_init_for_a_node_that_only_receives(tmp_path):
    """No source is asked for, the settings are in order, and there is nothing to listen to."""
    out = tmp_path / "agent.yaml"
    told = (
        "init",
        "--receive-only",
        "--node",
        "civil-affairs",
        "--central",
        "localhost:7443",
        "--out",
        str(out),
    )
    wrong = attempt(AGENT, *told, "--dsn", "sqlite:///x.db")
    assert wrong.returncode != 0 and "leave out --dsn" in wrong.stderr and not out.exists()

    made = attempt(AGENT, *told)
    assert made.returncode == 0, made.stderr
    assert "only receives" in made.stdout and f"next: exchange-agent check --config {out}" in made.stdout
    assert "sources: []" in out.read_text() and out.stat().st_mode & 0o777 == 0o600
    assert attempt(AGENT, "check", "--settings-only", "-c", str(out)).returncode == 0
