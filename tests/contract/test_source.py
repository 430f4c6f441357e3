"""What every source promises, asked of each of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from agent.sources.source import Limits, Page
from proto.batch import Batch
from proto.errors import Diverged, Fenced, Gap, TableHold
from tests.support.mirror import Mirror
from tests.support.rigs import ListeningSource, MemoryRig, PostgresRig, Rig, plain_rows

LARGE = "一" * 3000
SOON = Limits(wait_s=0.2)


@pytest.fixture(params=["memory", "postgres15", "postgres18"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Each business database in turn."""
    if request.param == "memory":
        yield MemoryRig()
        return
    cluster = request.getfixturevalue(request.param)
    database = cluster.new_database("business")
    rig = PostgresRig(cluster, database)
    yield rig
    rig.admin.close()
    cluster.drop_database(database)


@pytest.fixture
def source(rig: Rig) -> Iterator[ListeningSource]:
    """A source over it, not open yet."""
    source = rig.source()
    yield source
    source.close()


def read_all(source: ListeningSource, limits: Limits = SOON) -> list[Batch]:
    """Everything that is waiting, at least until the first silence."""
    return [*iter(lambda: source.read(limits), None)]


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


def test_what_was_not_confirmed_can_be_read_again(rig, source):
    """The source remembers nothing itself; confirming is what lets the server forget."""
    start = source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
    assert read_all(source)
    source.close()
    source.open(start)

    assert sum(batch.rows for batch in read_all(source)) == 1


def test_a_position_older_than_what_was_confirmed_is_a_gap(rig, source):
    """An agent restored from a backup must not go on with a hole."""
    start = source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
    batches = read_all(source)
    source.confirm(batches[-1].position)
    source.close()

    with pytest.raises(Gap):
        source.open(start)


def test_a_position_of_another_database_is_refused(rig, source):
    """Two ends that disagree about the past stop."""
    source.open("")
    source.close()

    with pytest.raises(Diverged):
        source.open(rig.foreign_position())


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


def test_a_batch_names_its_commits(rig, source):
    """Source times and the number of transactions."""
    source.open("")
    before_us = time.time_ns() // 1000
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
    batch = source.read(Limits())

    assert batch.transactions == 1
    assert before_us - 1000 <= batch.first_commit_us <= batch.last_commit_us <= time.time_ns() // 1000


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


def test_a_copy_brings_every_row_in_key_order(rig, source):
    """Pages, with their last keys rising, and one that says it is the last."""
    with rig.transaction() as writer:
        for number in range(30):
            writer.put("person", (number * 7 % 30 - 5, "p", None))
    source.open("")
    source.start_copy("person", b"")
    mirror, pages = Mirror(), copied(source, "person")
    for page in pages:
        mirror.merge(page.schema, page.frames.data)

    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert mirror.rows("person") == rig.rows("person")


def test_an_empty_table_is_copied_too(rig, source):
    """One page, empty and last."""
    source.open("")
    source.start_copy("person", b"")
    pages = copied(source, "person")

    assert [(page.frames.count, page.last_key, page.is_last) for page in pages] == [(0, b"", True)]


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_meets_changes_and_restarts(rig, source, seed):
    """Rows change, move, go and come while pages are under way; a restart at any page goes on from its key."""
    draw = random.Random(seed)
    with rig.transaction() as writer:
        for number in range(60):
            writer.put("person", (number, f"p{number}", LARGE))
    position, key, mirror = source.open(""), b"", Mirror()
    source.start_copy("person", key)
    done = False
    while not done:
        if draw.random() < 0.7:
            change_at_random(rig, draw)
        batch = source.read(Limits(rows=1000, wait_s=0.3))
        if batch is not None:
            mirror.apply(batch)
            position = batch.position
            source.confirm(position)
        for page in source.pages():
            mirror.merge(page.schema, page.frames.data)
            key, done = page.last_key, page.is_last
            if draw.random() < 0.5 and not done:
                source.close()
                source.open(position)
                source.start_copy("person", key)
                break
    for batch in read_all(source):
        mirror.apply(batch)

    assert mirror.rows("person") == rig.rows("person")


def test_one_broken_table_never_stops_the_others(rig, source):
    """It is held, left out, and streams again once it is copied afresh."""
    source.open("")
    with rig.transaction() as writer:
        writer.put("person", (1, "a", None))
        writer.put("visit", (1, "a", None))
    mirror = Mirror()
    for batch in read_all(source):
        mirror.apply(batch)
    rig.break_structure("person", source)
    with rig.transaction() as writer:
        writer.put("person", (2, "b", None))
        writer.put("visit", (2, "b", None))
    for batch in read_all(source):
        mirror.apply(batch)
    holds = source.holds()

    assert [(hold.table, isinstance(hold, TableHold)) for hold in holds] == [("person", True)]
    assert mirror.rows("visit") == rig.rows("visit")
    assert source.holds() == []

    source.resume_table("person")
    source.start_copy("person", b"")
    mirror.tables["person"].clear()
    with rig.transaction() as writer:
        writer.put("person", (3, "c", None))
    for page in copied(source, "person", mirror):
        mirror.merge(page.schema, page.frames.data)
    for batch in read_all(source):
        mirror.apply(batch)

    assert mirror.rows("person") == rig.rows("person")
    assert source.holds() == []


def test_a_scan_is_the_whole_table(rig, source):
    """In key order, as frames, beside an open stream."""
    with rig.transaction() as writer:
        for number in range(20):
            writer.put("person", (19 - number, "s", None))
    source.open("")

    assert plain_rows(source, "person") == rig.rows("person")
    assert source.expected_rows("visit") == 0


def test_a_source_describes_itself(rig, source):
    """Schemas in configured order, findings with sentences, what the server keeps."""
    schemas = source.schemas()
    source.open("")
    source.keepalive()

    assert [(schema.name, schema.key) for schema in schemas] == [("person", ("id",)), ("visit", ("id",))]
    assert all(finding.name and finding.sentence for finding in source.check())
    assert source.retained().bytes >= 0


def copied(source, table, mirror=None):
    """All pages of a copy; changes on the way go to *mirror*."""
    pages: list[Page] = []
    deadline_s = time.monotonic() + 30
    while not pages or not pages[-1].is_last:
        assert time.monotonic() < deadline_s
        batch = source.read(SOON)
        if batch is not None and mirror is not None:
            mirror.apply(batch)
        pages += [page for page in source.pages() if page.schema.name == table]
    return pages


def change_at_random(rig, draw):
    """A few changes in one transaction."""
    there = {row[0]: row for row in rig.rows("person")}
    with rig.transaction() as writer:
        for _ in range(draw.randint(1, 4)):
            number, kind = draw.randrange(80), draw.random()
            if kind < 0.35 and number in there:
                there[number] = (number, f"n{draw.random()}", there[number][2])
                writer.put("person", there[number])
            elif kind < 0.55 and number in there:
                writer.delete("person", there.pop(number))
            elif kind < 0.75 and number in there and (to := draw.randrange(80)) not in there:
                old = there.pop(number)
                there[to] = (to, *old[1:])
                writer.move("person", old, there[to])
            elif number not in there:
                there[number] = (number, "new", draw.choice([LARGE, None]))
                writer.put("person", there[number])
