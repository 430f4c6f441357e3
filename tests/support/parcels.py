"""The platform's side of a grant, as far as a consumer can tell: announced, delivered in order, signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from agent.exchange import Announced, Parcel, Received
from proto import codec, frames
from proto.batch import CHAIN_START, Batch, Delta, Frames
from proto.channel import MAX_PART_BYTES
from proto.delivery import RECEIPT, Place, chain, signed
from proto.schema import TableSchema
from proto.signing import Signer
from proto.v1 import exchange_pb2
from tests.support.rows import PERSON, VISIT, values

CONSUMER: Final = "bureau"
PROVIDER: Final = "police/population"


@dataclass
class Share:
    """One grant and its chain of deliveries."""

    grant: str = "G-1"
    table: str = "person"
    stream: str = PROVIDER
    generation: int = 1
    seq: int = 0
    digest: bytes = CHAIN_START
    version: int = 1
    sent: list[exchange_pb2.Delivery] = field(default_factory=list)
    signer: Signer | None = None

    def news(self, said: str = "active", **other: Any) -> Announced:
        """What central says of it, with the next version."""
        self.version += 1
        usual: dict[str, Any] = {
            "sentence": "",
            "resource": "370100/1-01-001",
            "resource_name": "人口基本信息",
            "valid_to_us": 4_102_444_800_000_000,
            "purpose": "核对救助申请人",
            "withdraw": False,
        }
        return Announced(
            grant=self.grant,
            version=self.version,
            said=said,
            stream=self.stream,
            table=self.table,
            **{**usual, **other},
        )

    def granted(self, said: str = "active", **other: Any) -> exchange_pb2.Granted:
        """The same, as it travels."""
        news = self.news(said, **other)
        return exchange_pb2.Granted(
            grant=news.grant,
            version=news.version,
            state=news.said,
            sentence=news.sentence,
            resource=news.resource,
            resource_name=news.resource_name,
            stream=news.stream,
            table=news.table,
            valid_to_us=news.valid_to_us,
            purpose=news.purpose,
            withdraw=news.withdraw,
        )

    def afresh(self) -> None:
        """The next delivery begins a new copy."""
        self.generation, self.seq, self.digest = self.generation + 1, 0, CHAIN_START

    def delivery(self, *deltas: Delta, continues: bool = False, **other: Any) -> exchange_pb2.Delivery:
        """The next one, whole and signed for the consumer."""
        self.seq += 1
        header, payload = codec.encode(Batch("", deltas, 1, 2, 1, continues=continues))
        place = Place(self.grant, self.generation, self.seq)
        self.digest = chain(self.digest, place, header)
        receipt = f"R-{self.grant}-{self.generation}-{self.seq}"
        content = signed(CONSUMER, place, self.digest, receipt)
        usual: dict[str, Any] = {"source_seq": self.seq, "commit_us": 2, "signature": self._sign(content)}
        usual["payload_bytes"] = len(payload)
        made = exchange_pb2.Delivery(
            grant=self.grant,
            generation=self.generation,
            seq=self.seq,
            digest=self.digest,
            receipt=receipt,
            header=header,
            payload=payload,
            **{**usual, **other},
        )
        self.sent.append(made)
        return made

    def parcel(self, *deltas: Delta, continues: bool = False, **other: Any) -> Parcel:
        """The next one, as a room below the wire takes it."""
        return parcel_of(self.delivery(*deltas, continues=continues, **other))

    def _sign(self, content: bytes) -> bytes:
        return self.signer.sign(RECEIPT, content) if self.signer else b""


def parcel_of(delivery: exchange_pb2.Delivery) -> Parcel:
    """A whole delivery as a parcel."""
    return Parcel(
        Place(delivery.grant, delivery.generation, delivery.seq),
        delivery.digest,
        delivery.receipt,
        delivery.signature,
        delivery.source_seq,
        delivery.commit_us,
        delivery.copying,
        delivery.rows_copied,
        delivery.rows_expected,
        delivery.header,
        delivery.payload,
    )


def in_parts(delivery: exchange_pb2.Delivery, size: int = MAX_PART_BYTES) -> Iterator[exchange_pb2.Delivery]:
    """As it travels: the first part has everything but the payload's rest."""
    payload = delivery.payload
    first = exchange_pb2.Delivery()
    first.CopyFrom(delivery)
    first.payload = payload[:size]
    yield first
    for start in range(size, len(payload), size):
        yield exchange_pb2.Delivery(
            grant=delivery.grant,
            generation=delivery.generation,
            seq=delivery.seq,
            payload=payload[start : start + size],
        )


def persons(*rows: tuple[int, str]) -> Delta:
    """People who are new or changed."""
    return Delta(PERSON, upserts=Frames(frames.pack_rows(list(rows), PERSON.kinds), len(rows)))


def gone(*ids: int) -> Delta:
    """People who are there no more."""
    return Delta(PERSON, deletes=Frames(frames.pack_rows([(i,) for i in ids], PERSON.kinds[:1]), len(ids)))


def came(*ids: int) -> Delta:
    """Visits: whatever is brought in twice shows."""
    return Delta(VISIT, inserts=Frames(frames.pack_rows([(i, "来访") for i in ids], VISIT.kinds), len(ids)))


def rows_in(received: Received, grant: str = "G-1") -> list[tuple[object, ...]]:
    """What the inbound table of a grant holds, sorted."""
    row = received.grants()[grant]
    schema: TableSchema | None = row.reads
    if schema is None:
        return []
    with received.reading() as connection:
        return values(received.inbound.room(row).scan(connection, schema), schema)
