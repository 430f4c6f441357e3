"""On time, due, late: from proven reads alone, with every minute given to whose it was."""

from __future__ import annotations

import random

import pytest

from central.supervision.spans import Span, both, joined, total_us, without
from central.supervision.timeliness import (
    Excuses,
    Judgement,
    Punctuality,
    Read,
    Rules,
    judge,
    limit_us_of,
    share,
)

RULES = Rules(due_share=0.8, serious_factor=3)
NONE = Excuses()


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (0, "on_time"),
        (80, "on_time"),
        (81, "due"),
        (100, "due"),
        (101, "late"),
        (300, "late"),
        (301, "seriously_late"),
    ],
)
def test_the_age_of_the_newest_read_decides(age, state):
    """Whether anything changed does not matter: a proven look counts (SD23.1)."""
    found = judge([Read(1000, 1000)], 100, 1000 + age, NONE, RULES)
    assert (found.state, found.age_us, found.cycles_late) == (Punctuality(state), age, age // 100)


def test_what_central_had_not_heard_of_does_not_count_yet():
    """The same moment judged later may be another: that difference is the network's."""
    reads = [Read(1000, 1000), Read(1090, 1400)]
    assert judge(reads, 100, 1250, NONE, RULES).state == Punctuality.LATE
    assert judge(reads, 100, 1401, NONE, RULES).newest_us == 1090


def test_a_platform_that_was_down_is_nobody_elses_fault():
    """Neither are agreed hours of maintenance; time in both counts once (SD28.5)."""
    excuses = Excuses(platform=[Span(1100, 1200)], maintenance=[Span(1150, 1250)])
    assert judge([Read(1000, 1000)], 100, 1250, excuses, RULES).age_us == 100
    assert judge([Read(1000, 1000)], 100, 1250, excuses, RULES).state == Punctuality.DUE
    assert judge([Read(1000, 1000)], 100, 1252, excuses, RULES).state == Punctuality.LATE


def test_what_was_never_read_is_unknown():
    """Nothing was promised yet."""
    assert judge([], 100, 5000, NONE, RULES) == Judgement(Punctuality.UNKNOWN, 100, 0, 0)


def test_late_minutes_are_shared_out():
    """Department, network, platform: each what was its own (Art. 28)."""
    reads = [Read(0, 0), Read(250, 400), Read(700, 700)]
    excuses = Excuses(platform=[Span(120, 150)], maintenance=[Span(500, 550)])
    found = share(reads, 100, Span(0, 800), excuses)
    # Late as seen: 100..700 (the read of 250 was too old when it came). True reads covered 250..350.
    assert found.platform_us == 30
    assert found.network_us == 100
    assert found.excused_us == 50
    assert found.department_us == 600 - 30 - 100 - 50


@pytest.mark.parametrize("seed", range(20))
def test_the_shares_are_all_of_the_late_time_and_no_more(seed):
    """Checked against a plain clock, tick by tick."""
    draw = random.Random(seed)
    reads = [Read(at := draw.randrange(1, 500), at + draw.choice([0, 0, 30, 90])) for _ in range(8)]
    excuses = Excuses(
        platform=[Span(at := draw.randrange(500), at + 40)],
        maintenance=[Span(at := draw.randrange(500), at + 60)],
    )
    found = share(reads, 50, Span(0, 600), excuses)
    counts = [0, 0, 0, 0]
    for tick in range(min(read.proven_us for read in reads), 600):
        if any(read.received_us <= tick and young(read.proven_us, tick, excuses) for read in reads):
            continue
        inside = [
            any(span.start_us <= tick < span.end_us for span in spans)
            for spans in (excuses.platform, excuses.maintenance)
        ]
        true = any(read.proven_us <= tick and young(read.proven_us, tick, excuses) for read in reads)
        counts[2 if inside[0] else 3 if inside[1] else 1 if true else 0] += 1
    assert [found.department_us, found.network_us, found.platform_us, found.excused_us] == counts


def young(proven: int, tick: int, excuses: Excuses) -> bool:
    """Whether a read is within a limit of 50 at *tick*, counted tick by tick."""
    excused = {
        at for span in (*excuses.platform, *excuses.maintenance) for at in range(span.start_us, span.end_us)
    }
    return len(set(range(proven, tick)) - excused) < 50


def test_spans_are_sets_of_time():
    """Joined, cut, measured."""
    spans = [Span(5, 9), Span(1, 3), Span(3, 4), Span(8, 12), Span(20, 20)]
    assert joined(spans) == [Span(1, 4), Span(5, 12)]
    assert total_us(spans) == 10
    assert both(spans, [Span(2, 6)]) == [Span(2, 4), Span(5, 6)]
    assert without(spans, [Span(2, 6), Span(10, 11)]) == [Span(1, 2), Span(6, 10), Span(11, 12)]


@pytest.mark.parametrize(("text", "seconds"), [("P1D", 86400), ("PT30M", 1800), ("P7DT1H2M3S", 608523)])
def test_limits_are_durations(text, seconds):
    """As the catalogue writes them."""
    assert limit_us_of(text) == seconds * 1_000_000


@pytest.mark.parametrize("text", ["P", "PT", "1D", "P1M", ""])
def test_what_is_no_duration_is_refused(text):
    """A month has no length."""
    with pytest.raises(ValueError, match="no duration"):
        limit_us_of(text)
