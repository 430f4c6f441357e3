"""What changed between two source commits: deltas per table, gathered in a batch, chained by digest."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final

from proto.schema import TableSchema

Position = str
"""A place in one source's log; only the source that made it can read or compare it. ``""`` is before all."""

CHAIN_START: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Frames:
    """*count* rows, one frame after another (see :mod:`proto.frames`)."""

    data: bytes = b""
    count: int = 0

    def __bool__(self) -> bool:
        return self.count > 0


NO_FRAMES: Final = Frames()


@dataclass(frozen=True, slots=True)
class Partial:
    """Updates whose large values were not logged.

    Each frame holds the *old* key fields, in key order, and then the present columns, in the order of
    ``columns``. If the key changed, the new key columns are among the present ones.
    """

    columns: tuple[int, ...]
    frames: Frames


@dataclass(frozen=True, slots=True)
class Delta:
    """What changed in one table. No key appears twice in one delta, so the order below is only a convention.

    Applied in this order: truncate, deletes, partials, upserts, inserts.
    """

    schema: TableSchema
    inserts: Frames = NO_FRAMES
    """Full frames whose keys the source says were not there; a clash is merged like an upsert."""
    upserts: Frames = NO_FRAMES
    """Full frames that replace the row of their key or add it."""
    deletes: Frames = NO_FRAMES
    """Frames of the key fields only, in key order."""
    partials: tuple[Partial, ...] = ()
    truncated: bool = False
    """The table was emptied before everything else in this delta."""

    @property
    def rows(self) -> int:
        """How many rows it adds, changes or removes."""
        partial = sum(part.frames.count for part in self.partials)
        return self.inserts.count + self.upserts.count + self.deletes.count + partial

    @property
    def size_bytes(self) -> int:
        """How many bytes of frames it holds."""
        sections = (self.inserts, self.upserts, self.deletes, *(part.frames for part in self.partials))
        return sum(len(section.data) for section in sections)


@dataclass(frozen=True, slots=True)
class Batch:
    """The deltas of one stream from one source commit to a later one, in the order they are applied.

    A table may occur more than once. ``continues`` marks a part of a source transaction that is too large
    for one batch: it becomes visible together with the parts after it, up to the first that does not continue.
    """

    position: Position
    """The source position after this batch; of a part that continues, the position before its transaction."""
    deltas: tuple[Delta, ...]
    first_commit_us: int = 0
    """Source time of the first commit in it, microseconds since 1970 UTC; 0 = no commit (snapshot pages)."""
    last_commit_us: int = 0
    transactions: int = 0
    continues: bool = False

    @property
    def rows(self) -> int:
        """How many rows it adds, changes or removes."""
        return sum(delta.rows for delta in self.deltas)

    @property
    def size_bytes(self) -> int:
        """How many bytes of frames it holds."""
        return sum(delta.size_bytes for delta in self.deltas)


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain has come: number and digest of its last batch. ``seq`` 0 = nothing yet."""

    epoch: int = 0
    seq: int = 0
    digest: bytes = CHAIN_START


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """An encoded batch with its place in its stream's chain: what lies in the outbox, travels and lies in the ledger."""

    stream: str
    epoch: int
    seq: int
    digest: bytes
    header: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    rows: int = 0

    @property
    def head(self) -> Head:
        """The chain's head once this batch is its last."""
        return Head(self.epoch, self.seq, self.digest)


def chain(previous: bytes, stream: str, epoch: int, seq: int, header: bytes) -> bytes:
    """The 32-byte digest of a batch: SHA-256 over the previous digest, its place, and its header.

    The header contains the payload's own SHA-256, so payload and header are both covered.
    """
    name = stream.encode()
    place = struct.pack(">I", len(name)) + name + struct.pack(">QQ", epoch, seq)
    return hashlib.sha256(previous + place + header).digest()
