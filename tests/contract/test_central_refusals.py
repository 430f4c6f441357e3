"""A node that misbehaves cannot fill the audit log, and nothing it did is left out of the count."""

from __future__ import annotations

import dataclasses
import json

import pytest
from sqlalchemy import select

from central import audit
from central.counted import settle
from central.intake import Intake
from central.store import reading
from central.store.tables import AUDIT, REFUSALS
from proto.errors import Diverged, Fenced, Refused
from tests.support.stores import Node, Store

pytest_plugins = ["tests.support.stores"]


def refused(store: Store, chain: str) -> list[tuple[str, int]]:
    """What the record says: the reason of each refusal, and how many it stands for."""
    with reading(store.engine) as connection:
        audit.verify(connection, chain)
        rows = connection.execute(
            select(AUDIT.c.facts)
            .where(AUDIT.c.chain == chain, AUDIT.c.event == "refused")
            .order_by(AUDIT.c.n)
        )
        facts = [json.loads(row.facts) for row in rows]
    return [(each["code"], each["count"]) for each in facts]


def a_minute_later(store: Store) -> None:
    """As if all that was counted had been counted a minute earlier."""
    store.run("UPDATE {refusals} SET since_us = since_us - 61000000")


def knock(node: Node, times: int) -> None:
    """Be refused as a second process, that often."""
    twin = dataclasses.replace(node, incarnation="双胞胎")
    for _ in range(times):
        with pytest.raises(Fenced):
            twin.hello()


def test_refusals_within_a_minute_are_one_record_and_a_count(store, node):
    """The first at once, the others as a number with the next one after the minute."""
    a_minute_later(store)
    settle(store.engine)
    node.start(1)
    knock(node, 50)
    assert refused(store, node.stream) == [("FENCED", 1)]

    a_minute_later(store)
    knock(node, 3)
    assert refused(store, node.stream) == [("FENCED", 1), ("FENCED", 50)]
    assert settle(store.engine) == 0
    a_minute_later(store)
    assert settle(store.engine) == 2

    assert refused(store, node.stream) == [("FENCED", 1), ("FENCED", 50), ("FENCED", 2)]
    assert sum(count for _, count in refused(store, node.stream)) == 53
    a_minute_later(store)
    settle(store.engine)
    with reading(store.engine) as connection:
        assert connection.execute(select(REFUSALS).where(REFUSALS.c.node == node.name)).all() == []


def test_another_reason_and_another_node_have_their_own_minute(store, node):
    """One that shouts does not drown the others."""
    node.start(1)
    knock(node, 5)
    with pytest.raises(Refused):
        node.push(node.events(9, 10)[1:])
    other = Node(store.engine, f"{node.name}-other")
    other.start(1)
    knock(other, 5)

    assert refused(store, node.stream) == [("FENCED", 1), ("OUT_OF_ORDER", 1)]
    assert refused(store, other.stream) == [("FENCED", 1)]


def test_what_stops_a_stream_is_always_on_record(store, node):
    """However shortly after another one of its kind."""
    node.start(3)
    node.apply_all()
    behind = dataclasses.replace(node, epoch=2, incarnation="restored", sealed=node.sealed[:2])
    for _ in range(2):
        with pytest.raises(Diverged):
            behind.hello()
    Intake(store.engine).release(node.stream, "王芳", "restored on purpose")
    assert behind.hello() == behind.head
    with pytest.raises(Diverged):
        dataclasses.replace(behind, epoch=3, sealed=node.sealed[:1]).hello()

    assert node.record().state == "DIVERGED"
    assert refused(store, node.stream) == [("DIVERGED", 1), ("DIVERGED", 2)]
    assert store.audited(node.stream)[-1] == "refused"


def test_strangers_streams_are_counted_with_the_node_that_named_them(store, node):
    """A stream that belongs to somebody else has no chain of its own to write into."""
    hello = node.greeting()
    hello.stream = "someone-else/hr"
    before = len(refused(store, audit.REGISTRY))
    for _ in range(20):
        with pytest.raises(Refused):
            Intake(store.engine).hello(node.name, hello)

    assert refused(store, audit.REGISTRY)[before:] == [("REFUSED", 1)]
