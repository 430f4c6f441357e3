"""Taking out what may not leave any more: from the outbox, the quarantine, the mirror and the positions, in every database."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, event, select, update

from agent.binding import NotCatalogued
from agent.exchange import Decision, Exchange
from agent.exchange.tables import Tables, tables
from proto import codec
from proto.batch import Batch, Head
from proto.errors import BadRow, Poisoned, Refused, Transient
from proto.schema import TableSchema
from tests.support.exchanges import chain_of
from tests.support.rows import PERSON, VISIT, both, mirrored, values

pytest_plugins = ["tests.support.exchanges"]


def persons(schema: TableSchema) -> bool:
    """They may not leave."""
    return schema.name == "person"


OPEN = Decision("open")
CLOSED = Decision("closed", closes=persons)


def here(exchange: Exchange) -> Tables:
    """The bookkeeping tables."""
    return tables(exchange._place.schema, exchange._place.prefix)


def batches(exchange: Exchange) -> list[Batch]:
    """What lies in the outbox, whether or not it can be sent."""
    outbox = here(exchange).outbox
    with exchange._reading() as connection:
        rows = connection.execute(select(outbox.c.header, outbox.c.payload).order_by(outbox.c.seq)).all()
    return [codec.decode(bytes(row.header), bytes(row.payload)) for row in rows]


def people_in(exchange: Exchange) -> int:
    """Rows of persons in the outbox."""
    return sum(delta.rows for batch in batches(exchange) for delta in batch.deltas if delta.schema == PERSON)


@pytest.fixture
def exchange(opened: Callable[..., Exchange]) -> Exchange:
    """Three batches of both tables, the first of which central has."""
    made = opened()
    made.start()
    made.closing.settle(OPEN)
    made.commit([both(1, 1)])
    made.commit([both(2, 2), both(3, 3)])
    made.acknowledge(1)
    return made


def test_rows_go_and_numbers_stay(exchange: Exchange) -> None:
    """Of batches that were acknowledged and of those that wait; the other table keeps every row."""
    before = exchange.checkpoint()
    exchange.closing.settle(CLOSED)
    now = exchange.checkpoint()
    assert people_in(exchange) == 0
    assert [batch.position for batch in batches(exchange)] == ["0001", "0002", "0003", "0003"]
    assert batches(exchange)[-1].deltas[0].truncated
    assert (now.epoch, now.head.seq) == (before.epoch + 1, before.head.seq + 1)
    assert now.incarnation != before.incarnation
    assert (
        len(values([d.inserts for b in batches(exchange) for d in b.deltas if d.schema == VISIT], VISIT)) == 3
    )
    with pytest.raises(Refused, match="no mirror"):
        mirrored(exchange)
    assert exchange.tables()["person"].wants_copy
    assert not exchange.tables()["visit"].wants_copy


def test_what_central_does_not_have_is_chained_anew(exchange: Exchange) -> None:
    """After its head, which is known by the digest it always had; a head it had before is as good."""
    head = exchange.head_at(2)
    assert head is not None
    exchange.closing.settle(CLOSED)
    with pytest.raises(Transient):
        exchange.read_outbox(1, 1 << 20)
    assert exchange.head_at(2) == head
    assert exchange.closing.seal_anew(head)
    found = exchange.read_outbox(2, 1 << 20)
    codec.verify(found[0], head)
    assert found[-1].head == exchange.checkpoint().head
    assert not exchange.closing.seal_anew(head)
    # Central goes back to a backup: then it is done again from there.
    assert exchange.closing.seal_anew(Head())
    assert chain_of(exchange) == exchange.checkpoint().head


def test_it_is_done_once(exchange: Exchange) -> None:
    """Nothing is looked through again, and no epoch taken, while the same may leave."""
    exchange.closing.settle(CLOSED)
    before = exchange.checkpoint()
    exchange.closing.settle(CLOSED)
    assert exchange.checkpoint() == before


def test_a_table_that_is_held_as_a_whole_is_emptied(exchange: Exchange) -> None:
    """Nothing of it comes back by itself; the platform is told to empty its own."""
    hold = NotCatalogued("person", "nothing of it is shared")
    exchange.closing.settle(Decision("closed", (hold,), (), persons))
    status = exchange.tables()["person"]
    assert status.left_out
    assert status.schema is None
    assert people_in(exchange) == 0
    assert batches(exchange)[-1].deltas[0].truncated


def test_what_is_quarantined_goes_too(exchange: Exchange) -> None:
    """A retry would send it; of other tables nothing is lost."""
    exchange.hold(BadRow("person", "a test"))
    exchange.hold(BadRow("visit", "a test"))
    exchange.commit([both(4, 4)])
    exchange.closing.settle(CLOSED)
    assert [entry.table for entry in exchange.quarantine()] == ["visit"]


def test_positions_that_hold_a_closed_value_are_forgotten(exchange: Exchange) -> None:
    """A watermark's newest value is in every position, so everything begins anew."""
    exchange.closing.settle(Decision("closed", closes=persons, in_positions=frozenset({"person"})))
    assert {batch.position for batch in batches(exchange)[:3]} == {""}
    assert exchange.checkpoint().position == ""
    assert all(status.wants_copy for status in exchange.tables().values())


def test_a_damaged_batch_is_not_kept_for_what_it_may_hold(exchange: Exchange) -> None:
    """What cannot be read cannot be looked through: it is emptied, and push says that it is damaged (E6)."""
    outbox = here(exchange).outbox
    with exchange._engine.begin() as connection:
        connection.execute(update(outbox).where(outbox.c.seq == 2).values(header=b"\xff\xff"))
    exchange.closing.settle(CLOSED)
    head = exchange.head_at(1)
    assert head is not None
    exchange.closing.seal_anew(head)
    with pytest.raises(Poisoned, match="batch 2"):
        exchange.read_outbox(1, 1 << 20)


def test_a_commit_nobody_knows_of_does_not_lock_us_out(exchange: Exchange) -> None:
    """It may have happened: the next start takes an epoch of its own (E1)."""
    broken = iter([True])

    def break_once(_: Connection) -> None:
        if next(broken, False):
            raise Transient("the connection broke")

    event.listen(exchange._engine, "commit", break_once)
    before = exchange.checkpoint()
    with pytest.raises(Transient):
        exchange.closing.settle(CLOSED)
    assert people_in(exchange) == 3
    assert exchange.start().epoch == before.epoch + 1
    exchange.closing.settle(CLOSED)
    assert people_in(exchange) == 0
