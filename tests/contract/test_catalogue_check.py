"""The check at work: signed pages, against the live tables, read-only, by the clock; and drafts from what is there."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from sqlalchemy import select

from central.catalogue.checking import CHECK, CheckJob
from central.catalogue.describing import ask_everybody, keep
from central.registry import Registry
from central.settings import Platform
from central.store import reading
from central.store.tables import AUDIT, COMMANDS
from proto.errors import NotAdmitted, Refused
from proto.signing import SignatureWrong, Verifier
from proto.v1 import batch_pb2, node_pb2
from tests.support.bureaucracy import Bureaucracy
from tests.support.stores import Store

pytest_plugins = ["tests.support.stores"]


@pytest.fixture
def people(store: Store, tmp_path) -> Bureaucracy:
    """Two departments, an authority and a tester."""
    return Bureaucracy(store, tmp_path)


def _findings(people: Bureaucracy, person: str = "wu-di", **told: Any) -> list[tuple[str, str, str]]:
    report = json.loads(people.do("check", person, **told)["report"])
    return [(each["rule"], each["field"], each["severity"]) for each in report["findings"]]


def _describe(people: Bureaucracy, columns: dict[str, str], **other: Any) -> None:
    said = [batch_pb2.ColumnSchema(name=name, kind=kind) for name, kind in columns.items()]
    usual = {"key": ["id_no"], "captured": ["id_no", "name", "born"]}
    shape = node_pb2.TableShape(stream=people.node.stream, table="person", columns=said, **{**usual, **other})
    keep(people.store.engine, people.node.name, [shape])


def test_the_check_compares_with_the_table_as_it_is(people):
    """What the node described: a column that is gone, one of another type, one that is new (SD16.2)."""
    entry = people.entry()
    people.publish(entry)
    people.release()
    _describe(people, {"id_no": "text", "name": "text", "born": "date"})
    assert not [each for each in _findings(people, code=entry.code) if each[0] in ("V11", "V12", "V13")]
    _describe(people, {"id_no": "text", "name": "int32", "住址": "text"}, key=["name"])
    found = _findings(people, code=entry.code)
    assert ("V11", "items[name].type", "error") in found
    assert ("V11", "items[born]", "error") in found
    assert ("V12", "columns[住址]", "info") in found
    assert ("V13", "items", "warning") in found


def test_a_page_is_signed_and_follows_the_page_before_it(people):
    """A report cannot lose a page or a finding unseen; a third party can show it (SD16.2)."""
    people.publish(*(people.entry(n) for n in range(1, 6)))
    pages, after, previous = [], "", ""
    while True:
        page = people.do("check", "wang-wei", after=after, limit=2, previous=previous)
        verifier, document = Verifier(people.signer.certificate_pem), page["report"].encode()
        verifier.demand(CHECK, document, bytes.fromhex(page["signature"]))
        assert page["digest"] == hashlib.sha256(document).hexdigest()
        with pytest.raises(SignatureWrong):
            verifier.demand(CHECK, document.replace(b"V24", b"V25") + b" ", bytes.fromhex(page["signature"]))
        pages.append(json.loads(document))
        after, previous = page["after"], page["digest"]
        if not after:
            break
    assert [len(page["checked"]) for page in pages] == [2, 2, 1]
    assert pages[0]["previous"] == "" and len({page["previous"] for page in pages}) == 3


def test_a_tester_reads_and_nothing_else(people):
    """The commissioned third party sees every department's entries, and changes nothing (SD16.2)."""
    entry = people.entry()
    people.publish(entry)
    with reading(people.store.engine) as connection:
        before = connection.execute(select(AUDIT.c.n).where(AUDIT.c.chain == "decisions")).all()
    assert people.do("check", "wu-di", code=entry.code)["counts"]["error"] >= 0
    with reading(people.store.engine) as connection:
        assert connection.execute(select(AUDIT.c.n).where(AUDIT.c.chain == "decisions")).all() == before
    for verb in ("draft", "edit"):
        with pytest.raises(NotAdmitted):
            people.do(verb, "wu-di", entry=entry.model_dump(mode="json"))
    for verb in ("submit", "audit", "publish", "resume"):
        with pytest.raises(NotAdmitted):
            people.do(verb, "wu-di", code=entry.code)
    with pytest.raises(NotAdmitted):
        people.do("release", "wu-di")
    with pytest.raises(NotAdmitted):
        people.do("describe", "wu-di", stream=people.node.stream)


def test_a_department_checks_its_own_entries(people):
    """Another's are not its business before they are public, nor in the check."""
    entry = people.entry()
    people.publish(entry)
    with pytest.raises(Refused, match="another department's"):
        people.do("check", "zhou-min", code=entry.code)
    report = json.loads(people.do("check", "zhou-min", limit=1000)["report"])
    assert report["checked"] == []


def test_the_check_runs_by_the_clock(people):
    """The newest report is there, signed, with the entries it is about (SD16.2)."""
    entry = people.entry()
    people.publish(entry)
    people.release()
    _describe(people, {"id_no": "text", "name": "text"})
    CheckJob(people.store.engine, people.profile, people.signer, Platform()).run()
    report = people.do("report", "liu-yang")
    assert report["errors"] > 0 and report["entries"] > 0
    assert entry.code in report["report"]["errors"]["V11"] or len(report["report"]["errors"]["V11"]) == 50
    Verifier(people.signer.certificate_pem).demand(
        CHECK, _canonical(report["report"]), bytes.fromhex(report["signature"])
    )
    with pytest.raises(NotAdmitted, match="every department"):
        people.do("report", "wang-wei")


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_nodes_are_asked_how_their_tables_are(people):
    """On request and by the clock; one that has not answered is not asked again."""
    people.publish(people.entry())
    people.release()
    assert people.do("describe", "liu-yang", stream=people.node.stream)["node"] == people.node.name
    [command] = Registry(people.store.engine).pending_commands(people.node.name)
    assert (command.verb, command.stream) == (node_pb2.Command.DESCRIBE, people.node.stream)
    ask_everybody(people.store.engine)
    with reading(people.store.engine) as connection:
        rows = connection.execute(select(COMMANDS.c.id).where(COMMANDS.c.node == people.node.name)).all()
    assert len(rows) == 1
    Registry(people.store.engine).finish_commands(people.node.name, [command.id], [])
    ask_everybody(people.store.engine)
    assert len(Registry(people.store.engine).pending_commands(people.node.name)) == 1


def test_drafts_are_proposed_from_what_is_there_and_nothing_is_published(people):
    """From applied tables, and from what the node described; never a word about sharing (SD13.3)."""
    with pytest.raises(Refused, match="nothing is known"):
        people.do("propose", "li-na", stream=people.node.stream)
    people.apply_tables()
    [proposed] = people.do("propose", "li-na", stream=people.node.stream)["entries"]
    assert (proposed["binding"]["table"], proposed["provider"]) == ("person", people.police)
    assert [(i["column"], i["type"], i["is_key"]) for i in proposed["items"]] == [
        ("id_no", "C", True),
        ("name", "C", False),
        ("born", "D", False),
    ]
    assert {item["share_type"] for item in proposed["items"]} == {"not_shared"}
    _describe(people, {"id_no": "text", "name": "text", "born": "date", "住址": "text"})
    [proposed] = people.do("propose", "li-na", stream=people.node.stream)["entries"]
    assert proposed["items"][-1]["column"] == "住址"
    assert people.do("drafts", "li-na")["entries"] == []
    people.draft(people.entry())
    assert people.do("propose", "li-na", stream=people.node.stream)["has_entry"] == ["person"]
    with pytest.raises(NotAdmitted, match="is for people of department"):
        people.do("propose", "chen-jie", stream=people.node.stream)


def test_dcat_has_what_other_catalogues_ask_for(people):
    """Title, description, identifier, publisher, theme, periodicity, rights, distribution (requirements 4.1)."""
    entry = people.entry(published_on="2026-01-31", related=())
    people.publish(entry)
    people.release()
    document = people.do("dcat", "wu-di", provider=people.police)["document"]
    [dataset] = document["dcat:dataset"]
    assert dataset["dct:identifier"] == entry.code and dataset["dct:title"] == entry.name
    assert dataset["dct:publisher"]["dct:identifier"] == people.police
    assert (dataset["dct:accrualPeriodicity"], dataset["dct:issued"]) == ("daily", "2026-01-31")
    assert dataset["dct:accessRights"] == "无条件共享" and dataset["dcat:distribution"]
    assert document["@context"]["dcat"] == "http://www.w3.org/ns/dcat#"
