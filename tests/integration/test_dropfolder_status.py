"""Rows that were refused are where people look: in the status of the agent and of central, until they are dealt with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent.local import LocalClient
from agent.local.client import NotRunning
from demo.system import System
from tests.support.central import eventually

pytestmark = pytest.mark.timeout(120)
TOLD = "3 rows of 增量-0103.csv were refused"
REPORT = "000000001~增量-0103.csv.reasons.csv"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A department that shares one folder of changes, at work."""
    folder = tmp_path / "投放"
    folder.mkdir(mode=0o750)
    rules = [{"name": "id", "kind": "int32"}, {"name": "name", "header": "姓名"}]
    table = {"table": "人员", "files": "增量-*.csv", "mode": "delta", "rules": rules, "key": ["id"]}
    settings: dict[str, Any] = {"kind": "dropfolder", "folder": str(folder), "settle_s": 0}
    tables = [{**table, "operation": {"header": "操作"}}]
    made = System(tmp_path / "system", "", tables, source_settings={**settings, "scan_every_s": 0.1})
    made.prepare()
    made.start()
    made.wait_until_listening()
    yield made
    made.agent.kill()
    made.central.kill()


def sentence(system: System) -> str:
    """What the table's line says, and its fix."""
    with suppress(NotRunning), LocalClient(system.socket_path) as agent:
        for table in agent.status().streams[0].tables:
            return f"{table.state}: {table.sentence} → {table.fix}"
    return ""


def test_refused_rows_are_seen_until_somebody_dealt_with_them(system, tmp_path):
    """By the department and by the platform, after a restart as well, and never with a value."""
    eventually(lambda: sentence(system).startswith("RUNNING"))
    rows = "操作,id,姓名\n新增,1,王\n新增,机密甲,李\n新增,机密乙,赵\n新增,机密丙,孙\n新增,5,周\n"
    (tmp_path / ".part").write_text(rows)
    (tmp_path / ".part").rename(tmp_path / "投放" / "增量-0103.csv")
    eventually(lambda: TOLD in sentence(system))
    assert f"rejected/{REPORT}" in sentence(system) and sentence(system).startswith("RUNNING")
    eventually(lambda: TOLD in system.central_command("status"))
    system.agent.stop()
    system.agent.start()
    eventually(lambda: TOLD in sentence(system))
    eventually(lambda: "the department's move" in system.central_command("explain", "population"))

    shown = system.agent_command("status") + system.agent_command("status", "--json")
    shown += system.central_command("status") + system.central_command("explain", "population")
    assert shown.count(TOLD) >= 4 and "机密" not in shown
    (tmp_path / "投放" / "rejected" / REPORT).unlink()
    eventually(lambda: TOLD in sentence(system), False)
    eventually(lambda: TOLD in system.central_command("status"), False)
