"""Who received one person's row: each delivery and comparison it was in, and nothing that nobody can know (SD26.4)."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update

from central import audit
from central.delivery.booking import Dispatch
from central.desk import VERBS, Desk
from central.log import walking
from central.log.traced import verify_traces
from central.log.walking import Point
from central.people import Actor, Role
from central.policy import profile_named
from central.store import now_us, reading, writing
from central.store.log import TOMBSTONES
from central.store.tables import AUDIT
from central.store.traces import TRACES
from proto import codec, frames
from proto.batch import Delta, Frames
from proto.errors import Diverged, Refused
from proto.values import Kind, from_text
from tests.support.deliveries import Pulling, bound_view
from tests.support.granting import EAST, PERSON, VISIT, Life, Share, ShareMaker
from tests.support.shares import change_grant
from tests.support.tables import inserts, partial, schema_of, upserts

pytest_plugins = ["tests.support.stores", "tests.support.granting"]
DIALECTS = ("sqlite", "postgres15", "postgres18")
PROFILE = profile_named()
TERMS: dict[str, dict[str, Any]] = {
    "as stored": {},
    "columns": {
        "items": ("id", "name", "phone"),
        "masks": {"phone": {"mask": "keep", "first": 3, "last": 0}},
    },
    "rows": {"rows": EAST},
    "pseudonym": {"masks": {"id": {"mask": "pseudonym"}}, "rows": EAST},
}


def ask(share: Share, key: Any, column: str = "id", **other: Any) -> dict[str, Any]:
    """As an auditor, about this week."""
    him = Actor("he-shen", "何审", "", frozenset({Role.AUDIT_ADMIN}), "certificate")
    with reading(share.store.engine) as connection:
        today = PROFILE.calendar.day_of(now_us(connection))
    said = {"resource": share.entry.code, "item": "name", "key": {column: str(key)}, "reason": "当事人申请"}
    said |= {"since": str(today - timedelta(days=1)), "until": str(today + timedelta(days=1))}
    desk = Desk(share.store.engine, PROFILE, None, VERBS)
    answer: dict[str, Any] = desk.do("audit.received", {**said, **other}, lambda _: him)
    return answer


def receipts(answer: dict[str, Any]) -> list[str]:
    """Of the deliveries it names."""
    return [one["receipt"] for each in answer["grants"] for one in each["brought"]]


def brought(dispatch: Dispatch) -> set[bytes]:
    """The keys, in delivered form, of whatever row a delivery brings or changes."""
    found: set[bytes] = set()
    for delta in codec.decode(dispatch.message.header, dispatch.payload).deltas:
        for section in (delta.inserts, delta.upserts):
            found.update(frames.keys(section.data, delta.schema.key_indexes))
        for part in delta.partials:
            found.update(frames.keys(part.frames.data, [0]))
            if 0 in part.columns:
                found.update(frames.keys(part.frames.data, [1 + part.columns.index(0)]))
    return found


@pytest.mark.parametrize("terms", TERMS.values(), ids=list(TERMS))
@pytest.mark.parametrize("seed", range(2))
def test_each_delivery_that_brought_a_key_is_named_and_no_other(
    share: ShareMaker, terms: dict[str, Any], seed: int
):
    """After copies, changes, lost deliveries and new calls, for keys that were there and keys that never were (SD26.4)."""
    one, chance = share(**terms), random.Random(seed)
    life, pulling = Life(one, chance), one.pull()
    made: list[Dispatch] = []
    for _ in range(12):
        life.commit(parts=chance.choice((1, 1, 3)))
        one.apply()
        pulling.courier._page_rows = chance.choice((3, 7, 2000))
        for _ in range(chance.randrange(1, 6)):
            step = pulling.courier.step(may_send=True)
            if step.dispatch is not None:
                made.append(step.dispatch)
                if chance.random() < 0.2:
                    pulling.connect()
                    continue
                pulling.receiver.take(step.dispatch)
    with reading(one.store.engine) as connection:
        view = bound_view(connection, one.grant, PERSON)
    for key in chance.sample(range(2 * life.most_keys), 16):
        answer = ask(one, key)
        frame = view.keys(Frames(frames.pack([from_text(Kind.INT64, str(key))]), 1)).data
        expected = [each.message.receipt for each in made if frame in brought(each)]
        assert receipts(answer) == expected, key
        [told] = answer["grants"]
        assert told["says"] == ("received" if expected else "nothing")
        assert (told["searched"]["deliveries"], told["unknown"]["deliveries"]) == (len(made), 0)
        assert answer["next"] == ""


def delivered(share: Share, rows: int = 1) -> Pulling:
    """A share whose consumer has got people 1 to *rows*."""
    share.change(inserts(PERSON, *((str(number), "张三", "138", "东区") for number in range(1, rows + 1))))
    share.apply()
    pulling = share.pull()
    pulling.drain()
    return pulling


def test_the_answer_names_grant_version_time_and_receipt(share: ShareMaker):
    """Of a delivery under the grant's first terms and one after it was changed."""
    one = share()
    pulling = delivered(one)
    with writing(one.store.engine) as connection:
        change_grant(connection, one.grant)
    one.change(upserts(PERSON, ("1", "张三丰", "138", "东区")))
    one.apply()
    pulling.drain()
    answer = ask(one, 1)
    [told] = answer["grants"]
    assert (told["grant"], told["consumer"], told["times"]) == (one.grant, one.consumer, 2)
    assert [(each["version"], each["seq"], each["rows"]) for each in told["brought"]] == [
        (1, 1, 1),
        (2, 2, 1),
    ]
    assert all(each["at_us"] > 0 and each["chain"] == f"delivery:{one.consumer}" for each in told["brought"])
    assert ask(one, 2)["grants"][0]["says"] == "nothing"
    assert ask(one, "没有这样的号")["grants"][0]["says"] == "nothing"


def test_what_was_delivered_before_there_were_traces_is_not_guessed(share: ShareMaker):
    """It says how many rows they had; what came later is searched all the same."""
    one = share()
    pulling = delivered(one, rows=3)
    with writing(one.store.engine) as connection:
        _let_go(connection, one)
        connection.execute(delete(TRACES).where(TRACES.c.grant_id == one.grant))
    [told] = ask(one, 1)["grants"]
    assert told["says"] == "may have"
    assert (told["unknown"]["deliveries"], told["unknown"]["rows"]) == (1, 3)
    one.change(upserts(PERSON, ("1", "张三丰", "138", "东区")))
    one.apply()
    pulling.drain()
    told_of_1, told_of_2 = (ask(one, key)["grants"][0] for key in (1, 2))
    assert (told_of_1["says"], told_of_1["unknown"]["deliveries"]) == ("received", 1)
    assert (told_of_2["says"], told_of_2["searched"]["deliveries"]) == ("may have", 1)


def _let_go(connection: Any, share: Share) -> None:
    """As two persons would, long after."""
    chain = f"delivery:{share.consumer}"
    now = now_us(connection)
    grave = {"chain": chain, "n": 10**6, "digest": b"", "before_us": now + 1, "at_us": now + 2}
    grave |= {"asked_by": "he-shen", "confirmed_by": "an-quan", "export": "e"}
    connection.execute(TOMBSTONES.insert(), grave)


def test_a_key_of_another_kind_is_looked_for_as_it_was(share: ShareMaker):
    """The column's kind changed in between; under another key column nobody can know."""
    one = share()
    pulling = delivered(one)
    wider = schema_of("person", {"id": Kind.TEXT, "name": Kind.TEXT, "phone": Kind.TEXT, "area": Kind.TEXT})
    one.change(inserts(wider, ("1", "张三", "138", "东区"), ("2", "李四", "139", "西区")))
    one.apply()
    pulling.drain()
    assert ask(one, 1)["grants"][0]["times"] == 2
    assert ask(one, 2)["grants"][0]["times"] == 1
    [told] = ask(one, "张三", column="name")["grants"]
    assert (told["says"], told["searched"]["deliveries"], told["unknown"]["rows"]) == ("may have", 0, 3)


def test_rows_of_a_table_without_a_key_are_not_known(share: ShareMaker):
    """They were delivered, and that is all."""
    one = share(VISIT)
    one.change(inserts(VISIT, ("1", "来访", "东区")))
    one.apply()
    one.pull().drain()
    [told] = ask(one, 1, item="what")["grants"]
    assert (told["says"], told["unknown"]["rows"]) == ("may have", 1)


def test_a_long_question_ends_and_says_where_to_go_on(share: ShareMaker, monkeypatch: pytest.MonkeyPatch):
    """However small the steps, together they say what one step says."""
    one = share()
    pulling = delivered(one, rows=2)
    for number in range(9):
        one.change(upserts(PERSON, (str(1 + number % 2), f"张{number}", "138", "东区")))
        one.apply()
        pulling.drain()
    whole = ask(one, 1)
    monkeypatch.setattr(walking, "USUAL", 2)
    monkeypatch.setattr(walking, "FEWEST", 2)
    monkeypatch.setattr(walking, "MOST", 2)
    monkeypatch.setattr(walking, "MOST_DELIVERIES", 4)
    answer, parts = ask(one, 1), []
    while answer["next"]:
        assert answer["done_percent"] < 100
        parts.append(answer)
        answer = ask(one, 1, after=answer["next"])
    parts.append(answer)
    assert len(parts) == 3
    assert [each for part in parts for each in receipts(part)] == receipts(whole)
    assert sum(part["grants"][0]["searched"]["deliveries"] for part in parts) == 10
    with pytest.raises(Refused, match="go on from"):
        ask(one, 1, after="某处")


def test_an_end_of_a_window_is_where_it_says(share: ShareMaker):
    """Text and back."""
    assert Point.read(str(Point("G1", 17, 3))) == Point("G1", 17, 3)


def test_a_trace_that_was_changed_is_found(share: ShareMaker):
    """The database refuses; and one that went round it does not get its answer believed."""
    one = share()
    delivered(one)
    table = one.store.table("central_traces")
    with pytest.raises(Exception, match="append-only"), writing(one.store.engine) as connection:
        connection.execute(update(TRACES).where(TRACES.c.grant_id == one.grant).values(rows=0))
    with pytest.raises(Exception, match="append-only"), writing(one.store.engine) as connection:
        connection.execute(text(f"DELETE FROM {table} WHERE grant_id = '{one.grant}'"))
    chain = f"delivery:{one.consumer}"
    with reading(one.store.engine) as connection:
        assert verify_traces(connection, chain) == 1
    with writing(one.store.engine) as connection:
        row = connection.execute(select(TRACES).where(TRACES.c.grant_id == one.grant)).one()
        tip = audit.tip(connection, row.chain)
        forged = {
            **row._asdict(),
            "n": tip.n,
            "at_us": tip.now_us,
            "digests": bytes(row.digests) + b"8 bytes.",
        }
        audit.append(connection, tip, "delivered", {"grant": one.grant, "rows": 1, "traces": "0" * 32})
        connection.execute(TRACES.insert(), {**forged, "n": tip.n + 1})
    with pytest.raises(Diverged, match="not those on record"):
        ask(one, 1)
    with reading(one.store.engine) as connection, pytest.raises(Diverged, match="trace of record"):
        verify_traces(connection, chain)


def test_the_log_holds_digests_alone(share: ShareMaker):
    """Neither a trace nor a record has a byte of a key; another grant's trace of it is another one (SD26.5)."""
    secret = "370102199001011234"
    named = schema_of("person", {"id": Kind.TEXT, "name": Kind.TEXT})
    one = share(named)
    one.change(inserts(named, (secret, "李娜")))
    one.apply()
    one.pull().drain()
    assert ask(one, secret)["grants"][0]["times"] == 1
    with reading(one.store.engine) as connection:
        said = connection.scalars(
            select(AUDIT.c.facts).where(AUDIT.c.chain == f"delivery:{one.consumer}")
        ).all()
        [trace] = connection.scalars(select(TRACES.c.digests).where(TRACES.c.grant_id == one.grant)).all()
    assert said and not [each for each in said if secret in each or "李娜" in each]
    assert len(trace) == 8 and secret.encode() not in bytes(trace)


def test_part_of_a_row_counts_as_its_row(share: ShareMaker):
    """Also where only some columns came, under the key before and after."""
    one = share()
    pulling = delivered(one)
    one.change(Delta(PERSON, partials=(partial(PERSON, (0, 1), ("1", "9", "王五")),)))
    one.apply()
    pulling.drain()
    assert ask(one, 1)["grants"][0]["times"] == 2
    assert ask(one, 9)["grants"][0]["times"] == 1
