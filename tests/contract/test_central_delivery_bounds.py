"""What must not leave central: columns nobody may have, rows after the end, more than a limit, anything unsigned."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, select, update

from central import audit
from central.catalogue.entry import ShareType
from central.delivery import calls, recall
from central.delivery.recalls import chain_of, finish, open_recalls
from central.delivery.sent import forget_old
from central.desk import VERBS, Desk
from central.people.actor import Actor, Role
from central.policy import profile_named
from central.store import now_us, open_store, reading, writing
from central.store.deliveries import DELIVERED_KEYS, PULLS, SENT
from central.store.grants import GRANTS
from central.store.tables import AUDIT
from proto.batch import Delta
from proto.errors import NotAdmitted, Refused
from tests.support.deliveries import ZONE
from tests.support.granting import EAST, PERSON, Share, ShareMaker
from tests.support.shares import change_grant, credit_code, put_in_force
from tests.support.tables import deletes, inserts, partial, upserts

pytest_plugins = ["tests.support.stores", "tests.support.granting"]

CANARY = "金丝雀-7f3a"
PEOPLE = [(str(number), f"张{number}", f"138{number}", "东区") for number in range(1, 31)]


def records(one: Share) -> list[tuple[str, dict[str, Any]]]:
    """What is on record about the consumer."""
    with reading(one.store.engine) as connection:
        rows = connection.execute(
            select(AUDIT.c.event, AUDIT.c.facts)
            .where(AUDIT.c.chain == chain_of(one.consumer))
            .order_by(AUDIT.c.n)
        ).all()
        audit.verify(connection, chain_of(one.consumer))
    return [(row.event, json.loads(row.facts)) for row in rows]


def test_every_delivery_is_on_record_before_it_leaves(share: ShareMaker):
    """With grant, version, release, purpose, source numbers, rows, digest and a dense receipt (SD26.1, SD07.3, SD31.1)."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    one.change(upserts(PERSON, ("1", "李四", "139", "西区")))
    one.apply()
    pulling.drain()
    facts = [said for event, said in records(one) if event == "delivered"]
    assert [said["receipt"] for said in facts] == [f"{one.consumer}-{n:09}" for n in (1, 2)]
    assert [said["rows"] for said in facts] == [30, 1]
    assert facts[1]["first_source"] == facts[1]["last_source"] == 2
    assert facts[1]["purpose"] == "核对救助申请人"
    assert facts[1]["version"] == 1
    assert facts[1]["release"] > 0
    assert facts[1]["digest"] == pulling.receiver.digest.hex()
    assert "李四" not in json.dumps(facts, ensure_ascii=False)


def test_no_byte_of_an_unchosen_masked_or_filtered_value_leaves(share: ShareMaker):
    """Not in rows, not in keys, not in headers: canaries appear in nothing that was sent (SD05.2)."""
    masks = {"phone": {"mask": "keep", "first": 1, "last": 0}}
    one = share(items=("id", "phone"), masks=masks, rows=EAST)
    one.change(inserts(PERSON, ("1", CANARY, "1" + CANARY, "东区"), ("777777777", "王五", "2", CANARY)))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    one.change(
        upserts(PERSON, ("777777777", CANARY, "3", "西区"), ("1", CANARY, "4" + CANARY, "东区")),
        deletes(PERSON, ("777777778",)),
    )
    one.change(Delta(PERSON, partials=(partial(PERSON, (1, 3), ("777777777", CANARY, "西区")),)))
    one.apply()
    pulling.drain()
    seen = bytes(pulling.receiver.bytes_seen)
    assert len(pulling.receiver.table.rows) == 1
    assert CANARY.encode() not in seen
    assert "东区".encode() not in seen
    for never_inside in (777777777, 777777778):
        assert never_inside.to_bytes(8) not in seen


def test_an_item_that_is_not_shared_is_never_delivered(share: ShareMaker):
    """Although the grant names it; a statutory grant to this recipient may have it (SD05.2, SD05.4)."""
    one = share(share={"phone": "not_shared"})
    one.change(inserts(PERSON, ("1", "张三", CANARY, "东区")))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    assert [column.name for column in pulling.receiver.schema.columns] == ["id", "name", "area"]
    assert CANARY.encode() not in pulling.receiver.bytes_seen
    with writing(one.store.engine) as connection:
        terms = json.loads(
            connection.execute(select(GRANTS.c.terms).where(GRANTS.c.grant_id == one.grant)).scalar_one()
        )
        change_grant(connection, one.grant, terms=json.dumps({**terms, "is_directed": True}))
    pulling.drain()
    assert CANARY.encode() in pulling.receiver.bytes_seen
    assert pulling.receiver.generation == 2


def test_a_later_release_takes_an_item_away_at_once(share: ShareMaker):
    """What the catalogue no longer shares is gone from the consumer's table with the next delivery."""
    one = share()
    one.change(inserts(PERSON, ("1", "张三", CANARY, "东区")))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    items = tuple(
        item.model_copy(update={"share_type": ShareType.NOT_SHARED}) if item.column == "phone" else item
        for item in one.entry.items
    )
    with writing(one.store.engine) as connection:
        put_in_force(connection, one.entry.model_copy(update={"items": items}))
    pulling.drain()
    assert [column.name for column in pulling.receiver.schema.columns] == ["id", "name", "area"]
    assert CANARY.encode() not in b"".join(pulling.receiver.table.rows.values())


@pytest.mark.parametrize("state", ["suspended", "revoked", "expired"])
def test_nothing_is_made_once_a_grant_has_ended(share: ShareMaker, state: str):
    """The grant is judged in the transaction that delivers, also when it ends amid a step (D3)."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    pulling.step()
    with writing(one.store.engine) as connection:
        change_grant(connection, one.grant, state=state, sentence="数据用途不符")
    step = pulling.drain()
    assert step.standing.code == "NOT_GRANTED"
    assert "数据用途不符" in step.standing.sentence
    assert pulling.receiver.seq == 0
    assert "delivered" not in [event for event, _ in records(one)]


@pytest.mark.parametrize("how", ["revoked", "run out", "recalled", "another version"])
def test_a_grant_that_ends_amid_a_step_delivers_nothing_more(share: ShareMaker, how: str):
    """Between the look and the record of it: the transaction that delivers is the one that judges (D3, P8)."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE[:3]))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    one.change(inserts(PERSON, *PEOPLE[3:]))
    one.apply()
    other = open_store(one.store.url)
    looked: list[str] = []

    def end(_connection, _cursor, statement, *_):
        if "payload" in statement and not looked:
            looked.append(statement)
            with writing(other) as connection:
                _end(connection, one.grant, how)

    event.listen(one.store.engine, "before_cursor_execute", end)
    try:
        step = pulling.step()
    finally:
        event.remove(one.store.engine, "before_cursor_execute", end)
        other.dispose()
    assert looked
    assert step.dispatch is None
    assert len(pulling.receiver.table.rows) == 3
    pulling.drain()
    assert (len(pulling.receiver.table.rows) == 3) is (how != "another version")


def _end(connection, grant: str, how: str) -> None:
    if how == "revoked":
        change_grant(connection, grant, state="revoked")
    elif how == "run out":
        here = GRANTS.c.grant_id == grant
        connection.execute(update(GRANTS).where(here).values(valid_to_us=now_us(connection)))
    elif how == "recalled":
        recall(connection, grant, "li-na", "数据有误")
    else:
        change_grant(connection, grant)


def test_nothing_is_delivered_after_the_last_day(share: ShareMaker):
    """By the database's clock, with no human action; what comes later stays at central (SD29.2, P8)."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE[:3]))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    had = dict(pulling.receiver.table.rows)
    with writing(one.store.engine) as connection:
        connection.execute(
            update(GRANTS).where(GRANTS.c.grant_id == one.grant).values(valid_to_us=now_us(connection))
        )
    one.change(deletes(PERSON, ("1",)))
    one.apply()
    step = pulling.drain()
    assert "run out" in step.standing.sentence
    assert pulling.receiver.table.rows == had
    with reading(one.store.engine) as connection:
        last = connection.execute(select(SENT.c.at_us).where(SENT.c.grant_id == one.grant)).scalars().all()
        ends = connection.execute(
            select(GRANTS.c.valid_to_us).where(GRANTS.c.grant_id == one.grant)
        ).scalar_one()
    assert max(last) < ends


def test_a_day_has_only_so_many_rows(share: ShareMaker):
    """The rest waits with a sentence and follows the next day; nothing is lost (SD25.2)."""
    one = share(limits={"rows_per_day": 20})
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    step = pulling.drain()
    assert (step.standing.state, step.standing.code) == ("PAUSED", "DAY_IS_SPENT")
    assert len(pulling.receiver.table.rows) == 20
    assert sum(said["rows"] for event, said in records(one) if event == "delivered") == 20
    pulling.courier._post = dataclasses.replace(one.post, zone=_tomorrow())
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()


def _tomorrow():
    """A zone in which the next day has begun already."""
    here = datetime.now(UTC).astimezone(ZONE).date()
    ahead = [ZoneInfo(name) for name in ("Pacific/Kiritimati", "Pacific/Pago_Pago")]
    return next(zone for zone in ahead if datetime.now(UTC).astimezone(zone).date() != here)


def test_hours_are_kept(share: ShareMaker):
    """Outside them it waits with a sentence, inside it goes on (SD25.2)."""
    local = datetime.now(UTC).astimezone(ZONE)
    begin, end = local + timedelta(hours=2), local + timedelta(hours=4)
    one = share(limits={"hours": f"{begin:%H:%M}-{end:%H:%M}"})
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    step = pulling.drain()
    assert (step.standing.state, step.standing.code) == ("PAUSED", "OUTSIDE_HOURS")
    assert pulling.receiver.seq == 0
    begin = local - timedelta(hours=1)
    with writing(one.store.engine) as connection:
        terms = json.loads(
            connection.execute(select(GRANTS.c.terms).where(GRANTS.c.grant_id == one.grant)).scalar_one()
        )
        terms["limits"]["hours"] = f"{begin:%H:%M}-{end:%H:%M}"
        change_grant(connection, one.grant, terms=json.dumps(terms))
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()


def test_a_recalled_grant_delivers_nothing_more(share: ShareMaker):
    """On record when it is asked and when the consumer has done it; a repeat changes nothing."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    with writing(one.store.engine) as connection:
        number = recall(connection, one.grant, "li-na", "数据有误")
        with pytest.raises(Refused, match="before"):
            recall(connection, one.grant, "li-na", "再次")
        assert [each.recall for each in open_recalls(connection, [one.consumer])] == [number]
    one.change(deletes(PERSON, ("1",)))
    one.apply()
    assert pulling.drain().standing.code == "RECALLED"
    with writing(one.store.engine) as connection:
        with pytest.raises(Refused, match="no such recall"):
            finish(connection, "somebody-else", number, 30)
        finish(connection, one.consumer, number, 30)
        finish(connection, one.consumer, number, 0)
        assert open_recalls(connection, [one.consumer]) == []
    assert [event for event, _ in records(one)][-2:] == ["recall_asked", "recalled"]
    assert records(one)[-1][1]["rows"] == 30


def test_a_clock_that_went_back_decides_about_no_grant(share: ShareMaker):
    """Denied and said so, until it has caught up or a person has looked (P8)."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    with writing(one.store.engine) as connection:
        calls.note_clock(connection, [one.consumer], now_us(connection) + 60_000_000)
    with pytest.raises(calls.ClockWentBack, match="went back"):
        pulling.drain()
    assert pulling.receiver.seq == 0
    with writing(one.store.engine) as connection:
        calls.trust_clock(connection)
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    with reading(one.store.engine) as connection:
        row = connection.execute(select(PULLS).where(PULLS.c.consumer == one.consumer)).one()
        assert row.seen_us <= now_us(connection)


def test_without_a_signer_nothing_is_delivered(share: ShareMaker):
    """And it says what to do (SD10.2)."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    pulling.courier._post = dataclasses.replace(one.post, signer=None)
    step = pulling.drain()
    assert (step.standing.state, step.standing.code) == ("CREDENTIAL", "NOT_SIGNED")
    assert "signing" in step.standing.fix
    assert pulling.receiver.seq == 0


def test_what_is_not_in_the_catalogue_has_no_reader(share: ShareMaker):
    """A grant on a resource that was never released, or no longer is (SD05.3)."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    with writing(one.store.engine) as connection:
        change_grant(connection, one.grant, resource="没有")
    pulling = one.pull()
    step = pulling.drain()
    assert step.standing.state == "PAUSED"
    assert "sharing catalogue" in step.standing.sentence
    assert pulling.receiver.seq == 0


def test_people_see_recall_and_decide_at_the_desk(share: ShareMaker):
    """The provider recalls its own, the authority anybody's; who watches sees figures (SD26.1, SD36.2)."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    one.pull().drain()
    desk = Desk(one.store.engine, profile_named(), None, VERBS)

    def by(role: Role, department: int = 1):
        return lambda _: Actor("li-na", "李娜", credit_code(department), frozenset({role}))

    [shown] = desk.do("delivery.list", {"grant": one.grant}, by(Role.AUTHORITY))
    assert (shown["consumer"], shown["rows"], shown["deliveries"]) == (one.consumer, 30, 1)
    json.dumps(shown)
    asked = {"grant": one.grant, "reason": "数据有误"}
    with pytest.raises(NotAdmitted):
        desk.do("delivery.recall", asked, by(Role.RESOURCE_ADMIN, 2))
    with pytest.raises(NotAdmitted):
        desk.do("delivery.recall", asked, by(Role.SYSTEM_ADMIN))
    assert desk.do("delivery.recall", asked, by(Role.RESOURCE_ADMIN))["grant"] == one.grant
    with writing(one.store.engine) as connection:
        calls.note_clock(connection, [one.consumer], now_us(connection) + 60_000_000)
    with pytest.raises(NotAdmitted):
        desk.do("grant.trust-clock", {"reason": "对过时了"}, by(Role.SYSTEM_ADMIN))
    desk.do("grant.trust-clock", {"reason": "对过时了"}, by(Role.SECURITY_ADMIN))
    with writing(one.store.engine) as connection:
        assert not calls.trust_clock(connection)


def test_what_is_old_and_acknowledged_is_forgotten(share: ShareMaker):
    """The log keeps it; the consumer still goes on where it was, and what left the filter stays gone (SD26.3)."""
    one = share(rows=EAST)
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    for number in range(1, 6):
        one.change(upserts(PERSON, (str(number), "离开", "1", "西区")))
        one.apply()
        pulling.drain()
    pulling.connect()
    pulling.drain()
    with reading(one.store.engine) as connection:
        now = now_us(connection)
    forget_old(one.store.engine, now - 60_000_000)
    assert _kept(one) == ([1, 2, 3, 4, 5, 6], 5)
    assert forget_old(one.store.engine, now) >= 5
    assert _kept(one) == ([6], 0)
    assert len([event for event, _ in records(one) if event == "delivered"]) == 6
    pulling.connect()
    one.change(upserts(PERSON, ("1", "回来", "1", "东区")))
    one.apply()
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert pulling.receiver.generation == 1


def _kept(one: Share) -> tuple[list[int], int]:
    """The deliveries that are remembered, and how many keys that are gone."""
    sent = select(SENT.c.seq).where(SENT.c.grant_id == one.grant).order_by(SENT.c.seq)
    gone = (DELIVERED_KEYS.c.grant_id == one.grant, DELIVERED_KEYS.c.gone_seq > 0)
    with reading(one.store.engine) as connection:
        keys = connection.scalars(select(DELIVERED_KEYS.c.digest).where(*gone)).all()
        return list(connection.scalars(sent)), len(keys)
