"""The desk: who may decide what, through which door, and that every attempt is on record."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from central.desk import Desk
from central.people import Actor, Office, Role, Turn, Verb
from central.people.codes import check_character, check_credit_code
from central.people.office import Department, Person, actor, actor_at_node
from central.policy import profile_named
from central.registry import Registry
from central.store import reading
from central.store.tables import AUDIT
from proto.errors import NotAdmitted, Refused
from proto.process import Section
from tests.support.stores import Store

pytest_plugins = ["tests.support.stores"]
POLICE, HEALTH = (f"{start}{check_character(start)}" for start in ("11370100MB2846456", "11370100004188888"))


class Note(Section):
    """What the verb under test takes."""

    text: str


def _write(turn: Turn, note: Note) -> dict[str, str]:
    if note.text == "禁":
        raise Refused("这个词不行", where="text")
    turn.record("noted", text=note.text)
    return {"text": note.text, "who": turn.actor.person}


VERBS = (
    Verb("test.note", Note, _write, frozenset({Role.REGISTRAR})),
    Verb("test.read", Note, lambda turn, note: turn.actor.name + note.text, writes=False),
)


@pytest.fixture
def office(store: Store) -> Office:
    """Two departments with one person each, and a node."""
    made = Office(store.engine)
    Registry(store.engine).add("police-node", "f" * 64, 2**60)
    made.add_department(Department(POLICE, "济南市公安局", "370100", "city"), "test")
    made.add_department(Department(HEALTH, "济南市卫健委", "370100", "city"), "test")
    made.place_node("police-node", POLICE, "test")
    made.add_person(Person("li-na", "李娜", POLICE, (Role.REGISTRAR,), left=False), "test")
    made.add_person(Person("wang-wei", "王伟", HEALTH, (Role.AUDITOR,), left=False), "test")
    return made


@pytest.fixture
def before(store: Store) -> int:
    """How many decisions were on record when the test began; a record can never be removed."""
    return len(_events(store))


@pytest.fixture
def desk(store: Store, office: Office) -> Desk:
    """A desk with two verbs."""
    return Desk(store.engine, profile_named(), None, VERBS)


def _as(person: str):
    return lambda connection: actor(connection, person, "certificate")


def _events(store: Store, before: int = 0) -> list[tuple[str, dict[str, object]]]:
    with reading(store.engine) as connection:
        rows = connection.execute(select(AUDIT).where(AUDIT.c.chain == "decisions").order_by(AUDIT.c.n)).all()
    return [(row.event, json.loads(row.facts)) for row in rows][before:]


def test_a_verb_is_done_and_on_record_together(desk, store, before):
    """With who decided, for which department, and how we know."""
    assert desk.do("test.note", {"text": "户籍"}, _as("li-na")) == {"text": "户籍", "who": "li-na"}
    [(event, facts)] = _events(store, before)
    assert (event, facts["who"], facts["department"], facts["via"]) == (
        "noted",
        "li-na",
        POLICE,
        "certificate",
    )


def test_a_refused_change_leaves_nothing_but_its_record(desk, store, before):
    """A failed attempt is evidence too (SD26.1)."""
    with pytest.raises(Refused, match="这个词不行"):
        desk.do("test.note", {"text": "禁"}, _as("li-na"))
    assert [(event, facts["code"]) for event, facts in _events(store, before)] == [("refused", "REFUSED")]


def test_the_role_decides(desk, store, before):
    """Whoever lacks it is refused, and that is on record."""
    with pytest.raises(NotAdmitted, match="needs the role registrar"):
        desk.do("test.note", {"text": "x"}, _as("wang-wei"))
    assert _events(store, before)[0][1]["who"] == "wang-wei"
    assert desk.do("test.read", {"text": "！"}, _as("wang-wei")) == "王伟！"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "text: Field required"),
        ({"text": "a", "extra": 1}, "extra: Extra inputs"),
        ({"text": 5}, "valid string"),
    ],
)
def test_arguments_are_checked_before_anything_happens(desk, store, before, arguments, says):
    """By the verb's own model; the record names which of them, never what they were (SD26.1, SD26.5)."""
    with pytest.raises(Refused, match=says):
        desk.do("test.note", arguments, _as("li-na"))
    [(event, facts)] = _events(store, before)
    assert (event, facts["who"], facts["verb"]) == ("refused", "li-na", "test.note")
    assert str(facts["what"]).endswith(("takes: text", "takes: others"))


def test_who_has_left_decides_nothing(desk, office):
    """From the next verb on."""
    office.leave("li-na", "test", "调离")
    with pytest.raises(NotAdmitted, match="has left"):
        desk.do("test.note", {"text": "x"}, _as("li-na"))


def test_a_node_speaks_only_for_its_own_department(store, office):
    """Identity comes from the certificate; the person from the department's own list."""
    with reading(store.engine) as connection:
        found: Actor = actor_at_node(connection, "li-na", "police-node")
        with pytest.raises(NotAdmitted, match="its own department"):
            actor_at_node(connection, "wang-wei", "police-node")
    assert found.via == "node police-node"


@pytest.mark.parametrize("pair", [("system_admin", "audit_admin"), ("security_admin", "audit_admin")])
def test_roles_that_watch_each_other_are_never_one_person(office, pair):
    """Three administrators, three people (SD33.3)."""
    roles = tuple(Role(each) for each in pair)
    with pytest.raises(Refused, match="may not be one person"):
        office.add_person(Person("boss", "全能", POLICE, roles, left=False), "test")


def test_a_mistyped_credit_code_is_found(office):
    """By its last character (GB 32100)."""
    assert check_credit_code("91350100M000100Y43") == "91350100M000100Y43"
    with pytest.raises(Refused, match="mistyped"):
        check_credit_code(POLICE[:5] + ("1" if POLICE[5] != "1" else "2") + POLICE[6:])
    with pytest.raises(Refused, match="18 digits"):
        office.add_department(Department("1137", "短", "370100", "city"), "test")
