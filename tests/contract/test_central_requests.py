"""A request's way to a grant, through the desk: who moves it, on what ground, and what the clocks do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from central.catalogue.entry import Binding
from central.ledger import note_shape
from central.people import Office, Role
from central.people.office import Person
from central.sharing.clock import escalate
from central.store import writing
from proto.errors import NotAdmitted, Refused, Transient
from tests.support.sharing import BASIS, PEOPLE, fill

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]
OPINION = {"basis": BASIS, "opinion": "涉及公民隐私"}
CONDITIONAL = {"name": "conditional", "born": "conditional"}


def test_what_is_shared_without_conditions_is_granted_at_once(town):
    """Request to grant with no human step in between (SD25.1)."""
    answer = town.ask(town.entry())
    assert (answer["state"], answer["waits_for"]) == ("granted", [])
    found = town.permit(answer["grant"])
    assert found.refusal(town.now()) == ""
    assert (found.consumer, found.mode, found.terms.items) == (
        town.name("civil"),
        "query",
        ("id", "name", "region"),
    )
    assert len(found.secret) == 32


@pytest.mark.parametrize("missing", ["business", "users", "items", "mode", "until"])
def test_every_one_of_the_five_elements_is_needed(town, missing):
    """Business, users, items, mode, end date (SD29.1)."""
    asked = town.asked()
    del asked[missing]
    with pytest.raises(Refused, match=f"asked.{missing}: Field required"):
        town.do(
            "civil-admin", "share.draft", consumer=town.name("civil"), resource=town.entry().code, asked=asked
        )


@pytest.mark.parametrize("items", [["*"], ["全部"], ["id", "All items"]])
def test_all_items_is_not_an_answer(town, items):
    """Each item is named (SD29.1)."""
    with pytest.raises(Refused, match="is not accepted"):
        town.ask(town.entry(), items=items)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"items": ["id", "工资"]}, "no item 工资"),
        ({"items": ["id", "born"]}, "born is not shared"),
        ({"mode": "interface"}, "mode: it is offered for exchange, query"),
        ({"mode": "copy"}, "asked.mode"),
        ({"until": "2020-01-01"}, "is over"),
        ({"until": "2090-01-01"}, "lets a grant last"),
        ({"until": "9999-12-31"}, "lets a grant last"),
        ({"items": ["name"]}, "a key column is left out"),
        ({"rows": "salary > 5"}, "no such column to filter by"),
        ({"rows": "region ="}, "asked.rows"),
    ],
)
def test_a_request_that_does_not_comply_changes_nothing(town, other, says):
    """Every fault is told to whoever asks; the catalogue's word counts (SD24.1, SD29.1)."""
    with pytest.raises(Refused, match=says):
        town.ask(town.entry(share={"born": "not_shared"}), **other)
    assert town.do("civil-admin", "share.requests")["requests"] == []


def test_nobody_asks_for_what_is_their_own(town):
    """The owner has it already."""
    entry = town.entry()
    with pytest.raises(Refused, match="the department's own resource"):
        town.do(
            "police-admin",
            "share.draft",
            consumer=town.name("police"),
            resource=entry.code,
            asked=town.asked(),
        )


def test_what_is_not_in_the_catalogue_cannot_be_asked_for(town):
    """It has no reader but its owner (SD05.3)."""
    with pytest.raises(Refused, match="no such resource is in the sharing catalogue"):
        town.do(
            "civil-admin", "share.draft", consumer=town.name("civil"), resource="没有", asked=town.asked()
        )


def test_items_may_be_called_by_their_names(town):
    """People know the names of the catalogue, the data path its columns."""
    answer = town.ask(town.entry(), items=["信息项id", "信息项name"])
    assert town.permit(answer["grant"]).terms.items == ("id", "name")


def test_a_clerk_drafts_and_the_administrator_sends_off(town):
    """The department's own approval is a step with a clock, and only its people take it."""
    answer = town.ask(town.entry(), "civil-clerk")
    assert answer["state"] == "drafted"
    [step] = answer["waits_for"]
    assert (step["kind"], step["role"], step["department"]) == (
        "approve",
        "resource_admin",
        town.codes["civil"],
    )
    with pytest.raises(NotAdmitted):
        town.do("civil-clerk", "share.submit", request=answer["request"])
    with pytest.raises(NotAdmitted):
        town.do("health-admin", "share.submit", request=answer["request"])
    assert town.do("civil-admin", "share.submit", request=answer["request"])["state"] == "granted"


def test_nobody_asks_for_another_departments_node(town):
    """Identity comes from the person's own department."""
    with pytest.raises(NotAdmitted, match="is for people of department"):
        town.do(
            "health-admin",
            "share.draft",
            consumer=town.name("civil"),
            resource=town.entry().code,
            asked=town.asked(),
        )


def test_conditions_become_limits_of_the_grant(town):
    """Fewer items, rows, masks, rates, hours, an earlier end (SD25.2)."""
    answer = town.ask(town.entry(share=CONDITIONAL), items=["id", "name", "region", "born"])
    assert (answer["state"], answer["waits_for"][0]["department"]) == ("waiting", town.codes["police"])
    until = town.day(10)
    conditions = {
        "items": ["id", "name", "region"],
        "rows": "region = '370102'",
        "masks": {"name": {"mask": "keep", "first": 1, "last": 0}},
        "limits": {"rows_per_day": 100, "hours": "08:00-18:00", "query_rows": 5, "queries_per_hour": 20},
        "until": str(until),
    }
    answer = town.do("police-admin", "share.agree", request=answer["request"], conditions=conditions)
    assert answer["state"] == "granted"
    found = town.permit(answer["grant"])
    assert found.terms.items == ("id", "name", "region")
    assert found.terms.rows == {"op": "=", "column": "region", "value": "370102"}
    assert found.terms.limits.rows_per_day == 100
    assert found.valid_to_us == town.profile.calendar.end_of(until)


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"items": ["id", "name", "married"]}, "was not asked for"),
        ({"masks": {"id": {"mask": "hide"}}}, "would make keys alike"),
        ({"masks": {"name": {"mask": "year"}}}, "has no year"),
        ({"rows": "salary > 1"}, "no such column to filter by"),
        ({"items": ["name"]}, "a key column is left out"),
    ],
)
def test_a_condition_that_fits_no_table_is_told_to_its_author(town, conditions, says):
    """Before anything is granted."""
    answer = town.ask(town.entry(share=CONDITIONAL))
    with pytest.raises(Refused, match=says):
        town.do("police-admin", "share.agree", request=answer["request"], conditions=conditions)
    assert town.do("police-admin", "share.show", request=answer["request"])["state"] == "waiting"


def test_a_refusal_without_the_law_cannot_be_written_down(town):
    """Title, number, article and kind are needed (SD22.1)."""
    request = town.ask(town.entry(share=CONDITIONAL))["request"]
    for basis in (None, {**BASIS, "article": ""}, {**BASIS, "kind": "habit"}):
        with pytest.raises(Refused, match="basis"):
            town.do("police-admin", "share.refuse", request=request, basis=basis, opinion="不便提供")
    answer = town.do("police-admin", "share.refuse", request=request, **OPINION)
    assert answer["state"] == "refused"
    assert "第十九条" in answer["sentence"]
    assert town.records("request_refused")[-1]["article"].startswith("中华人民共和国居民身份证法")


def test_not_held_goes_to_the_authority_and_on_from_there(town):
    """The need is not closed: the authority names who has it, and the items in that resource's words (SD22.1)."""
    request = town.ask(town.entry(share=CONDITIONAL))["request"]
    answer = town.do("police-admin", "share.not-held", request=request, opinion="不掌握")
    assert (answer["state"], answer["waits_for"][0]["role"]) == ("routing", "authority")
    with pytest.raises(NotAdmitted):
        town.do("police-admin", "share.route", request=request, resource="x")
    other = town.entry(("id", "name", "region"), share={"name": "conditional"})
    answer = town.do("data-li", "share.route", request=request, resource=other.code, opinion="改由他处")
    assert (answer["state"], answer["resource"]) == ("waiting", other.code)
    assert town.do("police-admin", "share.agree", request=request)["state"] == "granted"


def test_the_authority_may_close_a_need_only_by_law(town):
    """When nobody holds it and the law forbids the rest (SD22.1)."""
    request = town.ask(town.entry(share=CONDITIONAL))["request"]
    town.do("police-admin", "share.not-held", request=request, opinion="不掌握")
    with pytest.raises(Refused, match="basis"):
        town.do("data-li", "share.refuse", request=request, opinion="无人掌握")
    assert town.do("data-li", "share.refuse", request=request, **OPINION)["state"] == "refused"


def test_an_overdue_answer_escalates_by_itself(town):
    """By the database's time, once; then the authority may decide as well (SD22.2)."""
    request = town.ask(town.entry(share=CONDITIONAL))["request"]
    with pytest.raises(NotAdmitted):
        town.do("data-li", "share.agree", request=request)
    assert escalate(town.engine, town.profile) == 0
    town.overdue(request)
    assert escalate(town.engine, town.profile) == 1
    assert escalate(town.engine, town.profile) == 0
    assert request in {
        step["request"] for step in town.do("data-li", "share.inbox", only="overdue")["waiting"]
    }
    [step] = town.do("police-admin", "share.show", request=request)["steps"][1:]
    assert step["escalated_us"]
    assert step["days_left"] > 0
    town.overdue(request)
    assert escalate(town.engine, town.profile) == 0, "a step escalates once"
    assert town.do("data-li", "share.agree", request=request)["state"] == "granted"
    assert town.records("consent_given")[-1]["instead"].endswith(town.codes["police"])


@pytest.mark.parametrize("who", ["civil-clerk", "police-admin", "data-li"])
def test_every_step_has_a_clock(town, who):
    """In working days of the profile: approval, answer, routing (SD22.2)."""
    entry = town.entry(share=CONDITIONAL)
    answer = town.ask(entry, "civil-clerk")
    if who != "civil-clerk":
        answer = town.do("civil-admin", "share.submit", request=answer["request"])
    if who == "data-li":
        answer = town.do("police-admin", "share.not-held", request=answer["request"], opinion="无")
    clocks = town.profile.sharing
    days = {
        "civil-clerk": clocks.department_approval_days,
        "police-admin": clocks.provider_answer_days,
        "data-li": clocks.authority_route_days,
    }[who]
    assert answer["waits_for"][0]["days_left"] == days
    assert answer["waits_for"][0]["due_us"] == town.profile.calendar.due(town.now(), days).at_us


def test_what_is_shared_with_somebody_already_is_answered_sooner(town):
    """Its provider has looked at it before."""
    entry = town.entry(share=CONDITIONAL)
    town.do("police-admin", "share.agree", request=town.ask(entry)["request"])
    [step] = town.ask(entry, "health-admin")["waits_for"]
    assert step["days_left"] == town.profile.sharing.provider_answer_shared_days


def test_who_leaves_leaves_their_tasks_to_the_role(town):
    """The next holder has them; without one the department is listed at once (SD29.3)."""
    request = town.ask(town.entry(share=CONDITIONAL))["request"]
    office, police = Office(town.engine), town.codes["police"]
    office.leave(town.name("police-admin"), "test", "调离")
    with pytest.raises(NotAdmitted, match="has left"):
        town.do("police-admin", "share.agree", request=request)
    mine = {
        each["department"]: each["waiting"] for each in town.do("data-li", "share.vacancies")["departments"]
    }
    assert mine[police] == [request]
    assert police in {each["department"] for each in town.do("data-li", "share.inbox")["vacant"]}
    heir = town.name("police-heir")
    office.add_person(Person(heir, "赵六", police, (Role.RESOURCE_ADMIN,), left=False), "test")
    assert [step["request"] for step in town.do("police-heir", "share.inbox")["waiting"]] == [request]
    assert police not in {each["department"] for each in town.do("data-li", "share.vacancies")["departments"]}
    assert town.do("police-heir", "share.agree", request=request)["state"] == "granted"


def test_a_withdrawn_request_waits_for_nobody(town):
    """And cannot be answered any more."""
    request = town.ask(town.entry(share=CONDITIONAL))["request"]
    with pytest.raises(NotAdmitted):
        town.do("health-admin", "share.withdraw", request=request, reason="x")
    answer = town.do("civil-admin", "share.withdraw", request=request, reason="业务取消")
    assert (answer["state"], answer["waits_for"]) == ("withdrawn", [])
    with pytest.raises(Refused):
        town.do("police-admin", "share.agree", request=request)


def test_a_table_that_has_not_come_yet_says_whose_move_it_is(town):
    """Nothing is granted that nobody could deliver."""
    entry = town.entry(binding=Binding(stream=town.stream, table="未到"))
    with pytest.raises(Refused, match="nothing of its table has come") as caught:
        town.ask(entry)
    assert "starts the source" in caught.value.fix


def test_a_table_that_changed_meanwhile_is_noticed_before_the_grant(town):
    """The view is tried against the table as it is when the provider agrees."""
    request = town.ask(town.entry(share=CONDITIONAL))["request"]
    without = replace(PEOPLE, columns=tuple(c for c in PEOPLE.columns if c.name != "region"), name="person")
    with writing(town.engine) as connection:
        note_shape(connection, town.stream, without)
    with pytest.raises(Refused, match="the table has no such column"):
        town.do("police-admin", "share.agree", request=request)
    fill(town, PEOPLE, ())
    assert town.do("police-admin", "share.agree", request=request)["state"] == "granted"


def test_two_requests_at_the_same_moment_make_one_grant(town):
    """The other is told that there is one (SD24.1)."""
    entry = town.entry()

    def one(_n):
        try:
            return town.ask(entry)["state"]
        except (Refused, Transient) as error:
            return error.code

    with ThreadPoolExecutor(3) as pool:
        ended = sorted(pool.map(one, range(3)))
    assert ended.count("granted") == 1
    assert len(town.do("civil-admin", "grant.list")["grants"]) == 1
