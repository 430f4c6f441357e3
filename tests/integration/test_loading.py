"""What a program loads: nobody waits for a library that is not used, and drivers of other databases stay on the disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo.system import Daemon
from tests.support.office import Office

DATABASES = {"sqlalchemy", "psycopg", "pymysql", "pyodbc"}
SELDOM = {"alembic", "mako", "openpyxl"}
SLOW = DATABASES | SELDOM | {"grpc", "structlog", "cryptography", "apscheduler", "watchdog", "rich"}


def line(package: str, *words: str) -> tuple[str, ...]:
    """A command that says on standard error what it loads."""
    return (sys.executable, "-X", "importtime", "-m", package, *words)


def loaded(package: str, *words: str) -> set[str]:
    """The packages that a command loads."""
    done = subprocess.run(line(package, *words), capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return packages(done.stderr)


def packages(said: str) -> set[str]:
    """All that *said* names."""
    names = {each.rpartition("|")[2].strip() for each in said.splitlines() if each.startswith("import time:")}
    found = {name.partition(".")[0] for name in names}
    assert found & {"agent", "central"}
    return found


@pytest.fixture
def office(postgres15, tmp_path):
    """One whose daemons ran once, so that nothing is left to migrate."""
    with Office(postgres15, tmp_path) as made:
        made.system.start()
        made.until("IDLE")
        made.system.stop()
        yield made


@pytest.mark.parametrize("package", ["agent", "central"])
@pytest.mark.parametrize("words", [("--help",), ("status", "--help"), ("statsu",)], ids=" ".join)
def test_help_loads_nothing_slow(package, words):
    """It is there at once."""
    assert loaded(package, *words) & SLOW == set()


def test_a_status_needs_no_database(tmp_path):
    """It asks whoever runs; the settings are not even checked."""
    settings = tmp_path / "agent.yaml"
    settings.write_text(f"socket: {tmp_path / 'nobody.sock'}\n")

    assert loaded("agent", "status", "-c", str(settings)) & (DATABASES | SELDOM) == set()


def test_commands_and_daemons_load_what_is_theirs(office: Office):
    """On an up-to-date SQLite file: no migrations and no driver of another database."""
    system = office.system
    others = (DATABASES | SELDOM) - {"sqlalchemy"}
    assert loaded("central", "node", "list", "-c", str(system.central_config)) & others == set()

    logs = Path(system.home, "central.txt"), Path(system.home, "agent.txt")
    system.central = Daemon(line("central", "serve", "-c", str(system.central_config)), logs[0])
    system.agent = Daemon(line("agent", "run", "-c", str(system.agent_config)), logs[1])
    system.start()
    office.sql("UPDATE person SET note = 'seen' WHERE id = 1")
    office.arrives("person", "house")

    central, agent = (packages(log.read_text()) for log in logs)
    assert central & others == set()
    assert agent & others == {"psycopg"}  # its source is a PostgreSQL
