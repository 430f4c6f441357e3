"""Disputes, corrections and reports of use: who moves when, what is on record, and what nobody may see."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from sqlalchemy import select, update

from central.desk import Desk
from central.people import Office, Role
from central.people.office import Department, Person, actor
from central.people.verb import DECISIONS
from central.policy import profile_named
from central.store import now_us, reading, writing
from central.store.supervision import CASES, FEEDBACK
from central.store.tables import AUDIT
from central.supervision.cases import NEXT, CaseState
from central.supervision.clock import keep_dates
from central.supervision.verbs import VERBS
from proto.errors import NotAdmitted, Refused
from tests.support.shares import DAY_US, credit_code, entry_of, grant_directly, put_in_force
from tests.support.stores import Store

pytest_plugins = ["tests.support.stores"]
POLICE, CIVIL, HEALTH, CITY = (credit_code(number) for number in (1, 2, 3, 4))
PROFILE = profile_named()
_numbers = itertools.count(1)


class Bench:
    """A desk with four departments; whoever raises, answers and rules is named."""

    def __init__(self, store: Store) -> None:
        self.store = store
        office = Office(store.engine)
        people = (("police", POLICE), ("civil", CIVIL), ("health", HEALTH), ("city", CITY))
        for name, code in people:
            office.add_department(Department(code, f"济南市{name}", "370100", "city"), "test")
            role = Role.AUTHORITY if name == "city" else Role.RESOURCE_ADMIN
            office.add_person(Person(name, name, code, (role,), left=False), "test")
        self._desk = Desk(store.engine, PROFILE, None, VERBS)
        self.code = f"3070107/{next(_numbers)}"
        self.entry = entry_of(self.code, "police/hr", "人口", ["id", "姓名"])
        with writing(store.engine) as connection:
            put_in_force(connection, self.entry)

    def do(self, person: str, verb: str, **arguments: Any) -> Any:
        """One verb as *person*."""
        return self._desk.do(verb, arguments, lambda connection: actor(connection, person, "certificate"))

    def raised(self) -> int:
        """A case of the civil affairs bureau against the police."""
        text = "张三的出生日期与户籍不符"
        return int(self.do("civil", "case.raise", kind="quality", resource=self.code, text=text)["case"])

    def events(self, number: int) -> list[str]:
        """What is on record of one case."""
        with reading(self.store.engine) as connection:
            rows = connection.execute(
                select(AUDIT).where(AUDIT.c.chain == DECISIONS).order_by(AUDIT.c.n)
            ).all()
        return [row.event for row in rows if json.loads(row.facts).get("case") == number]


@pytest.fixture
def bench(store: Store) -> Bench:
    """One for each test, on a shared database."""
    return Bench(store)


WAY = (
    ("police", "case.accept", "受理"),
    ("police", "case.answer", "已核对，数据无误"),
    ("civil", "case.dispute", "不同意"),
    ("city", "case.rule", "以户籍为准，限期更正"),
)


def test_a_dispute_goes_all_its_way(bench):
    """Raised, answered, disputed, ruled, corrected with the batch that carries it, evaluated (SD20.2)."""
    number = bench.raised()
    for person, verb, text in WAY:
        bench.do(person, verb, case=number, text=text)
    bench.do("police", "case.correct", case=number, text="已更正", stream="police/hr", seq=4711)
    assert bench.do("civil", "case.show", case=number)["whose_move"] == "raiser"
    bench.do("civil", "case.close", case=number, text="满意", score=5, solved=True)
    shown = bench.do("civil", "case.show", case=number)
    assert [each["state"] for each in shown["said"]] == [
        *("raised", "accepted", "answered", "disputed", "ruled", "corrected", "closed")
    ]
    assert bench.events(number) == [f"case_{each['state']}" for each in shown["said"]]
    with reading(bench.store.engine) as connection:
        rows = connection.scalars(select(AUDIT.c.facts).where(AUDIT.c.event == "case_corrected")).all()
    assert json.loads(rows[-1])["seq"] == 4711


@pytest.mark.parametrize(("before", "to"), list(itertools.product(CaseState, repeat=2)))
def test_only_the_listed_moves_are_possible(bench, before, to):
    """Every pair of states."""
    number = bench.raised()
    with writing(bench.store.engine) as connection:
        connection.execute(update(CASES).where(CASES.c.number == number).values(state=str(before)))
    verbs: dict[CaseState, tuple[str, dict[str, Any]]] = {
        CaseState.ACCEPTED: ("case.accept", {}),
        CaseState.TRANSFERRED: ("case.transfer", {"department": HEALTH}),
        CaseState.ANSWERED: ("case.answer", {}),
        CaseState.AGREED: ("case.agree", {}),
        CaseState.DISPUTED: ("case.dispute", {}),
        CaseState.RULED: ("case.rule", {}),
        CaseState.CORRECTED: ("case.correct", {"stream": "police/hr", "seq": 1}),
        CaseState.CLOSED: ("case.close", {"score": 3, "solved": False}),
    }
    if to is CaseState.RAISED:
        assert all(to not in ways for ways in NEXT.values())
        return
    verb, more = verbs[to]
    if to in NEXT[before]:
        assert bench.do("city", verb, case=number, text="x", **more)["state"] == to
    else:
        with pytest.raises(Refused, match="cannot become"):
            bench.do("city", verb, case=number, text="x", **more)


def test_nobody_moves_out_of_turn_or_sees_what_is_not_theirs(bench):
    """The raiser cannot answer itself, a third department sees nothing, and only the authority rules."""
    number = bench.raised()
    with pytest.raises(NotAdmitted, match="this step of case"):
        bench.do("civil", "case.accept", case=number, text="自己受理")
    with pytest.raises(Refused, match="no such case"):
        bench.do("health", "case.show", case=number)
    assert number not in [each["case"] for each in bench.do("health", "case.list", count=500)]
    for person, verb, text in WAY[:3]:
        bench.do(person, verb, case=number, text=text)
    with pytest.raises(NotAdmitted, match="needs the role authority"):
        bench.do("police", "case.rule", case=number, text="我说了算")
    assert number in [each["case"] for each in bench.do("city", "case.list", count=500)]


def test_a_transfer_makes_it_the_other_departments_move(bench):
    """And not the first one's any more."""
    number = bench.raised()
    bench.do("police", "case.transfer", case=number, text="属卫健委", department=HEALTH)
    with pytest.raises(NotAdmitted):
        bench.do("police", "case.accept", case=number, text="x")
    assert bench.do("health", "case.accept", case=number, text="受理")["state"] == "accepted"


def test_a_case_that_stands_still_is_the_authoritys(bench):
    """By the calendar of the profile, by itself, once (SD22.2)."""
    number = bench.raised()
    with writing(bench.store.engine) as connection:
        connection.execute(update(CASES).where(CASES.c.number == number).values(due_us=1))
    keep_dates(bench.store.engine, PROFILE.supervision)
    keep_dates(bench.store.engine, PROFILE.supervision)
    assert bench.do("city", "case.show", case=number)["escalated"]
    assert bench.events(number).count("case_escalated") == 1


def test_use_is_reported_when_it_is_due_and_read_by_who_shared(bench):
    """Due by the profile, overdue by itself, with figures (SD36.1)."""
    grant = f"GF{next(_numbers)}"
    with writing(bench.store.engine) as connection:
        grant_directly(connection, grant, "civil-node", bench.entry, {})
    keep_dates(bench.store.engine, PROFILE.supervision)
    keep_dates(bench.store.engine, PROFILE.supervision)
    [due] = bench.do("civil", "report.use", grant=grant)
    with reading(bench.store.engine) as connection:
        days = (due["due_us"] - now_us(connection)) / DAY_US
    assert 89 < days < 91
    with writing(bench.store.engine) as connection:
        connection.execute(update(FEEDBACK).where(FEEDBACK.c.grant_id == grant).values(due_us=1))
    assert grant in [each["grant"] for each in bench.do("civil", "report.overdue")]
    assert grant not in [each["grant"] for each in bench.do("police", "report.overdue")]
    with pytest.raises(NotAdmitted):
        bench.do("police", "report.submit", grant=grant, text="代填")
    bench.do("civil", "report.submit", grant=grant, text="核对低保申请", figures={"核对人次": 1200})
    with pytest.raises(NotAdmitted):
        bench.do("health", "report.read", grant=grant, n=1)
    bench.do("police", "report.read", grant=grant, n=1)
    bench.do("city", "report.read", grant=grant, n=1)
    [said] = bench.do("police", "report.use", grant=grant)
    assert (said["figures"], said["read_by_provider"], said["read_by_authority"]) == (
        {"核对人次": 1200},
        True,
        True,
    )
    assert grant not in [each["grant"] for each in bench.do("city", "report.overdue")]
