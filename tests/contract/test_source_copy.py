"""What every source promises of first copies, asked of each of them."""

from __future__ import annotations

import random
import time

import pytest

from agent.sources.source import Limits, Page
from proto.errors import TableHold
from tests.support.mirror import Mirror
from tests.support.rigs import LARGE, SOON, read_all


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


def test_a_quiet_source_keeps_no_copy_waiting(rig, source):
    """The next page is read at once, not after the time that a read may wait for news."""
    with rig.transaction() as writer:
        for number in range(30):
            writer.put("person", (number, "王", None))
    source.open("")
    read_all(source)
    source.start_copy("person", b"")
    patient = Limits(wait_s=3600)
    done = False
    while not done:
        source.read(patient)
        for page in source.pages():
            done = page.is_last


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
