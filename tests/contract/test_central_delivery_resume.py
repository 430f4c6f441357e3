"""Where a consumer goes on: right after what it has, or in a copy afresh whose reason is on record."""

from __future__ import annotations

import json
from contextlib import closing, suppress

import pytest
from sqlalchemy import delete, select, text, update

from central.delivery import Post
from central.delivery.calls import CallOver
from central.delivery.courier import Courier
from central.delivery.recalls import chain_of
from central.store import reading, writing
from central.store.deliveries import DELIVERIES
from central.store.grants import GRANTS
from central.store.tables import AUDIT, LEDGER
from proto import codec
from proto.batch import Delta
from proto.errors import ExchangeError
from proto.values import Kind
from tests.support.deliveries import Pulling
from tests.support.dying import Killed, dying_engine
from tests.support.granting import EAST, OTHER, PERSON, VISIT, Share, ShareMaker
from tests.support.shares import change_grant
from tests.support.tables import deletes, inserts, partial, schema_of, upserts

pytest_plugins = ["tests.support.stores", "tests.support.granting"]
DIALECTS = ("sqlite", "postgres15", "postgres18")

PEOPLE = [(str(number), f"张{number}", f"138{number}", "东区") for number in range(1, 31)]


def reasons(one: Share) -> list[str]:
    """Why copies were begun, as it is on record."""
    with reading(one.store.engine) as connection:
        chain = (AUDIT.c.chain == chain_of(one.consumer), AUDIT.c.event == "fresh_copy_began")
        rows = connection.scalars(select(AUDIT.c.facts).where(*chain).order_by(AUDIT.c.n))
        return [json.loads(each)["reason"] for each in rows]


def started(share: ShareMaker, **terms: object) -> tuple[Share, Pulling]:
    """A share whose consumer has everything."""
    one = share(**terms)
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    return one, pulling


def test_a_row_that_moves_behind_the_copy_is_not_lost(share: ShareMaker):
    """Pages go by key; an update of part of a row moves it from where they have not been to where they were."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    pulling.courier._page_rows = 10
    while len(pulling.receiver.table.rows) < 10:
        pulling.step()
    one.change(deletes(PERSON, ("3",)))
    one.change(Delta(PERSON, partials=(partial(PERSON, (0, 1), ("25", "3", "搬家")),)))
    one.apply()
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert len(pulling.receiver.table.rows) == 29


def test_a_copy_is_not_called_complete_before_it_is(share: ShareMaker):
    """The last page may be newer than the changes that were delivered; until they have come the consumer is told so."""
    one = share()
    one.change(inserts(PERSON, *PEOPLE))
    one.apply()
    pulling = one.pull()
    pulling.courier._page_rows = 10
    shown, told = {1: one.shows()}, 0
    for number in range(2, 40):
        # Before each step, so that pages are read while the changes are behind.
        one.change(upserts(PERSON, (str(30 - number % 10), f"第{number}", "1", "西区")))
        one.apply()
        shown[number] = one.shows()
        step = pulling.step()
        if step.dispatch is not None and not pulling.receiver.copying:
            told += 1
            assert pulling.receiver.table.rows == shown[step.dispatch.message.source_seq]
    assert told > 10


def test_a_source_commit_that_ends_with_another_table_ends(share: ShareMaker):
    """Stored bytes that say "to be continued" are not handed on when nothing will."""
    one, pulling = started(share)
    one.change(upserts(PERSON, ("1", "张三", "1", "西区")), continues=True)
    one.change(inserts(OTHER, ("1", "别的")))
    one.apply()
    pulling.drain()
    assert not pulling.receiver.has_pending
    assert pulling.receiver.table.rows == one.shows()


def test_a_large_source_commit_is_visible_at_once(share: ShareMaker):
    """Its parts continue until the last, also when the last shows nothing of it (D2)."""
    one, pulling = started(share, rows=EAST)
    had = dict(pulling.receiver.table.rows)
    for area, first in (("东区", 100), ("东区", 20_000), ("西区", 40_000)):
        rows = [(str(number), "大", "1", area) for number in range(first, first + 12_000)]
        one.change(inserts(PERSON, *rows), continues=True)
        one.change(inserts(OTHER, (str(first), "别的")), continues=True)
    one.change(inserts(OTHER, ("1", "别的")))
    one.apply()
    for parts in (1, 2):
        step = pulling.step()
        assert codec.read_header(step.dispatch.message.header).continues
        assert step.dispatch.continues
        assert pulling.receiver.table.rows == had, f"visible after {parts} parts"
    step = pulling.step()
    assert not step.dispatch.continues
    assert codec.read_header(step.dispatch.message.header).raw_bytes == 0
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert len(pulling.receiver.table.rows) == 24_030


@pytest.mark.parametrize("terms", [{}, {"items": ("id", "name"), "rows": EAST}], ids=["all", "rows"])
def test_a_table_without_a_key_comes_once(share: ShareMaker, terms: dict[str, object]):
    """One moment of it, and then what is added; an interrupted copy begins anew (D1)."""
    if terms:
        terms = {"items": ("id", "what"), "rows": EAST}
    one = share(VISIT, **terms)
    visits = [(str(number), "来访", "东区" if number % 2 else "西区") for number in range(25_000)]
    one.change(inserts(VISIT, *visits))
    one.apply()
    pulling = one.pull()
    while not pulling.receiver.table.appended:
        pulling.step()
    one.change(inserts(VISIT, ("90001", "复制期间", "东区")))
    one.apply()
    pulling.connect()
    pulling.drain()
    one.change(inserts(VISIT, ("90002", "之后", "东区")))
    one.apply()
    pulling.drain()
    expected = 25_002 if not terms else 12_502
    assert len(pulling.receiver.table.appended) == expected
    assert len(set(pulling.receiver.table.appended)) == expected
    assert reasons(one) == ["first delivery", "the first copy of a table without a key was interrupted"]


def test_a_consumer_that_was_away_too_long_is_copied_afresh(share: ShareMaker):
    """The ledger no longer holds what it lacks; nobody else is disturbed, and the reason is told (D1)."""
    one, pulling = started(share)
    for number in range(31, 40):
        one.change(upserts(PERSON, (str(number), "新来", "1", "西区")))
    one.apply()
    with writing(one.store.engine) as connection:
        connection.execute(delete(LEDGER).where(LEDGER.c.stream == one.node.stream, LEDGER.c.seq < 8))
    pulling.connect()
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert pulling.receiver.generation == 2
    assert "no longer holds" in reasons(one)[-1]


@pytest.mark.parametrize("column", ["payload", "header", "digest"])
def test_a_batch_damaged_in_the_ledger_is_made_good_by_a_copy(share: ShareMaker, column: str):
    """It was applied before it was damaged, so the platform's table has what it held."""
    one, pulling = started(share)
    one.change(upserts(PERSON, ("1", "张三", "1", "西区")))
    one.change(upserts(PERSON, ("2", "李四", "1", "西区")))
    one.apply()
    with writing(one.store.engine) as connection:
        here = (LEDGER.c.stream == one.node.stream, LEDGER.c.seq == 2)
        connection.execute(update(LEDGER).where(*here).values({column: b"junk"}))
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert pulling.receiver.generation == 2


def test_a_quiet_table_survives_the_ledgers_forgetting(share: ShareMaker):
    """A consumer is not behind when there was nothing for it."""
    one, pulling = started(share)
    for number in range(600):
        one.change(upserts(OTHER, (str(number), "别的")))
    one.apply()
    pulling.drain()
    pulling.courier.write_down()
    with writing(one.store.engine) as connection:
        connection.execute(delete(LEDGER).where(LEDGER.c.stream == one.node.stream, LEDGER.c.seq < 601))
    pulling.connect()
    one.change(deletes(PERSON, ("1",)))
    one.apply()
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert pulling.receiver.generation == 1


def test_a_lost_delivery_after_a_quiet_time_is_made_again(share: ShareMaker):
    """Although the ledger has forgotten the quiet time between it and the one before."""
    one, pulling = started(share)
    for number in range(600):
        one.change(upserts(OTHER, (str(number), "别的")))
    one.change(deletes(PERSON, ("1",)))
    one.apply()
    while (step := pulling.courier.step(may_send=True)).more:
        lost = step.dispatch
    assert lost is not None, "nothing was made that could be lost"
    with writing(one.store.engine) as connection:
        connection.execute(delete(LEDGER).where(LEDGER.c.stream == one.node.stream, LEDGER.c.seq < 500))
    pulling.connect()
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert pulling.receiver.generation == 1


def test_another_past_of_the_provider_is_copied_afresh(share: ShareMaker):
    """After a release the provider's head was adopted: the same numbers mean other changes (P6, D1)."""
    one, pulling = started(share)
    one.change(upserts(PERSON, ("1", "旧历史", "1", "东区")))
    one.apply()
    pulling.drain()
    node = one.node
    with writing(one.store.engine) as connection:
        # As after an adoption: the ledger ends before, the tables were copied afresh by the provider.
        connection.execute(delete(LEDGER).where(LEDGER.c.stream == node.stream, LEDGER.c.seq > 1))
        for name in ("streams", "applied"):
            columns = {"streams": "head_seq = 1, head_digest = :d", "applied": "seq = 1, digest = :d"}[name]
            statement = f"UPDATE {one.store.table(f'central_{name}')} SET {columns} WHERE stream = :s"
            connection.execute(text(statement), {"d": node.sealed[0].digest, "s": node.stream})
    del node.sealed[1:]
    one.change(upserts(PERSON, ("1", "新历史", "1", "东区")))
    one.apply()
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert "another one now" in reasons(one)[-1]


def test_a_consumer_restored_from_a_backup_is_sent_what_it_lacks(share: ShareMaker):
    """Its place is one that was sent; it goes on right after it, and that is on record (P6)."""
    one, pulling = started(share, rows=EAST)
    before = pulling.receiver.received
    kept = dict(pulling.receiver.table.rows)
    for row in (("1", "离开", "1", "西区"), ("31", "新来", "1", "东区"), ("1", "回来", "1", "东区")):
        one.change(upserts(PERSON, row))
        one.apply()
        pulling.drain()
    receiver = pulling.receiver
    receiver.table.rows, receiver.seq, receiver.digest = kept, before.seq, before.digest
    pulling.connect()
    pulling.drain()
    assert receiver.table.rows == one.shows()
    assert receiver.generation == 1


@pytest.mark.parametrize("what", ["seq", "digest", "generation"])
def test_a_place_that_was_never_sent_is_copied_afresh(share: ShareMaker, what: str):
    """A consumer that claims another past (P6)."""
    one, pulling = started(share)
    said = pulling.receiver.received
    if what == "digest":
        said.digest = bytes(32)
    else:
        setattr(said, what, getattr(said, what) + 5)
    pulling.receiver.generation = said.generation - 5 if what == "generation" else said.generation
    pulling.connect(said)
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert len(reasons(one)) == 2


def test_a_narrowed_grant_is_copied_afresh(share: ShareMaker):
    """What it no longer shows is gone from the consumer's table (D4)."""
    one, pulling = started(share)
    one.change(upserts(PERSON, ("1", "张三", "1", "西区")))
    one.apply()
    with writing(one.store.engine) as connection:
        query = select(GRANTS.c.terms).where(GRANTS.c.grant_id == one.grant)
        terms = json.loads(connection.execute(query).scalar_one())
        new = {**terms, "items": ["id", "area"], "rows": EAST}
        change_grant(connection, one.grant, terms=json.dumps(new))
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert len(pulling.receiver.table.rows) == 29
    assert [column.name for column in pulling.receiver.schema.columns] == ["id", "area"]


def test_a_row_that_is_new_again_and_outside_is_removed(share: ShareMaker):
    """A copy afresh at the provider says "new" of rows that were there (D4)."""
    one, pulling = started(share, rows=EAST)
    one.change(inserts(PERSON, ("1", "张三", "1", "西区"), ("99", "从未", "1", "西区")))
    one.apply()
    step = pulling.step()
    assert codec.decode(step.dispatch.message.header, step.dispatch.payload).rows == 1
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert len(pulling.receiver.table.rows) == 29


def test_a_table_that_grew_a_column_is_copied_afresh(share: ShareMaker):
    """The provider's new column is in the catalogue's next version; until then the old ones flow (SD17.1)."""
    one, pulling = started(share)
    wider = schema_of("person", {**{c.name: c.kind for c in PERSON.columns}, "born": Kind.DATE})
    one.change(upserts(PERSON, ("1", "张三", "1", "西区")))
    one.change(upserts(wider, ("2", "李四", "1", "西区", "2000-01-01")))
    one.apply()
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows(wider)
    assert [c.name for c in pulling.receiver.schema.columns] == [c.name for c in PERSON.columns]
    assert pulling.receiver.generation == 2


def test_the_newest_call_delivers_and_the_older_one_ends(share: ShareMaker):
    """Whichever central process each of them reached."""
    one, pulling = started(share)
    older = pulling.courier
    pulling.connect()
    one.change(deletes(PERSON, ("1",)))
    one.apply()
    with pytest.raises(CallOver):
        older.step(may_send=True)
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()


def test_a_consumer_that_cannot_take_more_waits(share: ShareMaker):
    """With the state it gave."""
    one, pulling = started(share)
    hold = {"hold_state": "BLOCKED_DISK", "hold_code": "BLOCKED_DISK", "hold_sentence": "磁盘将满"}
    with writing(one.store.engine) as connection:
        connection.execute(update(DELIVERIES).where(DELIVERIES.c.grant_id == one.grant).values(hold))
    one.change(deletes(PERSON, ("1",)))
    one.apply()
    step = pulling.drain()
    assert (step.standing.state, step.standing.sentence) == ("BLOCKED_DISK", "磁盘将满")
    assert pulling.receiver.table.rows != one.shows()


@pytest.mark.parametrize("terms", [{}, {"rows": EAST}], ids=["all", "rows"])
def test_dying_before_any_statement_loses_and_repeats_nothing(share: ShareMaker, terms: dict[str, object]):
    """A central that is killed at each statement in turn leaves a consumer that ends up equal (SD12.2, D2)."""
    one, pulling = started(share, **terms)
    for nth in range(1, 46):
        area = "西区" if nth % 2 else "东区"
        one.change(
            upserts(PERSON, ("1", f"第{nth}", "1", area)),
            deletes(PERSON, (str(nth % 7 + 2),)),
            inserts(PERSON, (str(100 + nth), "新来", "1", "东区")),
        )
        one.apply()
        engine, _ = dying_engine(one.store.url, nth)
        with closing(_Disposing(engine)), suppress(Killed, ExchangeError):
            dying = Courier(
                Post(engine, one.signer, one.post.zone), pulling.ticket, one.grant, pulling.receiver.received
            )
            for _ in range(3):
                step = dying.step(may_send=True)
                if step.dispatch is not None and nth % 3:
                    pulling.receiver.take(step.dispatch)
        pulling.connect()
        pulling.drain()
        assert pulling.receiver.table.rows == one.shows()
    assert pulling.receiver.generation == 1


class _Disposing:
    def __init__(self, engine) -> None:
        self.engine = engine

    def close(self) -> None:
        self.engine.dispose()
