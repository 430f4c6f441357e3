"""What no platform would send: refused, nothing applied, the grant held with a named state, the others go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from proto.delivery import RECEIPT, Place, chain, signed
from proto.states import State
from proto.v1 import batch_pb2, exchange_pb2
from tests.support.consumer import Consumer, begin
from tests.support.parcels import CONSUMER, Share, came, persons
from tests.support.platform import Platform

pytest_plugins = ["tests.support.consumer"]


def _unsigned(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    return share.delivery(persons((9, "假")), signature=b"")


def _signed_by_another(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    stranger = Platform(platform.folder / "stranger")
    share.signer = stranger.signer
    return share.delivery(persons((9, "假")))


def _for_another_consumer(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    made = share.delivery(persons((9, "别人的")))
    place = Place(made.grant, made.generation, made.seq)
    made.signature = platform.signer.sign(RECEIPT, signed("civil", place, made.digest, made.receipt))
    return made


def _signed_for_another_purpose(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    made = share.delivery(persons((9, "假")))
    place = Place(made.grant, made.generation, made.seq)
    made.signature = platform.signer.sign("release", signed(CONSUMER, place, made.digest, made.receipt))
    return made


def _another_receipt(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    made = share.delivery(persons((9, "假")))
    made.receipt = "R-another"
    return made


def _bomb(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    return _relabelled(platform, share, raw_bytes=1 << 29)


def _liar(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    return _relabelled(platform, share, position="x" * 100, lies=True)


def _relabelled(
    platform: Platform, share: Share, *, lies: bool = False, **fields: Any
) -> exchange_pb2.Delivery:
    """A header that contradicts its payload, in a chain and with a signature that are right."""
    previous = share.digest
    made = share.delivery(persons((9, "谎")))
    header = batch_pb2.BatchHeader.FromString(made.header)
    for name, value in fields.items():
        setattr(header, name, value)
    if lies:
        header.deltas[0].upsert_count = 1_000_000
    made.header = header.SerializeToString()
    place = Place(made.grant, made.generation, made.seq)
    made.digest = share.digest = chain(previous, place, made.header)
    made.signature = platform.signer.sign(RECEIPT, signed(CONSUMER, place, made.digest, made.receipt))
    return made


def _spoiled(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    made = share.delivery(persons((9, "坏")))
    made.payload = bytes(len(made.payload))
    return made


def _foreign_rows(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    return share.delivery(came(1))


def _too_large(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    return share.delivery(persons((9, "大")), payload_bytes=1 << 60)


def _beyond_numbers(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    return share.delivery(persons((9, "数")), source_seq=2**64 - 1)


def _more_than_announced(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    return share.delivery(persons((9, "多")), payload_bytes=3)


def _tail_alone(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    return exchange_pb2.Delivery(grant=share.grant, generation=1, seq=2, payload=b"tail")


def _gap(platform: Platform, share: Share) -> exchange_pb2.Delivery:
    share.delivery(persons((8, "漏")))
    return share.delivery(persons((9, "后")))


HOSTILE: dict[Callable[[Platform, Share], exchange_pb2.Delivery], State] = {
    _unsigned: State.QUARANTINE,
    _signed_by_another: State.QUARANTINE,
    _for_another_consumer: State.QUARANTINE,
    _signed_for_another_purpose: State.QUARANTINE,
    _another_receipt: State.QUARANTINE,
    _bomb: State.QUARANTINE,
    _liar: State.QUARANTINE,
    _spoiled: State.QUARANTINE,
    _foreign_rows: State.QUARANTINE,
    _too_large: State.QUARANTINE,
    _beyond_numbers: State.QUARANTINE,
    _more_than_announced: State.QUARANTINE,
    _tail_alone: State.QUARANTINE,
    _gap: State.DIVERGED,
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__.strip("_"))
def test_what_is_not_the_platforms_is_refused(
    consumer: Consumer, platform: Platform, make: Callable[[Platform, Share], exchange_pb2.Delivery]
) -> None:
    """Nothing applied, the grant held with a named state, central told, the others go on (SD10.2, G6, G7)."""
    share, other = platform.share(), platform.share("G-2", table="visit")
    begin(consumer, platform, share, other)
    platform.deliver(share.delivery(persons((1, "张三"))))
    platform.received("G-1", 1, 1)

    platform.deliver(make(platform, share))
    hold = platform.wait(platform.holds)[0]
    platform.deliver(other.delivery(came(1)))
    platform.received("G-2", 1, 1)

    assert (hold.grant, hold.state) == ("G-1", HOSTILE[make])
    assert hold.code and hold.sentence and "exchange-agent received retry G-1" in hold.fix
    assert consumer.rows() == [(1, "张三")]
    assert consumer.received.start()["G-1"].state == HOSTILE[make]
