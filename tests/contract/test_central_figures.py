"""Departments in figures, who uses a resource, evidence for a correction, and what a ruling or a restriction does."""

from __future__ import annotations

import json
import random

import pytest
from sqlalchemy import insert, select, update

from central.ca import make_authority
from central.policy import profile_named
from central.store import now_us, reading, writing
from central.store.deliveries import DELIVERIES, PULLS
from central.store.grants import GRANTS
from central.store.supervision import FEEDBACK, MAINTENANCE, OUTAGES, READS
from central.store.tables import AUDIT
from central.supervision.clock import keep_dates
from central.supervision.effect import keep_effect
from central.supervision.lateness import kept
from central.supervision.punctuality import page_of_bound
from central.supervision.reads import reads_of
from central.supervision.restrictions import restricted
from central.supervision.spans import Span
from central.supervision.timeliness import Excuses, limit_us_of, share
from central.supervision.uptime import agree_maintenance
from proto.comparison import text_digest
from proto.errors import NotAdmitted, Refused
from proto.values import Kind
from tests.support.lateness import warn
from tests.support.proving import MINUTE_US, Node
from tests.support.shares import DAY_US
from tests.support.sharing import BASIS, Town

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]
PROFILE = profile_named()
LI = "370102199001011234"


def figures_of(town: Town, who: str, department: str) -> dict[str, object]:
    """One department's line, as *who* sees it."""
    [line] = town.do(who, "report.figures", department=town.codes[department])
    return dict(line)


def test_a_department_in_figures(town: Town) -> None:
    """Resources, answers in time and late, refusals with their law, disputes, feedback, rows (SD06.1)."""
    open_one = town.entry()
    conditional = town.entry(share={"name": "conditional"})
    grant = town.granted(open_one)
    refused = town.ask(conditional)["request"]
    town.do("police-admin", "share.refuse", request=refused, basis=BASIS, opinion="与职责无关")
    late = town.ask(conditional)["request"]
    town.overdue(late)
    town.do("police-admin", "share.refuse", request=late, basis=BASIS, opinion="与职责无关")
    town.ask(conditional)
    town.do("civil-admin", "case.raise", kind="quality", resource=open_one.code, text="生日不符")
    with writing(town.engine) as connection:
        row = {"grant_id": grant, "n": 1, "due_us": now_us(connection) - DAY_US}
        connection.execute(insert(FEEDBACK), row)
    police = figures_of(town, "data-li", "police")
    wanted = {
        "resources": 2,
        "answered_in_time": 1,
        "answered_late": 1,
        "waiting": 1,
        "refused": 2,
        "refusal_bases": {f"{BASIS['title']}{BASIS['article']}": 2},
        "disputes_to_answer": 1,
        "grants_given": 1,
        "feedback_overdue": 0,
    }
    assert {name: police[name] for name in wanted} == wanted
    assert figures_of(town, "data-li", "civil")["feedback_overdue"] == 1
    assert figures_of(town, "civil-admin", "civil")["grants_held"] == 1
    with pytest.raises(NotAdmitted, match="the authority's"):
        figures_of(town, "civil-admin", "police")


@pytest.fixture(scope="module")
def issuer():
    """One authority for all nodes here."""
    return make_authority("市大数据局 CA")


@pytest.fixture
def calm(store):
    """No outage or maintenance of other tests."""
    with writing(store.engine) as connection:
        connection.execute(OUTAGES.delete())
        connection.execute(MAINTENANCE.delete())
    return store


@pytest.mark.parametrize("seed", range(6))
def test_the_rate_is_what_all_reads_together_say(calm, town, issuer, tmp_path, seed):
    """From the reads that came too late alone, the same as from every read: excuses and cut ways included (SD23.2)."""
    draw = random.Random(seed)
    code = town.codes["police"]
    node = Node(calm, issuer, tmp_path, provider=code, update_limit=draw.choice(["PT1H", "PT20M"]))
    moments = sorted((draw.randrange(1, 1500) * MINUTE_US for _ in range(25)), reverse=True)
    with writing(calm.engine) as connection:
        start = node.now - draw.randrange(1000) * MINUTE_US
        connection.execute(insert(OUTAGES), {"start_us": start, "end_us": start + 70 * MINUTE_US})
        hour = Span(start - 90 * MINUTE_US, start - 30 * MINUTE_US)
        agree_maintenance(connection, code, hour, "机房搬迁", {"who": "chen-yu"})
    while moments:
        count = draw.randrange(1, 5)
        node.says(*moments[:count])
        moments = moments[count:]
        backdate(calm, node, moments[0] if moments else 0)
    window = Span(node.now - 1200 * MINUTE_US, node.now)
    limit = limit_us_of(node.entry.update_limit)
    with reading(calm.engine) as connection:
        resources = page_of_bound(connection, "", code, None)
        found = kept(connection, resources, PROFILE.supervision, window)[code]
        reads = reads_of(connection, node.stream, "人口", 0)
        excuses = Excuses([Span(start, start + 70 * MINUTE_US)], [hour])
        plain = share(reads, limit, window, excuses)
    assert found.late == plain
    assert found.rate is not None
    assert found.rate <= 1


def backdate(store, node, ago_us):
    """Let what just came have come *ago_us* ago, or as soon as it could."""
    with writing(store.engine) as connection:
        new = (READS.c.stream == node.stream, READS.c.received_us >= node.now)
        for row in connection.execute(select(READS).where(*new)).all():
            received = max(row.proven_us, node.now - ago_us)
            late = max(0, received - row.before_us - row.limit_us) if row.before_us else 0
            here = (READS.c.stream == row.stream, READS.c.proven_us == row.proven_us)
            connection.execute(update(READS).where(*here).values(received_us=received, late_us=late))


def test_a_provider_sees_who_uses_what_it_shared(town: Town) -> None:
    """Volume, last use, purpose, end, next report; what nobody uses is proposed for closing (SD36.2)."""
    entry = town.entry()
    used = town.granted(entry)
    town.do("civil-clerk", "share.query", grant=used, key={"id": LI}, purpose="核对")
    idle = town.ask(entry, "health-admin", mode="exchange")["grant"]
    keep_dates(town.engine, PROFILE.supervision)
    with writing(town.engine) as connection:
        old = now_us(connection) - (PROFILE.supervision.unused_after_days + 1) * DAY_US
        connection.execute(update(GRANTS).where(GRANTS.c.grant_id == idle).values(valid_from_us=old))
    found = {each["grant"]: each for each in town.do("police-admin", "report.consumers", resource=entry.code)}
    assert found.keys() == {used, idle}
    first = found[used]
    assert (first["rows"], first["queries"], first["purpose"], first["unused"]) == (
        1,
        1,
        "核对救助申请人",
        False,
    )
    assert first["last_use_us"] > 0
    assert first["next_feedback_us"] > town.now()
    assert (found[idle]["unused"], found[idle]["last_use_us"]) == (True, 0)
    assert found[idle]["close_with"] == f"exchange-central grant revoke {idle}"
    own = town.do("health-admin", "report.grants")
    assert [each["grant"] for each in own] == [idle]
    with pytest.raises(NotAdmitted, match="only its provider"):
        town.do("health-admin", "report.consumers", resource=entry.code)


def test_a_copy_that_rests_is_in_use_while_its_consumer_calls(town: Town) -> None:
    """The provider's data did not change; that is no reason to close the grant (SD36.2)."""
    grant = town.granted(town.entry(), mode="exchange")
    with writing(town.engine) as connection:
        now = now_us(connection)
        old = now - 1000 * DAY_US
        connection.execute(update(GRANTS).where(GRANTS.c.grant_id == grant).values(valid_from_us=old))
        start = {"grant_id": grant, "consumer": town.name("civil"), "digest": b"", "source_digest": b""}
        connection.execute(insert(DELIVERIES), {**start, "fingerprint": b"", "delivered_us": old, "rows": 7})
    assert town.do("civil-admin", "report.grants")[0]["unused"]
    with writing(town.engine) as connection:
        connection.execute(insert(PULLS), {"consumer": town.name("civil"), "seen_us": now})
    [found] = town.do("civil-admin", "report.grants")
    assert (found["unused"], found["rows"]) == (False, 7)


def test_a_mismatch_becomes_a_case_that_holds_no_value(town: Town) -> None:
    """With keyed digests, the catalogue's source, a ruling, and the batch that carries the correction (SD20.2)."""
    entry = town.entry()
    grant = town.granted(entry)
    said = {"grant": grant, "purpose": "核对低保对象"}
    begun = town.do("civil-admin", "share.compare-begin", **said)
    digest = text_digest(bytes.fromhex(begun["key"]), "name", Kind.TEXT, "李纳")
    same = text_digest(bytes.fromhex(begun["key"]), "name", Kind.TEXT, "王伟")
    claims = [
        {"key": {"id": LI}, "digests": {"name": digest}},
        {"key": {"id": "370103198505054321"}, "digests": {"name": same}},
    ]
    asked = {**said, "comparison": begun["comparison"], "raise_case": "姓名不一致", "claims": claims}
    answer = town.do("civil-admin", "share.compare", **asked)
    number = answer["case"]
    shown = town.do("police-admin", "case.show", case=number)
    assert (shown["kind"], shown["grant"], shown["handler"]) == ("comparison", grant, town.codes["police"])
    assert shown["evidence"].splitlines()[1] == f"{answer['answers'][0]['key'][:16]}: name"
    assert len(shown["evidence"].splitlines()) == 2
    source = shown["source"]
    assert (source["provider"], source["stream"], source["table"]) == (
        town.codes["police"],
        town.stream,
        "person",
    )
    assert LI not in json.dumps(shown)
    for who, verb in (("police-admin", "accept"), ("police-admin", "answer"), ("civil-admin", "dispute")):
        town.do(who, f"case.{verb}", case=number, text="x")
    town.do("data-li", "case.rule", case=number, text="以户籍为准")
    with pytest.raises(Refused, match="does not come from this stream"):
        town.do("police-admin", "case.correct", case=number, text="已更正", stream="other/hr", seq=1)
    town.do("police-admin", "case.correct", case=number, text="已更正", stream=town.stream, seq=3)
    assert town.records("case_corrected")[-1]["seq"] == 3
    assert town.permit(grant).refusal(town.now()) == "", "a dispute freezes nothing (SD25.3)"


def test_a_ruling_may_suspend_a_grant_and_nothing_else_does(town: Town) -> None:
    """In the same transaction; a grant of another resource cannot be named (SD25.3)."""
    entry = town.entry()
    grant, other = town.granted(entry), town.granted(town.entry())
    number = town.do("police-admin", "case.raise", kind="other", resource=entry.code, text="超范围使用")[
        "case"
    ]
    for verb in ("accept", "answer", "dispute"):
        town.do("data-li", f"case.{verb}", case=number, text="x")
        assert town.permit(grant).refusal(town.now()) == ""
    with pytest.raises(Refused, match="another resource"):
        town.do("data-li", "case.rule", case=number, text="暂停", suspends=other)
    assert town.do("data-li", "case.show", case=number)["state"] == "disputed"
    town.do("data-li", "case.rule", case=number, text="暂停共享", suspends=grant)
    assert "暂停共享" in town.permit(grant).refusal(town.now())
    assert town.permit(other).refusal(town.now()) == ""


def restrict(town: Town, department: str, state: str) -> None:
    """As the clock and the authority would."""
    warn(town.engine, town.codes[department], f"late-{department}-{town.number}", "人口库 逾期 3 天", state)


def test_a_restriction_hits_one_right_and_nobody_else(town: Town) -> None:
    """The late department's hosted and composite resources stand still within one look, and go on when it is over; what
    others read, also from the late department, goes on (SD28.3)."""
    hosted, plain = town.entry(storage="hosted"), town.entry()
    composite = town.entry(sources=(plain.code,))
    late: dict[str, str] = {}
    others: dict[str, str] = {}
    for name, entry in (("hosted", hosted), ("plain", plain), ("composite", composite)):
        for who, grants in (("civil-admin", late), ("health-admin", others)):
            answer = town.ask(entry, who)
            while answer["state"] == "waiting":
                for speaker in ("police-admin", "data-li"):
                    answer = town.do(speaker, "share.agree", request=answer["request"])
            grants[name] = answer["grant"]
    law = town.do(
        "data-li",
        "share.direct",
        consumer=town.name("civil"),
        resource=hosted.code,
        asked=town.asked(mode="exchange"),
        basis=BASIS,
    )["grant"]

    def stopped() -> set[str]:
        every = {**{f"late {name}": each for name, each in late.items()}, **others, "law": law}
        return {name for name, each in every.items() if town.permit(each).refusal(town.now())}

    restrict(town, "civil", "proposed")
    keep_effect(town.engine, PROFILE)
    assert stopped() == set()
    restrict(town, "civil", "active")
    assert set(keep_effect(town.engine, PROFILE)) >= {late["hosted"], late["composite"]}
    assert stopped() == {"late hosted", "late composite"}
    with pytest.raises(NotAdmitted, match="逾期 3 天"):
        town.do("civil-clerk", "share.query", grant=late["hosted"], key={"id": LI}, purpose="核对")
    told = town.do(
        "civil-admin", "share.explain", consumer=town.name("civil"), resource=hosted.code, mode="query"
    )
    assert "by itself when the department is on time again" in told["sentence"]
    with pytest.raises(NotAdmitted, match="restriction"):
        town.do("data-li", "grant.resume", grant=late["hosted"], reason="例外")
    assert keep_effect(town.engine, PROFILE) == []

    town.do("police-admin", "grant.suspend", grant=late["composite"], reason="另案", basis=BASIS)
    restrict(town, "civil", "none")
    assert late["hosted"] in keep_effect(town.engine, PROFILE)
    assert stopped() == {"late composite"}, "what its provider suspended is not the clock's to resume"


def test_a_late_provider_takes_nothing_from_its_readers(town: Town) -> None:
    """It is restricted itself; every grant of its data goes on (SD28.3)."""
    grants = [town.granted(town.entry()), town.ask(town.entry(), "health-admin", mode="exchange")["grant"]]
    restrict(town, "police", "active")
    keep_effect(town.engine, PROFILE)
    assert [town.permit(each).refusal(town.now()) for each in grants] == ["", ""]
    with reading(town.engine) as connection:
        assert restricted(connection, town.codes["police"])


def test_each_ground_names_its_records(town: Town) -> None:
    """Chain and number of each, which the log confirms (SD38.1)."""
    entry = town.entry(share={"name": "conditional"})
    refused = town.ask(entry)["request"]
    town.do("police-admin", "share.refuse", request=refused, basis=BASIS, opinion="与职责无关")
    grant = town.granted(town.entry())
    town.do("data-safe", "grant.suspend", grant=grant, reason="异常查询")
    with writing(town.engine) as connection:
        connection.execute(insert(FEEDBACK), {"grant_id": grant, "n": 1, "due_us": 1})
    keep_dates(town.engine, PROFILE.supervision)
    keep_dates(town.engine, PROFILE.supervision)

    def records(who: str, department: str) -> dict[str, list[dict[str, object]]]:
        told = town.do(who, "report.grounds", department=town.codes[department], days=1)
        return {each["ground"]: each["records"] for each in told["grounds"] if each["records"]}

    assert {name: len(found) for name, found in records("data-li", "police").items()} == {"not-sharing": 1}
    found = records("data-li", "civil")
    assert {name: len(each) for name, each in found.items()} == {"misuse": 1, "no-feedback": 1}
    assert found == records("civil-admin", "civil")
    one = found["misuse"][0]
    assert (one["about"], one["who"]) == (grant, town.name("data-safe"))
    with reading(town.engine) as connection:
        here = (AUDIT.c.chain == one["chain"], AUDIT.c.n == one["record"])
        assert connection.scalars(select(AUDIT.c.event).where(*here)).one() == "grant_suspended"
    with pytest.raises(NotAdmitted):
        records("civil-admin", "police")
