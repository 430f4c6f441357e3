"""Central dies before every statement of hello, accept and apply; afterwards nothing is lost and nothing is there twice."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys

import pytest
from sqlalchemy import func, select

from central import audit
from central.apply import Applier, Held, Limits
from central.store import reading
from central.store.tables import LEDGER
from proto.batch import Batch, Head
from proto.errors import Diverged
from tests.support.dying import Killed, dying_engine
from tests.support.fences import BAD, Fence
from tests.support.stores import EVENT, Node, Store, event_batch
from tests.support.tables import inserts

pytest_plugins = ["tests.support.stores"]

EVENTS = [str(number) for number in range(1, 6)]
PUSHES = ((1, 1), (1, 2), (3, 4), (5, 5))
"""First and last number of each call: one that repeats, and one whose transaction is only whole after the last."""
_names = itertools.count(1)


def outbox(store: Store) -> Node:
    """A node with everything it will ever send: single batches, and a transaction in parts."""
    node = Node(store.engine, f"dying-{next(_names)}")
    node.events(1, 2)
    node.seal(event_batch("3", continues=True), event_batch("4", continues=True), event_batch("5"))
    return node


def live(node: Node, acknowledged: list[Head]) -> None:
    """What a central process does for this node, from whatever is there to the end."""
    head = node.hello()
    acknowledged.append(head)
    applier = node.applier()
    for first, last in PUSHES:
        batches = node.sealed[first - 1 : last]
        if batches[0].seq > head.seq + 1:
            batches = node.sealed[head.seq : last]
        head = node.push(batches)
        acknowledged.append(head)
        applier.step(batches if first % 2 else ())
    while applier.step():
        pass


def assert_whole(store: Store, node: Node, acknowledged: list[Head]) -> None:
    """Every event once, every batch in the ledger, counters and audit log in agreement."""
    assert node.rows() == EVENTS
    record = node.record()
    assert (record.accepted_seq, record.applied_seq, record.rows) == (5, 5, 5)
    assert record.accepted_digest == node.head.digest
    assert record.position == "at 5"
    assert [head.seq for head in acknowledged] == sorted(head.seq for head in acknowledged)
    with reading(store.engine) as connection:
        rows = connection.execute(
            select(LEDGER.c.seq).where(LEDGER.c.stream == node.stream).order_by(LEDGER.c.seq)
        )
        assert [row.seq for row in rows] == list(range(1, 6))
        accepted = audit.verify(connection, node.stream)
        taken = select(func.sum(LEDGER.c.rows)).where(LEDGER.c.stream == node.stream)
        assert connection.scalar(taken) == 5
    assert accepted == len(store.audited(node.stream))


def die_at(store: Store, nth: int) -> bool:
    """Live until the *nth* statement, then again normally; False when life was shorter than that."""
    node, acknowledged = outbox(store), list[Head]()
    engine, doom = dying_engine(store.url, nth)
    with contextlib.suppress(Killed):
        live(dataclasses.replace(node, engine=engine), acknowledged)
    engine.dispose()
    promised = max((head.seq for head in acknowledged), default=0)
    again = dataclasses.replace(node, epoch=2, incarnation="again")
    assert again.hello().seq >= promised, f"acknowledged {promised} and lost it, dying at {nth}"
    live(again, acknowledged)
    assert_whole(store, node, acknowledged)
    return doom.is_dead


def test_an_undisturbed_life_is_whole(store):
    """The measure for the deaths below."""
    assert not die_at(store, sys.maxsize)


@pytest.mark.timeout(300)
def test_dying_before_any_statement_loses_and_repeats_nothing(store):
    """Statement by statement, commits before and after, drivers' own statements included."""
    deaths = 0
    while die_at(store, deaths + 1):
        deaths += 1

    assert deaths > 60


def test_dying_while_a_refusal_is_kept(store):
    """The disagreement is found again, and frozen then."""
    for nth in range(1, 100):
        node = Node(store.engine, f"refused-{next(_names)}")
        node.start(3)
        engine, doom = dying_engine(store.url, nth)
        older = dataclasses.replace(node, engine=engine, sealed=node.sealed[:1])
        with pytest.raises((Killed, Diverged)):
            older.hello()
        engine.dispose()
        with pytest.raises(Diverged):
            dataclasses.replace(older, engine=store.engine).hello()
        assert node.record().state == "DIVERGED"
        with reading(store.engine) as connection:
            audit.verify(connection, node.stream)
        if not doom.is_dead:
            break
    assert 8 < nth < 99


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "when", ["while it comes to be held", "while it is retried", "while a copy mends it"]
)
def test_dying_around_a_held_table_loses_and_repeats_nothing(store, when):
    """Rows, place and record move together: every event is there once, and held and let go once (SD11.3, SD12.2)."""
    deaths = 0
    while _die_around_a_hold(store, when, deaths + 1):
        deaths += 1
    assert deaths > 15


def _die_around_a_hold(store: Store, when: str, nth: int) -> bool:
    node = Node(store.engine, f"holding-{next(_names)}")
    fence = Fence(store, node.stream, EVENT, "what")
    fence.up()
    node.hello()
    names = ["甲", BAD, "丙", "丁", "戊"]
    node.push(node.seal(*(event_batch(name) for name in names)))
    engine, doom = dying_engine(store.url, nth)
    doomed = dataclasses.replace(node, engine=engine)
    if when != "while it comes to be held":
        node.apply_all()
    if when == "while it is retried":
        fence.down()
        Held(store.engine).retry_table(node.stream, "event")
    if when == "while a copy mends it":
        afresh = dataclasses.replace(inserts(EVENT, ("新",)), truncated=True)
        node.push(node.seal(Batch("afresh", (afresh,)), event_batch("己")))
        names = ["新", "己"]
    with contextlib.suppress(Killed):
        applier = Applier(doomed.engine, node.stream, "tests", Limits(batches=2, rows=2))
        while applier.step():
            pass
    engine.dispose()
    node.apply_all()
    if when == "while it comes to be held":
        assert node.rows() == ["甲"]
        fence.down()
        Held(store.engine).retry_table(node.stream, "event")
        node.apply_all()
    assert node.rows() == sorted(names)
    assert node.record().tables == ()
    with reading(store.engine) as connection:
        audit.verify(connection, node.stream)
    events = store.audited(node.stream)
    assert (events.count("table_held"), events.count("table_let_go")) == (1, 1)
    return doom.is_dead
