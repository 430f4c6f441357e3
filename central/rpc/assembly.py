"""Parts become batches again, within bounds: per batch, per stream and for all streams together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from proto.batch import SealedBatch
from proto.channel import MAX_PART_BYTES
from proto.codec import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES
from proto.errors import Busy, Refused
from proto.v1 import exchange_pb2

DIGEST_BYTES: Final = 32


@dataclass(slots=True)
class Budget:
    """Bytes of batches that central holds before they are accepted, over all streams; used on the event loop only."""

    limit_bytes: int
    used_bytes: int = 0

    def take(self, size: int) -> None:
        """Count *size* bytes in; raises Busy when all streams together would hold too much."""
        if self.used_bytes + size > self.limit_bytes:
            raise Busy(
                f"{self.used_bytes} bytes of batches are waiting to be accepted, the limit is {self.limit_bytes}",
                fix="nothing to do: the node comes back by itself",
            )
        self.used_bytes += size

    def give_back(self, size: int) -> None:
        """Count *size* bytes out again."""
        self.used_bytes -= size


@dataclass(slots=True)
class _Begun:
    seq: int
    epoch: int
    digest: bytes
    header: bytes
    payload_bytes: int
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class Assembler:
    """Puts the batches of one stream together and holds their bytes in *budget* until :meth:`let_go`."""

    stream: str
    budget: Budget
    held_bytes: int = 0
    _begun: _Begun | None = field(default=None)

    @property
    def unfinished(self) -> bool:
        """True while a batch still lacks parts."""
        return self._begun is not None

    def add(self, part: exchange_pb2.BatchPart) -> SealedBatch | None:
        """Take one part; the whole batch once it is complete. Raises Refused or Busy."""
        if len(part.payload) > MAX_PART_BYTES:
            raise Refused(f"a part of more than {MAX_PART_BYTES} bytes", where=self._where(part))
        begun = self._begun or self._begin(part)
        if self._begun is not None:
            self._check_follows(part, begun)
        self._hold(len(part.payload) + len(part.header))
        begun.pieces.append(part.payload)
        begun.size += len(part.payload)
        if begun.size > begun.payload_bytes:
            raise Refused(
                f"brings more than the {begun.payload_bytes} bytes it claims", where=self._where(part)
            )
        self._begun = begun if begun.size < begun.payload_bytes else None
        return None if self._begun else self._whole(begun)

    def let_go(self, size: int) -> None:
        """*size* bytes are accepted or given up."""
        self.held_bytes -= size
        self.budget.give_back(size)

    def close(self) -> None:
        """Give everything back, whatever became of it."""
        self.let_go(self.held_bytes)
        self._begun = None

    def _begin(self, part: exchange_pb2.BatchPart) -> _Begun:
        if not part.header or len(part.digest) != DIGEST_BYTES:
            raise Refused("the first part of a batch has neither header nor digest", where=self._where(part))
        if len(part.header) > MAX_HEADER_BYTES or part.payload_bytes > MAX_PAYLOAD_BYTES:
            raise Refused(
                f"header of {len(part.header)} and payload of {part.payload_bytes} bytes are over the limit",
                where=self._where(part),
            )
        return _Begun(part.seq, part.epoch, part.digest, part.header, part.payload_bytes)

    def _check_follows(self, part: exchange_pb2.BatchPart, begun: _Begun) -> None:
        if (part.seq, part.epoch) != (begun.seq, begun.epoch) or part.header or not part.payload:
            raise Refused(f"this is not the next part of batch {begun.seq}", where=self._where(part))

    def _hold(self, size: int) -> None:
        self.budget.take(size)
        self.held_bytes += size

    def _whole(self, begun: _Begun) -> SealedBatch:
        payload = begun.pieces[0] if len(begun.pieces) == 1 else b"".join(begun.pieces)
        return SealedBatch(self.stream, begun.epoch, begun.seq, begun.digest, begun.header, payload)

    def _where(self, part: exchange_pb2.BatchPart) -> str:
        return f"{self.stream} {part.seq}"


def size_of(batch: SealedBatch) -> int:
    """What *batch* takes of the budget."""
    return len(batch.header) + len(batch.payload)
