"""``exchange-central audit who-received``: as the person who asks sees it, and as a program reads it (SD26.4)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from central.people import Office, Role
from central.people.office import Department, Person
from central.store import open_store
from demo.system import attempt, command
from proto.signing import Signer
from tests.support.deliveries import platform_signer
from tests.support.granting import PERSON, Share
from tests.support.shares import credit_code, entry_of, grant_directly, put_in_force
from tests.support.stores import Node, Store
from tests.support.tables import inserts, upserts

CENTRAL = command("exchange-central")
CODE = "3070155/000001"


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """Two deliveries brought person 1, one of them person 2 as well."""
    url = f"sqlite:///{tmp_path}/central.db"
    made = attempt(CENTRAL, "init", "--dir", str(tmp_path), "--name", "localhost", "--database", url)
    assert made.returncode == 0, made.stderr
    signer: Signer = platform_signer(tmp_path)
    engine = open_store(url)
    office = Office(engine)
    office.add_department(Department(credit_code(9), "济南市大数据局", "370100", "city"), "test")
    office.add_person(Person("he-shen", "何审", credit_code(9), (Role.AUDIT_ADMIN,), left=False), "test")
    node = Node(engine, "police")
    entry = entry_of(CODE, node.stream, PERSON.name, [column.name for column in PERSON.columns])
    with engine.begin() as connection:
        put_in_force(connection, entry)
        grant_directly(connection, "G2026-0001", "civil", entry, {})
    share = Share(Store(url, engine), node, signer, entry, "G2026-0001", "civil")
    pulling = share.pull()
    for delta in (
        inserts(PERSON, ("1", "张三", "138", "东区"), ("2", "李四", "139", "西区")),
        upserts(PERSON, ("1", "张三丰", "138", "东区")),
    ):
        share.change(delta)
        share.apply()
        pulling.drain()
    engine.dispose()
    return tmp_path


def asked(platform: Path, key: str, *words: str) -> tuple[int, str, str]:
    """Exit code, what was printed, what was complained of."""
    today = datetime.now(UTC).date()
    days = ("--since", str(today - timedelta(days=1)), "--until", str(today + timedelta(days=2)))
    said = ("--resource", CODE, "--item", "name", "--key", key, *days, "--reason", "当事人申请")
    config = ("--as", "he-shen", "-c", str(platform / "central.yaml"))
    done = attempt(CENTRAL, "audit", "who-received", *said, *words, *config)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_deliveries_are_named_with_their_receipts(platform: Path) -> None:
    """For people in a table, for programs as JSON; a key that never went out is said to have reached nobody."""
    code, said, complaint = asked(platform, "id=1")
    assert code == 0, complaint
    assert "received" in said and "civil-000000001" in said and "civil-000000002" in said
    assert "next: exchange-central audit show delivery:" in said
    found = json.loads(asked(platform, "id=2", "--json")[1])
    assert [each["receipt"] for each in found["grants"][0]["brought"]] == ["civil-000000001"]
    nobody = json.loads(asked(platform, "id=3", "--json")[1])
    assert nobody["grants"][0]["says"] == "nothing" and nobody["next"] == ""


def test_what_is_asked_wrongly_is_one_line(platform: Path) -> None:
    """Not a key, and not a place to go on from."""
    for words in (("身份证号",), ("id=1", "--after", "某处")):
        code, _, complaint = asked(platform, *words)
        assert code == 1 and len(complaint.splitlines()) == 1
