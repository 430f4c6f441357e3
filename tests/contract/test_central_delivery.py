"""Granted data leaves the ledger through the grant: what a consumer has is what the grant shows, after anything."""

from __future__ import annotations

import random
from typing import Any

import pytest

from central.delivery.visit import granted
from central.registry import Registry
from proto.v1 import node_pb2
from tests.support.deliveries import Pulling
from tests.support.granting import EAST, OTHER, PERSON, Life, ShareMaker
from tests.support.tables import deletes, inserts, upserts

pytest_plugins = ["tests.support.stores", "tests.support.granting"]
DIALECTS = ("sqlite", "postgres15", "postgres18")

PICKED: dict[str, Any] = {
    "items": ("id", "phone", "name"),
    "masks": {"phone": {"mask": "keep", "first": 3, "last": 0}},
}
TERMS: dict[str, dict[str, Any]] = {
    "all": {},
    "columns": PICKED,
    "rows": {"rows": EAST},
    "columns and rows": {**PICKED, "rows": EAST},
    "pseudonym": {"masks": {"id": {"mask": "pseudonym"}}, "rows": EAST},
}


def test_an_unrestricted_grant_gets_the_stored_bytes(share: ShareMaker):
    """First a copy, then each batch as it lies in the ledger, and nothing else (SD12.1)."""
    one = share()
    one.change(inserts(PERSON, ("1", "张三", "138", "东区"), ("2", "李四", "139", "西区")))
    one.apply()
    pulling = one.pull()
    assert pulling.drain().standing.state == "IDLE"
    assert pulling.receiver.table.rows == one.shows()
    assert not pulling.receiver.copying

    one.change(upserts(PERSON, ("1", "张三丰", "138", "东区")), deletes(PERSON, ("2",)))
    one.change(inserts(OTHER, ("1", "与授权无关")))
    one.apply()
    step = pulling.step()
    assert step.dispatch.message.header == one.node.sealed[1].header
    assert step.dispatch.payload == one.node.sealed[1].payload
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert pulling.receiver.generation == 1


HOW_DELETES: dict[str, tuple[node_pb2.TableReport, str]] = {
    "unseen": (node_pb2.TableReport(deletes=node_pb2.TableReport.UNSEEN), "are not visible"),
    "compared": (
        node_pb2.TableReport(deletes=node_pb2.TableReport.COMPARED, compared_every_s=86_400),
        "deletes at the source are seen every 24 h",
    ),
    "seen": (node_pb2.TableReport(deletes=node_pb2.TableReport.SEEN), ""),
    "unsaid": (node_pb2.TableReport(), ""),
}


@pytest.mark.parametrize(("said", "told"), HOW_DELETES.values(), ids=list(HOW_DELETES))
def test_a_consumer_is_told_how_deletes_are_seen(share: ShareMaker, said: node_pb2.TableReport, told: str):
    """With the grant, as the provider's node last said of this table; nothing where they come with every change (SD12.6)."""
    one = share()
    one.change(inserts(PERSON, ("1", "张三", "138", "东区")))
    one.apply()
    said.table = PERSON.name
    other = node_pb2.TableReport(table="别的表", deletes=node_pb2.TableReport.UNSEEN)
    stream = node_pb2.StreamReport(stream=one.node.stream, tables=[other, said])
    registry = Registry(one.store.engine)
    registry.add(one.node.name, one.node.name.encode().hex(), 2**52)
    registry.seen(one.node.name, node_pb2.HeartbeatRequest(streams=[stream]))
    announced = granted(one.pull().drain())
    assert announced is not None and announced.state == "active"
    assert told in announced.sentence if told else announced.sentence == ""


@pytest.mark.parametrize("terms", TERMS.values(), ids=list(TERMS))
@pytest.mark.parametrize("seed", range(4))
def test_a_consumer_has_what_the_grant_shows(share: ShareMaker, terms: dict[str, Any], seed: int):
    """After copies, changes, moves in and out of the filter, lost deliveries and new calls (D1, D2, D4, SD12.2)."""
    one, chance = share(**terms), random.Random(seed)
    life = Life(one, chance)
    pulling = one.pull()
    for round_ in range(25):
        for _ in range(chance.randrange(4)):
            life.commit(parts=chance.choice((1, 1, 1, 3)))
        if chance.random() < 0.7:
            one.apply()
        _go_on(pulling, chance, life, check_each=terms in (TERMS["all"], TERMS["columns"]))
        if round_ % 5 == 4:
            one.apply()
            pulling.drain()
            assert pulling.receiver.table.rows == one.shows()
    one.apply()
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert not pulling.receiver.copying


def _go_on(pulling: Pulling, chance: random.Random, life: Life, *, check_each: bool) -> None:
    """A few steps, with deliveries lost and new calls between them."""
    pulling.courier._page_rows = chance.choice((3, 7, 2000))
    for _ in range(chance.randrange(8)):
        fate = chance.random()
        if fate < 0.1:
            pulling.courier.step(may_send=True)  # made, on record, and never arrived
            pulling.connect()
        elif fate < 0.15:
            pulling.connect()
        else:
            step = pulling.step()
            receiver = pulling.receiver
            if check_each and step.dispatch is not None and not receiver.copying and not receiver.has_pending:
                assert receiver.table.rows == _shown(life, step.dispatch.message.source_seq)


def _shown(life: Life, seq: int) -> dict[bytes, bytes]:
    """What the grant shows of the table as it was after the source commit that ended at *seq* or before."""
    at = max((number for number in life.history if number <= seq), default=0)
    one = life.share
    return one.view_of(life.history.get(at, {}))
