"""The ways of use beside exchange and query: who may ask under a grant, systems without a person, customised products."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from central.catalogue.documents import interface_document
from central.people import Office, Role
from central.people.office import LONGEST_SYSTEM, Person, system_at_node
from central.registry import Registry
from central.sharing.permits import NotGranted, permits
from central.sharing.use import HOUR_US, LimitReached
from central.store import reading, writing
from central.store.grants import GRANTS
from central.store.sharing import QUERY_USE
from proto.errors import NotAdmitted, Refused
from tests.support.sharing import BASIS, DAY_US, OFFICE, ROWS

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]
LI, WANG, ZHANG = (row[0] for row in ROWS)
SYSTEM = "低保核对"
NAMED = [f"system:{SYSTEM}"]
WAYS = ("exchange", "query", "interface")


def as_system(town, verb, system=SYSTEM, node="civil", **arguments):
    """What a system asks through its department's node."""
    return town.desk.do(
        verb, arguments, lambda connection: system_at_node(connection, system, town.name(node))
    )


def asks(town, system=SYSTEM, node="civil", **other):
    """A system asks for rows."""
    return as_system(town, "share.query", system, node, **{"purpose": "核对救助申请人", **other})


def person_asks(town, grant, who="civil-clerk", **other):
    return town.do(who, "share.query", grant=grant, purpose="核对", **{"key": {"id": LI}, **other})


def served(town, **other):
    """A resource offered as an interface, and the grant of it."""
    entry = town.entry(modes=WAYS)
    return entry, town.granted(entry, mode="interface", users=NAMED, **other)


def joins(town, name, roles=(), office="", department="civil"):
    """Somebody more."""
    person = Person(town.name(name), name, town.codes[department], roles, left=False, office=office)
    Office(town.engine).add_person(person, "test")


# Users


@pytest.mark.parametrize(
    ("user", "may"),
    [
        (OFFICE, "civil-clerk"),
        ("person:{clerk}", "civil-clerk"),
        ("role:registrar", "civil-clerk"),
    ],
    ids=["office", "person", "role"],
)
def test_who_is_named_may_ask_and_nobody_else(town, user, may):
    """By office, by name, or by role; who is not is told who may, and that is on record (SD24.1, SD26.1, Art. 29)."""
    joins(town, "civil-guest", (Role.RESOURCE_ADMIN,), office="办公室")
    named = user.format(clerk=town.name("civil-clerk"))
    grant = town.granted(town.entry(), users=[named])
    assert person_asks(town, grant, may)["rows"]
    with pytest.raises(NotGranted, match="none of the grant's users") as refused:
        person_asks(town, grant, "civil-guest")
    assert refused.value.fix == f"these may ask: {named}"
    record = town.records("refused")[-1]
    assert (record["verb"], record["where"], record["who"]) == (
        "share.query",
        grant,
        town.name("civil-guest"),
    )


def test_who_changes_office_may_ask_no_more(town):
    """Judged as people are now, not as they were when it was granted."""
    grant = town.granted(town.entry())
    assert person_asks(town, grant)["rows"]
    joins(town, "civil-clerk", (Role.REGISTRAR,), office="优抚科")
    with pytest.raises(NotGranted, match="of 优抚科 is none of"):
        person_asks(town, grant)


def test_users_bind_a_comparison_too(town):
    """Whatever is asked at the platform under a grant, also under one of exchange."""
    grant = town.granted(town.entry(), mode="exchange", users=["优抚科"])
    with pytest.raises(NotGranted, match="none of the grant's users"):
        town.do("civil-clerk", "share.compare-begin", grant=grant, purpose="核对")


@pytest.mark.parametrize(
    ("mode", "users", "wrong"),
    [
        ("query", ["system:低保核对"], "systems ask under a grant of the mode interface"),
        ("query", ["role:clerk"], "is no role; there are: registrar"),
        ("query", ["role:authority"], "reads no rows"),
        ("query", ["科室:救助科"], "is none of OFFICE, person:NAME"),
        ("query", ["救助科：张三"], "is none of OFFICE, person:NAME"),
        ("query", ["优抚科"], "users: 优抚科 is nobody of the department"),
        ("query", ["person:nobody"], "users: person:nobody is nobody of the department"),
        ("query", ["  "], "a user without a name"),
        ("interface", ["救助科"], "is no system; name those that ask: system:NAME"),
        ("interface", ["system:"], "a system's name has 1 to"),
        ("interface", ["system: 低保核对"], "no space at either end"),
        ("interface", ["system:" + "长" * (LONGEST_SYSTEM + 1)], "a system's name has 1 to"),
        ("exchange", ["role:clerk"], "is no role"),
    ],
)
def test_users_that_nobody_can_be_are_refused_at_once(town, mode, users, wrong):
    """Before anybody is asked to consent, with the reason (SD29.1)."""
    with pytest.raises(Refused, match=wrong):
        town.ask(town.entry(modes=WAYS), mode=mode, users=users)


def test_users_of_an_exchange_are_the_consumers_own(town):
    """What lies in the consumer's database is opened there: an office that the platform does not know is written down."""
    grant = town.granted(town.entry(), mode="exchange", users=["优抚科", "system:低保核对"])
    assert town.permit(grant).terms.users == ("优抚科", "system:低保核对")


def test_a_directed_grant_names_somebody_as_well(town):
    """The authority is told what a department would be told."""
    told = {"consumer": town.name("civil"), "resource": town.entry().code, "basis": BASIS}
    with pytest.raises(Refused, match="优抚科 is nobody of the department"):
        town.do("data-li", "share.direct", **told, asked=town.asked(users=["优抚科"]))


# Systems


def test_a_system_asks_through_its_departments_node(town):
    """No person in between; the record says which system, through which node, under which mode (SD24.1, SD26.1)."""
    entry, grant = served(town)
    answer = asks(town, grant=grant, key={"id": LI})
    assert (answer["rows"], answer["grant"]) == ([[LI, "李娜", "370102"]], grant)
    record = town.records("queried")[-1]
    said = {name: record[name] for name in ("who", "via", "department", "mode", "grant", "purpose")}
    assert said == {
        "who": f"system:{SYSTEM}",
        "via": f"node {town.name('civil')}",
        "department": town.codes["civil"],
        "mode": "interface",
        "grant": grant,
        "purpose": "核对救助申请人",
    }
    assert asks(town, resource=entry.code, where="region = '370103'")["rows"] == [[WANG, "王伟", "370103"]]


@pytest.mark.parametrize(
    ("system", "node", "wrong"),
    [
        ("婚姻登记", "civil", "system:婚姻登记 is none of the grant's users"),
        (SYSTEM, "health", "another department's"),
        (SYSTEM, "civil-second", "the grant is for the node"),
    ],
    ids=["not named", "another department's node", "another node of the department"],
)
def test_a_system_that_is_not_named_is_refused_and_on_record(town, system, node, wrong):
    """By name and by node, with a sentence (SD26.1)."""
    _, grant = served(town)
    if node == "civil-second":
        second = town.name(node)
        Registry(town.engine).add(second, f"{town.number}second".ljust(64, "e"), 2**60, "test")
        Office(town.engine).place_node(second, town.codes["civil"], "test")
    with pytest.raises(NotGranted, match=wrong):
        asks(town, system, node, grant=grant, key={"id": LI})
    record = town.records("refused")[-1]
    assert (record["who"], record["via"]) == (f"system:{system}", f"node {town.name(node)}")
    assert (record["where"], record["code"]) == (grant, "NOT_GRANTED")


def test_grants_are_per_mode(town):
    """A person does not use a system's grant, nor a system a person's (SD24.1)."""
    entry, grant = served(town)
    with pytest.raises(NotGranted, match="the grant is for interface, not for query"):
        person_asks(town, grant)
    other = town.granted(entry, mode="query")
    assert other != grant
    with pytest.raises(NotGranted, match="the grant is for query, not for interface"):
        asks(town, grant=other, key={"id": LI})
    with pytest.raises(NotGranted, match="the grant is for interface, not for query or exchange"):
        town.do("civil-clerk", "share.compare-begin", grant=grant, purpose="核对")


def test_a_resource_stands_for_the_grant_in_force(town):
    """A system need not follow numbers: an ended grant makes way for the next one; without any it is told so."""
    entry, first = served(town)
    town.do("civil-admin", "grant.revoke", grant=first, reason="换新")
    with pytest.raises(NotGranted, match="revoked"):
        asks(town, resource=entry.code, key={"id": LI})
    second = town.granted(entry, mode="interface", users=NAMED)
    assert asks(town, resource=entry.code, key={"id": LI})["grant"] == second
    with pytest.raises(NotGranted, match="ever granted to you for interface"):
        asks(town, resource=town.entry().code, key={"id": LI})
    for wrong in ({}, {"grant": second, "resource": entry.code}):
        with pytest.raises(Refused, match="neither or both"):
            asks(town, key={"id": LI}, **wrong)


def test_a_system_is_held_to_the_limits_of_its_grant(town):
    """Rows, rows a day, questions an hour, hours, purpose: as for people, on one account (SD25.2, SD31.1)."""
    entry = town.entry(modes=WAYS, share={"name": "conditional"})
    request = town.ask(entry, mode="interface", users=NAMED)["request"]
    limits = {"query_rows": 1, "rows_per_day": 2, "queries_per_hour": 3}
    conditions = {"limits": limits, "rows": "region = '370102'"}
    grant = town.do("police-admin", "share.agree", request=request, conditions=conditions)["grant"]
    first = asks(town, grant=grant, where="id != 'x'")
    assert (len(first["rows"]), first["is_whole"]) == (1, False)
    assert asks(town, grant=grant, key={"id": WANG})["rows"] == []
    assert len(asks(town, grant=grant, key={"id": ZHANG})["rows"]) == 1
    with pytest.raises(LimitReached, match="3 questions an hour"):
        asks(town, grant=grant, key={"id": LI})
    with writing(town.engine) as connection:
        here = QUERY_USE.c.grant_id == grant
        connection.execute(update(QUERY_USE).where(here).values(queries=0))
    with pytest.raises(LimitReached, match="2 rows a day"):
        asks(town, grant=grant, key={"id": LI})
    with pytest.raises(Refused, match="purpose must be stated"):
        asks(town, grant=grant, key={"id": LI}, purpose=" ")
    hour = town.profile.calendar.local(town.now() + 3 * HOUR_US).strftime("%H:00")
    later = {"limits": {"hours": f"{hour}-{hour[:2]}:01"}}
    told = {"grant": grant, "reason": "错峰", "basis": BASIS, "conditions": later}
    town.do("police-admin", "grant.change", **told)
    with pytest.raises(LimitReached, match="the grant is for"):
        asks(town, grant=grant, key={"id": LI})


def test_a_system_decides_nothing(town):
    """Whatever else there is at the desk is for people; the attempt is on record."""
    entry, grant = served(town)
    for verb, arguments in (
        ("grant.revoke", {"grant": grant, "reason": "x"}),
        ("share.draft", {"consumer": town.name("civil"), "resource": entry.code, "asked": town.asked()}),
        ("share.compare-begin", {"grant": grant, "purpose": "核对"}),
        ("share.inbox", {}),
    ):
        with pytest.raises(NotAdmitted, match="is for people: a system decides nothing"):
            as_system(town, verb, **arguments)
    assert town.records("refused")[-1]["who"] == f"system:{SYSTEM}"


@pytest.mark.parametrize("name", [" 低保", "低保\n核对", "长" * (LONGEST_SYSTEM + 1)])
def test_what_is_no_name_of_a_system_is_refused(town, name):
    """It stands in every record."""
    with pytest.raises(Refused, match="is no name of a system"):
        asks(town, name, grant="G", key={"id": LI})


def test_use_and_disuse_of_a_system_show_in_the_figures(town):
    """Like every other mode: how much was asked; and what nobody uses is proposed for closing (SD36.2)."""
    entry, grant = served(town)
    with writing(town.engine) as connection:
        long_ago = town.now() - (town.profile.supervision.unused_after_days + 1) * DAY_US
        connection.execute(update(GRANTS).where(GRANTS.c.grant_id == grant).values(valid_from_us=long_ago))
    for used in (False, True):
        if used:
            asks(town, grant=grant, key={"id": LI})
        [line] = town.do("police-admin", "report.consumers", resource=entry.code)
        said = (line["mode"], line["queries"], line["rows"], line["unused"])
        assert said == ("interface", int(used), int(used), not used)


# Customised products


def test_a_product_that_lists_no_sources_cannot_be_asked_for(town):
    """The request says what is missing and whose move it is, and so does the page that explains (SD24.2)."""
    entry = town.entry(modes=("exchange", "custom"))
    with pytest.raises(Refused, match=r"names the resources it is made of .*济南市公安局 lists them"):
        town.ask(entry, mode="custom")
    told = {"consumer": town.name("civil"), "resource": entry.code, "mode": "custom"}
    assert "lists them as the entry's sources" in town.do("civil-admin", "share.explain", **told)["sentence"]


def test_a_product_needs_everybody_and_is_delivered(town):
    """The provider of every source and the authority; then the same delivery as exchange carries it (SD24.2, SD28.1)."""
    source = town.entry(provider=town.codes["health"])
    product = town.entry(modes=("exchange", "custom"), sources=(source.code,))
    answer = town.ask(product, mode="custom")
    assert {step["department"] for step in answer["waits_for"]} == {
        town.codes["police"],
        town.codes["health"],
        "",
    }
    for who in ("health-admin", "data-li"):
        answer = town.do(who, "share.agree", request=answer["request"])
        assert answer["state"] == "waiting"
    grant = town.do("police-admin", "share.agree", request=answer["request"])["grant"]
    with reading(town.engine) as connection:
        assert [each.grant for each in permits(connection, town.name("civil"))] == [grant]
    shown = town.do("civil-admin", "grant.show", grant=grant)
    assert (shown["mode"], shown["received"] is not None) == ("custom", True)
    told = {"consumer": town.name("civil"), "resource": product.code}
    page = town.do("civil-admin", "share.explain", **told)
    assert (page["can"], page["entry"]["sources"]) == (True, [source.code])
    assert page["sentence"].endswith("in its own exchange database")


# Nothing without somebody who serves it


@pytest.mark.parametrize("mode", ["query", "interface", "exchange", "custom"])
def test_no_mode_is_granted_that_nothing_serves(town, mode):
    """Without a table there are no rows, whatever the way; the request says so and whose move it is (SD24.1)."""
    source = town.entry()
    users = NAMED if mode == "interface" else [OFFICE]
    entry = town.entry(modes=(mode,), sources=(source.code,), binding=None)
    with pytest.raises(Refused, match="no table carries this resource") as refused:
        town.ask(entry, mode=mode, users=users)
    assert "binds it in the catalogue" in refused.value.fix


def test_a_mode_that_is_not_offered_is_explained(town):
    """Which are, and whose move it is (SD24.1)."""
    entry = town.entry(modes=("exchange",))
    with pytest.raises(Refused, match="offered for exchange, not for interface"):
        town.ask(entry, mode="interface", users=NAMED)
    told = {"consumer": town.name("civil"), "resource": entry.code, "mode": "interface"}
    said = town.do("civil-admin", "share.explain", **told)["sentence"]
    assert "offered for exchange, not for interface" in said


def test_the_interface_document_says_how_each_way_is_gone(town):
    """From the entry alone: the command, the call, the sources, the codes of refusals (SD19.1)."""
    words = town.profile.catalogue
    entry = town.entry(modes=("exchange", "query", "interface", "custom"), sources=("3070101/000009",))
    text = interface_document(entry, 3, words.share_types, words.update_cycles)
    for wanted in (
        f"exchange-agent query {entry.code} --system 系统名 --key id=…",
        "exchange.v1.Desk/Do",
        "exchange-central share query",
        "exchange-agent received list",
        "来源资源：`3070101/000009`",
        "| LIMIT |",
    ):
        assert wanted in text
    assert "exchange-agent query" not in interface_document(
        town.entry(modes=("query",)), 1, words.share_types, words.update_cycles
    )
