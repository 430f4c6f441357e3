"""What every source promises, asked of each of them."""

from __future__ import annotations

import threading
import time

import pytest

from agent.sources.source import Limits
from proto.errors import Diverged, Fenced, Gap
from tests.support.mirror import Mirror
from tests.support.rigs import LARGE, LOGS, forget, plain_rows, read_all


@pytest.mark.parametrize("rig", LOGS, indirect=True)
def test_a_new_stream_starts_now(rig, source):
    """What was committed before is a first copy's business."""
    with rig.transaction() as writer:
        writer.put("person", (1, "before", None))
    source.open("")
    with rig.transaction() as writer:
        writer.put("person", (2, "after", None))

    mirror = Mirror()
    for batch in read_all(source):
        mirror.apply(batch)

    assert mirror.rows("person") == [(2, "after", None)]


def test_rows_arrive_as_they_are_in_the_end(rig, source):
    """Inserts, updates with and without the large value, deletes, and rows that come back."""
    source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "王", LARGE))
        writer.put("person", (2, "李", None))
        writer.put("visit", (1, "", "x"))
    mirror = Mirror()
    for batch in read_all(source):
        mirror.apply(batch)
    with rig.transaction() as writer:
        writer.put("person", (1, "王伟", LARGE))
        writer.delete("person", (2, None, None))
        writer.put("person", (3, "三", "n"))
    with rig.transaction() as writer:
        writer.put("person", (2, "again", None))
        writer.delete("person", (3, None, None))
    for batch in read_all(source):
        mirror.apply(batch)

    assert mirror.rows("person") == rig.rows("person") == [(1, "王伟", LARGE), (2, "again", None)]
    assert mirror.rows("visit") == rig.rows("visit")


def test_keys_may_change_and_swap(rig, source):
    """Old key and new key in one transaction, also round a ring."""
    source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "a", LARGE))
        writer.put("person", (2, "b", "short"))
    mirror = Mirror()
    for batch in read_all(source):
        mirror.apply(batch)
    with rig.transaction() as writer:
        writer.move("person", (1, "a", LARGE), (9, "a", LARGE))
        writer.move("person", (2, "b", "short"), (1, "b", "short"))
        writer.move("person", (9, "a", LARGE), (2, "a2", LARGE))
    for batch in read_all(source):
        mirror.apply(batch)

    assert mirror.rows("person") == rig.rows("person") == [(1, "b", "short"), (2, "a2", LARGE)]


def test_a_truncated_table_is_empty_until_rows_come(rig, source):
    """Other tables keep theirs."""
    source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
        writer.put("visit", (1, "a", None))
    with rig.transaction() as writer:
        writer.truncate("person")
        writer.put("person", (7, "b", None))
    mirror = Mirror()
    for batch in read_all(source):
        mirror.apply(batch)

    assert mirror.rows("person") == [(7, "b", None)]
    assert mirror.rows("visit") == [(1, "a", None)]


def test_what_is_rolled_back_never_arrives(rig, source):
    """No-phantom."""
    source.open("")
    with pytest.raises(ZeroDivisionError), rig.transaction() as writer:
        writer.put("person", (1, "phantom", None))
        raise ZeroDivisionError
    with rig.transaction() as writer:
        writer.put("person", (2, "real", None))
    mirror = Mirror()
    for batch in read_all(source):
        mirror.apply(batch)

    assert mirror.rows("person") == [(2, "real", None)]


@pytest.mark.parametrize("rig", LOGS, indirect=True)
def test_a_stream_resumes_strictly_after_a_position(rig, source):
    """A restart neither repeats nor skips a commit."""
    source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "first", None))
    first = source.read(Limits())
    with rig.transaction() as writer:
        writer.put("person", (2, "second", None))
    second = source.read(Limits())
    source.close()

    assert source.open(first.position) == first.position
    again = read_all(source)

    assert [batch.deltas for batch in again] == [second.deltas]
    assert again[-1].position == second.position


@pytest.mark.parametrize("rig", LOGS, indirect=True)
def test_what_was_not_confirmed_can_be_read_again(rig, source):
    """The source remembers nothing itself; confirming is what lets the server forget."""
    start = source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
    assert read_all(source)
    source.close()
    source.open(start)

    assert sum(batch.rows for batch in read_all(source)) == 1


@pytest.mark.parametrize("rig", LOGS, indirect=True)
def test_a_position_older_than_what_was_confirmed_is_a_gap(rig, source):
    """An agent restored from a backup must not go on with a hole."""
    start = source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
    batches = read_all(source)
    source.confirm(batches[-1].position)
    source.close()
    forget(rig)

    with pytest.raises(Gap):
        source.open(start)


def test_a_position_of_another_database_is_refused(rig, source):
    """Two ends that disagree about the past stop."""
    source.open("")
    source.close()

    with pytest.raises(Diverged):
        source.open(rig.foreign_position())


@pytest.mark.parametrize("rig", LOGS, indirect=True)
def test_two_readers_cannot_share_a_stream(rig, source):
    """The second one is told; the first one goes on."""
    position = source.open("")
    second = rig.source()
    with pytest.raises(Fenced):
        second.open(position)
    second.close()
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))

    assert sum(batch.rows for batch in read_all(source)) == 1


def test_silence_is_none_and_is_proven(rig, source):
    """The proof names the position that everything before its time is in."""
    source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
    last = read_all(source)[-1]
    asked_us = time.time_ns() // 1000
    deadline_s = time.monotonic() + 10
    while (proof := source.proof()) is None or proof.at_us < asked_us:
        assert source.read(Limits(wait_s=0.3)) is None
        assert time.monotonic() < deadline_s

    assert proof.position == last.position


def test_a_commit_is_proven_only_after_it_was_read(rig, source):
    """Being idle is never claimed over something that waits."""
    source.open("")
    read_all(source, Limits(wait_s=1.1))
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
    committed_us = time.time_ns() // 1000

    assert source.proof() is None or source.proof().at_us < committed_us


@pytest.mark.parametrize("rig", LOGS, indirect=True)
def test_a_large_transaction_comes_in_parts(rig, source):
    """Each part names the position before it, so that a restart reads all of it again."""
    start = source.open("")
    with rig.transaction() as writer:
        for number in range(1, 301):
            writer.put("person", (number, "x" * 100_000, None))
    batches = read_all(source, Limits(rows=10, wait_s=0.5))
    mirror = Mirror()
    for batch in batches[:-1]:
        mirror.apply(batch)
        assert (batch.continues, batch.position) == (True, start)
        assert mirror.tables == {}
    mirror.apply(batches[-1])

    assert len(batches) > 3
    assert not batches[-1].continues
    assert mirror.rows("person") == rig.rows("person")


@pytest.mark.parametrize("rig", LOGS, indirect=True)
def test_a_batch_names_its_commits(rig, source):
    """Source times and the number of transactions."""
    source.open("")
    before_us = time.time_ns() // 1000
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
    batch = source.read(Limits())

    assert batch.transactions == 1
    tick_us = getattr(rig, "tick_us", 1000)
    assert before_us - tick_us <= batch.first_commit_us <= batch.last_commit_us <= time.time_ns() // 1000


def test_a_waiting_read_ends_when_told_to(rig, source):
    """From another thread, at once."""
    source.open("")
    read_all(source)
    timer = threading.Timer(0.2, source.stop_waiting)
    timer.start()
    started_s = time.monotonic()

    assert source.read(Limits(wait_s=30)) is None
    assert time.monotonic() - started_s < 5
    timer.join()


def test_a_scan_is_the_whole_table(rig, source):
    """In key order, as frames, beside an open stream."""
    with rig.transaction() as writer:
        for number in range(20):
            writer.put("person", (19 - number, "s", None))
    source.open("")

    assert plain_rows(source, "person") == rig.rows("person")
    assert source.expected_rows("visit") == 0
    assert type(source.expected_rows("person")) is int


def test_a_source_describes_itself(rig, source):
    """Schemas in configured order, findings with sentences, what the server keeps."""
    schemas = source.schemas()
    source.open("")
    source.keepalive()

    assert [(schema.name, schema.key) for schema in schemas] == [("person", ("id",)), ("visit", ("id",))]
    assert all(finding.name and finding.sentence for finding in source.check())
    kept = source.retained()
    assert kept is None or kept.bytes >= 0
