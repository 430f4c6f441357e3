"""A department that only receives: real process, real commands, a platform by script; and central's real desk."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from central.people import Office, Role
from central.people.office import Department, Person
from proto.v1 import exchange_pb2
from tests.support.central import TestCentral, eventually, running
from tests.support.department_process import ReceivingAgent
from tests.support.parcels import CONSUMER, Share, persons
from tests.support.platform import Platform
from tests.support.shares import credit_code


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform that delivers by script."""
    made = Platform(tmp_path / "platform").start()
    yield made
    made.stop()


@pytest.fixture
def agent(tmp_path: Path, platform: Platform) -> Iterator[ReceivingAgent]:
    """An agent that receives from it, and imports one table into a file of the business."""
    business = tmp_path / "business.db"
    sqlite3.connect(business).close()
    imports = [{"grant": "G-1", "url": f"sqlite:///{business}", "table": "居民"}]
    made = ReceivingAgent(tmp_path / "node", platform.target, platform.node(), imports=imports)
    yield made
    made.close()


def imported(tmp_path: Path) -> list[tuple[object, ...]]:
    """What the business has; nothing before the first import."""
    with sqlite3.connect(tmp_path / "business.db") as connection:
        try:
            return connection.execute("SELECT id, name FROM 居民 ORDER BY id").fetchall()
        except sqlite3.OperationalError:
            return []


def begun(agent: ReceivingAgent, platform: Platform) -> Share:
    """The agent runs, and one grant is announced."""
    agent.start()
    platform.visited()
    share = platform.share()
    platform.send(share.granted())
    return share


def test_what_is_received_is_shown_and_imported(
    agent: ReceivingAgent, platform: Platform, tmp_path: Path
) -> None:
    """What, from whom, until when, how far, how late: in list, show, status and as JSON, Chinese names included."""
    share = begun(agent, platform)
    assert agent.do("received", "list")
    now_us = time.time_ns() // 1000
    platform.deliver(share.delivery(persons((1, "张三"), (2, "李四")), commit_us=now_us))
    platform.received("G-1", 1, 1)
    platform.send(exchange_pb2.Progress(grant="G-1", source_seq=4, proven_us=now_us + 1))
    eventually(lambda: agent.grant()["state"], "IDLE")
    eventually(lambda: imported(tmp_path), [(1, "张三"), (2, "李四")])

    listed = agent.do("received", "list")
    assert all(
        word in listed for word in ("G-1", "人口基本信息", "police/population", "2100-01-01", "IDLE")
    ), listed
    shown = agent.do("received", "show", "G-1")
    wanted = ("from_police_population.person", "核对救助申请人", "receipt R-G-1-1-1", "batch 4", "import")
    assert [word for word in wanted if word not in shown] == [], shown
    status = agent.do("status")
    assert "received" in status and "人口基本信息" in status, status
    report = json.loads(agent.do("status", "--json"))["received"][0]
    assert (report["seq"], report["rows"], report["imports"][0]["seq"]) == ("1", "2", "1")
    code, _, complaint = agent.ask("received", "show", "G-9")
    assert code == 2 and "there is no grant G-9" in complaint


def test_another_version_is_shown_with_its_day(agent: ReceivingAgent, platform: Platform) -> None:
    """Before it comes: in list, show, status and as JSON; once it is followed there is nothing to announce (SD17.2)."""
    share = begun(agent, platform)
    said = share.granted()
    said.contract, said.change, said.change_us = 3, "without phone (手机号)", 4_102_444_800_000_000
    platform.send(said)
    eventually(lambda: agent.grant()["change"], "without phone (手机号)")
    shown = agent.do("received", "show", "G-1")
    assert "version 3" in shown and "2100-01-01" in shown and "without phone (手机号)" in shown, shown
    assert "without phone" in agent.do("received", "list")
    assert "without phone" in agent.do("status")

    followed = share.granted()
    followed.contract = 4
    platform.send(followed)
    eventually(lambda: (agent.grant()["contract"], agent.grant()["change"]), ("4", ""))


def test_killed_at_any_moment_it_goes_on(agent: ReceivingAgent, platform: Platform, tmp_path: Path) -> None:
    """kill -9 again and again: rows here and in the business are there once, up to the last delivery (SD12.2)."""
    share = begun(agent, platform)
    for number in range(40):
        share.delivery(persons((number, f"人{number}")))
    for life in range(4):
        visit = platform.visited(life + 1)
        start = max((each.seq for each in visit.hello.received), default=0)
        platform.send(share.granted())
        platform.deliver(*share.sent[start : start + 8])
        if life % 2:
            platform.received("G-1", 1, start + 8)
        agent.daemon.kill()
        agent.start()
    visit = platform.visited(5)
    platform.send(share.granted())
    platform.deliver(*share.sent[visit.hello.received[0].seq :])

    platform.received("G-1", 1, 40)
    eventually(lambda: imported(tmp_path), [(number, f"人{number}") for number in range(40)])
    assert agent.grant()["rows"] == "40"


def test_a_held_grant_is_retried_by_a_person(agent: ReceivingAgent, platform: Platform) -> None:
    """It says why and what to do; the command does it."""
    share = begun(agent, platform)
    good = share.delivery(persons((1, "张三")))
    bad = exchange_pb2.Delivery()
    bad.CopyFrom(good)
    bad.signature = b"wrong"
    platform.deliver(bad)
    platform.wait(platform.holds)

    status = agent.do("status")
    assert "SIGNATURE_WRONG" in agent.grant()["code"]
    assert "→ mend the cause, then: exchange-agent received retry G-1" in status, status
    assert "goes on" in agent.do("received", "retry", "G-1")
    platform.visited(2)
    platform.send(share.granted())
    platform.deliver(good)
    platform.received("G-1", 1, 1)
    assert agent.ask("received", "retry", "G-1")[0] == 2


def test_it_stops_in_time(agent: ReceivingAgent, platform: Platform) -> None:
    """As systemd asks (C2)."""
    begun(agent, platform)
    began = time.monotonic()

    assert agent.daemon.stop() == 0
    assert time.monotonic() - began < 5


def test_check_looks_at_imports(agent: ReceivingAgent, tmp_path: Path) -> None:
    """Each target is tried before it is needed."""
    found = {each["name"]: each for each in json.loads(agent.ask("check", "--json")[1])}
    assert found["import G-1 into 居民"]["passed"], found
    (tmp_path / "business.db").unlink()
    found = {each["name"]: each for each in json.loads(agent.ask("check", "--json")[1])}
    assert "does not exist" in found["import G-1 into 居民"]["sentence"]


@pytest.fixture
def central(tmp_path: Path) -> Iterator[TestCentral]:
    """The real central, with one department and one person in it."""
    folder = tmp_path / "central"
    folder.mkdir()
    for made in running(folder, f"sqlite:///{folder}/central.db"):
        made.register(CONSUMER, made.authority.issue_node(CONSUMER))
        office = Office(made.engine)
        office.add_department(Department(credit_code(2), "市民政局", "370100", "city"), "test")
        office.place_node(CONSUMER, credit_code(2), "test")
        office.add_person(Person("zhao-min", "赵敏", credit_code(2), (Role.REGISTRAR,), left=False), "test")
        yield made


def test_people_ask_the_desk_through_their_node(tmp_path: Path, central: TestCentral) -> None:
    """The verbs with their help; answers as tables and JSON; what the desk refuses is one line."""
    issued = central.authority.issue_node(CONSUMER)
    central.register(CONSUMER, issued)
    agent = ReceivingAgent(tmp_path / "node", central.target, central.files(issued, CONSUMER))
    agent.start()

    verbs = agent.do("ask")
    assert "report.punctuality" in verbs and "How each resource stands" in verbs, verbs
    assert {"name", "help", "arguments"} <= set(json.loads(agent.do("ask", "--json"))[0])
    assert json.loads(agent.do("ask", "case.restrictions", "--person", "zhao-min", "--json")) == []
    assert agent.do("ask", "case.restrictions", "--person", "zhao-min") == "nothing\n"
    for words, wanted in (
        (("case.restrictions", "--person", "li-na"), "li-na"),
        (("case.restrictions",), "for whom it speaks"),
        (("no.verb", "--person", "zhao-min"), "no.verb"),
        (("case.confirm", "resource=370100/1", "--person", "zhao-min"), "NOT_ADMITTED"),
        (("report.late", "{broken", "--person", "zhao-min"), "is not JSON"),
        (("report.late", "word", "--person", "zhao-min"), "is not key=value"),
    ):
        code, said, complaint = agent.ask("ask", *words)
        assert code != 0 and said == "", words
        assert wanted in complaint and len(complaint.splitlines()) == 1, complaint
    agent.close()
