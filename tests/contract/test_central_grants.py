"""Grants: who changes them and on what ground, how they end, and what is remembered."""

from __future__ import annotations

from itertools import pairwise

import pytest
from sqlalchemy import update

from central import audit
from central.people.verb import DECISIONS
from central.registry import Registry
from central.sharing.clock import keep_time, settle
from central.sharing.permits import permits
from central.store import now_us, reading, writing
from central.store.catalogue import RELEASED
from central.store.grants import GRANTS
from central.store.sharing import CLOCK
from proto.errors import NotAdmitted, Refused
from proto.v1 import node_pb2
from tests.support.sharing import BASIS, DAY_US

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]


def ends_in(town, grant, days, **other):
    """Let the grant's last moment be so many days away."""
    with writing(town.engine) as connection:
        values = {"valid_to_us": now_us(connection) + int(days * DAY_US), **other}
        connection.execute(update(GRANTS).where(GRANTS.c.grant_id == grant).values(values))


def test_a_grant_ends_by_the_clock_with_no_job_running(town):
    """The state is still written as active; nothing passes (SD29.2, P8)."""
    grant = town.granted(town.entry())
    ends_in(town, grant, 0)
    found = town.permit(grant)
    assert (found.state, found.refusal(town.now())) == ("active", "the grant has run out")
    assert settle(town.engine, town.profile)[0] >= 1
    assert town.permit(grant).state == "expired"


def test_a_grant_that_begins_later_begins_by_itself(town):
    """Pending until its first day, whoever looks at it."""
    grant = town.granted(town.entry(), since=str(town.day(5)))
    found = town.permit(grant)
    assert (found.state, found.refusal(town.now())) == ("pending", "the grant has not begun")
    assert found.refusal(found.valid_from_us) == ""
    with writing(town.engine) as connection:
        here = GRANTS.c.grant_id == grant
        connection.execute(update(GRANTS).where(here).values(valid_from_us=now_us(connection)))
    keep_time(town.engine, town.profile)
    assert town.permit(grant).state == "active"


def test_a_grant_warns_thirty_seven_and_one_days_before_its_end(town):
    """Each step once; with the first it is called expiring, and nothing stops."""
    grant = town.granted(town.entry())
    for days, step in ((29, 30), (28, 30), (6, 7), (0.5, 1)):
        ends_in(town, grant, days)
        keep_time(town.engine, town.profile)
        keep_time(town.engine, town.profile)
        found = town.permit(grant)
        assert (found.state, found.refusal(town.now())) == ("expiring", "")
        told = [each["days"] for each in town.records("grant_end_warned") if each["grant"] == grant]
        assert told == [each for each in (30, 7, 1) if each >= step]
    assert grant in {each["grant"] for each in town.do("civil-admin", "share.inbox")["ending"]}


def test_a_renewal_is_a_short_request_and_the_grant_goes_on(town):
    """The same terms, the same number, the same secret; a later day; the next version."""
    entry = town.entry(share={"name": "conditional"})
    request = town.ask(entry)["request"]
    masks = {"name": {"mask": "hide"}}
    limits = {"query_rows": 3, "queries_per_hour": 9}
    conditions = {"masks": masks, "limits": limits, "until": str(town.day(20))}
    grant = town.do("police-admin", "share.agree", request=request, conditions=conditions)["grant"]
    keep_time(town.engine, town.profile)
    before = town.permit(grant)
    answer = town.do("civil-admin", "share.renew", grant=grant, until=str(town.day(200)))
    assert (answer["state"], town.permit(grant).valid_to_us) == ("waiting", before.valid_to_us)
    town.do("police-admin", "share.agree", request=answer["request"])
    after = town.permit(grant)
    assert (after.state, after.secret, after.terms) == ("active", before.secret, before.terms)
    assert after.valid_to_us == town.profile.calendar.end_of(town.day(200))
    assert after.version == before.version + 1


def test_what_has_ended_is_asked_for_anew(town):
    """A renewal of an ended grant would hide the gap."""
    entry = town.entry()
    grant = town.granted(entry)
    ends_in(town, grant, -1)
    with pytest.raises(Refused, match="cannot be renewed"):
        town.do("civil-admin", "share.renew", grant=grant, until=str(town.day(200)))
    again = town.granted(entry)
    assert again != grant
    assert town.permit(grant).state == "expired"


@pytest.mark.parametrize("mode", ["exchange", "query"])
def test_one_live_grant_for_a_node_a_resource_and_a_mode(town, mode):
    """The second is refused and told what to do (SD24.1)."""
    entry = town.entry()
    grant = town.granted(entry, mode=mode)
    with pytest.raises(Refused, match="has a live grant") as caught:
        town.ask(entry, mode=mode)
    assert grant in caught.value.fix
    other = town.granted(entry, mode="query" if mode == "exchange" else "exchange")
    with reading(town.engine) as connection:
        pulled = [each.grant for each in permits(connection, town.name("civil"))]
    assert pulled == [grant if mode == "exchange" else other]


def test_a_provider_takes_nothing_away_without_the_law(town):
    """Suspending, narrowing and revoking need a citation; the authority needs a reason (SD22.1)."""
    grant = town.granted(town.entry(), items=["id", "name", "region"])
    for verb in ("grant.suspend", "grant.revoke"):
        with pytest.raises(Refused, match="without a legal basis"):
            town.do("police-admin", verb, grant=grant, reason="不愿意")
    narrower = {"conditions": {"items": ["id", "name"]}, "reason": "最小必要"}
    with pytest.raises(Refused, match="without a legal basis"):
        town.do("police-admin", "grant.change", grant=grant, **narrower)
    with pytest.raises(NotAdmitted):
        town.do("health-admin", "grant.suspend", grant=grant, reason="x", basis=BASIS)
    answer = town.do("police-admin", "grant.suspend", grant=grant, reason="核查用途", basis=BASIS)
    assert (answer["state"], answer["held_by"]) == ("suspended", "provider")
    assert "核查用途" in town.permit(grant).refusal(town.now())


def test_narrowing_and_widening_are_new_versions(town):
    """Never beyond what was asked for; a widening by the provider needs no law (D4)."""
    grant = town.granted(town.entry(), items=["id", "name", "region"])
    rows = {"rows": "region = '370102'"}
    change = {"grant": grant, "reason": "最小必要"}
    answer = town.do("police-admin", "grant.change", **change, conditions=rows, basis=BASIS)
    assert (answer["version"], answer["terms"]["rows"]["value"]) == (2, "370102")
    with pytest.raises(Refused, match="was not asked for"):
        town.do("police-admin", "grant.change", **change, conditions={"items": ["id", "born"]}, basis=BASIS)
    answer = town.do("police-admin", "grant.change", **change, conditions={})
    assert (answer["version"], answer["terms"]["rows"]) == (3, None)
    assert [each["version"] for each in town.records("grant_widened") if each["grant"] == grant] == [3]


def test_whoever_suspended_it_resumes_it(town):
    """The authority also what a provider suspended; an incident is the security administrator's."""
    grant = town.granted(town.entry())
    town.do("data-safe", "grant.suspend", grant=grant, reason="证书泄露")
    for who in ("police-admin", "data-li"):
        with pytest.raises(NotAdmitted):
            town.do(who, "grant.resume", grant=grant, reason="x")
    assert town.do("data-safe", "grant.resume", grant=grant, reason="已处置")["state"] == "active"
    town.do("police-admin", "grant.suspend", grant=grant, reason="核查", basis=BASIS)
    assert town.do("data-li", "grant.resume", grant=grant, reason="裁定恢复")["state"] == "active"
    assert town.permit(grant).refusal(town.now()) == ""


def test_a_dispute_freezes_nothing_that_is_granted(town):
    """A refused renewal, an open request and an overdue answer leave it running; a ruling does not (SD25.3)."""
    entry = town.entry(share={"name": "conditional"})
    request = town.ask(entry)["request"]
    grant = town.do("police-admin", "share.agree", request=request)["grant"]
    renewal = town.do("civil-admin", "share.renew", grant=grant, until=str(town.day(200)))["request"]
    town.overdue(renewal)
    keep_time(town.engine, town.profile)
    assert town.permit(grant).refusal(town.now()) == ""
    town.do("police-admin", "share.refuse", request=renewal, basis=BASIS, opinion="有争议")
    assert town.permit(grant).refusal(town.now()) == ""
    town.do("data-li", "grant.suspend", grant=grant, reason="裁定：暂停")
    assert "裁定" in town.permit(grant).refusal(town.now())


def test_the_consumer_gives_its_grant_back(town):
    """It ends for good, and a new one may be asked for."""
    entry = town.entry()
    grant = town.granted(entry)
    assert town.do("civil-admin", "grant.revoke", grant=grant, reason="不再需要")["state"] == "revoked"
    with pytest.raises(Refused, match="revoked and cannot become"):
        town.do("civil-admin", "grant.revoke", grant=grant, reason="x")
    assert town.granted(entry) != grant


def test_every_version_is_remembered_and_on_record(town):
    """Who had access last year, by whose decision (SD26.1); nothing in central deletes it."""
    grant = town.granted(town.entry())
    town.do("data-li", "grant.suspend", grant=grant, reason="核查")
    town.do("data-li", "grant.resume", grant=grant, reason="恢复")
    town.do("civil-admin", "grant.revoke", grant=grant, reason="不再需要")
    lines = town.do("police-admin", "grant.history", grant=grant)["history"]
    assert [line["state"] for line in lines] == ["active", "suspended", "active", "revoked"]
    assert [line["version"] for line in lines] == [1, 2, 3, 4]
    assert {line["who"].rpartition("-")[0] for line in lines} == {"civil-admin", "data-li"}
    assert all(one["at_us"] <= two["at_us"] for one, two in pairwise(lines))
    for event in ("granted", "grant_suspended", "grant_resumed", "grant_revoked"):
        assert grant in {each["grant"] for each in town.records(event)}
    with pytest.raises(NotAdmitted):
        town.do("health-admin", "grant.history", grant=grant)


def test_a_grant_can_be_ended_when_its_resource_has_left_the_catalogue(town):
    """Its provider is still known."""
    entry = town.entry()
    grant = town.granted(entry)
    with writing(town.engine) as connection:
        connection.execute(update(RELEASED).where(RELEASED.c.code == entry.code).values(until_release=10**9))
    assert (
        town.do("police-admin", "grant.revoke", grant=grant, reason="撤回", basis=BASIS)["state"] == "revoked"
    )


def test_the_secret_of_a_grant_is_shown_to_nobody(town):
    """Neither in a list, nor in its history, nor on record."""
    grant = town.granted(town.entry())
    secret = town.permit(grant).secret
    said = [
        town.do("data-li", "grant.list"),
        town.do("civil-admin", "grant.show", grant=grant),
        town.do("civil-admin", "grant.history", grant=grant),
        town.records("granted"),
    ]
    assert secret.hex() not in str(said)
    assert str(secret)[2:-1] not in str(said)
    assert town.permit(town.granted(town.entry())).secret != secret


def test_a_grant_shows_its_consumers_leg_and_how_deletes_are_seen(town):
    """As both nodes last said: where it waits, why, whose move; nothing of another grant (SD12.5, SD12.6)."""
    grant = town.granted(town.entry(), mode="exchange")
    shown = town.do("police-admin", "grant.show", grant=grant)
    assert (shown["received"]["state"], shown["received"]["whose_move"]) == ("IDLE", "nobody")
    assert shown["deletes"] == ""
    sentence, fix = "表「人员」有别的键", f"exchange-agent retry-received {grant}"
    mine = node_pb2.ReceivedReport(grant=grant, state="SCHEMA_HOLD", sentence=sentence, fix=fix)
    other = node_pb2.ReceivedReport(grant="another", state="DIVERGED", sentence="别的")
    heard = node_pb2.HeartbeatRequest(received=[other, mine])
    registry, row = Registry(town.engine), town.permit(grant)
    registry.seen(row.consumer, heard)
    table = node_pb2.TableReport(table=row.table, deletes=node_pb2.TableReport.UNSEEN)
    stream = node_pb2.StreamReport(stream=row.stream, tables=[table])
    registry.seen(row.stream.partition("/")[0], node_pb2.HeartbeatRequest(streams=[stream]))
    shown = town.do("civil-admin", "grant.show", grant=grant)
    leg = shown["received"]
    assert (leg["state"], leg["sentence"], leg["fix"]) == ("SCHEMA_HOLD", sentence, fix)
    assert leg["whose_move"] == "consumer" and leg["heard_us"] > 0
    assert shown["deletes"].startswith("deletes at the source are not visible")
    resource = town.do("civil-admin", "catalogue.show", code=row.resource)
    assert resource["deletes"] == shown["deletes"]
    town.do("police-admin", "grant.revoke", grant=grant, reason="撤回", basis=BASIS)
    assert town.do("civil-admin", "grant.show", grant=grant)["received"] is None


def test_lists_come_page_by_page_and_only_to_whom_they_concern(town):
    """The consumer, the provider and those who watch see them; others do not."""
    grants = [town.granted(town.entry()) for _ in range(5)]
    first = town.do("civil-admin", "grant.list", most=3)
    second = town.do("civil-admin", "grant.list", most=3, after=first["next"])
    assert [each["grant"] for each in (*first["grants"], *second["grants"])] == grants[::-1]
    assert second["next"] == ""
    assert first["grants"][0]["name"].startswith("资源 3070")
    assert len(town.do("police-admin", "grant.list")["grants"]) == 5
    assert town.do("health-admin", "grant.list")["grants"] == []
    assert town.do("police-admin", "grant.list", ends_within_days=10)["grants"] == []
    asked = town.do("police-admin", "share.requests", most=2)
    again = town.do("police-admin", "share.requests", most=200, after=asked["next"])
    assert len(asked["requests"]) + len(again["requests"]) == 5
    assert town.do("data-li", "grant.list", consumer=town.name("civil"), most=1)["next"] == grants[-1]


def test_the_chain_of_decisions_holds(town):
    """After everything above (SD26.1)."""
    town.granted(town.entry())
    with reading(town.engine) as connection:
        assert audit.verify(connection, DECISIONS) > 0


def test_a_clock_that_went_back_brings_no_ended_grant_to_life(town):
    """Nothing passes and nothing is decided until a person trusts the clock (P8)."""
    grant = town.granted(town.entry())
    keep_time(town.engine, town.profile)
    assert town.permit(grant).refusal(town.now()) == ""
    with writing(town.engine) as connection:
        connection.execute(update(CLOCK).values(seen_us=now_us(connection) + 10_000_000))
    ends_in(town, grant, 60 / 86_400)
    try:
        assert "clock went back" in town.permit(grant).refusal(town.now())
        assert keep_time(town.engine, town.profile).changed == 0
        with pytest.raises(NotAdmitted, match="clock went back"):
            town.do("civil-clerk", "share.query", grant=grant, purpose="核对", key={"id": "1"})
        with pytest.raises(NotAdmitted):
            town.do("civil-admin", "grant.trust-clock", reason="x")
    finally:
        town.do("data-safe", "grant.trust-clock", reason="已与时间服务器核对")
    assert town.permit(grant).refusal(town.now()) == ""
    assert town.records("clock_trusted")[-1]["reason"] == "已与时间服务器核对"
    with pytest.raises(Refused, match="did not go back"):
        town.do("data-safe", "grant.trust-clock", reason="x")
