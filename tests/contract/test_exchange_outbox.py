"""What waits for central: read, compared, acknowledged, forgotten; and damage that is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.exchange import Exchange
from agent.exchange.tables import tables
from proto.batch import CHAIN_START, Head
from proto.errors import Poisoned
from tests.support.rows import (
    both,
    mirrored,
)

pytest_plugins = ["tests.support.exchanges"]


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
