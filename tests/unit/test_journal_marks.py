"""A place in a journal is a set of entries, written as runs: any set survives, and regular ones stay short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.journal.marks import Mark, Run, runs_of
from proto.errors import Diverged

IDS = st.sets(st.integers(0, 2**63 - 1) | st.integers(0, 200), max_size=60)


@given(IDS)
def test_runs_are_exactly_the_numbers(ids):
    """None more, none fewer, each once."""
    assert sorted(number for run in runs_of(ids) for number in run.ids) == sorted(ids)


@given(IDS, st.integers(0, 2**63 - 1))
def test_a_position_is_read_back_as_it_was_written(ids, kept):
    """It is all a source remembers."""
    mark = Mark("7f3c", kept, runs_of(ids))

    assert Mark.parse(str(mark)) == mark


@given(IDS, IDS)
def test_reading_adds_and_deleting_takes_away(old, new):
    """The newest entry is kept in mind when it is deleted as well."""
    mark = Mark("7f3c", max(old, default=0), runs_of(old)).after(new)

    assert mark.read() == old | new
    assert mark.kept == max(old | new, default=0)
    assert mark.without(old).read() == new - old
    assert mark.without(old | new) == Mark("7f3c", mark.kept)


@pytest.mark.parametrize(
    ("ids", "runs"),
    [
        (range(1, 20_001), (Run(1, 20_000),)),
        (range(5, 60_000, 3), (Run(5, 59_999, 3),)),
        ([*range(1, 100), *range(101, 200)], (Run(1, 99), Run(101, 199))),
        ([7], (Run(7, 7),)),
        ([7, 9], (Run(7, 7), Run(9, 9))),
        ([], ()),
    ],
)
def test_regular_numbers_make_few_runs(ids, runs):
    """Gaps of rolled back transactions, and the steps of a cluster."""
    assert runs_of(ids) == runs


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
