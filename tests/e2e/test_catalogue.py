"""From a table in a business database to a signed release and a check against that table: two daemons, four people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from central.people import Office as People
from central.people import Role
from central.people.office import Department, Person
from central.store import migrate, open_store
from demo.system import attempt
from tests.support.central import eventually
from tests.support.office import CENTRAL, Office
from tests.support.shares import credit_code

pytestmark = pytest.mark.timeout(300)
POLICE, BUREAU = credit_code(1), credit_code(2)
PERSON = {"table": "public.person", "columns": ["id", "name"]}


def _catalogue(office: Office, person: str, *words: str, code: int = 0) -> str:
    config = str(office.system.central_config)
    done = attempt(CENTRAL, "catalogue", "-c", config, "--as", person, *words)
    assert done.returncode == code, done.stdout + done.stderr
    return str(done.stdout)


def _people(office: Office) -> None:
    """Straight into central's database: how people are made known has tests of its own."""
    engine = open_store(office.system.central_database)
    migrate(engine)
    people = People(engine)
    for code, name in ((POLICE, "济南市公安局"), (BUREAU, "济南市大数据局")):
        people.add_department(Department(code, name, "370100", "city"), "test")
    people.place_node("population", POLICE, "test")
    for person, code, *roles in (
        ("li-na", POLICE, Role.REGISTRAR),
        ("wang-wei", POLICE, Role.AUDITOR, Role.RESOURCE_ADMIN),
        ("liu-yang", BUREAU, Role.AUTHORITY),
        ("wu-di", BUREAU, Role.TESTER),
    ):
        people.add_person(Person(person, person, code, tuple(roles), left=False), "test")
    engine.dispose()


def _proposed(office: Office) -> dict[str, Any]:
    said = json.loads(_catalogue(office, "li-na", "draft", "--from-db", office.system.stream, "--json"))
    [entry] = [each for each in said["entries"] if each["binding"]["table"] == "person"]
    return {**entry, "columns": [item["column"] for item in entry["items"]]}


def test_a_table_becomes_an_entry_in_force_that_fits_it(tmp_path: Path, postgres15):
    """The node says how its table is, people decide, the check finds nothing wrong until the table changes (SD13.3, SD16.2)."""
    with Office(postgres15, tmp_path, tables=[PERSON], publish="person") as office:
        _people(office)
        office.system.start()
        office.arrives("person")
        assert _proposed(office)["columns"] == ["id", "name"]
        _catalogue(office, "liu-yang", "describe", office.system.stream)
        # Structure only: the column that nobody captures is known by its name, and by nothing else.
        eventually(lambda: _proposed(office)["columns"], ["id", "name", "note"], within_s=60)

        entry = _proposed(office)
        del entry["columns"]
        entry |= {"code": "3070101/000001", "class_path": ["3", "07", "010", "1"], "name": "常住人口信息"}
        entry |= {"abstract": "本市常住人口", "scope": "市级部门", "condition": "用于社会救助核对"}
        entry["items"] = [{**item, "share_type": "conditional"} for item in entry["items"][:2]]
        file = tmp_path / "person.json"
        file.write_text(json.dumps(entry), encoding="utf-8")
        _catalogue(office, "li-na", "draft", str(file))
        _catalogue(office, "li-na", "submit", "3070101/000001")
        _catalogue(office, "wang-wei", "audit", "3070101/000001")
        _catalogue(office, "wang-wei", "publish", "3070101/000001")
        assert "1 entries in force" in _catalogue(office, "liu-yang", "release")
        said = _catalogue(office, "wu-di", "check", "--json")
        rules = {each["rule"]: each["severity"] for each in json.loads(said)["findings"]}
        assert rules == {"V12": "info", "V24": "warning"}, said

        office.sql("ALTER TABLE person ALTER COLUMN name TYPE integer USING 0")
        _catalogue(office, "liu-yang", "describe", office.system.stream)
        check = ("check", "--entry", "3070101/000001", "--json")
        config = str(office.system.central_config)

        def broken() -> bool:
            done = attempt(CENTRAL, "catalogue", "-c", config, "--as", "wu-di", *check)
            return done.returncode == 1 and "V11" in done.stdout

        eventually(broken, within_s=60)
