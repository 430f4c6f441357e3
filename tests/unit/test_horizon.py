"""When the place for what waits will be full: rate, both limits, and which comes first (SD12.3)."""

from __future__ import annotations

import pytest

from agent.exchange.horizon import FAR_US, OUTBOX, VOLUME, WINDOW_US, Gauge, Horizon, Level, horizon

MINUTE = 60_000_000
HOUR = 60 * MINUTE
GIB = 1024**3
START = 1_800_000_000_000_000


def filling(minutes: int, per_minute: int, spare: int | None = None, used: int = 0) -> list[Level]:
    """A level each minute: so much more waits, and so much less of the volume is left."""
    return [
        Level(START + n * MINUTE, n * per_minute, 64 * GIB, None if spare is None else spare - n * used)
        for n in range(minutes + 1)
    ]


def test_the_outbox_is_full_first() -> None:
    """Ten of sixty-four GiB came in ten minutes: the rest takes fifty-four; the volume would have lasted longer (SD12.3)."""
    found = horizon(filling(10, GIB, spare=1000 * GIB, used=GIB))
    assert found == Horizon(OUTBOX, START + 64 * MINUTE)
    assert found.sentence(START + 10 * MINUTE) == (
        "what may wait for central full in 54 min at the present rate; nothing is dropped, capture waits then"
    )


def test_the_volume_is_full_first() -> None:
    """Others fill it too: what counts is how fast it empties, not how fast the outbox grows (SD12.3)."""
    levels = filling(60, GIB // 60, spare=32 * GIB, used=GIB // 60)
    found = horizon(levels)
    assert found is not None and found.what == VOLUME
    assert "exchange disk full in 31 h at the present rate" in found.sentence(levels[-1].at_us)
    twice = horizon(filling(60, GIB // 60, spare=32 * GIB, used=GIB // 30))
    assert twice is not None and twice.left_us(levels[-1].at_us) == pytest.approx(15 * HOUR, rel=0.01)


def test_a_volume_whose_rows_reuse_freed_room_is_still_filled_by_what_waits() -> None:
    """The file did not grow this hour; it will when the freed pages are used up."""
    found = horizon(filling(60, GIB // 60, spare=4 * GIB))
    assert found is not None and found.what == VOLUME
    assert found.left_us(START + HOUR) == pytest.approx(4 * HOUR, rel=0.01)


def test_seventy_two_hours_without_central() -> None:
    """The number is right from the second minute to the end, as long as the rate is what it was (SD12.3)."""
    gauge, per_minute = Gauge(), 10 * 1024**2
    full_us = START + 64 * GIB * MINUTE // per_minute
    for minute in range(72 * 60):
        gauge.note(Level(START + minute * MINUTE, minute * per_minute, 64 * GIB))
        found = gauge.horizon()
        assert (found is not None) == (minute >= 1)
        assert found is None or found.at_us == pytest.approx(full_us, abs=1000)


@pytest.mark.parametrize(
    "levels",
    [
        [],
        [Level(START, 5 * GIB, 64 * GIB)],
        filling(10, 0),
        [*filling(10, GIB), Level(START + 11 * MINUTE, 0, 64 * GIB)],
        [Level(START + n * MINUTE, (10 - n) * GIB, 64 * GIB) for n in range(10)],
        [Level(START, 0, 64 * GIB), Level(START + 59_000_000, GIB, 64 * GIB)],
        [Level(START, 63 * GIB, 64 * GIB), Level(START + HOUR, 65 * GIB, 64 * GIB)],
        [Level(START, 1, 64 * GIB), Level(START + HOUR, 2, 64 * GIB)],
    ],
    ids=["nothing known", "one look", "nothing waits", "drained", "draining", "too short", "full", "far"],
)
def test_there_is_no_horizon(levels: list[Level]) -> None:
    """Only what waits and grows has one; what is full already is a state, and a year is nobody's worry."""
    assert horizon(levels) is None
    assert horizon([Level(START, 0, FAR_US), Level(START + FAR_US // 2, FAR_US // 2, FAR_US)]) is not None


def test_a_stream_that_fills_and_drains_as_ever_has_none() -> None:
    """Central takes what came every half minute: the lowest level is always near."""
    gauge = Gauge()
    for n in range(400):
        gauge.note(Level(START + n * 15_000_000, (n % 3) * GIB, 64 * GIB))
        assert gauge.horizon() is None


def test_an_hour_is_remembered() -> None:
    """What happened before says nothing about the present rate."""
    gauge = Gauge()
    gauge.note(Level(START, 0, 64 * GIB))
    gauge.note(Level(START + WINDOW_US + 1, GIB, 64 * GIB))
    assert gauge.horizon() is None
    gauge.note(Level(START + WINDOW_US + HOUR // 2 + 1, 2 * GIB, 64 * GIB))
    found = gauge.horizon()
    assert found is not None and found.left_us(START + WINDOW_US + HOUR // 2 + 1) == 31 * HOUR
