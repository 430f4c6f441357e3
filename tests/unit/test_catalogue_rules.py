"""The rules V01 to V26: each finds what it is for, names the field, and is silent about an entry that keeps it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from central.catalogue.entry import Entry, LegalBasis
from central.catalogue.rules import RULES, Facts, Live, Offices, Severity, look
from central.catalogue.rules.facts import LiveColumn, period
from central.catalogue.states import EntryState
from central.policy import Profile, profile_named
from proto.v1 import node_pb2
from tests.support.shares import entry_of

HOUR_US = 3_600_000_000
NOW_US = 1_800_000_000_000_000
BASIS = LegalBasis(title="统计法", document_no="主席令第15号", article="第九条", kind="law")
COLUMNS = {
    "id_no": LiveColumn("text", "character varying(18)"),
    "name": LiveColumn("text", "text"),
    "age": LiveColumn("int32", "integer"),
}
LIVE = Live(COLUMNS, ("id_no",), tuple(COLUMNS), at_us=NOW_US, answers=True, updated_us=NOW_US - HOUR_US)
OFFICES = Offices(frozenset({"a"}), frozenset({"b"}), frozenset({"c"}))


def entry(**changes: Any) -> Entry:
    """An entry that keeps every rule; *changes* are fields, ``items__n__field`` those of an item."""
    made = entry_of("3070101/000001", "police/hr", "person", list(COLUMNS), name="常住人口信息")
    said = made.model_dump(mode="json")
    said["items"][2]["type"] = "I"
    for name, value in changes.items():
        outer, *inner = name.split("__")
        if inner:
            said[outer][int(inner[0])][inner[1]] = value
        else:
            said[outer] = value
    return Entry.model_validate(said)


def facts(changed: Entry | None = None, **other: Any) -> Facts:
    """What is known about a released entry that is in order."""
    usual = Facts(
        changed or entry(),
        profile_named().catalogue,
        date(2026, 11, 29),
        NOW_US,
        1,
        EntryState.RELEASED,
        offices=OFFICES,
        registration_no="SD-1",
        live=LIVE,
    )
    return replace(usual, **other)


def found(facts_: Facts) -> list[tuple[str, str, str]]:
    """Rule, field and severity of everything found."""
    return [(each.rule, each.field, str(each.severity)) for each in look(facts_, RULES)]


def deletes(how: node_pb2.TableReport.Deletes, every_s: int = 0) -> Live:
    """The table as it is, and how its node sees deletes there."""
    return replace(LIVE, reported=node_pb2.TableReport(table="person", deletes=how, compared_every_s=every_s))


SEEN, COMPARED, UNSEEN = (
    node_pb2.TableReport.SEEN,
    node_pb2.TableReport.COMPARED,
    node_pb2.TableReport.UNSEEN,
)


@pytest.mark.parametrize(
    "quiet",
    [
        facts(live=deletes(SEEN)),
        facts(live=deletes(COMPARED, 86_400)),
        facts(entry(deletes_rows=False), live=deletes(UNSEEN)),
    ],
    ids=["seen", "in time", "declared"],
)
def test_deletes_that_are_seen_as_the_entry_says(quiet):
    """With every change, by a comparison within the update limit, or openly not at all (SD12.6)."""
    assert found(quiet) == []


def test_an_entry_in_order_has_no_findings():
    """Silence is the proof that the others are not noise."""
    assert found(facts()) == []


def test_every_number_has_a_rule_with_words():
    """V01 to V26, none missing; each says what it is and what to do (SD16.2)."""
    assert sorted({rule.number for rule in RULES}) == [f"V{n:02d}" for n in range(1, 27)]
    assert all(rule.title and rule.fix for rule in RULES)


CASES: list[tuple[str, str, str, Facts]] = [
    ("V01", "abstract", "error", facts(entry(abstract=" "))),
    ("V01", "update_cycle_text", "error", facts(entry(update_cycle="irregular"))),
    ("V02", "code", "error", facts(entry(code="人口/1"))),
    ("V02", "code", "error", facts(entry(code="3070101"))),
    ("V02", "class_path", "error", facts(entry(class_path=["3", "07", "010", "2"]))),
    ("V02", "class_path[1]", "error", facts(entry(class_path=["3", "7", "0101"]))),
    ("V03", "code", "error", facts(holder="11370100004188888C")),
    ("V04", "provider", "error", facts(entry(provider="11370100MB00000010"))),
    ("V05", "name", "error", facts(same_name=("3070101/000002",))),
    ("V06", "name", "warning", facts(entry(name="人口管理系统"))),
    ("V07", "modes", "error", facts(entry(format_class=7))),
    ("V08", "items[name].condition", "error", facts(entry(items__1__share_type="conditional"))),
    ("V09", "items[name].basis", "error", facts(entry(items__1__share_type="not_shared"))),
    (
        "V09",
        "verification",
        "error",
        facts(entry(items__1__share_type="not_shared", basis=BASIS.model_dump())),
    ),
    ("V10", "items[name].name", "error", facts(entry(items__1__name="信息项 ID_NO"))),
    ("V10", "items[name].column", "error", facts(entry(items__2__column="name", items__2__type="C"))),
    ("V11", "items[gone]", "error", facts(entry(items__1__column="gone"))),
    ("V11", "items[age].type", "error", facts(entry(items__2__type="D"))),
    ("V11", "items[id_no].length", "warning", facts(entry(items__0__length=15))),
    ("V11", "binding", "error", facts(live=replace(LIVE, columns={}, trouble="no such table"))),
    ("V11", "binding", "warning", facts(live=replace(LIVE, columns={}))),
    (
        "V12",
        "columns[note]",
        "info",
        facts(live=replace(LIVE, columns={**COLUMNS, "note": LiveColumn("text", "text")})),
    ),
    (
        "V12",
        "columns[note]",
        "warning",
        facts(
            live=replace(
                LIVE, columns={**COLUMNS, "note": LiveColumn("text", "text")}, captured=(*COLUMNS, "note")
            )
        ),
    ),
    ("V13", "items", "warning", facts(entry(items__0__is_key=False))),
    ("V13", "items", "warning", facts(live=replace(LIVE, key=("name",)))),
    ("V13", "items", "error", facts(live=replace(LIVE, key=("name",), sampled=10, repeats=2))),
    ("V14", "update_limit", "warning", facts(entry(update_limit="P3D"))),
    ("V14", "update_limit", "error", facts(entry(update_limit="PT0S"))),
    ("V15", "update_limit", "error", facts(live=replace(LIVE, updated_us=NOW_US - 49 * HOUR_US))),
    ("V15", "update_limit", "error", facts(live=replace(LIVE, updated_us=0))),
    ("V16", "binding", "error", facts(live=replace(LIVE, answers=False))),
    ("V16", "binding", "error", facts(entry(binding=None))),
    (
        "V16",
        "interface.document_version",
        "error",
        facts(entry(interface={"kind": "table", "document_version": 2})),
    ),
    ("V17", "published_on", "error", facts(entry(published_on="2026-02-30"))),
    ("V17", "published_on", "error", facts(entry(published_on="2026年1月"))),
    ("V17", "published_on", "error", facts(entry(published_on="2026-11-30"))),
    (
        "V18",
        "survey.shared_rows",
        "warning",
        facts(entry(survey={"structured_rows": 1, "shared_rows": 2})),
    ),
    ("V19", "related", "error", facts(unknown_codes=("3070101/9",))),
    ("V20", "is_secret", "error", facts(entry(is_secret=True))),
    ("V21", "provider", "error", facts(offices=Offices(frozenset({"a"}), frozenset(), frozenset({"c"})))),
    (
        "V21",
        "provider",
        "error",
        facts(offices=Offices(frozenset({"a"}), frozenset({"a"}), frozenset({"c"}))),
    ),
    ("V21", "provider", "warning", facts(offices=Offices(frozenset({"a"}), frozenset({"b"}), frozenset()))),
    ("V22", "scope", "error", facts(entry(scope=""))),
    ("V23", "items[id_no].share_type", "warning", facts(entry(items__0__is_personal=True))),
    ("V24", "registration_no", "warning", facts(registration_no="")),
    ("V25", "deletes_rows", "warning", facts(live=deletes(UNSEEN))),
    ("V25", "deletes_rows", "warning", facts(live=deletes(COMPARED, 86_401))),
    ("V26", "sources", "error", facts(entry(modes=("exchange", "custom")))),
]


@pytest.mark.parametrize(
    ("rule", "field", "severity", "broken"), CASES, ids=[f"{each[0]}-{n}" for n, each in enumerate(CASES)]
)
def test_a_rule_finds_what_it_is_for(rule, field, severity, broken):
    """With the field's name and how bad it is (V01–V26)."""
    assert (rule, field, severity) in found(broken)


def test_every_rule_is_tried():
    """A rule without a case above proves nothing."""
    assert {rule for rule, *_ in CASES} == {rule.number for rule in RULES}


def test_what_the_authority_verified_is_in_order():
    """V09 with the authority's word beside it."""
    closed = entry(items__1__share_type="not_shared", basis=BASIS.model_dump())
    assert found(facts(closed, verification={"result": "verified"})) == []
    assert ("V09", "verification", "error") in found(facts(closed, verification={"result": "returned"}))


def test_another_profile_asks_for_more():
    """Conditional needs a basis under the regulation of 2025, without another line of code."""
    conditional = entry(items__1__share_type="conditional", items__1__condition="用于核对")
    profile: Profile = profile_named("cn-2025")
    assert found(facts(conditional)) == []
    assert ("V09", "items[name].basis", "error") in found(facts(conditional, policy=profile.catalogue))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("P1D", 86400), ("PT30M", 1800), ("P1DT1H1M1S", 90061), ("PT0S", 0), ("P31D", 2678400)],
)
def test_a_duration_is_as_long_as_it_says(text, seconds):
    """ISO 8601, days to seconds."""
    assert period(text).total_seconds() == seconds


def test_severities_are_three():
    """Error, warning, info; anything else would not be counted."""
    assert {rule.severity for rule in RULES} <= set(Severity)
