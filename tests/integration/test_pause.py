"""A pause that people asked for, with real processes: it holds through kill -9 until somebody resumes, and central shows it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.system import attempt
from tests.support.central import eventually
from tests.support.office import CENTRAL, Office
from tests.support.postgres import Cluster


@pytest.fixture
def office(postgres15: Cluster, tmp_path: Path) -> Iterator[Office]:
    """An office in which everything flows."""
    with Office(postgres15, tmp_path) as made:
        made.system.start()
        made.arrives("person", "house")
        yield made


def at_central(office: Office) -> dict[str, Any]:
    """The stream as the platform's people see it."""
    done = attempt(CENTRAL, "status", "--json", "-c", str(office.system.central_config))
    found: dict[str, Any] = json.loads(done.stdout)["nodes"][0]["streams"][0]
    return found


def test_a_pause_survives_a_restart_until_it_is_resumed(office):
    """Nothing leaves a stream that was stopped on purpose because its machine was restarted."""
    assert office.do("pause") == "paused: hr\n"
    told = office.until("PAUSED", f"stopped by {getpass.getuser()} on 20")
    assert told.fix == "exchange-agent resume hr"
    office.system.agent.kill()
    office.sql("INSERT INTO person VALUES (9001, '停', 'x')")
    office.system.agent.start()

    again = office.until("PAUSED")
    assert (again.sentence, again.captured_seq) == (told.sentence, told.captured_seq)
    eventually(
        lambda: (at_central(office)["state"], at_central(office)["sentence"]), ("PAUSED", told.sentence)
    )
    assert "every table of hr will be copied afresh; once it goes on" in office.do("snapshot", "--all")
    assert office.report().state == "PAUSED"

    assert office.do("resume") == "resumed: hr\n"
    office.arrives("person", "house")
    office.system.agent.kill()
    office.system.agent.start()
    office.sql("INSERT INTO person VALUES (9002, '行', 'x')")
    office.arrives("person", "house")
