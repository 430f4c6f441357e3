"""Information query under a grant: what comes out, what never does, and what is on record."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from central.catalogue.entry import ShareType
from central.desk import VERBS, Desk
from central.policy.sharing import SharingPolicy
from central.sharing.query import MOST_SCANNED_ROWS, SCAN_PAGE_ROWS
from central.sharing.use import HOUR_US, LimitReached
from central.store import writing
from central.store.grants import GRANTS
from central.store.sharing import QUERY_USE
from proto.errors import NotAdmitted, Refused
from tests.support.fences import hold_by_hand
from tests.support.shares import put_in_force
from tests.support.sharing import BASIS, PEOPLE, ROWS, fill

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]
LI, WANG, ZHANG = (row[0] for row in ROWS)


def ask(town, grant, **other):
    return town.do("civil-clerk", "share.query", grant=grant, **{"purpose": "核对救助申请人", **other})


def refusals(town):
    """The newest refused attempt."""
    return town.records("refused")[-1]


def test_one_row_by_its_key(town):
    """Through the key, without looking at any other row."""
    grant = town.granted(town.entry())
    answer = ask(town, grant, key={"id": LI})
    assert answer["rows"] == [[LI, "李娜", "370102"]]
    assert [each["name"] for each in answer["columns"]] == ["id", "name", "region"]
    assert (answer["looked_at"], answer["is_whole"]) == (1, True)
    assert ask(town, grant, where=f"id = '{LI}' and region = '370103'")["rows"] == []
    assert ask(town, grant, key={"id": "没有"})["rows"] == []


def test_an_answer_from_a_held_table_says_so(town, store):
    """And how far the table goes; neither rows nor keys are spoken of (SD11.3)."""
    entry = town.entry()
    grant = town.granted(entry)
    assert ask(town, grant, key={"id": LI})["held"] == ""
    hold_by_hand(store, entry.binding.stream, entry.binding.table)
    answer = ask(town, grant, key={"id": LI})
    assert answer["rows"] == [[LI, "李娜", "370102"]]
    assert answer["held"].startswith(f"the platform holds table {entry.binding.table} since 20")
    assert answer["held"].endswith("up to batch 7")
    page = town.do("civil-admin", "share.explain", consumer=town.name("civil"), resource=entry.code)
    assert page["can"] and answer["held"] in page["because"]


def test_rows_by_a_condition(town):
    """On any column of the grant."""
    grant = town.granted(town.entry())
    answer = ask(town, grant, where="region = '370102' and not (name = '李娜')")
    assert [row[0] for row in answer["rows"]] == [ZHANG]
    form = {"op": "=", "column": "name", "value": "王伟"}
    assert [row[0] for row in ask(town, grant, where=form)["rows"]] == [WANG]


def test_rows_outside_the_grant_are_as_if_they_were_not_there(town, limited):
    """By key and by condition (SD25.2)."""
    grant = limited(rows="region = '370102'")
    assert ask(town, grant, key={"id": WANG})["rows"] == []
    assert {row[0] for row in ask(town, grant, where="id != 'x'")["rows"]} == {LI, ZHANG}


def test_a_column_outside_the_grant_can_neither_be_seen_nor_asked_about(town):
    """The married stay unknown (SD05.2)."""
    grant = town.granted(town.entry())
    with pytest.raises(Refused, match="no such column"):
        ask(town, grant, where="married = true")
    with pytest.raises(Refused, match="no such column"):
        ask(town, grant, key={"id": LI, "married": "true"})


def test_what_a_mask_hides_cannot_be_found_out_by_asking(town, limited):
    """A condition is judged on the row as it is delivered."""
    grant = limited(masks={"name": {"mask": "keep", "first": 1, "last": 0}, "born": {"mask": "year"}})
    assert ask(town, grant, key={"id": LI})["rows"] == [[LI, "李*", "370102", "1990-01-01"]]
    assert ask(town, grant, where="name = '李娜'")["rows"] == []
    assert len(ask(town, grant, where="name = '李*'")["rows"]) == 1
    assert ask(town, grant, where="born = '1985-05-05'")["rows"] == []


def test_a_pseudonym_stands_for_the_key(town, limited):
    """It is another for each grant, and rows are found by it."""
    grant = limited(masks={"id": {"mask": "pseudonym"}})
    rows = ask(town, grant, where="region = '370103'")["rows"]
    assert len(rows[0][0]) == 32
    assert ask(town, grant, key={"id": rows[0][0]})["rows"] == rows
    assert ask(town, grant, key={"id": WANG})["rows"] == []


@pytest.mark.parametrize("purpose", ["", "  "])
def test_without_a_purpose_nothing_comes_out(town, purpose):
    """Missing is refused, and on record (SD31.1)."""
    grant = town.granted(town.entry())
    with pytest.raises(Refused, match="purpose must be stated"):
        ask(town, grant, key={"id": LI}, purpose=purpose)
    assert (refusals(town)["verb"], refusals(town)["where"]) == ("share.query", "purpose")


def test_a_case_number_where_the_policy_asks_for_one(town):
    """By mode, from the profile (SD31.1)."""
    grant = town.granted(town.entry())
    fields = {**town.profile.sharing.model_dump(), "case_number_modes": ["query"]}
    profile = town.profile.model_copy(update={"sharing": SharingPolicy(**fields)})
    town.desk = Desk(town.engine, profile, None, VERBS)
    with pytest.raises(Refused, match="asks for a case number"):
        ask(town, grant, key={"id": LI})
    assert ask(town, grant, key={"id": LI}, case="救〔2026〕12号")["rows"]
    assert town.records("queried")[-1]["case"] == "救〔2026〕12号"


def test_each_query_is_on_record_without_a_value(town):
    """Who, why, the shape, how many rows, under which version; the key as a digest under the grant's secret (SD26.5)."""
    grant = town.granted(town.entry())
    ask(town, grant, where=f"id = '{LI}' and name in ('李娜', '王伟') and region starts with '3701'")
    facts = town.records("queried")[-1]
    assert facts["who"] == town.name("civil-clerk")
    assert (facts["grant"], facts["version"], facts["rows"], facts["purpose"]) == (
        grant,
        1,
        1,
        "核对救助申请人",
    )
    assert facts["shape"] == "id = '?' and name in ('?') and region starts with '?'"
    assert len(facts["key"]) == 64
    said = json.dumps(facts, ensure_ascii=False)
    assert not [value for value in (LI, "李娜", "王伟", "3701'") if value in said]
    ask(town, grant, key={"id": LI})
    assert town.records("queried")[-1]["key"] == facts["key"]
    other = town.granted(town.entry())
    ask(town, other, key={"id": LI})
    assert town.records("queried")[-1]["key"] != facts["key"]


def test_what_is_not_on_record_is_not_answered(town):
    """The record and the answer are one transaction: when the log cannot be written, nothing leaves (fail closed)."""
    grant = town.granted(town.entry())
    with writing(town.engine) as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER no_log BEFORE INSERT ON central_audit BEGIN SELECT RAISE(ABORT, 'full'); END"
            if connection.dialect.name == "sqlite"
            else "ALTER TABLE exchange_central.central_audit ADD CONSTRAINT no_log CHECK (event <> 'queried') NOT VALID"
        )
    try:
        with pytest.raises(Exception, match=r"no_log|full|check"):
            ask(town, grant, key={"id": LI})
    finally:
        with writing(town.engine) as connection:
            connection.exec_driver_sql(
                "DROP TRIGGER no_log"
                if connection.dialect.name == "sqlite"
                else "ALTER TABLE exchange_central.central_audit DROP CONSTRAINT no_log"
            )
    assert ask(town, grant, key={"id": LI})["rows"]


def test_a_refused_query_names_no_value_on_record(town):
    """Not even the one that was asked for."""
    grant = town.granted(town.entry(), items=["id", "name", "region", "born"])
    with pytest.raises(Refused):
        ask(town, grant, where="born = '李娜的生日'")
    assert "李娜" not in json.dumps(refusals(town), ensure_ascii=False)


def test_more_rows_than_granted_do_not_come(town, limited):
    """And the answer says that it is not whole (SD25.2)."""
    grant = limited(limits={"query_rows": 2, "queries_per_hour": 100})
    answer = ask(town, grant, where="id != 'x'")
    assert (len(answer["rows"]), answer["is_whole"]) == (2, False)
    assert len(ask(town, grant, where="id != 'x'", most=1)["rows"]) == 1


def test_more_questions_than_granted_are_not_answered(town, limited):
    """Counted by the database's clock; the next hour is another (SD25.2)."""
    grant = limited(limits={"query_rows": 5, "queries_per_hour": 2})
    for _ in range(2):
        ask(town, grant, key={"id": LI})
    with pytest.raises(LimitReached, match="2 questions an hour"):
        ask(town, grant, key={"id": LI})
    assert refusals(town)["code"] == "LIMIT"
    with writing(town.engine) as connection:
        earlier = {"hour_us": QUERY_USE.c.hour_us - HOUR_US}
        connection.execute(update(QUERY_USE).where(QUERY_USE.c.grant_id == grant).values(earlier))
    assert ask(town, grant, key={"id": LI})["rows"]


def test_more_rows_a_day_than_granted_do_not_come(town, limited):
    """Over all questions of the day (SD25.2)."""
    grant = limited(limits={"rows_per_day": 3, "query_rows": 2, "queries_per_hour": 100})
    assert [len(ask(town, grant, where="id != 'x'")["rows"]) for _ in range(2)] == [2, 1]
    with pytest.raises(LimitReached, match="3 rows a day"):
        ask(town, grant, key={"id": LI})


def test_outside_its_hours_a_grant_answers_nothing(town, limited):
    """Local hours of the policy's zone, through midnight too (SD25.2)."""
    hour = town.profile.calendar.local(town.now()).hour
    closed = limited(limits={"hours": f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00"})
    with pytest.raises(LimitReached, match="the grant is for"):
        ask(town, closed, key={"id": LI})
    open_now = limited(limits={"hours": f"{(hour - 1) % 24:02}:00-{(hour + 2) % 24:02}:00"})
    assert ask(town, open_now, key={"id": LI})["rows"]


def test_after_its_last_day_a_grant_answers_nothing(town, limited):
    """The period (SD25.2)."""
    grant = limited()
    with writing(town.engine) as connection:
        connection.execute(update(GRANTS).where(GRANTS.c.grant_id == grant).values(valid_to_us=1))
    with pytest.raises(NotAdmitted, match="has run out"):
        ask(town, grant, key={"id": LI})


def test_an_exchange_grant_is_not_a_query_grant(town):
    """Grants are per mode (SD24.1, SD25.2)."""
    grant = town.granted(town.entry(), mode="exchange")
    with pytest.raises(NotAdmitted, match="is for exchange, not for query"):
        ask(town, grant, key={"id": LI})


def test_only_people_of_the_consumer_ask_and_nobody_who_watches(town):
    """Not the provider, not another department, not the authority."""
    grant = town.granted(town.entry())
    for who in ("health-admin", "police-admin", "data-li", "data-safe"):
        with pytest.raises(NotAdmitted):
            town.do(who, "share.query", grant=grant, purpose="x", key={"id": LI})


def test_revoked_in_the_middle_the_next_question_is_refused(town):
    """At once (D3)."""
    grant = town.granted(town.entry())
    assert ask(town, grant, key={"id": LI})["rows"]
    town.do("data-li", "grant.revoke", grant=grant, reason="裁定")
    with pytest.raises(NotAdmitted, match="revoked: 裁定"):
        ask(town, grant, key={"id": LI})


def test_narrowed_in_the_middle_the_next_question_sees_less(town):
    """Under the next version (D4)."""
    grant = town.granted(town.entry())
    town.do("data-li", "grant.change", grant=grant, reason="裁定", conditions={"rows": "region = '370103'"})
    assert ask(town, grant, key={"id": LI})["rows"] == []
    assert town.records("queried")[-1]["version"] == 2


def test_a_question_without_a_key_looks_at_a_bounded_number_of_rows(town):
    """And says when it did not look at all of them."""
    many = MOST_SCANNED_ROWS + SCAN_PAGE_ROWS
    fill(town, PEOPLE, [(f"{n:018d}", "甲", "370105", "2000-01-01", None) for n in range(many)])
    grant = town.granted(town.entry())
    answer = ask(town, grant, where="name = '李娜'")
    assert (answer["rows"], answer["is_whole"]) == ([], False)
    assert MOST_SCANNED_ROWS <= answer["looked_at"] < MOST_SCANNED_ROWS + SCAN_PAGE_ROWS
    assert ask(town, grant, key={"id": LI})["looked_at"] == 1


def test_every_row_is_no_question(town):
    """A query is no exchange."""
    with pytest.raises(Refused, match="asks for every row"):
        ask(town, town.granted(town.entry()))


def test_an_item_that_left_the_catalogue_is_not_answered_any_more(town):
    """The newest release counts, not the one of the grant."""
    entry = town.entry()
    grant = town.granted(entry)
    smaller = entry.model_copy(update={"items": tuple(i for i in entry.items if i.column != "name")})
    with writing(town.engine) as connection:
        put_in_force(connection, smaller)
    answer = ask(town, grant, key={"id": LI})
    assert (answer["rows"], answer["left_out"]) == ([[LI, "370102"]], ["name"])
    with pytest.raises(Refused, match="no such column"):
        ask(town, grant, where="name = '李娜'")


def test_an_item_that_is_not_shared_any_more_is_not_answered_unless_a_law_directs_it(town):
    """By the newest release; a statutory grant goes on (SD05.2, SD05.4)."""
    entry = town.entry()
    grant = town.granted(entry)
    asked = town.asked(items=["id", "married"])
    told = {"consumer": town.name("health"), "resource": entry.code, "asked": asked, "basis": BASIS}
    directed = town.do("data-li", "share.direct", **told)["grant"]
    closed = tuple(
        item.model_copy(update={"share_type": ShareType.NOT_SHARED})
        if item.column in ("name", "married")
        else item
        for item in entry.items
    )
    with writing(town.engine) as connection:
        put_in_force(connection, entry.model_copy(update={"items": closed}))
    assert ask(town, grant, key={"id": LI})["rows"] == [[LI, "370102"]]
    answer = town.do("health-admin", "share.query", grant=directed, purpose="核对", key={"id": LI})
    assert answer["rows"] == [[LI, "t"]]
    assert "第十九条" in town.records("queried")[-1]["article"]


def test_of_two_questions_at_the_same_moment_one_is_too_many(town, limited):
    """The account is locked while one of them is counted (SD25.2)."""
    grant = limited(limits={"query_rows": 5, "queries_per_hour": 1})
    ask(town, grant, key={"id": LI})
    with writing(town.engine) as connection:
        here = QUERY_USE.c.grant_id == grant
        connection.execute(update(QUERY_USE).where(here).values(queries=0))

    def one(_n):
        try:
            return len(ask(town, grant, key={"id": LI})["rows"])
        except LimitReached:
            return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, range(4))) == 1
