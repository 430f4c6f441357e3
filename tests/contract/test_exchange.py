"""What the exchange database promises, in SQLite and PostgreSQL alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event, inspect, text

from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from agent.exchange.store import place_of
from agent.exchange.tables import tables
from agent.sources.source import Page
from proto import codec, frames
from proto.batch import CHAIN_START, Batch, Delta, Frames, Head
from proto.errors import BadRow, DiskBlocked, Fenced, Poisoned, Refused, SchemaHold, Transient
from proto.schema import Column, TableSchema
from proto.states import State
from proto.values import Kind
from tests.support.exchanges import NODE, ROOMY, STREAM, chain_of
from tests.support.rows import PERSON, VISIT, batch, both, people, values, visits

pytest_plugins = ["tests.support.exchanges"]

BAD_PERSON = TableSchema(
    "person", (Column("id", Kind.INT64, nullable=False), Column("name", Kind.BOOL)), ("id",)
)
"""The same name with another kind of column: no mirror of PERSON can become this."""


def mirrored(exchange: Exchange, schema: TableSchema = PERSON) -> list[tuple[object, ...]]:
    """What the mirror holds."""
    return values(exchange.mirror_scan(schema.name), schema)


def bad(position: str, number: int) -> Delta:
    return Delta(BAD_PERSON, upserts=Frames(frames.pack_rows([(number, 1)], BAD_PERSON.kinds), 1))


def test_rows_outbox_and_checkpoint_move_together(exchange: Exchange) -> None:
    """A commit mirrors the rows, queues a sealed batch and moves position and head."""
    sealed = exchange.commit([both(1, 1, 2), both(2, 3)])

    now = exchange.checkpoint()
    assert [b.seq for b in sealed] == [1, 2]
    assert (now.position, now.head) == ("0002", sealed[-1].head)
    assert mirrored(exchange) == [(1, "p1"), (2, "p2"), (3, "p3")]
    assert len(mirrored(exchange, VISIT)) == 3
    assert exchange.read_outbox(0, 1 << 20) == sealed
    assert chain_of(exchange) == now.head


def test_a_batch_without_rows_moves_only_the_position(exchange: Exchange) -> None:
    """Others' changes passing by take no number."""
    assert exchange.commit([batch("0007")]) == []
    assert exchange.checkpoint().position == "0007"
    assert exchange.checkpoint().head == Head()


def test_parts_of_a_large_transaction_are_one_commit(exchange: Exchange) -> None:
    """Parts are read one by one; when the last never comes, none of them is there."""
    exchange.commit(iter([both(0, 1, continues=True), both(0, 2, continues=True), both(9, 3)]))
    assert exchange.checkpoint().head.seq == 3

    def cut_off() -> Iterator[Batch]:
        yield both(9, 4, continues=True)
        raise Transient("the source went away")

    with pytest.raises(Transient):
        exchange.commit(cut_off())
    assert exchange.checkpoint().head.seq == 3
    assert mirrored(exchange) == [(1, "p1"), (2, "p2"), (3, "p3")]
    continues = [codec.read_header(b.header).continues for b in exchange.read_outbox(0, 1 << 20)]
    assert continues == [True, True, False]


def test_a_large_transaction_holds_up_no_reader(exchange: Exchange, exchange_url: str) -> None:
    """Push and status look in while it is written, also over new connections, and see what was before."""
    exchange.commit([both(1, 1)])
    seen: list[tuple[int, int]] = []

    def parts() -> Iterator[Batch]:
        yield both(1, 2, continues=True)
        engine = open_exchange(exchange_url, NODE)
        stranger = Exchange(engine, STREAM, ROOMY)
        seen.extend((len(e.read_outbox(0, 1 << 20)), e.sizes().waiting_batches) for e in (exchange, stranger))
        assert exchange.start().head.seq == 1
        stranger.close()
        engine.dispose()
        yield both(2, 3)

    began = time.monotonic()
    exchange.commit(parts())

    assert seen == [(1, 1), (1, 1)]
    assert time.monotonic() - began < 10
    assert exchange.start().head.seq == 3


def test_every_process_start_is_a_new_epoch(opened: Callable[..., Exchange]) -> None:
    """The epoch grows, the incarnation differs, the past stays."""
    first = opened()
    before = first.start()
    first.commit([both(1, 1)])
    first.close()

    after = opened().start()

    assert (before.epoch, after.epoch) == (1, 2)
    assert before.incarnation != after.incarnation
    assert (after.position, after.head.seq, after.head.epoch) == ("0001", 1, 1)


def test_starting_twice_in_one_process_is_one_start(exchange: Exchange) -> None:
    """Capture and push may both call it."""
    assert exchange.start().epoch == exchange.start().epoch == 1


def test_a_second_process_is_fenced(opened: Callable[..., Exchange], exchange: Exchange) -> None:
    """One stream has one writer; another stream in the same database has its own."""
    with pytest.raises(Fenced, match="already works"):
        opened().start()
    assert opened(stream="bureau/tax").start().epoch == 1
    exchange.commit([both(1, 1)])


def test_a_zombie_that_lost_its_lock_changes_nothing(
    opened: Callable[..., Exchange], exchange: Exchange
) -> None:
    """The epoch inside the transaction stops a writer that slept through its own replacement (E9)."""
    exchange.commit([both(1, 1)])
    assert exchange._guard is not None
    exchange._guard.release()
    successor = opened()
    successor.start()
    successor.commit([both(2, 2)])

    with pytest.raises(Fenced, match="took over"):
        exchange.commit([both(2, 3)])
    with pytest.raises(Fenced):
        exchange.prune(0)
    with pytest.raises(Fenced):
        exchange.checkpoint()
    exchange.acknowledge(2)

    assert mirrored(successor) == [(1, "p1"), (2, "p2")]
    assert successor.checkpoint().acknowledged_seq == 0
    assert chain_of(successor) == successor.checkpoint().head


def test_an_unheld_lock_is_taken_again(exchange: Exchange) -> None:
    """After a broken connection the same process goes on, if nobody came between."""
    assert exchange._guard is not None
    exchange._guard.release()

    assert exchange.checkpoint().epoch == 1
    assert exchange._guard.is_held()


# Outbox


def test_reading_is_bounded_by_bytes_but_never_empty(exchange: Exchange) -> None:
    """One batch comes however small the limit is."""
    exchange.commit([both(n, n) for n in range(1, 6)])

    assert [b.seq for b in exchange.read_outbox(0, 1)] == [1]
    assert [b.seq for b in exchange.read_outbox(3, 1 << 20)] == [4, 5]
    assert exchange.read_outbox(5, 1 << 20) == []


def test_heads_of_the_past(exchange: Exchange) -> None:
    """What both ends compare when they meet."""
    sealed = exchange.commit([both(n, n) for n in range(1, 4)])

    assert exchange.head_at(0) == Head(0, 0, CHAIN_START)
    assert [exchange.head_at(b.seq) for b in sealed] == [b.head for b in sealed]
    assert exchange.head_at(4) is None


def test_pruning_forgets_only_what_is_acknowledged_and_old(exchange: Exchange) -> None:
    """The last acknowledged batch stays: its digest is compared at the next connect."""
    sealed = exchange.commit([both(n, n) for n in range(1, 6)])
    assert exchange.prune(0) == 0

    exchange.acknowledge(3)
    assert exchange.prune(3_600_000_000) == 0
    assert exchange.prune(0) == 2

    assert exchange.oldest_seq() == 3
    assert exchange.head_at(3) == sealed[2].head
    assert [b.seq for b in exchange.read_outbox(3, 1 << 20)] == [4, 5]
    assert len(mirrored(exchange)) == 5


def test_pruning_is_limited_per_call(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long outbox goes in short transactions."""
    monkeypatch.setattr("agent.exchange.outbox.PRUNE_ROWS", 2)
    exchange.commit([both(n, n) for n in range(1, 8)])
    exchange.acknowledge(7)

    assert [exchange.prune(0) for _ in range(4)] == [2, 2, 2, 0]


def test_an_acknowledgement_never_moves_back(exchange: Exchange) -> None:
    """Late and early ones, and ones for batches that are not there, change nothing."""
    exchange.commit([both(n, n) for n in range(1, 4)])
    for seq in (2, 1, 9):
        exchange.acknowledge(seq)
        assert exchange.checkpoint().acknowledged_seq == 2


def test_sizes_tell_what_waits(exchange: Exchange) -> None:
    """Waiting is what central has not; kept is what is here."""
    assert exchange.sizes() == replace(exchange.sizes(), waiting_batches=0, waiting_bytes=0, kept_bytes=0)
    sealed = exchange.commit([both(n, n) for n in range(1, 5)])
    bytes_of = [len(b.header) + len(b.payload) for b in sealed]
    exchange.acknowledge(3)
    exchange.prune(0)

    sizes = exchange.sizes()

    assert (sizes.waiting_batches, sizes.waiting_bytes) == (1, bytes_of[3])
    assert (sizes.kept_batches, sizes.kept_bytes) == (2, sum(bytes_of[2:]))
    assert sizes.oldest_waiting_us > 0
    assert exchange.oldest_seq() == 3


@pytest.mark.parametrize("column", ["header", "payload", "digest"])
def test_a_damaged_batch_is_named_and_not_sent(exchange: Exchange, column: str) -> None:
    """Any flipped byte is found on reading (E6)."""
    exchange.commit([both(n, n) for n in range(1, 4)])
    outbox = tables(exchange._place.schema, exchange._place.prefix).outbox
    with exchange._engine.begin() as connection:
        whole = bytes(connection.execute(outbox.select().where(outbox.c.seq == 2)).mappings().one()[column])
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        with exchange._engine.begin() as connection:
            connection.execute(outbox.update().where(outbox.c.seq == 2).values({column: bytes(damaged)}))
        with pytest.raises(Poisoned, match="batch 2"):
            exchange.read_outbox(1, 1 << 20)
    assert exchange.read_outbox(0, 1)[0].seq == 1


# First copies


def page(*ids: int, last: bool = False) -> Page:
    """A page of people."""
    key = frames.pack([ids[-1].to_bytes(8)]) if ids else b""
    return Page(PERSON, people(*ids), key, last)


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
        Page(BAD_PERSON, bad("", 5).upserts, b"k", True), exchange.tables()["person"].copy.generation
    )

    assert mirrored(exchange, BAD_PERSON) == [(5, 1)]


# Holds


def test_a_table_that_cannot_follow_is_held_and_the_others_go_on(exchange: Exchange) -> None:
    """Its changes wait in order, nothing of them reaches mirror or outbox."""
    exchange.commit([both(1, 1)])
    exchange.commit([batch("2", bad("2", 2), Delta(VISIT, inserts=visits(2)))])
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
    exchange.commit([both(1, 1), both(2, 2), batch("3", bad("3", 3)), both(4, 4)])

    assert mirrored(exchange) == [(1, "p1"), (2, "p2")]
    assert len(mirrored(exchange, VISIT)) == 3
    assert [e.position for e in exchange.quarantine()] == ["3", "0004"]


def test_a_hold_inside_a_large_transaction_asks_for_it_again(exchange: Exchange) -> None:
    """Its parts were read once; the hold is kept so that the second reading passes."""
    exchange.commit([both(1, 1)])
    parts = [both(1, 2, continues=True), batch("0002", bad("0002", 3), Delta(VISIT, inserts=visits(3)))]

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
    exchange.commit([batch("3", bad("3", 3))])
    exchange.commit([batch("4", Delta(PERSON, upserts=people(4)))])

    with pytest.raises(Refused, match="still held"):
        exchange.retry("person")

    assert mirrored(exchange) == [(1, "p1"), (2, "p2")]
    assert exchange.tables()["person"].state == State.SCHEMA_HOLD
    assert [e.id for e in exchange.quarantine()] == [2, 3]


def test_skip_is_on_record_and_keeps_the_rows(exchange: Exchange) -> None:
    """After it the others pass; the audit says who decided and why, and cannot be changed."""
    exchange.commit([both(1, 1)])
    exchange.commit([batch("2", bad("2", 2))])
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
    exchange.commit([batch("2", bad("2", 2))])
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
    assert exchange.commit_page(Page(BAD_PERSON, bad("", 3).upserts, b"k", False), 1) == []
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


# Room and migrations


def test_a_full_outbox_blocks_and_heals(opened: Callable[..., Exchange]) -> None:
    """Capture stops before the disk does, and goes on when central has taken what waits."""
    exchange = opened(StoreLimits(min_free_bytes=0, outbox_bytes=300))
    exchange.start()
    position = 0
    with pytest.raises(DiskBlocked, match="central"):
        for position in range(1, 100):
            exchange.commit([both(position, position)])
    before = exchange.checkpoint()
    assert before.head.seq == position - 1

    exchange.acknowledge(before.head.seq)
    exchange.commit([both(position, position)])

    assert exchange.checkpoint().head.seq == position


@pytest.mark.parametrize("exchange_url", ["sqlite"], indirect=True)
def test_a_file_that_cannot_grow_blocks_and_heals(exchange: Exchange) -> None:
    """What the disk refuses is rolled back whole; the next commit after room came passes (E3)."""
    exchange.commit([both(1, 1)])
    event.listen(exchange._engine, "checkout", _cap)
    position = 2
    with pytest.raises(DiskBlocked, match=r".+"):
        for position in range(2, 200):
            ids = range(position * 1000, position * 1000 + 500)
            exchange.commit([both(position, *ids)])
    event.remove(exchange._engine, "checkout", _cap)
    event.listen(exchange._engine, "checkout", _uncap)

    before = exchange.checkpoint()
    assert before.position == f"{position - 1:04}"
    assert chain_of(exchange) == before.head
    exchange.commit([both(position, 7)])
    assert exchange.checkpoint().position == f"{position:04}"


def _cap(connection: Any, *_: object) -> None:
    connection.execute("PRAGMA max_page_count = 200")


def _uncap(connection: Any, *_: object) -> None:
    connection.execute("PRAGMA max_page_count = 1000000000")


@pytest.mark.parametrize("exchange_url", ["sqlite"], indirect=True)
def test_too_little_room_on_the_volume_blocks_before_it_is_full(opened: Callable[..., Exchange]) -> None:
    """The watermark stops capture while there still is room to send and prune."""
    exchange = opened(StoreLimits(min_free_bytes=1 << 60))
    exchange.start()
    with pytest.raises(DiskBlocked, match="must stay"):
        exchange.commit([both(1, 1)])
    assert exchange.checkpoint().position == ""
    assert (exchange.free_bytes() or 0) > 0
    exchange.acknowledge(0)
    exchange.prune(0)


def test_migrating_twice_and_at_once_is_once(exchange_url: str) -> None:
    """Two processes that start together migrate once."""
    engines = [open_exchange(exchange_url, NODE) for _ in range(2)]
    for engine in engines:
        migrate(engine)
    names = inspect(engines[0]).get_table_names(schema=place_of(engines[0]).schema)
    assert len(names) == 6
    for engine in engines:
        engine.dispose()


def test_a_newer_database_is_refused(exchange_url: str) -> None:
    """An older program must not guess what a newer one wrote."""
    engine = open_exchange(exchange_url, NODE)
    migrate(engine)
    place = place_of(engine)
    version = f"{place.schema}.version" if place.schema else f"{place.prefix}version"
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {version} SET version_num = '9999'"))

    with pytest.raises(Refused, match="newer"):
        migrate(engine)
    engine.dispose()


def test_the_migrated_tables_are_the_ones_the_code_knows(exchange: Exchange) -> None:
    """No drift between migrations and statements."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine: Engine = exchange._engine
    place = exchange._place
    known = tables(place.schema, place.prefix).metadata
    names = {table.name for table in known.tables.values()}
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": place.schema is not None,
                "include_object": lambda item, name, kind, *_: kind != "table" or name in names,
                "compare_server_default": False,
            },
        )
        assert compare_metadata(context, known) == []


@pytest.mark.parametrize("url", ["sqlite://", "mysql+pymysql://x/y", "nonsense"])
def test_an_address_that_cannot_be_an_exchange_database_is_refused(url: str) -> None:
    """The message says what would do."""
    with pytest.raises(Refused, match="sqlite:///"):
        open_exchange(url, NODE)
