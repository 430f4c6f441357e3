"""Copies and holds: one table stops, the others go on, and every way back is complete."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.exchange import Exchange
from agent.exchange.tables import tables
from agent.sources.source import Page
from proto import codec
from proto.batch import NO_FRAMES, Delta
from proto.errors import BadRow, Refused, SchemaHold, Transient
from proto.states import State
from tests.support.exchanges import chain_of
from tests.support.rows import (
    BAD_PERSON,
    PERSON,
    VISIT,
    bad,
    batch,
    both,
    mirrored,
    page,
    people,
    visits,
)

pytest_plugins = ["tests.support.exchanges"]


def test_a_copy_empties_the_table_first_and_ends_in_running(exchange: Exchange) -> None:
    """What was there before is gone on every side; progress moves with the rows."""
    exchange.commit([both(1, 1, 2, 3)])
    exchange.order_copy("person")
    generation = exchange.tables()["person"].copy.generation
    sealed = exchange.begin_copy(PERSON, 4)
    assert codec.decode(sealed[0].header, sealed[0].payload).deltas == (Delta(PERSON, truncated=True),)
    assert exchange.begin_copy(PERSON, 4) == []

    exchange.commit_page(page(7, 8), generation)
    middle = exchange.tables()["person"]
    exchange.commit_page(page(9, last=True), generation)
    done = exchange.tables()["person"]

    assert (middle.state, middle.copy.rows_copied, middle.copy.rows_expected) == (State.SNAPSHOT, 2, 4)
    assert middle.copy.last_key == page(8).last_key
    assert (done.state, done.copy.copied, done.copy.rows_copied) == (State.RUNNING, True, 3)
    assert mirrored(exchange) == [(7, "p7"), (8, "p8"), (9, "p9")]
    assert exchange.checkpoint().position == "0001"
    assert chain_of(exchange) == exchange.checkpoint().head


def test_changes_before_a_copy_begins_are_left_to_it(exchange: Exchange) -> None:
    """And those after it flow beside its pages."""
    exchange.know(["person"])
    exchange.commit([both(1, 1)])
    assert [
        d.schema.name
        for b in exchange.read_outbox(0, 1 << 20)
        for d in codec.decode(b.header, b.payload).deltas
    ] == ["visit"]
    exchange.begin_copy(PERSON, 0)
    exchange.commit([batch("2", Delta(PERSON, upserts=people(2)))])
    exchange.commit_page(page(1, last=True), exchange.tables()["person"].copy.generation)

    assert mirrored(exchange) == [(1, "p1"), (2, "p2")]


def test_a_table_without_a_key_is_never_emptied_by_a_copy(exchange: Exchange) -> None:
    """No page brings its rows back, so what it has stays, and what comes meanwhile is kept."""
    exchange.commit([batch("1", Delta(VISIT, inserts=visits(1)))])
    exchange.order_copy("visit")
    exchange.commit([batch("2", Delta(VISIT, inserts=visits(2)))])
    exchange.begin_copy(VISIT, 0)
    exchange.commit([batch("3", Delta(VISIT, inserts=visits(3)))])
    generation = exchange.tables()["visit"].copy.generation
    exchange.commit_page(Page(VISIT, NO_FRAMES, b"", is_last=True), generation)

    assert len(mirrored(exchange, VISIT)) == 3
    assert exchange.tables()["visit"].state == State.RUNNING
    assert chain_of(exchange) == exchange.checkpoint().head


def test_a_copy_survives_a_restart_where_it_was(opened: Callable[..., Exchange], exchange: Exchange) -> None:
    """The table is not emptied again, the last key is there."""
    exchange.know(["person"])
    exchange.begin_copy(PERSON, 9)
    exchange.commit_page(page(1, 2), 1)
    exchange.close()

    again = opened()
    again.start()

    assert again.begin_copy(PERSON, 9) == []
    assert again.tables()["person"] == exchange.tables()["person"]
    assert mirrored(again) == [(1, "p1"), (2, "p2")]


def test_pages_of_an_older_order_change_nothing(exchange: Exchange) -> None:
    """A copy ordered anew must not continue with what was read for the old one."""
    exchange.know(["person"])
    exchange.begin_copy(PERSON, 9)
    exchange.commit_page(page(1, 2), 1)
    exchange.order_copy("person")

    assert exchange.commit_page(page(3), 1) == []
    assert exchange.tables()["person"].copy.last_key == b""


def test_a_fresh_copy_may_change_the_tables_shape(exchange: Exchange) -> None:
    """An emptied table has nothing to lose."""
    exchange.commit([both(1, 1)])
    exchange.order_copy("person")
    exchange.begin_copy(BAD_PERSON, 1)
    exchange.commit_page(
        Page(BAD_PERSON, bad(5).upserts, b"k", True), exchange.tables()["person"].copy.generation
    )

    assert mirrored(exchange, BAD_PERSON) == [(5, 1)]


def test_a_table_that_cannot_follow_is_held_and_the_others_go_on(exchange: Exchange) -> None:
    """Its changes wait in order, nothing of them reaches mirror or outbox (SD11.3)."""
    exchange.commit([both(1, 1)])
    exchange.commit([batch("2", bad(2), Delta(VISIT, inserts=visits(2)))])
    exchange.commit([batch("3", Delta(PERSON, upserts=people(3)), Delta(VISIT, inserts=visits(3)))])

    held = exchange.tables()["person"]
    assert (held.state, held.code) == (State.SCHEMA_HOLD, "SCHEMA_HOLD")
    assert held.sentence
    assert held.fix
    assert mirrored(exchange) == [(1, "p1")]
    assert len(mirrored(exchange, VISIT)) == 3
    entries = exchange.quarantine()
    assert [(e.id, e.table, e.rows, e.position) for e in entries] == [
        (1, "person", 1, "2"),
        (2, "person", 1, "3"),
    ]
    assert exchange.quarantined_rows(2) == (Delta(PERSON, upserts=people(3)),)
    assert exchange.checkpoint().position == "3"
    assert chain_of(exchange).seq == 3


def test_one_bad_batch_among_several_does_not_take_the_good_ones_with_it(exchange: Exchange) -> None:
    """Those before it still pass."""
    exchange.commit([both(1, 1), both(2, 2), batch("3", bad(3)), both(4, 4)])

    assert mirrored(exchange) == [(1, "p1"), (2, "p2")]
    assert len(mirrored(exchange, VISIT)) == 3
    assert [e.position for e in exchange.quarantine()] == ["3", "0004"]


def test_a_hold_inside_a_large_transaction_asks_for_it_again(exchange: Exchange) -> None:
    """Its parts were read once; the hold is kept so that the second reading passes."""
    exchange.commit([both(1, 1)])
    parts = [both(1, 2, continues=True), batch("0002", bad(3), Delta(VISIT, inserts=visits(3)))]

    with pytest.raises(Transient, match="person"):
        exchange.commit(iter(parts))
    assert exchange.checkpoint().position == "0001"
    exchange.commit(iter(parts))

    assert mirrored(exchange) == [(1, "p1")]
    assert len(mirrored(exchange, VISIT)) == 3
    assert len(exchange.quarantine()) == 2


def test_a_last_part_that_is_all_held_still_closes_the_transaction(exchange: Exchange) -> None:
    """Central waits for the part that does not continue."""
    exchange.commit([both(1, 1)])
    exchange.hold(BadRow("person", "x"))
    exchange.commit(iter([both(1, 2, continues=True), batch("2", Delta(PERSON, upserts=people(3)))]))

    last = exchange.read_outbox(2, 1 << 20)[-1]
    assert not codec.read_header(last.header).continues
    assert codec.decode(last.header, last.payload).deltas == ()


def test_retry_replays_in_order_and_lets_the_table_go_on(exchange: Exchange) -> None:
    """After the cause is gone nothing is missing, nothing is there twice."""
    exchange.commit([both(1, 1)])
    exchange.hold(BadRow("person", "a value does not fit", fix="make the column wider"))
    exchange.commit([batch("2", Delta(PERSON, upserts=people(1, name="first")))])
    exchange.commit([batch("3", Delta(PERSON, upserts=people(1, name="second"), inserts=people(2)))])
    assert mirrored(exchange) == [(1, "p1")]

    sealed = exchange.retry("person")

    assert len(sealed) == 2
    assert mirrored(exchange) == [(1, "second1"), (2, "p2")]
    assert exchange.tables()["person"].state == State.RUNNING
    assert exchange.quarantine() == []
    assert exchange.checkpoint().position == "3"
    assert chain_of(exchange) == exchange.checkpoint().head


def test_retry_stops_at_what_still_cannot_pass(exchange: Exchange) -> None:
    """What was before it has passed; the table stays held, with the new reason."""
    exchange.commit([both(1, 1)])
    exchange.hold(BadRow("person", "first reason"))
    exchange.commit([batch("2", Delta(PERSON, upserts=people(2)))])
    exchange.commit([batch("3", bad(3))])
    exchange.commit([batch("4", Delta(PERSON, upserts=people(4)))])

    with pytest.raises(Refused, match="still held"):
        exchange.retry("person")

    assert mirrored(exchange) == [(1, "p1"), (2, "p2")]
    assert exchange.tables()["person"].state == State.SCHEMA_HOLD
    assert [e.id for e in exchange.quarantine()] == [2, 3]


def test_skip_is_on_record_and_keeps_the_rows(exchange: Exchange) -> None:
    """After it the others pass; the audit says who decided and why, and cannot be changed."""
    exchange.commit([both(1, 1)])
    exchange.commit([batch("2", bad(2))])
    exchange.commit([batch("3", Delta(PERSON, upserts=people(3)))])

    with pytest.raises(Refused):
        exchange.skip("visit", 1, "wang", "wrong table")
    exchange.skip("person", 1, "wang", "a test row")
    with pytest.raises(Refused):
        exchange.skip("person", 1, "wang", "again")
    exchange.retry("person")

    assert mirrored(exchange) == [(1, "p1"), (3, "p3")]
    assert exchange.quarantined_rows(1)[0].rows == 1
    here = tables(exchange._place.schema, exchange._place.prefix)
    with exchange._engine.begin() as connection:
        rows = connection.execute(here.audit.select().order_by(here.audit.c.id)).mappings().all()
    assert (rows[0]["event"], rows[0]["who"], rows[0]["name"]) == ("skipped", "wang", "person")
    assert "a test row" in rows[0]["facts"]
    for change in (here.audit.delete(), here.audit.update().values(who="nobody")):
        with pytest.raises(Exception, match="append-only"), exchange._engine.begin() as connection:
            connection.execute(change)


def test_a_fresh_copy_supersedes_what_is_quarantined(exchange: Exchange) -> None:
    """The pages bring what the held changes said."""
    exchange.commit([both(1, 1)])
    exchange.commit([batch("2", bad(2))])
    exchange.order_copy("person", "li")

    assert exchange.quarantine() == []
    assert exchange.tables()["person"].state == State.SNAPSHOT
    with pytest.raises(Refused, match="not held"):
        exchange.retry("person")


def test_a_table_whose_source_left_changes_out_needs_a_copy(exchange: Exchange) -> None:
    """A retry cannot bring what was never read."""
    exchange.commit([both(1, 1)])
    exchange.hold(SchemaHold("person", "column name was dropped"), changes_left_out=True)
    assert exchange.tables()["person"].state == State.SCHEMA_HOLD

    exchange.retry("person")

    assert exchange.tables()["person"].state == State.SNAPSHOT
    assert exchange.tables()["person"].wants_copy


def test_holds_survive_a_restart(opened: Callable[..., Exchange], exchange: Exchange) -> None:
    """A held table is held until a person decides."""
    exchange.commit([both(1, 1)])
    exchange.hold(BadRow("person", "does not fit"))
    exchange.close()
    again = opened()
    again.start()
    again.commit([both(2, 2)])

    assert again.tables()["person"].state == State.QUARANTINE
    assert len(again.quarantine()) == 1


def test_a_bad_row_in_a_page_stops_the_copy_where_it_is(exchange: Exchange) -> None:
    """After a retry it goes on after the last good page."""
    exchange.know(["person"])
    exchange.begin_copy(PERSON, 9)
    exchange.commit_page(page(1, 2), 1)
    assert exchange.commit_page(Page(BAD_PERSON, bad(3).upserts, b"k", False), 1) == []
    assert exchange.tables()["person"].held
    assert exchange.commit_page(page(4), 1) == []

    exchange.retry("person")

    status = exchange.tables()["person"]
    assert (status.state, status.copy.last_key, status.copy.begun) == (State.SNAPSHOT, page(2).last_key, True)
    exchange.commit_page(page(3, last=True), status.copy.generation)
    assert mirrored(exchange) == [(1, "p1"), (2, "p2"), (3, "p3")]


def test_begin_anew_orders_every_table(exchange: Exchange) -> None:
    """The way out of a gap."""
    exchange.commit([both(5, 1)])
    exchange.begin_anew("wang", "the slot was lost")

    assert exchange.checkpoint().position == ""
    assert all(status.wants_copy for status in exchange.tables().values())
    assert exchange.checkpoint().head.seq == 1
