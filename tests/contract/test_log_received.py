"""Who received one item of one person between two days, and what the log never says (SD26.4, SD26.5)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from central import audit
from central.audit import Tip
from central.log.export import export_log
from central.people import Office, Role
from central.people.office import Person
from central.store import reading, writing
from central.store.tables import AUDIT
from proto.comparison import text_digest
from proto.errors import NotAdmitted, Refused
from proto.signing import Signer
from proto.values import Kind
from tests.support.sharing import ROWS

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]
LI, WANG = ROWS[0][0], ROWS[1][0]


@pytest.fixture
def auditor(town) -> str:
    """Who may ask."""
    person = Person(town.name("data-audit"), "何审", town.codes["data"], (Role.AUDIT_ADMIN,), left=False)
    Office(town.engine).add_person(person, "test")
    return "data-audit"


def received(town, who, entry, key, **other):
    """Today, unless told otherwise."""
    asked = {"resource": entry.code, "item": "name", "key": {"id": key}, "reason": "当事人申请", **other}
    days = {"since": str(town.day(0)), "until": str(town.day(1))}
    return town.do(who, "audit.received", **{**days, **asked})["grants"]


def test_a_query_by_key_is_found_by_that_key_alone(town, auditor):
    """Exactly, without the log holding the key (SD26.4)."""
    entry = town.entry()
    grant = town.granted(entry)
    town.do("civil-clerk", "share.query", grant=grant, purpose="核对", key={"id": LI})

    (of_li,) = received(town, auditor, entry, LI)
    assert (of_li["grant"], of_li["says"], of_li["consumer"]) == (grant, "received", town.name("civil"))
    assert [(each["event"], each["rows"]) for each in of_li["queries"]] == [("queried", 1)]
    (of_wang,) = received(town, auditor, entry, WANG)
    assert (of_wang["says"], of_wang["queries"]) == ("nothing", [])
    assert received(town, auditor, entry, LI, item="born") == []
    tomorrow = {"since": str(town.day(1)), "until": str(town.day(2))}
    assert received(town, auditor, entry, LI, **tomorrow)[0]["says"] == "nothing"


def test_what_cannot_be_ruled_out_is_said(town, auditor):
    """A condition without a key; deliveries of which no keys were kept."""
    entry = town.entry()
    grant = town.granted(entry)
    town.do("civil-clerk", "share.query", grant=grant, purpose="核对", where="region = '370102'")
    (found,) = received(town, auditor, entry, LI)
    assert (found["says"], found["conditions"], found["queries"]) == ("may have", 1, [])

    chain = f"delivery:{town.name('civil')}"
    begin, now = town.profile.calendar.begin_of(town.day(0)), town.now()
    day = int(timedelta(days=1).total_seconds() * 1_000_000)
    with writing(town.engine) as connection:
        for at_us, of_grant in (
            (begin - day, grant),
            (now, grant),
            (now + 5, "G-X"),
            (begin + day, grant),
        ):
            tip = audit.tip(connection, chain)
            told = Tip(chain, tip.n, tip.digest, at_us)
            audit.append(connection, told, "delivered", {"grant": of_grant, "rows": 3, "purpose": "“核对”"})
    (found,) = received(town, auditor, entry, LI)
    assert found["unknown"] == {"deliveries": 1, "rows": 3, "first_us": now, "last_us": now}


def test_a_comparison_is_found_by_each_key_it_met(town, auditor):
    """Match or mismatch tells something of a person; of somebody who was not found it tells nothing of theirs."""
    entry = town.entry()
    grant = town.granted(entry, items=["id", "name"])
    said = {"grant": grant, "purpose": "核对"}
    begun = town.do("civil-clerk", "share.compare-begin", **said)
    digests = {"name": text_digest(bytes.fromhex(begun["key"]), "name", Kind.TEXT, "李娜")}
    claims = [{"key": {"id": each}, "digests": digests} for each in (LI, WANG, "370100000000000000")]
    town.do("civil-clerk", "share.compare", **said, comparison=begun["comparison"], claims=claims)
    for key, says in (
        (LI, "received"),
        (WANG, "received"),
        (ROWS[2][0], "nothing"),
        (claims[2]["key"]["id"], "nothing"),
    ):
        (found,) = received(town, auditor, entry, key)
        assert found["says"] == says, key
        assert [each["comparison"] for each in found["brought"]] == [begun["comparison"]] * (
            says == "received"
        )
        assert (found["conditions"], found["queries"]) == (0, [])


def test_a_query_by_a_pseudonym_is_found_by_the_key_behind_it(town, auditor):
    """The auditor names the person; the consumer knows a pseudonym."""
    entry = town.entry(share={"id": "conditional"})
    request = town.ask(entry, items=["id", "name"])["request"]
    masks = {"id": {"mask": "pseudonym"}}
    grant = town.do("police-admin", "share.agree", request=request, conditions={"masks": masks})["grant"]
    said = {"grant": grant, "purpose": "核对"}
    shown = town.do("civil-clerk", "share.query", **said, where="name = '李娜'")
    [[pseudonym, _]] = shown["rows"]
    town.do("civil-clerk", "share.query", **said, key={"id": pseudonym})
    (of_li,) = received(town, auditor, entry, LI)
    (of_wang,) = received(town, auditor, entry, WANG)
    assert [each["rows"] for each in of_li["queries"]] == [1]
    assert of_wang["queries"] == []


def test_not_everybody_may_ask(town, auditor):
    """And that somebody asked is on record, without the key."""
    entry = town.entry()
    with pytest.raises(Refused, match="ever granted"):
        received(town, auditor, entry, LI)
    town.granted(entry)
    with pytest.raises(NotAdmitted):
        received(town, "civil-admin", entry, LI)
    received(town, auditor, entry, LI)
    asked = town.records("received_asked")[-1]
    assert (asked["who"], asked["item"], asked["reason"]) == (town.name(auditor), "name", "当事人申请")


CANARIES = ("370102199001011234", "370103198505054321", "李娜", "王伟", "13912345678")


def test_no_value_of_a_row_is_ever_in_the_log(town, auditor, tmp_path, capsys):
    """ID numbers, names and phone numbers in rows, questions, comparisons and refusals; log, export, printed lines."""
    entry = town.entry()
    grant = town.granted(entry)
    compared = town.granted(town.entry(), mode="query", items=["id", "name"])
    tries = (
        ("civil-clerk", "share.query", {"grant": grant, "key": {"id": LI}}),
        ("civil-clerk", "share.query", {"grant": grant, "where": "name = '王伟' or name = '13912345678'"}),
        ("civil-clerk", "share.query", {"grant": grant, "where": "born = '13912345678'"}),
        ("civil-clerk", "share.query", {"grant": grant, "key": {"phone": "13912345678"}}),
        ("civil-clerk", "share.query", {"grant": grant, "where": "'李娜' ="}),
        ("health-admin", "share.query", {"grant": grant, "key": {"id": WANG}}),
        ("civil-clerk", "share.compare_begin", {"grant": compared}),
        ("civil-clerk", "share.compare", {"grant": compared, "comparison": "13912345678", "claims": []}),
    )
    for who, verb, arguments in tries:
        try:
            town.do(who, verb, purpose="核对", **arguments)
        except Refused as error:
            assert not [each for each in CANARIES if each in str(error)], (verb, str(error))
    received(town, auditor, entry, LI)

    with reading(town.engine) as connection:
        said = "\n".join(connection.scalars(select(AUDIT.c.facts)))
    assert town.name("civil-clerk") in said
    town_signer = _signer(tmp_path)
    folder = export_log(town.engine, town_signer, tmp_path / "export").folder
    files = "\n".join(each.read_text("utf-8") for each in folder.iterdir())
    printed = "".join(capsys.readouterr())
    for canary in CANARIES:
        assert canary not in said
        assert canary not in files
        assert canary not in printed


def _signer(folder) -> Signer:
    from central.ca import make_authority

    make_authority("CA").issue_platform("省平台").write(folder / "p.pem", folder / "p.key")
    return Signer.load(folder / "p.pem", folder / "p.key")


def test_every_decision_says_who_and_when(town):
    """Of a request, a grant, its use, its end and a refused attempt (SD26.1)."""
    with reading(town.engine) as connection:
        before = audit.heads(connection).get("decisions", 0)
    grant = town.granted(town.entry())
    town.do("civil-clerk", "share.query", grant=grant, purpose="核对", key={"id": LI})
    with pytest.raises(Refused):
        town.do("health-admin", "share.query", grant=grant, purpose="核对", key={"id": LI})
    town.do("civil-admin", "grant.revoke", grant=grant, reason="不再需要")
    with reading(town.engine) as connection:
        added = [each for each in audit.records(connection, "decisions") if each.n > before]

    assert {"granted", "queried", "refused"} <= {each.event for each in added}, [e.event for e in added]
    assert all(each.at_us > 0 and '"who":"' in each.facts for each in added)
