"""The log leaves one machine as files and is checked on another, with what a department's agent holds (SD26.2)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from demo.system import System, attempt, command
from tests.integration.test_central_cli import Commands, commands
from tests.support.central import eventually
from tests.support.postgres import Cluster

__all__ = ["commands"]


def test_an_export_is_checked_without_settings_or_database(commands: Commands, tmp_path: Path) -> None:
    """Exported here, carried there, checked; then changed, and the record is named."""
    commands.ok("node", "add", "hr-node", "--out", str(tmp_path / "hr"))
    made = commands.json("audit", "export", "--out", str(tmp_path / "export"))
    assert made["records"] >= 1
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "export", elsewhere / "export")
    shutil.copy(commands.folder / "tls" / "ca.pem", elsewhere / "ca.pem")
    shutil.rmtree(tmp_path / "export")
    words = ("audit", "verify-export", str(elsewhere / "export"), "--ca", str(elsewhere / "ca.pem"))
    said = commands.ok(*words, config=False)
    assert "records of" in said and "next: whether the end is missing only others can tell" in said

    index = json.loads((elsewhere / "export" / "index.json").read_bytes())
    registry = next(each for each in index["chains"] if each["chain"] == "registry")
    file = elsewhere / "export" / registry["file"]
    file.write_text(file.read_text("utf-8").replace("hr-node", "hr-nodf"), encoding="utf-8")
    line = commands.refused(*words, config=False)
    assert "DIVERGED" in line and "audit chain registry: record 2 was changed" in line
    assert "files already" in commands.refused("audit", "export", "--out", str(elsewhere / "export"))


@pytest.fixture
def system(tmp_path: Path, postgres15: Cluster) -> Iterator[System]:
    """Central and agent, running."""
    name = postgres15.new_database("business")
    dsn = f"postgresql://postgres@127.0.0.1:{postgres15.port}/{name}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE person (id bigint PRIMARY KEY, name text)")
    made = System(tmp_path / "system", dsn, [{"table": "public.person"}])
    made.prepare()
    made.start()
    yield made
    made.stop()
    postgres15.drop_database(name)


def test_what_an_agent_holds_proves_the_end(system, tmp_path):
    """The agent's checkpoints go with the export."""
    held, again = tmp_path / "held.jsonl", ("log", "checkpoints", "--out")

    def taken() -> int:
        return attempt(
            command("exchange-agent"), *again, str(held), "-c", str(system.agent_config)
        ).returncode

    eventually(taken, 0)
    out, ca = tmp_path / "export", system.central_config.parent / "tls" / "ca.pem"
    system.central_command("audit", "export", "--out", str(out))
    words = ("audit", "verify-export", str(out), "--ca", str(ca), "--heads", str(held))
    said = attempt(command("exchange-central"), *words)
    assert said.returncode == 0, said.stderr
    assert "1 witnessed ends are in it" in said.stdout
    assert taken() == 2  # never over a file that is there
    assert "older ones stay as evidence" in system.agent_command("log", "accept", "--reason", "恢复备份")
