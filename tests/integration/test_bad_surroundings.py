"""Mistakes around the agent and central, as people meet them: certificates, disks, damage, twins, versions."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from central.ca import make_authority
from demo.system import Daemon, attempt
from tests.support.central import eventually
from tests.support.office import AGENT, CENTRAL, Office
from tests.support.postgres import Cluster

pytestmark = pytest.mark.timeout(180)
MANY = (
    "INSERT INTO person SELECT n, md5(n::text), repeat(md5(n::text), 9) FROM generate_series(10000, 50000) n"
)


@pytest.fixture
def office(postgres15: Cluster, tmp_path: Path) -> Iterator[Office]:
    """An office in which nothing is wrong yet."""
    with Office(postgres15, tmp_path) as made:
        yield made


def settled(office: Office) -> None:
    """Everything is there."""
    office.system.start()
    office.arrives("person", "house")


def central_says(office: Office, *words: str) -> str:
    """One of central's commands, which must succeed."""
    done = attempt(CENTRAL, *words, "-c", str(office.system.central_config))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_full_of_faults(office):
    """All of them at once, each with its line and column; nothing is started, nothing is touched."""
    path = office.system.agent_config
    good = path.read_text()
    path.write_text(
        good.replace("kind: postgresql", "kind: postgresql\n  tabels: []") + "node: again\nlog_level: loud\n"
    )
    for word in ("check", "run"):
        code, said, complaint = office.ask(word)
        assert (code, said) == (2, "")
        lines = complaint.splitlines()
        assert all(line.startswith(f"{path}:") for line in lines), complaint
        for fault in ("did you mean tables?", "node: given twice", "log_level"):
            assert sum(fault in line for line in lines) == 1, complaint
    path.write_text(good)

    settled(office)


def test_nobody_else_can_read_the_rows(office):
    """However the account's umask is set, both databases are private from their first byte on."""
    settled(office)
    made = [path for name in ("exchange.db", "central.db") for path in office.system.home.rglob(f"{name}*")]

    assert {"exchange.db", "central.db"} <= {path.name for path in made}
    assert [path for path in made if path.stat().st_mode & 0o077] == []


def test_a_key_of_another_certificate(office):
    """CREDENTIAL in words; the right file is taken up by itself."""
    key = office.system.agent_config.parent / "node.key"
    right = key.read_bytes()
    make_authority("别处").issue_node("population").write(key.parent / "other.pem", key.parent / "other.key")
    shutil.copy(key.parent / "other.key", key)
    office.system.start()
    assert "the key does not belong" in office.until("CREDENTIAL").sentence
    assert "the key does not belong" in office.missing()["certificate"]
    key.write_bytes(right)
    office.do("resume")

    office.arrives("person", "house")


def test_a_node_that_was_revoked_and_is_taken_back(office):
    """CREDENTIAL while it is shut out, although its certificate is still good; a new certificate opens again."""
    settled(office)
    central_says(office, "node", "revoke", "population", "--reason", "lost laptop")
    report = office.until("CREDENTIAL")
    assert "revoked" in report.sentence
    assert "revoked" in office.missing()["central"]
    office.sql("INSERT INTO house VALUES (1000, 'meanwhile')")
    folder = office.system.agent_config.parent
    said = central_says(office, "node", "add", "population", "--out", str(folder / "new"))
    assert "next:" in said
    for name in ("ca.pem", "node.pem", "node.key"):
        shutil.copy(folder / "new" / name, folder / name)
    office.do("resume")

    office.arrives("person", "house")


def may_write(daemon: Daemon, file_bytes: int) -> None:
    """How large the files of a running daemon may grow: a disk that is full for it alone."""
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))


def test_the_agents_disk_is_full(office):
    """BLOCKED_DISK; the department works on; with room again everything arrives by itself."""
    settled(office)
    may_write(office.system.agent, 500_000)
    office.sql(MANY)
    report = office.until("BLOCKED_DISK")
    assert "free" in report.fix
    may_write(office.system.agent, resource.RLIM_INFINITY)

    office.arrives("person", "house")


def test_centrals_disk_is_full(office):
    """The agent is told why it waits and central lives; with room again everything arrives by itself."""
    settled(office)
    may_write(office.system.central, 500_000)
    office.sql(MANY)
    report = office.until("BLOCKED_DISK")
    assert "disk" in report.sentence
    assert office.system.central.running
    may_write(office.system.central, resource.RLIM_INFINITY)

    office.arrives("person", "house")


def flip(path: Path, query: str, update: str) -> None:
    """Flip one bit of what *query* finds."""
    with closing(sqlite3.connect(path)) as connection, connection:
        seq, payload = connection.execute(query).fetchone()
        damaged = bytearray(payload)
        damaged[len(damaged) // 2] ^= 4
        connection.execute(update, (bytes(damaged), seq))


def test_a_flipped_bit_in_the_outbox(office):
    """The batch is named and not sent; what the remedy says, word for word, mends it."""
    settled(office)
    office.system.central.stop()
    office.sql("INSERT INTO house SELECT n, '新街' || md5(n::text) FROM generate_series(2000, 2200) n")
    eventually(lambda: office.report().waiting_batches > 0, True, 40)
    office.system.agent.stop()
    flip(
        office.system.agent_config.parent / "exchange.db",
        "SELECT seq, payload FROM exchange_outbox WHERE length(payload) > 50 ORDER BY seq DESC LIMIT 1",
        "UPDATE exchange_outbox SET payload = ? WHERE seq = ?",
    )
    office.system.start()
    report = office.until("QUARANTINE")
    assert "is damaged" in report.sentence
    stream = office.system.stream
    release, copy = f"exchange-central stream release {stream}", "exchange-agent snapshot --all --source hr"
    assert 0 < report.fix.index(release) < report.fix.index(copy)
    code, _, complaint = office.ask(*copy.split()[1:])
    assert code == 2 and release in complaint, "central would pass over what is copied before"
    central_says(office, *release.split()[1:], "--reason", "the disk was replaced")
    office.do(*copy.split()[1:])

    office.arrives("person", "house")


def at_rest(office: Office, *statements: str) -> None:
    """Do something to central's database while central is down."""
    office.system.central.stop()
    with (
        closing(sqlite3.connect(office.system.central_config.parent / "central.db")) as connection,
        connection,
    ):
        for statement in statements:
            connection.execute(statement)


def stream_at_central(office: Office) -> dict[str, Any]:
    """What central says of the only stream."""
    found: list[dict[str, Any]] = json.loads(central_says(office, "stream", "list", "--json"))
    return found[0]


def test_a_flipped_bit_in_the_ledger(office):
    """It is never applied; central names the batch, and a fresh copy mends the table, which alone was held."""
    settled(office)
    table = '"population_hr.house"'
    # Something that cannot be written holds the table, so what comes next waits in the ledger.
    at_rest(office, f"ALTER TABLE {table} RENAME TO hidden", f"CREATE VIEW {table} AS SELECT * FROM hidden")
    office.system.central.start()
    office.sql("INSERT INTO house VALUES (1000, 'damaged between the ledger and the table')")
    eventually(lambda: [each["table"] for each in stream_at_central(office)["tables"]], ["house"], 40)
    at_rest(office, f"DROP VIEW {table}", f"ALTER TABLE hidden RENAME TO {table}")
    flip(
        office.system.central_config.parent / "central.db",
        "SELECT seq, payload FROM central_ledger ORDER BY seq DESC LIMIT 1",
        "UPDATE central_ledger SET payload = ? WHERE seq = ?",
    )
    office.system.central.start()
    central_says(office, "stream", "retry", office.system.stream, "house")
    eventually(
        lambda: "is damaged in the ledger" in stream_at_central(office)["tables"][0]["sentence"], True, 40
    )
    said = central_says(office, "explain", "population")
    assert "the platform's move" in said and "exchange-agent snapshot house" in said
    assert stream_at_central(office)["state"] == "RUNNING"
    office.do("snapshot", "house")

    office.arrives("person", "house")


def test_a_copied_machine(office, tmp_path):
    """The twin is fenced with the process that works; the first one does not notice."""
    settled(office)
    twin = tmp_path / "twin"
    office.system.agent.stop()
    shutil.copytree(office.system.agent_config.parent, twin)
    office.system.agent.start()
    office.until("IDLE")
    config = twin / "agent.yaml"
    office.edit(lambda settings: settings.update(socket=str(twin / "s")), config)
    office.edit(lambda settings: settings["exchange"].update(url=f"sqlite:///{twin}/exchange.db"), config)
    other = Daemon((AGENT, "run", "-c", str(config)), twin / "log")
    other.start()
    eventually(lambda: "FENCED" in attempt(AGENT, "status", "-c", str(config)).stdout, True, 30)
    office.sql("INSERT INTO house VALUES (1000, 'new')")
    office.arrives("person", "house")
    assert other.running and other.stop() == 0
    assert "Traceback" not in other.log.read_text()


def test_an_exchange_database_newer_than_the_program(office):
    """Exit code 2 and one line; with the right program all goes on."""
    settled(office)
    office.system.agent.stop()
    with (
        closing(sqlite3.connect(office.system.agent_config.parent / "exchange.db")) as connection,
        connection,
    ):
        (version,) = connection.execute("SELECT version_num FROM exchange_version").fetchone()
        connection.execute("UPDATE exchange_version SET version_num = '9999'")
    code, _, complaint = office.ask("run")
    print(complaint)
    assert code == 2 and "9999" in complaint and "newer" in complaint
    with (
        closing(sqlite3.connect(office.system.agent_config.parent / "exchange.db")) as connection,
        connection,
    ):
        connection.execute("UPDATE exchange_version SET version_num = ?", (version,))
    office.sql("INSERT INTO house VALUES (1000, 'new')")

    settled(office)
