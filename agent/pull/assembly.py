"""Deliveries put together from their parts, within bounds, whatever was claimed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agent.exchange import Parcel
from agent.exchange.receptions import plain
from proto.codec import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES
from proto.delivery import Place
from proto.errors import BatchCorrupt
from proto.v1 import exchange_pb2

MAX_NUMBER: Final = 2**63 - 1
"""What every database holds."""
MAX_SIGNATURE_BYTES: Final = 1024


@dataclass(slots=True)
class _Open:
    first: exchange_pb2.Delivery
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0


class Assembler:
    """The parts of one connection; one delivery of each grant at a time."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._bytes = 0

    def add(self, part: exchange_pb2.Delivery) -> Parcel | None:
        """Take *part* in; the whole delivery once it is. Raises BatchCorrupt, and forgets what belongs to it."""
        try:
            return self._add(part)
        except BatchCorrupt:
            self.forget(part.grant)
            raise

    def forget(self, grant: str) -> None:
        """What has come of a delivery will not become whole."""
        gone = self._open.pop(grant, None)
        self._bytes -= gone.size if gone else 0

    def _add(self, part: exchange_pb2.Delivery) -> Parcel | None:
        where = plain(f"{part.grant} {part.generation}.{part.seq}", 120)
        if part.header:
            _demand_sound(part, where)
            if part.grant in self._open:
                raise BatchCorrupt("a delivery began inside of another", where=where)
            self._open[part.grant] = _Open(part)
        held = self._open.get(part.grant)
        if held is None or (held.first.generation, held.first.seq) != (part.generation, part.seq):
            raise BatchCorrupt("a part came without its beginning", where=where)
        held.pieces.append(part.payload)
        held.size += len(part.payload)
        self._bytes += len(part.payload)
        if held.size > held.first.payload_bytes:
            raise BatchCorrupt("more came than was announced", where=where)
        if self._bytes > MAX_PAYLOAD_BYTES:
            raise BatchCorrupt("more is under way at once than may be", where=where)
        if not part.header and not part.payload:
            raise BatchCorrupt("a part is empty", where=where)
        if held.size < held.first.payload_bytes:
            return None
        self.forget(part.grant)
        return _whole(held)


def _demand_sound(first: exchange_pb2.Delivery, where: str) -> None:
    numbers = (first.generation, first.seq, first.source_seq, first.rows_copied, first.rows_expected)
    if max(*numbers, first.commit_us) > MAX_NUMBER or first.seq == 0 or first.generation == 0:
        raise BatchCorrupt("a number cannot be one", where=where)
    if len(first.header) > MAX_HEADER_BYTES or first.payload_bytes > MAX_PAYLOAD_BYTES:
        raise BatchCorrupt("it is announced larger than any delivery may be", where=where)
    if len(first.digest) != 32 or len(first.signature) > MAX_SIGNATURE_BYTES or len(first.receipt) > 200:
        raise BatchCorrupt("its digest, signature or receipt cannot be one", where=where)


def _whole(held: _Open) -> Parcel:
    first = held.first
    return Parcel(
        Place(first.grant, first.generation, first.seq),
        first.digest,
        first.receipt,
        first.signature,
        first.source_seq,
        first.commit_us,
        first.copying,
        first.rows_copied,
        first.rows_expected,
        first.header,
        b"".join(held.pieces),
    )
