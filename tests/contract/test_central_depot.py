"""The threads that deliver: what a look notices, and what a consumer's words may not do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from central.catalogue.entry import ShareType
from central.delivery import Depot, calls
from central.delivery.figures import delivered
from central.store import now_us, reading, writing
from proto import codec
from proto.errors import Refused
from proto.v1 import exchange_pb2
from tests.support.central import eventually
from tests.support.granting import PERSON, Share, ShareMaker
from tests.support.shares import entry_of, put_in_force
from tests.support.tables import inserts

pytest_plugins = ["tests.support.stores", "tests.support.granting"]


@pytest.fixture
def one(share: ShareMaker) -> Share:
    """A share with something to deliver."""
    made = share()
    made.change(inserts(PERSON, ("1", "张三", "138", "东区")))
    made.apply()
    return made


@pytest.fixture
def depot(one: Share) -> Iterator[Depot]:
    """One thread that delivers."""
    made = Depot(one.post, lambda _stream, _listener: lambda: None, 1, "tests")
    made.start()
    yield made
    assert made.stop(10)


def hello(**said: object) -> exchange_pb2.PullHello:
    """A consumer's first words."""
    return exchange_pb2.PullHello(protocol=1, incarnation="one", **said)  # type: ignore[arg-type]


def test_a_clock_that_goes_back_while_nothing_flows_is_noticed(one: Share, depot: Depot):
    """And nothing is judged by it, until a person has looked (P8)."""
    visit = depot.open(one.consumer, hello(), lambda: None)
    depot.look()
    depot._clock_us += 60_000_000  # as if the database had said so a moment ago
    depot.look()
    with writing(one.store.engine) as connection, pytest.raises(calls.ClockWentBack):
        calls.hold(connection, visit.ticket)
    with writing(one.store.engine) as connection:
        calls.trust_clock(connection)
        calls.hold(connection, visit.ticket)
        assert now_us(connection) > 0
    depot.look()
    with writing(one.store.engine) as connection:
        calls.hold(connection, visit.ticket)
    depot.close(visit)


def test_hostile_words_of_a_consumer_hurt_nobody(one: Share, depot: Depot):
    """Numbers no database holds, bytes no text holds, grants of others (G6)."""
    received = exchange_pb2.Received(grant=one.grant, generation=2**64 - 1, seq=2**64 - 1, digest=b"x")
    others = exchange_pb2.Received(grant="G\0", generation=1, seq=1)
    visit = depot.open(one.consumer, hello(received=[received, others]), lambda: None)

    def standing() -> tuple[str, int]:
        with reading(one.store.engine) as connection:
            [found] = delivered(connection, grants=[one.grant])
        return found.standing.state, found.seq

    eventually(lambda: standing()[1], 1)
    assert visit.receipt(exchange_pb2.Received(grant=one.grant, generation=2**64 - 1, seq=2**64 - 1)) is None
    depot.hold(visit, exchange_pb2.PullHold(grant=one.grant, state="\0?", sentence="磁\0盘" * 9000))
    with pytest.raises(Refused):
        depot.hold(visit, exchange_pb2.PullHold(grant="G\0"))
    with pytest.raises(Refused):
        depot.recalled(visit, exchange_pb2.Recalled(grant=one.grant, recall="\0", rows=2**64 - 1))

    def state() -> str:
        depot.look()
        return standing()[0]

    eventually(state, "PAUSED")
    depot.close(visit)


def test_a_receipt_for_another_delivery_is_refused(one: Share, depot: Depot):
    """The two ends disagree about what was delivered; better to end the call than to believe it (P6)."""
    visit = depot.open(one.consumer, hello(), lambda: None)
    eventually(lambda: len(visit.lanes[one.grant].unacknowledged), 1)
    said = exchange_pb2.Received(grant=one.grant, generation=1, seq=1, digest=bytes(32))
    with pytest.raises(Refused, match="another delivery"):
        visit.receipt(said)
    depot.close(visit)


def test_what_was_made_ready_before_a_release_is_not_sent_after_it(one: Share, depot: Depot):
    """A delivery on record that waits to be written holds what the release closes: it is made anew (SD05.2)."""
    visit = depot.open(one.consumer, hello(), lambda: None)
    eventually(lambda: len(visit.lanes[one.grant].unacknowledged), 1)
    columns = [column.name for column in PERSON.columns]
    closed = entry_of(
        one.entry.code, one.node.stream, PERSON.name, columns, share={"phone": ShareType.NOT_SHARED}
    )
    with writing(one.store.engine) as connection:
        put_in_force(connection, closed)
    depot.look()
    sent = bytearray()

    def written() -> bytes:
        while (item := visit.take()) is not None:
            if item.dispatch is not None:
                batch = codec.decode(item.dispatch.message.header, item.dispatch.payload)
                sent.extend(b"".join(delta.inserts.data + delta.upserts.data for delta in batch.deltas))
            depot.wake(visit.written())
        return bytes(sent)

    eventually(lambda: "张三".encode() in written())
    assert b"138" not in written()
    depot.close(visit)
