"""Being on time with everything real: a PostgreSQL source, an agent's process behind a network, a central with its jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from central.desk import VERBS, Desk
from central.people import Office, Role
from central.people.office import Department, Person, actor
from central.policy import profile_named
from central.store import now_us, reading, writing
from central.store.supervision import ALIVE, OUTAGES
from central.supervision.restrictions import lift
from central.supervision.uptime import OUTAGE_US
from proto.v1 import status_pb2
from tests.support.central import TestCentral, eventually, running
from tests.support.department_process import ReceivingAgent
from tests.support.lateness import warn
from tests.support.postgres import Cluster
from tests.support.proxy import BadNet
from tests.support.shares import credit_code, entry_of, put_in_force

pytestmark = pytest.mark.timeout(300)
NODE, CODE = "police", "3070101/000001"
POLICE, CITY = credit_code(1), credit_code(2)
WITHIN_S = 60.0


class Scene:
    """The police promise their table every ten seconds; the city decides."""

    def __init__(self, central: TestCentral, net: BadNet, folder: Path, dsn: str) -> None:
        self.central, self.net = central, net
        issued = central.authority.issue_node(NODE)
        central.register(NODE, issued)
        office = Office(central.engine)
        office.add_department(Department(POLICE, "济南市公安局", "370100", "city"), "test")
        office.add_department(Department(CITY, "济南市大数据局", "370100", "city"), "test")
        office.place_node(NODE, POLICE, "test")
        office.add_person(Person("chen-yu", "陈宇", CITY, (Role.AUTHORITY,), left=False), "test")
        entry = entry_of(
            CODE,
            f"{NODE}/hr",
            "person",
            ["id", "name"],
            name="人口基本信息",
            provider=POLICE,
            update_limit="PT10S",
        )
        with writing(central.engine) as connection:
            put_in_force(connection, entry)
        self._desk = Desk(central.engine, profile_named(), None, VERBS)
        source = {"kind": "postgresql", "name": "hr", "dsn": dsn, "tables": [{"table": "public.person"}]}
        self.agent = ReceivingAgent(
            folder / "node", net.address, central.files(issued, NODE), node=NODE, sources=[source]
        )

    def do(self, verb: str, **arguments: Any) -> Any:
        """As the authority."""
        return self._desk.do(verb, arguments, lambda connection: actor(connection, "chen-yu", "certificate"))

    def until(self, *states: str) -> None:
        """Wait for how the resource stands."""
        eventually(lambda: self.stands() in states, True, WITHIN_S)

    def stands(self) -> str:
        """How the resource stands."""
        [line] = self.do("report.punctuality")
        return str(line["state"])

    def until_step(self, step: str) -> None:
        """Wait for how far the restriction has come."""
        eventually(
            lambda: [each["step"] for each in self.do("case.restrictions")] or ["none"], [step], WITHIN_S
        )

    def late(self) -> dict[str, int]:
        """Whose the late time was, whole seconds."""
        found = self.do("report.late", resource=CODE, days=1)
        whose = ("late_department_us", "late_network_us", "late_platform_us")
        return {name.split("_")[1]: found[name] // 1_000_000 for name in whose}

    def begin(self) -> None:
        """The agent runs, and its first read is on record."""
        self.agent.start()
        self.until("on_time")


@pytest.fixture
def scene(tmp_path: Path, postgres18: Cluster, badnet: Callable[..., BadNet]) -> Iterator[Scene]:
    """Everything but the agent runs."""
    database = postgres18.new_database("late")
    with postgres18.connect(database) as connection:
        connection.execute("CREATE TABLE person (id bigint PRIMARY KEY, name text)")
        connection.execute("INSERT INTO person VALUES (1, '张三'), (2, '李四')")
        connection.execute("CREATE PUBLICATION exchange FOR TABLE person")
    folder = tmp_path / "central"
    folder.mkdir()
    for central in running(folder, f"sqlite:///{folder}/central.db"):
        made = Scene(central, badnet(("127.0.0.1", central.port)), tmp_path, postgres18.dsn(database))
        yield made
        made.agent.close()
    postgres18.drop_database(database)


def test_a_silent_department_is_warned_restricted_and_freed_by_itself(scene: Scene) -> None:
    """A quiet source is on time; a stopped agent is not; its one sentence reaches the department (SD23.1, SD28.2, SD28.4)."""
    scene.begin()
    quiet_since = now_of(scene)
    eventually(lambda: now_of(scene) - quiet_since > 12_000_000, True, WITHIN_S)
    assert scene.stands() == "on_time", "nothing changed at the source, and that is proven again and again"
    assert scene.agent.daemon.stop() == 0
    scene.until("due", "late")
    scene.until("late", "seriously_late")
    scene.until_step("warned")
    scene.until_step("proposed")
    scene.do("case.confirm", resource=CODE)
    [found] = scene.do("case.restrictions")
    assert "人口基本信息" in found["sentence"]
    assert "hosted and composite resources are closed" in found["sentence"]
    scene.agent.start()
    scene.until_step("none")
    scene.until("on_time")
    late = scene.late()
    assert late["department"] >= 20
    assert late["platform"] == 0


def test_the_department_reads_its_sentence_at_home(scene: Scene) -> None:
    """With ``exchange-agent status`` on its own server, and the platform with ``explain``, until it is over (SD28.4)."""
    scene.begin()
    code = "3070101/000002"
    entry = entry_of(code, "police2/hr", "house", ["id"], name="房屋信息", provider=POLICE)
    with writing(scene.central.engine) as connection:
        put_in_force(connection, entry)
    warn(scene.central.engine, POLICE, code, "房屋信息 promises to be read every 24.0 h")
    eventually(lambda: len(scene.agent.status().notices), 1, WITHIN_S)
    assert "! warning: 房屋信息 promises" in scene.agent.do("status")
    assert len(json.loads(scene.agent.do("status", "--json"))["notices"]) == 1
    asked = scene.central.operator().status.ExplainNode(status_pb2.ExplainNodeRequest(node=NODE))
    assert any("房屋信息" in line for line in asked.lines)
    with writing(scene.central.engine) as connection:
        lift(connection, code, ({"who": "chen-yu"}, "已补报"), now_us(connection))
    eventually(lambda: len(scene.agent.status().notices), 0, WITHIN_S)


def test_a_cut_network_is_not_the_departments(scene: Scene) -> None:
    """It goes on reading and signing; what it says when it is back shares the minutes out (SD28.5)."""
    scene.begin()
    scene.net.cut(refuse=True)
    scene.until("late", "seriously_late")
    scene.net.heal()
    scene.until("on_time")
    eventually(lambda: scene.late()["network"] > 0, True, WITHIN_S)
    late = scene.late()
    assert late["department"] <= 2, late


def test_time_without_a_platform_is_the_platforms(scene: Scene) -> None:
    """Central was away for longer than the limit; the department was not late for a second (SD28.5)."""
    scene.begin()
    scene.central.stop()
    with reading(scene.central.engine) as connection:
        alive = connection.execute(select(ALIVE.c.at_us)).scalar_one()
    eventually(lambda: now_of(scene) > alive + OUTAGE_US + 1_000_000, True, WITHIN_S)
    scene.central.start()
    eventually(lambda: outages(scene) > 0, True, WITHIN_S)
    scene.until("on_time")
    late = scene.late()
    assert late["department"] == 0, late
    assert scene.do("case.restrictions") == []


def outages(scene: Scene) -> int:
    """How many are on record."""
    with reading(scene.central.engine) as connection:
        return len(connection.execute(select(OUTAGES)).all())


def now_of(scene: Scene) -> int:
    """By the platform's database."""
    with reading(scene.central.engine) as connection:
        return now_us(connection)
