"""Releases of the catalogue: numbered, signed, verified without central, compared; and a node's own part."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import bindparam, select, update

from central.ca import make_authority
from central.catalogue.node_part import NodeParts
from central.catalogue.published import newest_release, published, published_of
from central.catalogue.releasing import verify_kept
from central.people.office import actor
from central.store import now_us, reading, writing
from central.store.catalogue import ENTRIES, RELEASED
from proto.catalogue import Head, NodeCatalogue, canonical, entries_of, head_line, verify_node, verify_release
from proto.errors import Diverged, Refused
from proto.signing import SignatureWrong
from tests.support.bureaucracy import Bureaucracy
from tests.support.counting import counted
from tests.support.shares import grant_directly
from tests.support.stores import Store

pytest_plugins = ["tests.support.stores"]
_IN_FORCE = select(RELEASED).where(
    RELEASED.c.until_release.is_(None), RELEASED.c.code.in_(bindparam("codes", expanding=True))
)


@pytest.fixture
def people(store: Store, tmp_path) -> Bureaucracy:
    """Two departments, an authority and a tester."""
    return Bureaucracy(store, tmp_path)


def _ca(people: Bureaucracy) -> bytes:
    return people.authority.certificate.public_bytes(Encoding.PEM)


def _file(people: Bureaucracy, number: int = 0) -> list[bytes]:
    """A release as export-release writes it."""
    head = people.do("release_head", "wu-di", release=number)
    said = Head(**head["head"])
    lines, after = [], ""
    while True:
        page = people.do("release_lines", "wu-di", release=said.release, after=after, limit=2)
        lines += [line.encode() for line in page["lines"]]
        after = page["after"]
        if not after:
            break
    first = head_line(said.document, bytes.fromhex(head["signature"]), head["certificate"].encode())
    return [line + b"\n" for line in (first, *lines)]


def test_a_release_is_verified_with_nothing_but_the_authoritys_certificate(people):
    """Numbered, derived from what is published, signed; no database is asked; every version with its contract and its tags (SD07.1, SD11.1, SD11.2)."""
    entries = [people.entry(n) for n in range(1, 6)]
    people.publish(*entries)
    answer = people.release()
    lines = _file(people)
    head = verify_release(lines, _ca(people))
    assert (head.release, head.entries) == (answer["release"], answer["entries"])
    ours = [each for each in entries_of(lines) if each["entry"]["provider"] == people.police]
    assert [each["code"] for each in ours] == sorted(entry.code for entry in entries)
    # Canonical to the byte, though put together from parts.
    assert [canonical(json.loads(line)) + b"\n" for line in lines[1:]] == lines[1:]
    contract = ours[0]["entry"]
    assert {"items", "kind", "theme", "interface", "binding"} <= set(contract)
    assert {item["column"]: item["is_key"] for item in contract["items"]}["id_no"]
    assert head.platform["region"] == "370100" and head.policy == "sd-2015"
    assert people.release()["release"] == head.release + 1
    assert verify_release(_file(people), _ca(people)).previous != ""


def test_any_change_of_a_release_is_found(people):
    """A flipped byte, a missing, repeated, foreign or reordered line, another authority (SD07.1)."""
    people.publish(*(people.entry(n) for n in range(1, 5)))
    people.release()
    lines, ca = _file(people), _ca(people)
    dice = random.Random(7)
    for _ in range(60):
        at = dice.randrange(len(lines))
        place = dice.randrange(len(lines[at]) - 1)
        flipped = bytes([lines[at][place] ^ (1 << dice.randrange(7))])
        if flipped == b"\n":
            continue
        changed = [*lines[:at], lines[at][:place] + flipped + lines[at][place + 1 :], *lines[at + 1 :]]
        with pytest.raises(Refused):
            verify_release(changed, ca)
    for changed in (lines[:-1], [*lines, lines[-1]], [lines[0], *reversed(lines[1:])], lines[1:], []):
        with pytest.raises(Refused):
            verify_release(changed, ca)
    with pytest.raises(SignatureWrong, match="not from an authority we trust"):
        verify_release(lines, make_authority("别的 CA").certificate.public_bytes(Encoding.PEM))


def test_an_entry_changed_behind_centrals_back_is_found(people):
    """The signed digest tells: what is in the table must be what was signed."""
    entry = people.entry()
    people.publish(entry)
    number = people.release()["release"]
    # Rolled back at the end: the store is shared.
    with people.store.engine.connect() as connection:
        assert verify_kept(connection, number).release == number
        document = people.entry(scope="全国").model_dump_json()
        connection.execute(update(ENTRIES).where(ENTRIES.c.code == entry.code).values(document=document))
        with pytest.raises(Diverged, match="not what was signed"):
            verify_kept(connection, number)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("provider_name", " "),
        ("class_path", []),
        ("modes", []),
        ("scope", ""),
        ("condition", ""),
        ("update_limit", ""),
    ],
)
def test_what_lacks_one_of_the_seven_elements_does_not_enter(people, field, value):
    """It is left out and named, the others go in; as if it had come past the audit (SD16.1)."""
    good, bad = people.entry(1), people.entry(2, share={"name": "conditional"})
    people.publish(good, bad)
    said = bad.model_dump(mode="json")
    said[field] = value
    for item in said["items"]:
        item["condition"] = ""
    if field != "condition":
        said["condition"] = "履行职责需要"
    if field in ("class_path", "update_limit"):
        with pytest.raises(Refused, match=f"entry.{field}"):
            people.do("draft", "li-na", entry=said)
        return
    with writing(people.store.engine) as connection:
        broken = update(ENTRIES).where(ENTRIES.c.code == bad.code).values(document=json.dumps(said))
        connection.execute(broken)
    answer = people.release()
    [left] = [each for each in answer["left_out"] if each["code"] == bad.code]
    assert ("V22", field) in [(fault["rule"], fault["field"]) for fault in left["faults"]]
    listed = people.do("list", "chen-jie", provider=people.police)["entries"]
    assert [each["code"] for each in listed] == [good.code]


def test_what_changed_from_one_release_to_the_next(people):
    """Added, changed, withdrawn, and each field's change (SD07.2)."""
    stays, changes, goes = people.entry(1), people.entry(2), people.entry(3)
    people.publish(stays, changes, goes)
    first = people.release()["release"]
    people.draft(people.entry(2, scope="全省", columns=("id_no", "name", "born", "sex")))
    people.publish_rest(changes.code)
    people.do("withdraw", "wang-wei", code=goes.code, opinion="职责划转")
    comes = people.entry(4)
    people.publish(comes)
    second = people.release()["release"]
    found = {
        each["code"]: each for each in people.do("diff", "chen-jie", first=first, second=second)["entries"]
    }
    kinds = {code: found[code]["kind"] for code in (changes.code, goes.code, comes.code)}
    assert kinds == {changes.code: "changed", goes.code: "withdrawn", comes.code: "added"}
    assert stays.code not in found
    fields = {each["field"]: (each["before"], each["after"]) for each in found[changes.code]["fields"]}
    assert fields["scope"] == ("全市", "全省")
    assert fields["items[sex].name"] == (None, "信息项sex")
    backwards = {each["code"]: each["kind"] for each in _diff(people, second, first)}
    assert (backwards[goes.code], backwards[comes.code]) == ("added", "withdrawn")
    with pytest.raises(Refused, match="no such release"):
        people.do("diff", "chen-jie", first=first, second=10**6)


def test_a_release_asks_no_more_for_a_large_catalogue(people):
    """A page of rows is one statement, whatever the planner thinks of tables that nobody has counted yet."""
    entries = [people.entry(n) for n in range(1, 13)]
    people.publish(*entries[:2])
    with counted(people.store.engine) as few:
        people.release()
    people.publish(*entries[2:])
    with counted(people.store.engine) as many:
        people.release()
    assert len(many.statements) == len(few.statements)
    # Nothing is looked for page by page that would have to be found among all that was taken before.
    assert not [each for each in many.like("central_catalogue_released") if " IN (" in each]


def test_a_page_of_a_comparison_is_read_in_one_go(people):
    """Entries without a change are not read, and the others with two questions, however many there are."""
    entries = [people.entry(n) for n in range(1, 9)]
    people.publish(*entries)
    first = people.release()["release"]
    for entry in entries[:5]:
        people.draft(entry.model_copy(update={"scope": "全省"}))
        people.publish_rest(entry.code)
    second = people.release()["release"]
    with counted(people.store.engine) as asked:
        found = people.do("diff", "chen-jie", first=first, second=second, limit=4)
    changed = [{each["field"]: each["after"] for each in entry["fields"]} for entry in found["entries"]]
    assert changed == [{"scope": "全省", "interface.document_version": 2}] * 4
    assert found["after"] == entries[3].code
    assert len(asked.like("central_catalogue_entries")) == 2


def _diff(people: Bureaucracy, first: int, second: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = people.do("diff", "chen-jie", first=first, second=second)["entries"]
    return found


def test_a_node_gets_its_own_part_signed(people):
    """The columns of its own streams with their share types, and nothing of a node whose name begins alike."""
    ours = people.entry(1, share={"born": "conditional"})
    people.publish(ours)
    people.release()
    part = NodeParts(people.store.engine, people.signer).part(people.node.name)
    found = verify_node(part.document, part.signature, part.certificate, _ca(people))
    [entry] = found.entries
    assert (entry.code, entry.source, entry.table, entry.version) == (ours.code, "hr", "person", 1)
    assert {each.column: each.share_type for each in entry.columns} == {
        "id_no": "unconditional",
        "name": "unconditional",
        "born": "conditional",
    }
    assert entry.captured == {"id_no", "name", "born"} and entry.columns[0].is_key
    assert NodeCatalogue.read(part.document) == found
    with pytest.raises(SignatureWrong):
        verify_node(part.document.replace(b"born", b"bern"), part.signature, part.certificate, _ca(people))
    shorter = people.node.name[:-1]
    assert [each.code for each in _part(people, shorter) if each.code == ours.code] == []
    with pytest.raises(Refused, match="signs nothing"):
        NodeParts(people.store.engine, None).part(people.node.name)


def _part(people: Bureaucracy, node: str) -> Any:
    return NodeCatalogue.read(NodeParts(people.store.engine, people.signer).part(node).document).entries


def test_other_rooms_see_what_is_in_force(people):
    """Through central/catalogue/published.py: by code, by stream, with version and release."""
    entry = people.entry()
    people.publish(entry)
    with reading(people.store.engine) as connection, pytest.raises(Refused, match="sharing catalogue"):
        published(connection, entry.code)
    number = people.release()["release"]
    with reading(people.store.engine) as connection:
        found = published(connection, entry.code)
        assert (found.version, found.release, found.entry.name) == (1, number, entry.name)
        assert [each.entry.code for each in published_of(connection, people.node.stream)] == [entry.code]
        assert newest_release(connection) == number
    people.do("withdraw", "liu-yang", code=entry.code, opinion="停用")
    with reading(people.store.engine) as connection, pytest.raises(Refused, match="sharing catalogue"):
        published(connection, entry.code)


def _next_version(people: Bureaucracy, entry: Any, *columns: str) -> None:
    """The same entry with these items, published."""
    kept = tuple(item for item in entry.items if item.column in columns)
    changed = entry.model_copy(update={"items": kept})
    people.draft(changed)
    people.publish_rest(entry.code)


def test_grants_are_told_the_day_of_another_contract(people):
    """A release that changes what somebody receives says from when on, by the policy or as its maker says (SD17.2)."""
    entry, other = people.entry(1), people.entry(2)
    people.publish(entry, other)
    people.release()
    grant = f"G-{people.number}"
    with writing(people.store.engine) as connection:
        grant_directly(connection, grant, "civil-node", entry, {}, days=365, department=people.civil)
    people.do("read_notices", "zhou-min")
    _next_version(people, entry, "id_no", "name")
    _next_version(people, other, "id_no", "name")
    people.release()
    calendar = people.profile.calendar
    with reading(people.store.engine) as connection:
        now = now_us(connection)
        found = {
            row.code: row.contract_us
            for row in connection.execute(_IN_FORCE, {"codes": [entry.code, other.code]})
        }
    days = timedelta(days=people.profile.catalogue.contract_overlap_days)
    assert found == {entry.code: calendar.begin_of(calendar.day_of(now) + days), other.code: None}

    notices = [each["sentence"] for each in people.do("notices", "zhou-min")]
    assert any("without born" in each and "version 2" in each for each in notices), notices
    turn_of = people.desk.do(
        "grant.show", {"grant": grant}, lambda c: actor(c, people.called("liu-yang"), "certificate")
    )
    assert turn_of["coming"]["contract"] == 1
    assert (turn_of["coming"]["version"], turn_of["coming"]["at_us"]) == (2, found[entry.code])
    assert "without born" in turn_of["coming"]["what"]
    listed = people.desk.do(
        "grant.list", {"resource": entry.code}, lambda c: actor(c, people.called("liu-yang"), "certificate")
    )
    assert listed["grants"][0]["coming"] == turn_of["coming"]


def test_a_release_may_let_nothing_overlap(people):
    """``--overlap-days 0``: the next version is followed at once."""
    entry = people.entry(1)
    people.publish(entry)
    people.release()
    with writing(people.store.engine) as connection:
        grant_directly(connection, f"G-{people.number}", "civil-node", entry, {}, department=people.civil)
    _next_version(people, entry, "id_no", "name")
    people.do("release", "liu-yang", note="", overlap_days=0)
    with reading(people.store.engine) as connection:
        [row] = connection.execute(_IN_FORCE, {"codes": [entry.code]}).all()
    assert (row.version, row.contract_us) == (2, None)
