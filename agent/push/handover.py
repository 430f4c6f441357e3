"""Committed batches waiting in memory to be sent, and the pace a link has shown it can keep."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from proto.batch import SealedBatch
from proto.channel import MAX_PART_BYTES

LEAST_PART_BYTES: Final = 64 * 1024
FIRST_PACE_BYTES: Final = 2 * 1024 * 1024
PARTS_UNDER_WAY: Final = 8


def size_of(batch: SealedBatch) -> int:
    """How many bytes *batch* takes on its way."""
    return len(batch.header) + len(batch.payload)


class Handover:
    """A run of batches without a hole, bounded by bytes. What is not kept here lies in the outbox anyway."""

    def __init__(self, limit_bytes: int) -> None:
        self._run: deque[SealedBatch] = deque()
        self._bytes = 0
        self.limit_bytes = limit_bytes
        self.newest = 0
        """The highest number known to be committed."""

    def offer(self, batches: Sequence[SealedBatch]) -> None:
        """Keep what follows and fits."""
        for batch in batches:
            follows = not self._run or batch.seq == self._run[-1].seq + 1
            size = size_of(batch)
            if follows and self._bytes + size <= self.limit_bytes:
                self._run.append(batch)
                self._bytes += size
            self.newest = max(self.newest, batch.seq)

    def take(self, seq: int) -> SealedBatch | None:
        """The batch *seq* if it waits here; earlier ones are forgotten."""
        while self._run and self._run[0].seq <= seq:
            batch = self._run.popleft()
            self._bytes -= size_of(batch)
            if batch.seq == seq:
                return batch
        return None


class Pace:
    """How many bytes may be under way: grows with every acknowledgement, shrinks when a link breaks or stalls.

    A slow link must not be filled with more than it can carry before both ends give up on each other (fault G4).
    """

    def __init__(self) -> None:
        self.limit_bytes = FIRST_PACE_BYTES

    @property
    def part_bytes(self) -> int:
        """How much payload one message carries."""
        return min(MAX_PART_BYTES, max(LEAST_PART_BYTES, self.limit_bytes // PARTS_UNDER_WAY))

    def acknowledged(self, size: int, window_bytes: int) -> None:
        """*size* bytes arrived well."""
        self.limit_bytes = min(self.limit_bytes + size, max(window_bytes, LEAST_PART_BYTES))

    def lost(self) -> None:
        """The link broke with something under way."""
        self.limit_bytes = max(self.limit_bytes // 2, LEAST_PART_BYTES)
