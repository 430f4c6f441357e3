"""The whole way from triggers in a file to central, with an agent that is killed in the middle."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from demo.system import System
from tests.support.central import eventually

ROWS = 300


@pytest.fixture
def business(tmp_path: Path) -> Path:
    """A file in WAL mode with rows from before."""
    path = tmp_path / "business.db"
    write(
        path,
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT)",
        *(f"INSERT INTO person VALUES ({number}, '人{number}')" for number in range(ROWS)),
    )
    return path


@pytest.fixture
def system(tmp_path: Path, business: Path) -> Iterator[System]:
    """Central and agent, the journal made by the command."""
    url = f"sqlite:///{business}"
    source = {"kind": "journal", "url": url, "look_every_s": 0.05}
    made = System(tmp_path / "system", "", [{"table": "person"}], source_settings=source)
    made.prepare()
    made.agent_command("journal", "install", "--url", url)
    yield made
    made.agent.kill()
    made.central.kill()


def write(path: Path, *statements: str) -> None:
    """Each one its own transaction, as the business makes them."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_kill_in_the_middle_loses_and_repeats_nothing(system, business):
    """Changes go on while the agent is away; at the end all three sides are equal and the journal is small."""
    system.start()
    system.wait_until_copied()
    for number in range(ROWS, ROWS + 100):
        write(business, f"INSERT INTO person VALUES ({number}, '新{number}')")
        if number == ROWS + 50:
            system.agent.kill()
    write(
        business,
        f"DELETE FROM person WHERE id < {ROWS // 3}",
        "UPDATE person SET name = name || '改' WHERE id % 2 = 0",
        "UPDATE person SET id = id + 1000 WHERE id % 10 = 3",
    )
    system.start()

    eventually(lambda: [each.holds for each in system.compare()], [True], 30)
    assert system.compare()[0].central.rows == 300
    with closing(sqlite3.connect(business)) as connection:
        eventually(lambda: connection.execute("SELECT count(*) FROM exchange_journal").fetchone()[0], 2)
