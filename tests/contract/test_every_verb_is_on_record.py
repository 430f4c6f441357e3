"""Every verb of the desk, done: once refused and once successful, each leaves its record and no other (SD26.1)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, and_, insert, or_, select, update

from central.audit import REGISTRY, heads
from central.catalogue.drifting import Drifts
from central.desk import VERBS
from central.log.export import CERTIFICATE, INDEX, SIGNATURE, export_log
from central.people import Actor, Role
from central.people.office import Person, actor
from central.people.verb import DECISIONS
from central.registry import Registry
from central.sharing.watermark import see
from central.store import now_us, reading, writing
from central.store.sharing import CLOCK
from central.store.supervision import RESTRICTIONS
from central.store.tables import AUDIT
from central.supervision.clock import keep_dates
from central.supervision.uptime import PLATFORM
from proto.batch import Batch, Delta
from proto.comparison import text_digest
from proto.errors import ExchangeError, NotAdmitted
from proto.values import Kind
from tests.support.bureaucracy import PERSON, Bureaucracy
from tests.support.sharing import BASIS
from tests.support.stores import Store
from tests.support.tables import inserts, schema_of

pytest_plugins = ["tests.support.stores"]
WITHOUT = frozenset({"catalogue.read_notices"})
"""It only marks the person's own messages as read."""
CHAINS = (DECISIONS, REGISTRY, PLATFORM)
LI = "370102199001011234"
CONDITIONS = {"purpose": "核对"}


def by(name: str) -> Callable[[Connection], Actor]:
    """As that person, with a certificate."""
    return lambda connection: actor(connection, name, "certificate")


class Walk:
    """Does verbs one after another, and looks at the records of each."""

    def __init__(self, store: Store, folder: Any) -> None:
        self.store, self.people = store, Bureaucracy(store, folder)
        self.folder = folder
        people = self.people
        asking = Person(
            people.called("chou-min"),
            "仇敏",
            people.civil,
            (Role.RESOURCE_ADMIN,),
            left=False,
            office="救助科",
        )
        people.office.add_person(asking, "test")
        people.hire("an-quan", people.bureau, Role.SECURITY_ADMIN)
        people.hire("he-shen", people.bureau, Role.AUDIT_ADMIN)
        people.office.add_person(
            Person(people.called("nobody"), "闲人", people.civil, (), left=False), "test"
        )
        self.consumer = f"civil{people.number}"
        Registry(store.engine).add(self.consumer, f"c{people.number:063x}", 2**60)
        people.office.place_node(self.consumer, people.civil, "test")
        self.done: dict[str, list[str]] = {}
        """The events of each verb."""

    def records(self, after: dict[str, int]) -> list[dict[str, Any]]:
        """What people did since the chains ended at *after*."""
        with reading(self.store.engine) as connection:
            here = or_(*(and_(AUDIT.c.chain == chain, AUDIT.c.n > after.get(chain, 0)) for chain in CHAINS))
            rows = connection.execute(select(AUDIT).where(here).order_by(AUDIT.c.at_us)).all()
        return [{"chain": row.chain, "event": row.event, **json.loads(row.facts)} for row in rows]

    def do(self, verb: str, person: str, **arguments: Any) -> Any:
        """Refused to somebody without a role, then done; each is on record with who, what, how."""
        found = next(each for each in VERBS if each.name == verb)
        if found.roles:
            with pytest.raises(NotAdmitted):
                self.attempt(verb, "nobody", arguments)
        answer, said = self.attempt(verb, person, arguments)
        assert said, f"{verb} left no record"
        self.done[verb] = [each["event"] for each in said]
        return answer

    def attempt(self, verb: str, person: str, arguments: dict[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
        """Do it; the answer, and what is on record of it. A refusal is exactly one record."""
        name = self.people.called(person)
        with reading(self.store.engine) as connection:
            before = heads(connection)
        try:
            answer = self.people.desk.do(verb, arguments, by(name))
        except ExchangeError as error:
            [refusal] = self.records(before)
            assert (refusal["event"], refusal["code"]) == ("refused", error.code)
            assert (refusal["who"], refusal["verb"], refusal["via"]) == (name, verb, "certificate")
            raise
        said = self.records(before)
        for each in said:
            assert each["who"] == name, (verb, each)
            # A command to a node is on record among commands, with what it commands.
            if each["event"] != "command_requested":
                assert (each["verb"], each["via"]) == (verb, "certificate"), (verb, each)
        return answer, said

    def day(self, days: int) -> str:
        """From today, where the platform stands."""
        with reading(self.store.engine) as connection:
            today = self.people.profile.calendar.day_of(now_us(connection))
        return str(today + timedelta(days=days))

    def asked(self, **other: Any) -> dict[str, Any]:
        """A request."""
        usual = {"business": "社会救助核对", "users": ["救助科"], "items": ["id_no", "name"], "mode": "query"}
        return {**usual, "until": self.day(90), "purpose": "核对救助申请人", **other}


def catalogue(walk: Walk) -> tuple[str, str]:
    """The life of entries; returns the codes of one without conditions and of one with."""
    people = walk.people
    people.apply_tables()
    people.node.push(people.node.seal(Batch("p", (inserts(PERSON, (LI, "李娜", "1990-01-01")),), 1, 2, 1)))
    people.node.apply_all()
    modes = ("exchange", "query")
    first = people.entry(1, modes=modes)
    said = {"entry": first.model_dump(mode="json")}
    walk.do("catalogue.draft", "li-na", **said)
    walk.do("catalogue.edit", "li-na", **said)
    walk.do("catalogue.submit", "li-na", code=first.code)
    walk.do("catalogue.return", "wang-wei", code=first.code, opinion="摘要太短")
    walk.do("catalogue.submit", "li-na", code=first.code)
    walk.do("catalogue.audit", "wang-wei", code=first.code)
    walk.do("catalogue.publish", "wang-wei", code=first.code)
    second = people.entry(2, modes=modes, share={"name": "conditional", "born": "not_shared"}, basis=BASIS)
    rows = [{"row": 1, "entry": second.model_dump(mode="json")}]
    walk.do("catalogue.import", "li-na", rows=rows)
    people.do("submit", "li-na", code=second.code, reason="需要核对")
    people.do("audit", "wang-wei", code=second.code)
    walk.do("catalogue.verify", "liu-yang", code=second.code, result="verified", opinion="依据充分")
    people.do("publish", "wang-wei", code=second.code)
    walk.do("catalogue.release", "liu-yang", note="定期发布")
    walk.do("catalogue.filed", "liu-yang", code=first.code, registration_no="鲁2026-0001")
    walk.do("catalogue.describe", "liu-yang", stream=people.node.stream)
    walk.do("catalogue.adjust", "liu-yang", code=first.code, changes={"scope": "全省"}, opinion="统一范围")
    walk.do("catalogue.suspend", "liu-yang", code=second.code, opinion="结构变化")
    walk.do("catalogue.resume", "liu-yang", code=second.code)
    third = people.entry(3)
    people.publish(third)
    walk.do("catalogue.withdraw", "wang-wei", code=third.code, opinion="职责划转")
    people.release()
    return first.code, second.code


def requests(walk: Walk, plain: str, limited: str) -> str:
    """Requests in every way they can go; returns a grant for queries."""
    drafted = {"consumer": walk.consumer, "asked": walk.asked()}
    first = walk.do("share.draft", "chou-min", **drafted, resource=limited, submit=False)["request"]
    walk.do("share.submit", "chou-min", request=first)
    walk.do("share.withdraw", "chou-min", request=first, reason="业务取消")
    draft = {**drafted, "resource": limited}
    again = walk.do("share.draft", "chou-min", **draft)["request"]
    walk.do("share.refuse", "sun-li", request=again, basis=BASIS, opinion="有争议")
    routed = walk.do("share.draft", "chou-min", **draft)["request"]
    walk.do("share.not-held", "sun-li", request=routed, opinion="不掌握")
    walk.do("share.route", "liu-yang", request=routed, resource=limited, opinion="由公安提供")
    grant = str(walk.do("share.agree", "sun-li", request=routed)["grant"])
    walk.do("grant.change", "liu-yang", grant=grant, reason="裁定", conditions={"rows": "id_no != '1'"})
    walk.do("share.renew", "chou-min", grant=grant, until=walk.day(200))
    walk.do("grant.suspend", "liu-yang", grant=grant, reason="核查")
    walk.do("grant.resume", "liu-yang", grant=grant, reason="已处置")
    told = {
        "consumer": walk.consumer,
        "resource": plain,
        "asked": walk.asked(mode="exchange"),
        "basis": BASIS,
    }
    directed = walk.do("share.direct", "liu-yang", **told)["grant"]
    walk.do("delivery.recall", "sun-li", grant=directed, reason="数据有误")
    walk.do("grant.revoke", "liu-yang", grant=directed, reason="裁定")
    with writing(walk.store.engine) as connection:
        see(connection, now_us(connection))
        connection.execute(update(CLOCK).values(seen_us=now_us(connection) + 10_000_000))
    walk.do("grant.trust-clock", "an-quan", reason="已与时间服务器核对")
    return grant


def use(walk: Walk, grant: str, resource: str) -> None:
    """Queries, comparisons, reports of use, and who asked the log."""
    said = {"grant": grant, "purpose": "核对救助申请人"}
    walk.do("share.query", "chou-min", **said, key={"id_no": LI})
    begun = walk.do("share.compare-begin", "chou-min", **said)
    digest = text_digest(bytes.fromhex(begun["key"]), "name", Kind.TEXT, "李娜")
    claims = [{"key": {"id_no": LI}, "digests": {"name": digest}}]
    walk.do("share.compare", "chou-min", **said, comparison=begun["comparison"], claims=claims)
    keep_dates(walk.store.engine, walk.people.profile.supervision)
    walk.do("report.submit", "chou-min", grant=grant, text="核对低保申请", figures={"核对人次": 1200})
    walk.do("report.read", "sun-li", grant=grant, n=1)
    days = {"since": walk.day(0), "until": walk.day(1)}
    asked: dict[str, Any] = {
        "resource": resource,
        "item": "name",
        "key": {"id_no": LI},
        "reason": "当事人申请",
        **days,
    }
    assert walk.do("audit.received", "he-shen", **asked)["grants"][0]["says"] == "received"


def cases(walk: Walk, resource: str) -> None:
    """Disputes in every way, restrictions, and agreed maintenance."""
    raised: dict[str, Any] = {"kind": "quality", "resource": resource, "text": "出生日期与户籍不符"}
    number = walk.do("case.raise", "chou-min", **raised)["case"]
    walk.do("case.accept", "sun-li", case=number, text="受理")
    walk.do("case.answer", "sun-li", case=number, text="已核对")
    walk.do("case.dispute", "chou-min", case=number, text="不同意")
    walk.do("case.rule", "liu-yang", case=number, text="限期更正")
    walk.do("case.correct", "sun-li", case=number, text="已更正", stream=walk.people.node.stream, seq=1)
    walk.do("case.close", "chou-min", case=number, text="满意", score=5, solved=True)
    other = walk.do("case.raise", "chou-min", **raised)["case"]
    walk.do("case.transfer", "sun-li", case=other, text="不归我们", department=walk.people.civil)
    third = walk.do("case.raise", "chou-min", **raised)["case"]
    walk.do("case.accept", "sun-li", case=third, text="受理")
    walk.do("case.answer", "sun-li", case=third, text="已核对")
    walk.do("case.agree", "chou-min", case=third, text="同意")
    begin, end = (f"{walk.day(days)}T00:00:00+08:00" for days in (1, 2))
    said = {"department": walk.people.police, "begin": begin, "end": end, "reason": "机房检修"}
    walk.do("case.maintenance", "liu-yang", **said)
    with writing(walk.store.engine) as connection:
        proposed: dict[str, Any] = {
            "resource": resource,
            "department": walk.people.police,
            "state": "proposed",
        }
        proposed |= {"since_us": now_us(connection), "sentence": "迟交", "evidence": ""}
        connection.execute(insert(RESTRICTIONS), proposed)
    walk.do("case.confirm", "liu-yang", resource=resource)
    walk.do("case.reject", "liu-yang", resource=resource, reason="情况说明")


def drift(walk: Walk, resource: str) -> None:
    """A table that arrives otherwise than its entry says, and who deals with it."""
    drifts = Drifts(walk.store.engine, walk.people.profile)
    drifts.look()
    node = walk.people.node
    other = schema_of("person", {"id_no": Kind.TEXT, "电话": Kind.TEXT}, key=("id_no",))
    node.push(node.seal(Batch("q", (Delta(other, truncated=True),), 1, 2, 1)))
    node.apply_all()
    drifts.look()
    drifts.look()
    walk.do("catalogue.handled", "li-na", code=resource, opinion="已登记新版本")


def retirement(walk: Walk) -> None:
    """Two persons and an export; something is old enough."""
    from central import audit
    from central.audit import Tip

    with writing(walk.store.engine) as connection:
        tip = audit.tip(connection, f"旧日志{walk.people.number}")
        audit.append(connection, Tip(tip.chain, tip.n, tip.digest, 1_500_000_000_000_000), "tried", {})
    people = walk.people
    folder = export_log(walk.store.engine, people.signer, walk.folder / "whole").folder
    files = {"index": INDEX, "signature": SIGNATURE, "certificate": CERTIFICATE}
    said = {name: (folder / file).read_text("utf-8") for name, file in files.items()}
    asked = walk.do("audit.retire", "he-shen", before="2018-01-01", reason="满五年", **said)
    walk.do("audit.confirm_retirement", "an-quan", number=asked["number"])


SEVERAL = {
    "catalogue.adjust": "the new text, and the version that it replaces",
    "share.draft": "the draft, its submission, and where it waits",
    "share.submit": "its submission, and where it waits",
    "share.route": "its way, and where it waits",
    "share.renew": "a request of its own, and where it waits",
    "share.agree": "the answer, the request's end, and the grant",
    "share.direct": "the request, and the grant",
    "audit.confirm_retirement": "one for each chain that loses records",
}
"""Verbs that move more than one thing: each move is a record."""


def test_every_verb_that_writes_is_on_record(store: Store, tmp_path: Any) -> None:
    """Done by whoever may, refused to whoever may not; a new verb that nobody walks fails here."""
    walk = Walk(store, tmp_path)
    plain, limited = catalogue(walk)
    grant = requests(walk, plain, limited)
    use(walk, grant, limited)
    cases(walk, plain)
    drift(walk, plain)
    retirement(walk)
    assert set(walk.done) == {each.name for each in VERBS if each.writes} - WITHOUT
    several = {verb: events for verb, events in walk.done.items() if len(events) != 1}
    assert set(several) <= set(SEVERAL), several


def test_every_failed_attempt_is_on_record(store: Store, tmp_path: Any) -> None:
    """With arguments that are none, by a person and by a stranger; of verbs that only look, and of one that is none."""
    walk = Walk(store, tmp_path)
    nobody, stranger = walk.people.called("nobody"), walk.people.called("陌生人")
    for verb in VERBS:
        with reading(store.engine) as connection:
            before = heads(connection)
        for name, person in ((verb.name, nobody), (verb.name, stranger), (f"{verb.name}-x", nobody)):
            with pytest.raises(ExchangeError):
                walk.people.desk.do(name, {"没有这样的参数": LI}, by(person))
        said = walk.records(before)
        assert [each["event"] for each in said] == ["refused"] * 3, verb.name
        assert [each["verb"] for each in said] == [verb.name, verb.name, ""]
        assert [each["who"] for each in said] == [nobody, "", nobody]
        assert not [each for each in said if LI in json.dumps(each, ensure_ascii=False)]


def test_what_is_refused_to_whoever_only_looks_is_on_record(store: Store, tmp_path: Any) -> None:
    """A verb that changes nothing leaves no record when it is done, and one when it is refused."""
    walk = Walk(store, tmp_path)
    guarded = [each for each in VERBS if each.roles and not each.writes]
    assert len(guarded) > 3
    for verb in guarded:
        arguments = {"stream": walk.people.node.stream} if verb.name == "catalogue.propose" else {}
        with pytest.raises(NotAdmitted):
            walk.attempt(verb.name, "nobody", arguments)
    assert walk.attempt("delivery.list", "sun-li", {"grant": "没有"}) == ([], [])
