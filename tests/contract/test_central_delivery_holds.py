"""What a consumer gets of a table that the platform holds: nothing past the hold, and everything exactly once after it."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from central.apply import Held
from central.delivery.looking import look
from central.delivery.stretch import HELD
from central.delivery.visit import granted
from proto.batch import Delta
from tests.support.deliveries import Pulling
from tests.support.fences import BAD, Fence
from tests.support.granting import EAST, OTHER, PERSON, VISIT, Life, Share, ShareMaker
from tests.support.tables import inserts, upserts

pytest_plugins = ["tests.support.stores", "tests.support.granting"]
DIALECTS = ("sqlite", "postgres15", "postgres18")


def person(number: int, name: str) -> Delta:
    """One person comes or is changed."""
    return upserts(PERSON, (str(number), name, "138", "东区"))


def held_share(share: ShareMaker, **terms: Any) -> tuple[Share, Pulling, Fence]:
    """Person 1 is delivered; then person 2 cannot be applied, and person 3 waits behind it."""
    one = share(**terms)
    fence = Fence(one.store, one.node.stream, PERSON, "name")
    one.change(person(1, "张三"))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    fence.up()
    one.change(person(2, BAD), inserts(OTHER, ("1", "与授权无关")))
    one.change(person(3, "李四"))
    one.apply()
    return one, pulling, fence


def receives(pulling: Pulling, one: Share) -> bool:
    """Whether the consumer has what the grant shows of the platform's table."""
    return pulling.receiver.table.rows == one.shows()


@pytest.mark.parametrize("terms", [{}, {"rows": EAST}], ids=["all", "rows"])
def test_a_delivery_stands_still_at_the_hold_and_goes_on_after_a_retry(
    share: ShareMaker, terms: dict[str, Any]
):
    """It says why, to its consumer too, without rows or keys; nothing comes twice, and no copy is made (SD11.3, SD12.2)."""
    one, pulling, fence = held_share(share, **terms)
    for _ in range(2):
        step = pulling.drain()
        assert (step.standing.state, step.standing.code) == ("QUARANTINE", HELD)
        assert len(pulling.receiver.table.rows) == 1
        assert receives(pulling, one)
        pulling.connect()
    said = granted(step)
    assert said is not None and said.state == "active"
    assert "the platform holds table person since" in said.sentence
    assert not any(word in said.sentence for word in (BAD, "(key ", "upserts"))

    fence.down()
    Held(one.store.engine).retry_table(one.node.stream, "person")
    one.apply()
    assert pulling.drain().standing.state == "IDLE"
    assert (len(pulling.receiver.table.rows), receives(pulling, one)) == (3, True)
    assert pulling.receiver.generation == 1


def test_another_table_of_the_stream_is_delivered_meanwhile(share: ShareMaker):
    """Its consumer does not notice (SD11.3)."""
    one, _, _ = held_share(share)
    other = share(OTHER)
    pulling = other.pull()
    assert pulling.drain().standing.state == "IDLE"
    assert len(pulling.receiver.table.rows) == 1
    one.change(inserts(OTHER, ("2", "后来的")))
    one.apply()
    assert (pulling.drain().standing.state, len(pulling.receiver.table.rows)) == ("IDLE", 2)


def test_a_copy_that_mends_the_table_reaches_the_consumer_as_a_copy(share: ShareMaker):
    """Announced; what could not be applied on the platform never reaches anybody (SD11.3)."""
    one, pulling, _ = held_share(share)
    pulling.drain()
    afresh = dataclasses.replace(inserts(PERSON, ("7", "王五", "139", "东区")), truncated=True)
    one.change(afresh)
    one.change(person(8, "赵六"))
    one.apply()
    assert pulling.drain().standing.state == "IDLE"
    assert (len(pulling.receiver.table.rows), receives(pulling, one)) == (2, True)
    assert pulling.receiver.generation == 2
    assert "copied afresh" in pulling.courier._reason
    assert BAD.encode() not in pulling.receiver.bytes_seen
    # Once is enough: it goes on by itself from there.
    one.change(person(9, "孙七"))
    one.apply()
    pulling.connect()
    pulling.drain()
    assert (pulling.receiver.generation, receives(pulling, one)) == (2, True)


def test_a_copy_that_cannot_be_applied_either_brings_nothing_of_what_waited(share: ShareMaker):
    """The hold begins there anew: what waited before it counts for nothing, for consumers too (SD11.3)."""
    one, pulling, fence = held_share(share)
    pulling.drain()
    one.change(dataclasses.replace(inserts(PERSON, ("7", BAD, "139", "东区")), truncated=True))
    one.apply()
    assert pulling.drain().standing.code == HELD
    assert (receives(pulling, one), BAD.encode() in pulling.receiver.bytes_seen) == (True, False)
    fence.down()
    Held(one.store.engine).retry_table(one.node.stream, "person")
    one.apply()
    assert pulling.drain().standing.state == "IDLE"
    assert (len(pulling.receiver.table.rows), receives(pulling, one)) == (1, True)


def test_what_was_skipped_reaches_nobody(share: ShareMaker):
    """Who follows the ledger gets a copy instead, announced (fault H2)."""
    one, pulling, _ = held_share(share)
    pulling.drain()
    batch = (2, one.node.sealed[1].digest.hex())
    Held(one.store.engine).skip_table(one.node.stream, "person", batch, ("值班员", "已知坏行"))
    one.apply()
    pulling.drain()
    assert (len(pulling.receiver.table.rows), receives(pulling, one)) == (2, True)
    assert (pulling.receiver.generation, BAD.encode() in pulling.receiver.bytes_seen) == (2, False)


def test_a_first_delivery_of_a_held_table_shows_what_it_shows(share: ShareMaker):
    """A consumer that comes while it is held gets it up to the hold, and the rest afterwards."""
    one, _, fence = held_share(share)
    fence.down()
    late = one.pull()
    step = late.drain()
    assert (step.standing.code, len(late.receiver.table.rows)) == (HELD, 1)
    Held(one.store.engine).retry_table(one.node.stream, "person")
    one.apply()
    late.drain()
    assert (late.receiver.generation, len(late.receiver.table.rows)) == (1, 3)
    assert late.receiver.table.rows == one.shows()


def test_a_table_without_a_key_comes_once(share: ShareMaker):
    """Its copy is of one moment, which is the hold's (D3)."""
    one = share(VISIT)
    fence = Fence(one.store, one.node.stream, VISIT, "what")
    one.change(inserts(VISIT, ("1", "甲", "东区")))
    one.apply()
    fence.up()
    one.change(inserts(VISIT, ("2", BAD, "东区")))
    one.change(inserts(VISIT, ("3", "丙", "东区")), inserts(OTHER, ("1", "别的")))
    one.apply()
    pulling = one.pull()
    assert pulling.drain().standing.code == HELD
    assert len(pulling.receiver.table.appended) == 1
    fence.down()
    Held(one.store.engine).retry_table(one.node.stream, "visit")
    one.apply()
    pulling.drain()
    assert (pulling.receiver.generation, len(pulling.receiver.table.appended)) == (1, 3)


def test_whoever_waits_learns_of_holds_and_their_end(share: ShareMaker):
    """Although the stream's number does not change by it."""
    one, pulling, fence = held_share(share)

    def key() -> tuple[object, ...]:
        [seen] = look(one.store.engine, [one.consumer]).grants
        return seen.key

    held = key()
    assert key() == held
    fence.down()
    Held(one.store.engine).retry_table(one.node.stream, "person")
    assert one.node.record().applied_seq == one.node.apply_all()
    assert key() != held
    assert pulling.drain().standing.state == "IDLE"


@pytest.mark.parametrize("terms", [{}, {"rows": EAST}], ids=["all", "rows"])
@pytest.mark.parametrize("seed", range(4))
def test_a_consumer_has_what_the_grant_shows_whatever_is_held(
    share: ShareMaker, terms: dict[str, Any], seed: int
):
    """Holds, retries, skips, copies, lost deliveries and new calls, by chance (D1, D2, D4, SD11.3, SD12.2)."""
    one, chance = share(**terms), random.Random(seed)
    life = Life(one, chance)
    # Nearly every commit has one of these, so the table falls soon after the fence stands.
    fence = Fence(one.store, one.node.stream, PERSON, "area", "西区")
    pulling, held = one.pull(), 0
    for _ in range(30):
        life.commit(parts=chance.choice((1, 1, 3)))
        _decide(one, fence, chance)
        one.apply()
        held += len(one.node.record().tables)
        pulling.courier._page_rows = chance.choice((3, 2000))
        for _ in range(chance.randrange(6)):
            if chance.random() < 0.15:
                pulling.connect()
            pulling.step()
        if chance.random() < 0.3:
            pulling.drain()
            assert receives(pulling, one), "what is delivered is what the platform shows, held or not"
    fence.down()
    Held(one.store.engine).retry(one.node.stream)
    one.apply()
    assert pulling.drain().standing.state == "IDLE"
    assert receives(pulling, one)
    assert held > 3


def _decide(one: Share, fence: Fence, chance: random.Random) -> None:
    if chance.random() < 0.4:
        fence.down() if fence.stands else fence.up()
    for each in one.node.record().tables:
        if chance.random() < 0.3:
            Held(one.store.engine).retry_table(one.node.stream, each.table)
        elif chance.random() < 0.1:
            batch = (each.held_seq, each.held_digest.hex())
            Held(one.store.engine).skip_table(one.node.stream, each.table, batch, ("值班员", "跳过"))
