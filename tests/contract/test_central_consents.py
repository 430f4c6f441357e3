"""Who must consent, in any order, and what one answer does to the others; statutory grants need a law alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from central.desk import Desk
from central.sharing.verbs import sharing_verbs
from proto.errors import NotAdmitted, Refused
from tests.support.sharing import BASIS

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]
OPINION = {"basis": BASIS, "opinion": "涉及公民隐私"}
CONDITIONAL = {"name": "conditional"}


@pytest.mark.parametrize("order", [("police-admin", "data-li"), ("data-li", "police-admin")])
def test_what_is_stored_on_the_platform_needs_both_consents(town, order):
    """Provider and authority, in any order; until then it stays closed (SD28.1)."""
    request = town.ask(town.entry(storage="hosted"))["request"]
    first, second = order
    answer = town.do(first, "share.agree", request=request)
    assert (answer["state"], answer["grant"], len(answer["waits_for"])) == ("waiting", "", 1)
    assert town.do(second, "share.agree", request=request)["state"] == "granted"


def test_one_refusal_ends_a_double_consent(town):
    """Whoever else has agreed (SD28.1)."""
    request = town.ask(town.entry(storage="hosted"))["request"]
    town.do("data-li", "share.agree", request=request)
    answer = town.do("police-admin", "share.refuse", request=request, **OPINION)
    assert (answer["state"], answer["waits_for"]) == ("refused", [])
    with pytest.raises(Refused):
        town.do("data-wang", "share.agree", request=request)
    early = town.ask(town.entry(storage="hosted"))["request"]
    answer = town.do("police-admin", "share.refuse", request=early, **OPINION)
    assert (answer["state"], answer["waits_for"]) == ("refused", [])
    assert early not in {step["request"] for step in town.do("data-li", "share.inbox", most=200)["waiting"]}


def test_only_the_department_that_is_asked_answers(town):
    """Not another one's resource administrator, and not the asking one's."""
    request = town.ask(town.entry(share=CONDITIONAL))["request"]
    for who in ("health-admin", "civil-admin"):
        for verb, said in (
            ("share.agree", {}),
            ("share.refuse", OPINION),
            ("share.not-held", {"opinion": "无"}),
        ):
            with pytest.raises(NotAdmitted, match="this waits for"):
                town.do(who, verb, request=request, **said)
        assert town.do(who, "share.inbox")["waiting"] == []
    assert town.do("police-admin", "share.agree", request=request)["state"] == "granted"


def test_a_condition_that_fits_no_table_is_told_before_the_others_answer(town):
    """Not to whoever happens to be the last (SD28.1)."""
    request = town.ask(town.entry(storage="hosted"))["request"]
    with pytest.raises(Refused, match="has no year"):
        conditions = {"masks": {"name": {"mask": "year"}}}
        town.do("police-admin", "share.agree", request=request, conditions=conditions)
    assert len(town.do("data-li", "share.show", request=request)["steps"]) == 3


def test_a_composite_needs_the_provider_of_every_source(town):
    """And the authority; conditions of all of them hold together (SD24.2, SD28.1)."""
    source = town.entry(provider=town.codes["health"])
    composite = town.entry(sources=(source.code,))
    answer = town.ask(composite)
    wanted = {town.codes["police"], town.codes["health"], ""}
    assert {step["department"] for step in answer["waits_for"]} == wanted
    request = answer["request"]
    town.do("health-admin", "share.agree", request=request, conditions={"rows": "region = '370102'"})
    town.do("data-li", "share.agree", request=request, conditions={"limits": {"rows_per_day": 7}})
    answer = town.do("police-admin", "share.agree", request=request, conditions={"rows": "married = true"})
    terms = town.permit(answer["grant"]).terms
    assert (terms.rows["op"], len(terms.rows["parts"]), terms.limits.rows_per_day) == ("and", 2, 7)


def test_a_restricted_department_is_refused_what_is_stored_here_and_nothing_else(town):
    """The right of Article 28 ¶1 alone (SD28.3)."""
    late = ("人口库 逾期 3 天",)
    town.desk = Desk(town.engine, town.profile, None, sharing_verbs(lambda _connection, _code: late))
    with pytest.raises(Refused, match="restricted: 人口库"):
        town.ask(town.entry(storage="hosted"))
    assert town.ask(town.entry())["state"] == "granted"


def test_a_law_directs_what_is_not_shared_to_one_recipient(town):
    """With law, article and items; the record names the article; revoked, nothing flows (SD05.4)."""
    entry = town.entry(share={"married": "not_shared", "id": "not_shared"})
    arguments = {
        "consumer": town.name("civil"),
        "resource": entry.code,
        "asked": town.asked(items=["id", "married"]),
    }
    with pytest.raises(Refused, match="basis: Field required"):
        town.do("data-li", "share.direct", **arguments)
    with pytest.raises(NotAdmitted):
        town.do("police-admin", "share.direct", **arguments, basis=BASIS)
    answer = town.do("data-li", "share.direct", **arguments, basis=BASIS)
    found = town.permit(answer["grant"])
    assert (found.terms.is_directed, found.terms.basis.article) == (True, "第十九条")
    assert "第十九条" in town.records("granted")[-1]["article"]
    with pytest.raises(Refused, match="not shared"):
        town.ask(entry, "health-admin", items=["id", "married"])
    town.do("data-li", "grant.revoke", grant=answer["grant"], reason="法律修订")
    assert "revoked" in town.permit(answer["grant"]).refusal(town.now())


def test_two_consents_at_the_same_moment_make_one_grant(town):
    """Whichever comes second sees the first (SD28.1)."""
    request = town.ask(town.entry(storage="hosted"))["request"]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda who: town.do(who, "share.agree", request=request), ("police-admin", "data-li"))
        )
    assert sorted(answer["state"] for answer in answers) == ["granted", "waiting"]
    assert len([each for each in town.records("granted") if each["request"] == request]) == 1
