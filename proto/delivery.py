"""What both ends compute of a delivery: its digest, chained within its generation, and what the platform signs."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

RECEIPT: Final = "delivery"
"""The purpose of the signature."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which delivery of which grant."""

    grant: str
    generation: int
    seq: int


def chain(previous: bytes, place: Place, header: bytes) -> bytes:
    """The 32-byte digest of a delivery; the header contains the payload's own SHA-256, so both are covered."""
    name = place.grant.encode()
    said = struct.pack(">I", len(name)) + name + struct.pack(">QQ", place.generation, place.seq)
    return hashlib.sha256(previous + said + header).digest()


def signed(consumer: str, place: Place, digest: bytes, receipt: str) -> bytes:
    """What the platform's signature of a delivery covers: for whom, which one, and its receipt's number."""
    words = [consumer.encode(), place.grant.encode(), receipt.encode()]
    said = b"".join(struct.pack(">I", len(word)) + word for word in words)
    return said + struct.pack(">QQ", place.generation, place.seq) + digest
