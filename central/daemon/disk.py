"""Stops intake before the disk is full, while central can still speak and clean up (fault P4)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy import make_url

from central.settings import Settings
from proto.batch import Head, SealedBatch
from proto.errors import DiskBlocked
from proto.v1 import exchange_pb2


class Accepting(Protocol):
    """What decides about batches."""

    def hello(self, node: str, hello: exchange_pb2.Hello) -> Head:
        """Where central's chain of this stream ends."""
        ...

    def accept(self, stream: str, epoch: int, incarnation: str, batches: Sequence[SealedBatch]) -> Head:
        """Make *batches* durable, all or none."""
        ...


class Room:
    """How much is free where central's data lies; nothing is watched when that is another machine's disk."""

    def __init__(self, path: Path | None, least_free_bytes: int) -> None:
        self._path = path
        self._least = least_free_bytes
        self._free: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Room:
        """As the settings say; of an SQLite database, its folder."""
        return cls(settings.disk.path or _folder_of(settings), settings.disk.least_free_bytes)

    def look(self) -> None:
        """Measure; raises DiskBlocked when too little is left."""
        self._free = shutil.disk_usage(self._path).free if self._path is not None else None
        self.demand()

    @property
    def sentence(self) -> str:
        """As people read it."""
        if self._free is None:
            return "not watched: the database is elsewhere, and no path is given"
        return f"{self._free // 1024**2} MiB free in {self._path}"

    def demand(self) -> None:
        """Raise DiskBlocked when too little was left at the last look."""
        if self._free is not None and self._free < self._least:
            raise DiskBlocked(
                f"{self._free} bytes are free, {self._least} must remain",
                where=str(self._path),
                fix="free space at central; intake goes on by itself",
            )


class Guarded:
    """Intake that takes nothing while there is too little room."""

    def __init__(self, intake: Accepting, room: Room) -> None:
        self._intake = intake
        self._room = room

    def hello(self, node: str, hello: exchange_pb2.Hello) -> Head:
        """As intake's."""
        self._room.demand()
        return self._intake.hello(node, hello)

    def accept(self, stream: str, epoch: int, incarnation: str, batches: Sequence[SealedBatch]) -> Head:
        """As intake's."""
        self._room.demand()
        return self._intake.accept(stream, epoch, incarnation, batches)


def _folder_of(settings: Settings) -> Path | None:
    url = make_url(settings.database.get_secret_value())
    return Path(url.database).parent if url.get_backend_name() == "sqlite" and url.database else None
