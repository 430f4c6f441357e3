"""A place in a journal is a set of entries, written as runs: any set survives, and regular ones stay short."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.journal.marks import Mark, Run, runs_of
from proto.errors import Diverged


def numbers(mark):
    return {number for run in mark.runs for number in run.ids}


IDS = st.sets(st.integers(0, 2**63 - 1) | st.integers(0, 200), max_size=60)


@given(IDS)
def test_runs_are_exactly_the_numbers(ids):
    """None more, none fewer, each once, and in order."""
    runs = list(runs_of(sorted(ids)))

    assert [number for run in runs for number in run.ids] == sorted(ids)
    assert all(one.last < other.first for one, other in pairwise(runs))


@given(IDS, st.integers(0, 2**63 - 1))
def test_a_position_is_read_back_as_it_was_written(ids, kept):
    """It is all a source remembers."""
    mark = Mark("7f3c", kept, 5, tuple(runs_of(sorted(ids))))

    assert Mark.parse(str(mark)) == mark


@given(IDS, IDS)
def test_reading_adds_and_deleting_takes_away(old, new):
    """The newest of what was deleted stays."""
    before = Mark("7f3c", 0, 0).after(sorted(old), 1)
    mark = before.after(sorted(new), 2)

    assert numbers(mark) == old | new
    assert mark.kept == max(old | new, default=0)
    assert numbers(mark.without(before)) == (new - old) | {number for number in old if number == before.kept}
    assert mark.without(mark).runs == ((Run(mark.kept, mark.kept),) if old | new else ())


@given(IDS, IDS)
def test_the_finder_knows_what_was_read(ids, others):
    """Whatever the runs look like."""
    has = Mark("7f3c", 0, 0).after(sorted(ids), 1).finder()

    assert {number for number in ids | others if has(number)} == ids


@pytest.mark.parametrize(
    ("ids", "runs"),
    [
        (range(1, 20_001), (Run(1, 20_000),)),
        (range(5, 60_000, 3), (Run(5, 59_999, 3),)),
        ([*range(1, 100), *range(101, 200)], (Run(1, 99), Run(101, 199))),
        ([7], (Run(7, 7),)),
        ([7, 9], (Run(7, 9, 2),)),
        ([], ()),
    ],
)
def test_regular_numbers_make_few_runs(ids, runs):
    """Gaps of rolled back transactions, and the steps of a cluster."""
    assert tuple(runs_of(ids)) == runs


@pytest.mark.parametrize(
    "position",
    [
        "",
        "pg/1/1/0/0",
        "journal/x",
        "journal/x/y/",
        "journal/x/1/1-",
        "journal/x/1/1,,2",
        "journal/x/1/1-2-3",
    ],
)
def test_what_is_no_position_of_a_journal_is_refused(position):
    """Another kind of source was configured under this name, or the text is damaged."""
    with pytest.raises(Diverged):
        Mark.parse(position)
