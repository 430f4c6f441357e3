"""An entry's way through two offices: who may move it when, and what is kept of every move."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from central.catalogue.entry import LegalBasis
from central.catalogue.keeping import Kept, Move, kept, move, set_values
from central.catalogue.states import NEXT, EntryState
from central.delivery.lens import Lenses
from central.people import Role, Turn
from central.people.office import actor
from central.sharing.clock import settle
from central.sharing.permits import permit
from central.store import now_us, reading, writing
from central.store.catalogue import NOTICES
from central.store.tables import AUDIT
from proto.errors import NotAdmitted, Refused
from tests.support.bureaucracy import Bureaucracy
from tests.support.shares import grant_directly
from tests.support.stores import Store

pytest_plugins = ["tests.support.stores"]
BASIS = LegalBasis(
    title="中华人民共和国居民身份证法", document_no="主席令第51号", article="第六条", kind="law"
)


@pytest.fixture
def people(store: Store, tmp_path) -> Bureaucracy:
    """Two departments, an authority and a tester."""
    return Bureaucracy(store, tmp_path)


def _state(people: Bureaucracy, code: str, version: int = 0) -> Kept:
    with reading(people.store.engine) as connection:
        return kept(connection, code, version)


@pytest.mark.parametrize("now", EntryState)
def test_only_the_listed_moves_exist(people, now):
    """Every pair of states is walked; what is not in the table is refused and changes nothing (SD14.1)."""
    entry = people.entry()
    people.draft(entry)
    engine, walked = people.store.engine, set()
    with writing(engine) as connection:
        who = actor(connection, people.called("li-na"), "test")
        turn = Turn(connection, engine, who, people.profile, now_us(connection), people.signer)
        for to in EntryState:
            set_values(turn, kept(connection, entry.code), Move("test", Role.REGISTRAR, now), state=str(now))
            before, step = kept(connection, entry.code), Move("test", Role.REGISTRAR, to)
            try:
                move(turn, before, step)
                walked.add(to)
            except Refused as error:
                assert "cannot become" in error.what
            assert kept(connection, entry.code).state is (to if to in walked else now)
    assert walked == NEXT[now]


def test_every_move_is_kept_with_who_when_role_opinion_and_what_changed(people, store):
    """In the entry's history and in the audit log (SD14.2)."""
    entry = people.entry()
    people.draft(entry)
    people.do("submit", "li-na", code=entry.code, opinion="请审核")
    people.do("return", "wang-wei", code=entry.code, opinion="摘要太短")
    better = entry.model_copy(update={"abstract": "本市常住人口的基本信息"})
    people.do("edit", "li-na", entry=better.model_dump(mode="json"))
    people.publish_rest(entry.code)
    found = people.do("history", "li-na", code=entry.code)
    moves = [(each["act"], each["before_state"], each["after_state"]) for each in found]
    assert moves == [
        ("draft", "", "draft"),
        ("submit", "draft", "submitted"),
        ("return", "submitted", "returned"),
        ("edit", "returned", "returned"),
        ("submit", "returned", "submitted"),
        ("audit", "submitted", "audited"),
        ("publish", "audited", "published"),
    ]
    returned, edited = found[2], found[3]
    assert (returned["who"], returned["role"], returned["opinion"]) == (
        people.called("wang-wei"),
        "auditor",
        "摘要太短",
    )
    assert returned["at_us"] > found[0]["at_us"] > 0
    [change] = edited["changes"]
    assert (change["field"], change["before"], change["after"]) == (
        "abstract",
        "测试资源",
        "本市常住人口的基本信息",
    )
    facts = _decisions(store, entry.code)
    assert [event for event, _ in facts] == [f"catalogue_{act}" for act, _, _ in moves]
    assert (facts[2][1]["before"], facts[2][1]["after"], facts[2][1]["opinion"]) == (
        "submitted",
        "returned",
        "摘要太短",
    )


def _decisions(store: Store, code: str) -> list[tuple[str, dict[str, Any]]]:
    with reading(store.engine) as connection:
        rows = connection.execute(select(AUDIT).where(AUDIT.c.chain == "decisions").order_by(AUDIT.c.n)).all()
    found = [(row.event, json.loads(row.facts)) for row in rows]
    return [(event, facts) for event, facts in found if facts.get("code") == code]


def test_who_registered_a_version_cannot_audit_it(people):
    """Not even with both roles, and not by letting somebody else submit it (SD15.1)."""
    entry = people.entry()
    people.do("draft", "zhao-lei", entry=entry.model_dump(mode="json"))
    people.do("submit", "li-na", code=entry.code)
    with pytest.raises(NotAdmitted, match="registered a version cannot audit"):
        people.do("audit", "zhao-lei", code=entry.code)
    assert people.do("audit", "wang-wei", code=entry.code)["state"] == "audited"
    people.apply_tables()
    with pytest.raises(NotAdmitted, match="registered a version cannot audit"):
        people.do("publish", "zhao-lei", code=entry.code)


def test_another_departments_people_decide_nothing(people):
    """Neither its registrar nor its auditor."""
    entry = people.entry()
    with pytest.raises(NotAdmitted, match="is for people of department"):
        people.do("draft", "chen-jie", entry=entry.model_dump(mode="json"))
    people.draft(entry)
    people.do("submit", "li-na", code=entry.code)
    with pytest.raises(NotAdmitted, match="is for people of department"):
        people.do("audit", "zhou-min", code=entry.code)
    with pytest.raises(NotAdmitted, match="not published yet"):
        people.do("show", "chen-jie", code=entry.code)


def test_without_an_auditor_nothing_is_published_and_the_authority_sees_it(people):
    """Who has left counts no more; a lone person with both roles does not count either (SD15.2)."""
    entry = people.entry()
    people.apply_tables()
    people.draft(entry)
    people.do("submit", "li-na", code=entry.code)
    people.do("audit", "wang-wei", code=entry.code)
    for person in ("wang-wei", "zhao-lei"):
        people.office.leave(people.called(person), "test", "调离")
    with pytest.raises(NotAdmitted):
        people.do("publish", "li-na", code=entry.code)
    listed = {each["department"]: each for each in people.do("departments", "liu-yang")}
    assert listed[people.police]["missing"] == ["auditor"]
    assert not listed[people.police]["can_publish"] and listed[people.police]["waiting"] == 1
    assert listed[people.civil]["can_publish"]
    people.hire("feng-yu", people.police, Role.AUDITOR)
    assert people.do("publish", "feng-yu", code=entry.code)["state"] == "published"


@pytest.mark.parametrize(
    ("share", "says"),
    [
        ({"name": "conditional"}, r"V08 items\[name\]\.condition"),
        ({"name": "not_shared"}, r"V09 items\[name\]\.basis"),
    ],
)
def test_a_type_without_its_ground_is_refused_with_the_field(people, share, says):
    """A condition for conditional, a structured basis for not shared; of every item (SD05.1)."""
    entry = people.entry(share=share)
    bare = tuple(item.model_copy(update={"condition": " "}) for item in entry.items)
    people.draft(entry.model_copy(update={"items": bare}))
    with pytest.raises(Refused, match=says):
        people.do("submit", "li-na", code=entry.code)
    assert _state(people, entry.code).state is EntryState.DRAFT


def test_a_basis_without_an_article_is_no_basis(people):
    """Structured means: title, document number and article, each of them (SD05.1)."""
    said = people.entry(share={"name": "not_shared"}).model_dump(mode="json")
    said["items"][1]["basis"] = {"title": "法", "document_no": "1", "article": "", "kind": "law"}
    with pytest.raises(Refused, match=r"entry\.items\.1\.basis\.article"):
        people.do("draft", "li-na", entry=said)


def test_what_is_not_shared_waits_for_the_authority(people):
    """It is in the authority's list, takes effect only when verified, and a refusal says why (SD13.1)."""
    entry = people.entry(share={"name": "not_shared"}, basis=BASIS)
    people.apply_tables()
    people.draft(entry)
    people.do("submit", "li-na", code=entry.code)
    assert people.do("audit", "wang-wei", code=entry.code)["state"] == "awaiting_verification"
    waiting = people.do("drafts", "liu-yang", state="awaiting_verification", provider=people.police)
    assert [each["code"] for each in waiting["entries"]] == [entry.code]
    with pytest.raises(Refused, match="cannot become published"):
        people.do("publish", "wang-wei", code=entry.code)
    with pytest.raises(NotAdmitted, match="needs the role authority"):
        people.do("verify", "wang-wei", code=entry.code, result="verified", opinion="可")
    people.do("verify", "liu-yang", code=entry.code, result="returned", opinion="依据条款与内容不符")
    last = people.do("history", "li-na", code=entry.code)[-1]
    assert (last["after_state"], last["opinion"]) == ("returned", "依据条款与内容不符")
    people.do("submit", "li-na", code=entry.code)
    people.do("audit", "wang-wei", code=entry.code)
    people.do("verify", "liu-yang", code=entry.code, result="verified", opinion="依据充分")
    people.do("publish", "wang-wei", code=entry.code)
    people.release()
    shown = people.do("show", "chen-jie", code=entry.code)
    assert (shown["state"], shown["verification"]["result"]) == ("released", "verified")


def test_a_published_version_never_changes(people):
    """A change is a new version; the old one stays in force until a release takes the new one up."""
    entry = people.entry()
    people.publish(entry)
    people.release()
    with pytest.raises(Refused, match="is not edited"):
        people.do("edit", "li-na", entry=entry.model_dump(mode="json"))
    wider = people.entry(scope="全省")
    assert people.draft(wider)["version"] == 2
    people.publish_rest(entry.code)
    assert (_state(people, entry.code, 1).state, _state(people, entry.code, 1).entry.scope) == (
        EntryState.CHANGED,
        "全市",
    )
    [listed] = people.do("list", "chen-jie", text=entry.code)["entries"]
    assert (listed["version"], listed["state"]) == (1, "changed")
    people.release()
    [listed] = people.do("list", "chen-jie", text=entry.code)["entries"]
    assert listed["version"] == 2


def test_a_new_version_waits_for_its_day(people):
    """With an effective date in the future the next release passes it over, and consumers are told the day (SD17.2)."""
    entry = people.entry()
    people.publish(entry)
    people.release()
    with writing(people.store.engine) as connection:
        grant_directly(connection, f"G-{entry.code}", "civil-node", entry, {})
    people.draft(people.entry(scope="全省"))
    people.publish_rest(entry.code, effective_on="2099-01-01")
    people.release()
    [listed] = people.do("list", "chen-jie", text=entry.code)["entries"]
    assert listed["version"] == 1
    with reading(people.store.engine) as connection:
        rows = connection.execute(select(NOTICES).where(NOTICES.c.code == entry.code)).all()
    assert [(row.kind, "2099-01-01" in row.sentence) for row in rows] == [("changed", True)]


def test_the_authoritys_text_stands_beside_the_providers(people):
    """Side by side, field by field, and the provider has a notice (SD16.3)."""
    entry = people.entry()
    people.publish(entry)
    people.release()
    changes = {
        "scope": "市、县两级",
        "items[name].condition": "仅限核对",
        "items[name].share_type": "conditional",
    }
    answer = people.do("adjust", "liu-yang", code=entry.code, changes=changes, opinion="统一范围")
    assert (answer["version"], answer["state"]) == (2, "published")
    shown = people.do("show", "li-na", code=entry.code)
    assert {each["field"]: (each["provider"], each["authority"]) for each in shown["adjusted"]} == {
        "scope": ("全市", "市、县两级"),
        "items[name].condition": ("", "仅限核对"),
        "items[name].share_type": ("unconditional", "conditional"),
        "interface.document_version": (1, 2),
    }
    [notice] = people.do("notices", "li-na")
    assert notice["kind"] == "adjusted" and "统一范围" in notice["sentence"]
    assert people.do("read_notices", "li-na") == {"read": 1}
    with pytest.raises(Refused, match="code and provider"):
        people.do("adjust", "liu-yang", code=entry.code, changes={"provider": people.civil}, opinion="x")
    people.release()
    assert people.do("show", "li-na", code=entry.code)["entry"]["scope"] == "市、县两级"


def test_withdrawn_and_suspended_end_at_once(people):
    """Before any release says so; a suspended one comes back with a release, a withdrawn one never."""
    first, second = people.entry(1), people.entry(2)
    people.publish(first, second)
    people.release()
    people.do("suspend", "liu-yang", code=first.code, opinion="结构变化")
    people.do("withdraw", "wang-wei", code=second.code, opinion="职责划转")
    in_force = people.do("list", "chen-jie", provider=people.police)
    assert in_force["entries"] == []
    people.do("resume", "liu-yang", code=first.code)
    people.release()
    [listed] = people.do("list", "chen-jie", provider=people.police)["entries"]
    assert listed["code"] == first.code
    with pytest.raises(Refused, match="this code has ended"):
        people.draft(second)


def test_a_grant_on_a_withdrawn_resource_ends(people):
    """Nothing flows from the moment of the withdrawal; the clock gives the grant its end, the consumer has a notice (5.2)."""
    entry, grant = people.entry(), f"G-end-{people.number}"
    people.publish(entry)
    people.release()
    lenses = Lenses()
    with writing(people.store.engine) as connection:
        grant_directly(connection, grant, "civil-node", entry, {}, days=365)
        assert lenses.of(connection, permit(connection, grant), now_us(connection)) is not None
    people.do("suspend", "liu-yang", code=entry.code, opinion="结构变化")
    with writing(people.store.engine) as connection, pytest.raises(Refused, match="sharing catalogue"):
        lenses.of(connection, permit(connection, grant), now_us(connection))
    settle(people.store.engine, people.profile)
    with reading(people.store.engine) as connection:
        assert permit(connection, grant).state == "active"
    people.do("withdraw", "wang-wei", code=entry.code, opinion="职责划转")
    settle(people.store.engine, people.profile)
    with reading(people.store.engine) as connection:
        found, now = permit(connection, grant), now_us(connection)
    assert (found.state, found.valid_to_us <= now) == ("revoked", True)
    assert "withdrawn" in found.refusal(now)


def test_a_secret_resource_is_refused(people):
    """Already as a draft (V20)."""
    with pytest.raises(Refused, match="V20 is_secret"):
        people.draft(people.entry(is_secret=True))


def test_an_item_that_others_have_already_is_shown_and_asks_for_a_reason(people):
    """By the standard's code; with a reason it goes on, and the reason is kept (SD18.1)."""

    def standard(entry: Any, code: str) -> Any:
        first, *rest = entry.items
        return entry.model_copy(update={"items": (first.model_copy(update={"standard": code}), *rest)})

    code = f"DE{people.number:05d}"
    theirs = standard(people.entry(), code)
    people.publish(theirs)
    people.release()
    ours = standard(
        people.entry(7, provider=people.civil, provider_name="济南市民政局", name="救助对象"), code
    )
    answer = people.do("draft", "chen-jie", entry=ours.model_dump(mode="json"))
    assert [each["code"] for each in answer["repeats"]] == [theirs.code]
    with pytest.raises(Refused, match=f"others provide the same items already.*{theirs.code}"):
        people.do("submit", "chen-jie", code=ours.code)
    people.do("submit", "chen-jie", code=ours.code, reason="需要历史值")
    assert people.do("history", "chen-jie", code=ours.code)[-1]["opinion"] == "需要历史值"
    found = people.do("repeats", "chen-jie", names=["信息项 ID_NO"])["items"]
    assert theirs.code in [each["code"] for each in found]


def test_nothing_is_published_whose_interface_does_not_answer(people):
    """The probe: the platform has the table (SD19.1)."""
    entry = people.entry(table="person")
    people.draft(entry)
    people.do("submit", "li-na", code=entry.code)
    people.do("audit", "wang-wei", code=entry.code)
    with pytest.raises(Refused, match="V16 binding: the platform has no table person"):
        people.do("publish", "wang-wei", code=entry.code)
    people.apply_tables()
    assert people.do("publish", "wang-wei", code=entry.code)["state"] == "published"


def test_the_interface_document_is_made_from_the_contract(people):
    """Items, types, key, mode, sample shape, error codes, limits; its version is the contract's (SD19.1, SD19.2)."""
    entry = people.entry(share={"born": "not_shared"}, basis=BASIS)
    people.draft(entry)
    answer = people.do("document", "li-na", code=entry.code)
    text = answer["text"]
    assert "合同版本：1　文档版本：1" in text and "| `id_no` | 字符型 C | — | 是 |" in text
    assert "born" not in text.split("不予共享、不提供")[0] and "NOT_GRANTED" in text and "P1D" in text
    stale = entry.model_copy(update={"interface": entry.interface.model_copy(update={"document_version": 9})})
    people.do("edit", "li-na", entry=stale.model_dump(mode="json"))
    with pytest.raises(
        Refused, match=r"V16 interface\.document_version: the interface document is of version 9"
    ):
        people.do("submit", "li-na", code=entry.code)
