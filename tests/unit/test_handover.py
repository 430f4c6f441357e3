"""What waits in memory for push, and how much may be on its way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.push.handover import FIRST_PACE_BYTES, LEAST_PACE_BYTES, QUICK_S, SLOW_S, Flight, Handover, Pace
from proto.batch import SealedBatch
from proto.channel import MAX_PART_BYTES

CEILING = 32 * 1024 * 1024


def batch(seq: int, size: int = 10) -> SealedBatch:
    """A batch of that many bytes."""
    return SealedBatch("hr-node/hr", 1, seq, bytes(32), b"", bytes(size))


def test_what_follows_is_handed_over_in_order():
    """Each batch once; asking for one forgets those before it."""
    handover = Handover(1000)
    handover.offer([batch(1), batch(2), batch(3)])

    assert [handover.take(seq) for seq in (1, 3, 3)] == [batch(1), batch(3), None]
    assert handover.newest == 3


def test_what_does_not_fit_is_left_to_the_outbox():
    """After a hole nothing is kept until the run before it is gone, so no batch is ever passed over."""
    handover = Handover(25)
    handover.offer([batch(1), batch(2), batch(3), batch(4)])
    assert [handover.take(seq) for seq in (1, 2, 3, 4)] == [batch(1), batch(2), None, None]
    handover.offer([batch(5)])

    assert handover.take(4) is None
    assert handover.take(5) == batch(5)
    assert handover.newest == 5


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=60), st.integers(0, 100))
def test_no_batch_is_ever_passed_over(steps, limit):
    """However offers and takes mix: what is taken is what was asked for, and memory stays within its limit."""
    handover, committed, wanted = Handover(limit), 0, 1
    for is_offer, size in steps:
        if is_offer:
            committed += 1
            handover.offer([batch(committed, size)])
        elif wanted <= handover.newest:
            found = handover.take(wanted)
            assert found is None or found.seq == wanted
            wanted += 1
        kept = [one.seq for one in handover._run]
        assert kept == list(range(kept[0], kept[0] + len(kept))) if kept else True
        assert sum(len(one.payload) for one in handover._run) == handover._bytes <= limit


def test_a_quick_link_is_filled_further():
    """Twice as much with every round, up to the window."""
    pace = Pace()
    for _ in range(20):
        pace.received(pace.limit_bytes, QUICK_S / 2, CEILING)

    assert pace.limit_bytes == CEILING
    assert pace.part_bytes == MAX_PART_BYTES


def test_a_slow_link_is_given_less():
    """Down to one small part, never to nothing."""
    pace = Pace()
    for _ in range(20):
        pace.received(LEAST_PACE_BYTES, SLOW_S * 2, CEILING)

    assert pace.limit_bytes == pace.part_bytes == LEAST_PACE_BYTES


def test_a_link_that_is_neither_keeps_its_pace():
    """Between quick and slow lies what it can carry."""
    pace = Pace()
    pace.received(LEAST_PACE_BYTES, (QUICK_S + SLOW_S) / 2, CEILING)

    assert pace.limit_bytes == FIRST_PACE_BYTES


def test_a_trickle_proves_nothing():
    """Small batches that arrive at once say nothing about a large one."""
    pace = Pace()
    flight = Flight(pace)
    for number in range(1, 100):
        flight.sent(1000)
        flight.received(number * 1000, CEILING)

    assert pace.limit_bytes == FIRST_PACE_BYTES


def test_the_link_is_filled_to_its_pace_and_no_further():
    """One part may always go; the next waits for what was received."""
    flight = Flight(Pace())
    sent = 0
    while flight.has_room(LEAST_PACE_BYTES):
        flight.sent(LEAST_PACE_BYTES)
        sent += LEAST_PACE_BYTES
    assert sent == FIRST_PACE_BYTES
    flight.received(LEAST_PACE_BYTES, 0)
    assert flight.has_room(LEAST_PACE_BYTES)
    flight.received(sent, 0)

    assert flight.has_room(100 * FIRST_PACE_BYTES)
