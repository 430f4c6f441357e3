"""Capture waits before a disk is full, while there still is room to send, to prune and to write that down.

Before it waits, batches that central has and that are only kept for a while are given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Engine

from agent.exchange.checkpoints import Mark, now_us
from agent.exchange.horizon import Level
from agent.exchange.place import Place
from proto.errors import DiskBlocked

MIB: Final = 1024**2
GIB: Final = 1024**3
SAY_EVERY_US: Final = 60_000_000
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Where capture stops before a disk does."""

    min_free_bytes: int | None = None
    """Free bytes to leave on the volume; None = 10 % of it, at least 2 GiB."""
    outbox_bytes: int = 64 * GIB
    """What may wait for central."""


STANDARD: Final = StoreLimits()


class OutboxFull(DiskBlocked):
    """As much waits for central as may."""


class Room:
    """How much there is for one stream, and how much must stay."""

    def __init__(self, place: Place, engine: Engine, limits: StoreLimits, stream: str) -> None:
        self._place = place
        self._engine = engine
        self._limits = limits
        self._stream = stream
        self.when_full: Callable[[], None] = lambda: None
        self.retention_given_up_us = 0
        """When batches were last forgotten before their time, for room; 0 = not since the process started."""

    def free_bytes(self) -> int | None:
        """Free bytes on the volume of the exchange database; None where only its server knows."""
        volume = self._place.free_and_total(self._engine)
        return volume[0] if volume else None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around a write: when the disk itself refuses it, :attr:`when_full` is called before the error goes on."""
        try:
            yield
        except OutboxFull:
            raise
        except DiskBlocked:
            self.when_full()
            raise

    def spare_bytes(self) -> int:
        """How much could be used before capture has to wait; less than nothing when it has to."""
        volume = self._place.free_and_total(self._engine)
        return volume[0] - self._least(volume[1]) if volume else 0

    def level(self, waiting_bytes: int) -> Level:
        """How full it is now, with so much waiting for central."""
        volume = self._place.free_and_total(self._engine)
        spare = volume[0] - self._least(volume[1]) if volume else None
        return Level(now_us(), waiting_bytes, self._limits.outbox_bytes, spare)

    def demand(self, forget: Callable[[], int]) -> None:
        """Raise DiskBlocked when too little is free on the volume.

        What *forget* still finds to forget goes first: batches that central has and that were only kept a while.
        """
        while self._missing() is not None and forget():
            pass
        if (missing := self._missing()) is not None:
            raise missing

    def say_given_up(self, forgotten: int) -> None:
        """Batches that central has were forgotten before their time, for room."""
        before, self.retention_given_up_us = self.retention_given_up_us, now_us()
        # A disk that stays nearly full gives up a little with every commit.
        if self.retention_given_up_us - before > SAY_EVERY_US:
            _log.warning("retention_given_up", stream=self._stream, batches=forgotten)

    def _missing(self) -> DiskBlocked | None:
        volume = self._place.free_and_total(self._engine)
        if volume is None or volume[0] >= self._least(volume[1]):
            return None
        free, total = volume
        given = "; batches that central has were given up already" if self.retention_given_up_us else ""
        return DiskBlocked(
            f"{free // MIB} MiB are free beside the exchange database, {self._least(total) // MIB} must stay{given}",
            where=self._stream,
            fix="free space on that volume; capture goes on by itself",
        )

    def _least(self, total: int) -> int:
        floor = self._limits.min_free_bytes
        return max(total // 10, 2 * GIB) if floor is None else floor

    def demand_in_outbox(self, mark: Mark) -> None:
        """Raise DiskBlocked when too much waits for central."""
        if mark.waiting_bytes > self._limits.outbox_bytes:
            raise OutboxFull(
                f"{mark.waiting_bytes // MIB} MiB wait for central, the limit is {self._limits.outbox_bytes // MIB}",
                where=self._stream,
                fix="see why central does not take them; capture goes on by itself",
            )
