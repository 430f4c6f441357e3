"""A file that only takes up room, beside an exchange database that is a file (fault E3).

The watermark stops capture before the disk is full, but other programs fill disks too. When a write of ours meets a full
disk, this file goes: then there is room again to note what central has and to forget what need not be kept. It comes
back once there is room for it above the watermark. A database on a server has its room there, where it is not ours.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

import structlog
from sqlalchemy import Engine

from agent.exchange.room import Room
from agent.exchange.store import place_of

BALLAST_BYTES: Final = 8 * 1024 * 1024
_log = structlog.get_logger()


class Ballast:
    """The file of one exchange database; any thread may use it."""

    def __init__(self, engine: Engine, room: Room) -> None:
        self._room = room
        file = place_of(engine).file(engine)
        self._path = file.with_name(f"{file.name}-ballast") if file else None

    def keep(self) -> None:
        """Make the file if it is not there and leaves enough free."""
        if self._path is None or self._path.exists() or self._room.spare_bytes() < BALLAST_BYTES:
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
        except OSError:
            # A quota that nobody can see beforehand; the next turn tries again.
            self._path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def drop(self) -> None:
        """Let it go: a write met a full disk."""
        with suppress(FileNotFoundError):
            if self._path is not None:
                self._path.unlink()
                _log.warning("ballast_dropped", freed_bytes=BALLAST_BYTES)
