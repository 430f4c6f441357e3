"""What a commit promises, in SQLite and PostgreSQL alike, and who may make one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from agent.exchange import Exchange, open_exchange
from proto import codec
from proto.batch import Batch, Head
from proto.errors import Fenced, Transient
from tests.support.exchanges import NODE, ROOMY, STREAM, chain_of
from tests.support.rows import (
    VISIT,
    batch,
    both,
    mirrored,
)

pytest_plugins = ["tests.support.exchanges"]


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
