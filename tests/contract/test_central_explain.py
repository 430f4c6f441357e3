"""Explain access: one page for a node and a resource, and one sentence that says whose move it is."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from central.desk import Desk
from central.sharing.clock import escalate
from central.sharing.verbs import sharing_verbs
from central.store import writing
from central.store.grants import GRANTS
from proto.errors import NotAdmitted, Refused
from tests.support.sharing import BASIS

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]


def explained(town, resource, who="civil-admin", **other):
    return town.do(who, "share.explain", consumer=town.name("civil"), resource=resource, **other)


def test_not_in_the_catalogue(town):
    """No reader but its owner (SD05.3)."""
    page = explained(town, "3070/没有")
    assert (page["can"], page["entry"], page["grant"]) == (False, None, None)
    assert page["sentence"].startswith(
        f"{town.name('civil')} cannot, because 3070/没有 is not in the sharing catalogue"
    )
    assert "the authority publishes a release" in page["whose_move"]


def test_not_asked(town):
    """The consumer's move, with the command."""
    entry = town.entry()
    page = explained(town, entry.code)
    assert page["because"] == "nobody has asked for it"
    assert page["command"] == f"exchange-central share request {town.name('civil')} {entry.code}"
    assert (page["entry"]["release"], page["entry"]["share_type"]) == (
        page["newest_release"],
        "unconditional",
    )


def test_waiting(town):
    """For whom, and that it is their move; overdue, the authority's as well."""
    entry = town.entry(share={"name": "conditional"})
    request = town.ask(entry)["request"]
    page = explained(town, entry.code)
    assert page["because"] == f"request {request} waits for the resource_admin of {town.codes['police']}"
    assert page["whose_move"] == "it is their move"
    town.overdue(request)
    escalate(town.engine, town.profile)
    assert "the authority may decide" in explained(town, entry.code)["whose_move"]
    assert page["requests"][0]["asked"]["business"] == "社会救助核对"


def test_refused(town):
    """By which law, in whose words."""
    entry = town.entry(share={"name": "conditional"})
    request = town.ask(entry)["request"]
    town.do("police-admin", "share.refuse", request=request, basis=BASIS, opinion="涉及隐私")
    page = explained(town, entry.code)
    assert not page["can"]
    assert "第十九条: 涉及隐私" in page["because"]
    assert "turns to the authority" in page["whose_move"]


def test_granted_and_for_which_items(town):
    """The grant with its state and limits, and who may change it."""
    entry = town.entry()
    grant = town.granted(entry)
    page = explained(town, entry.code, item="信息项name")
    assert (page["can"], page["grant"]["grant"]) == (True, grant)
    assert page["sentence"].startswith(f"{town.name('civil')} can, because grant {grant} (query) is active")
    assert page["grant"]["terms"]["limits"]["query_rows"] == 100
    assert len(page["may_change"]) == 4
    page = explained(town, entry.code, item="born")
    assert not page["can"]
    assert "does not hold the item born" in page["because"]
    with pytest.raises(Refused, match="no such item"):
        explained(town, entry.code, item="工资")


def test_suspended(town):
    """Who resumes it."""
    entry = town.entry()
    grant = town.granted(entry)
    town.do("data-safe", "grant.suspend", grant=grant, reason="证书泄露")
    page = explained(town, entry.code)
    assert page["because"] == f"grant {grant} is suspended: 证书泄露"
    assert page["whose_move"] == "the security administrator resumes it"


def test_expired_with_no_job_running(town):
    """By the database's clock (P8)."""
    entry = town.entry()
    grant = town.granted(entry)
    with writing(town.engine) as connection:
        connection.execute(update(GRANTS).where(GRANTS.c.grant_id == grant).values(valid_to_us=1))
    page = explained(town, entry.code)
    assert page["because"] == f"grant {grant}: the grant has run out"
    assert page["whose_move"] == "the consumer's resource administrator asks anew"


def test_not_shared(town):
    """Only a law opens it."""
    entry = town.entry(share={"married": "not_shared"})
    page = explained(town, entry.code, item="married")
    assert (page["can"], page["because"]) == (False, "it is not shared (Article 5)")


def test_restrictions_are_on_the_page(town):
    """What supervision says, in its words (SD28.4)."""
    entry = town.entry()
    late = ("人口库 逾期 3 天",)
    town.desk = Desk(town.engine, town.profile, None, sharing_verbs(lambda _connection, _code: late))
    assert explained(town, entry.code)["restrictions"] == list(late)


def test_it_concerns_the_two_sides_and_those_who_watch(town):
    """Nobody else."""
    entry = town.entry()
    for who in ("civil-clerk", "police-admin", "data-li"):
        assert explained(town, entry.code, who)["because"]
    with pytest.raises(NotAdmitted):
        explained(town, entry.code, "health-admin")
