"""What central does by the clock: turns, failures, and how a stop meets a job that runs."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from central.jobs import Job, Jobs, sparing
from proto.errors import Transient
from tests.support.central import eventually


def test_a_job_that_fails_has_its_next_turn() -> None:
    """One failure is one line, not the end of the job."""
    turns: list[int] = []

    def fail() -> None:
        turns.append(1)
        raise RuntimeError("no")

    jobs = Jobs((Job("sometimes", fail, 0.05, at_start=True),))
    jobs.start()
    eventually(lambda: len(turns) >= 3)
    assert jobs.stop(5)


def test_a_job_that_takes_long_runs_more_seldom():
    """No more than its share of the time; what fails counts as well."""
    turns: list[int] = []

    def work() -> None:
        turns.append(1)
        threading.Event().wait(0.1)
        raise Transient("away")

    job = sparing(work, share=0.25)
    with pytest.raises(Transient):
        job()
    began_s = time.monotonic()
    while len(turns) < 2:
        with suppress(Transient):
            job()
        assert time.monotonic() - began_s < 20
    assert time.monotonic() - began_s >= 0.3


def test_a_job_that_fails_again_and_again_says_so_once():
    """Until it works again, or fails of something else."""
    outcomes = iter(["away", "away", "", "away", "full", "full"])

    def work() -> None:
        if said := next(outcomes):
            raise Transient(said)

    run = Jobs(())._guarded(Job("alive", work, 5.0))
    with capture_logs() as logs:
        for _ in range(6):
            run()
    assert [each["error"] for each in logs] == [str(Transient(said)) for said in ("away", "away", "full")]


def test_a_stop_waits_for_the_job_that_runs() -> None:
    """And begins no other, not even one that waited for a thread."""
    began, go_on, done = threading.Event(), threading.Event(), []

    def work() -> None:
        began.set()
        go_on.wait(10)
        done.append("whole")

    waiting = tuple(
        Job(f"waiting {number}", lambda: done.append("late"), 60, at_start=True) for number in range(3)
    )
    jobs = Jobs((Job("one", work, 60, at_start=True), Job("two", work, 60, at_start=True), *waiting))
    jobs.start()
    assert began.wait(10)
    threading.Timer(0.2, go_on.set).start()
    assert jobs.stop(10)
    assert done.count("whole") >= 1
    settled = list(done)
    jobs.stop(0)
    assert done == settled


def test_a_job_that_outlives_the_stop_is_two_lines() -> None:
    """One when nobody waits any longer, one when it meets the closed database; no traceback."""
    began, closed, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        closed.wait(10)
        try:
            raise KeyError("pool")
        finally:
            over.set()

    jobs = Jobs((Job("retention", work, 60, at_start=True),))
    with capture_logs() as logs:
        jobs.start()
        assert began.wait(10)
        assert not jobs.stop(0.05)
        closed.set()
        assert over.wait(10)
        assert jobs.stop(10)
    said = [(each["event"], each["job"], "exc_info" in each) for each in logs]
    assert said == [("job_left_running", "retention", False), ("job_ended_by_stop", "retention", False)]
