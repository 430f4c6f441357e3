"""Capture waits before a disk is full, while there still is room to send, to prune and to write that down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from agent.exchange.checkpoints import Mark
from agent.exchange.place import Place
from proto.errors import DiskBlocked

MIB: Final = 1024**2
GIB: Final = 1024**3


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Where capture stops before a disk does."""

    min_free_bytes: int | None = None
    """Free bytes to leave on the volume; None = 10 % of it, at least 2 GiB."""
    outbox_bytes: int = 64 * GIB
    """What may wait for central."""


STANDARD: Final = StoreLimits()


class Room:
    """How much there is for one stream, and how much must stay."""

    def __init__(self, place: Place, engine: Engine, limits: StoreLimits, stream: str) -> None:
        self._place = place
        self._engine = engine
        self._limits = limits
        self._stream = stream

    def free_bytes(self) -> int | None:
        """Free bytes on the volume of the exchange database; None where only its server knows."""
        volume = self._place.free_and_total(self._engine)
        return volume[0] if volume else None

    def demand(self) -> None:
        """Raise DiskBlocked when too little is free on the volume."""
        volume = self._place.free_and_total(self._engine)
        if volume is None:
            return
        free, total = volume
        floor = self._limits.min_free_bytes
        least = max(total // 10, 2 * GIB) if floor is None else floor
        if free < least:
            raise DiskBlocked(
                f"{free // MIB} MiB are free beside the exchange database, {least // MIB} must stay",
                where=self._stream,
                fix="free space on that volume; capture goes on by itself",
            )

    def demand_in_outbox(self, mark: Mark) -> None:
        """Raise DiskBlocked when too much waits for central."""
        if mark.waiting_bytes > self._limits.outbox_bytes:
            raise DiskBlocked(
                f"{mark.waiting_bytes // MIB} MiB wait for central, the limit is {self._limits.outbox_bytes // MIB}",
                where=self._stream,
                fix="see why central does not take them; capture goes on by itself",
            )
