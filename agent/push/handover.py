"""Committed batches waiting in memory to be sent, and the pace a link has shown it can keep."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from proto.batch import SealedBatch
from proto.channel import MAX_PART_BYTES

LEAST_PACE_BYTES: Final = 64 * 1024
FIRST_PACE_BYTES: Final = 256 * 1024
PARTS_UNDER_WAY: Final = 4
QUICK_S: Final = 1.0
SLOW_S: Final = 3.0


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
    """How many bytes may be on their way at once: as many as the link carries in about a second.

    It grows while bytes are received soon after they were sent and shrinks when they are not. More would only wait
    in buffers on the way, where it holds up the signs of life until both ends give up on each other (fault G4).
    """

    def __init__(self) -> None:
        self.limit_bytes = FIRST_PACE_BYTES

    @property
    def part_bytes(self) -> int:
        """How much payload one message carries."""
        return min(MAX_PART_BYTES, max(LEAST_PACE_BYTES, self.limit_bytes // PARTS_UNDER_WAY))

    def received(self, size: int, after_s: float, ceiling: int) -> None:
        """The other side took in *size* bytes, this long after they were sent."""
        if after_s > SLOW_S:
            self.lost()
        elif after_s < QUICK_S and self.limit_bytes < ceiling:
            self.limit_bytes = min(self.limit_bytes + size, ceiling)

    def lost(self) -> None:
        """The link broke with something on its way, or is slower than we thought."""
        self.limit_bytes = max(self.limit_bytes // 2, LEAST_PACE_BYTES)


class Flight:
    """The bytes of one connection that were sent and not yet received."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._sent = self._received = 0
        self._marks: deque[tuple[int, float]] = deque()

    @property
    def sent_bytes(self) -> int:
        """Everything sent so far."""
        return self._sent

    def has_room(self, size: int) -> bool:
        """One part may always go."""
        under_way = self._sent - self._received
        return not under_way or under_way + size <= self._pace.limit_bytes

    def sent(self, size: int) -> None:
        """A part was handed to the network."""
        self._sent += size
        self._marks.append((self._sent, time.monotonic()))

    def received(self, total: int, ceiling: int) -> None:
        """The other side has *total* bytes of it."""
        sent_at = None
        while self._marks and self._marks[0][0] <= total:
            _, sent_at = self._marks.popleft()
        if sent_at is None:
            return
        # A trickle proves nothing about how much the link could carry.
        ceiling = ceiling if 2 * (self._sent - self._received) >= self._pace.limit_bytes else 0
        self._pace.received(total - self._received, time.monotonic() - sent_at, ceiling)
        self._received = total
