"""A first copy under writes, with kills in the middle of it: it goes on where it was, and ends equal."""

from threading import Event

import pytest

from tests.support.trial import Trial

pytestmark = pytest.mark.timeout(300)
ROWS = 60_000
PAGE_ROWS = 250
"""So small that the copy outlasts the kills on any machine."""
KILLS = 6
_pause = Event()


def test_killed_in_the_middle_of_the_copy(tmp_path, postgres18):
    """Every kill comes after some rows were copied and before all were; changes go on all the while."""
    with Trial(tmp_path, postgres18, source_settings={"page_rows": PAGE_ROWS}) as trial:
        with trial.connect() as connection:
            connection.execute(
                "INSERT INTO bulk SELECT -n - 1000, repeat('初', 30) FROM generate_series(1, %s) n", (ROWS,)
            )
            connection.execute("INSERT INTO churn SELECT '乡', n, 'v' || n FROM generate_series(1, 3000) n")
        trial.system.start()
        kills = 0
        with trial.workload(40) as work, trial.system.books() as books:
            while kills < KILLS:
                trial.wait_for_more(books.rows_copied, "the copy goes on")
                _pause.wait(trial.rng.uniform(0, 0.2))
                assert not trial.system.is_copied(books)
                trial.crash(trial.system.agent if kills % 3 else trial.system.central)
                kills += 1
            trial.system.wait_until_copied(90)
            trial.check()
        trial.finish(work)

        # The work takes old rows away meanwhile: how many depends on how long the copy took.
    assert books.rows_copied() >= ROWS // 2
