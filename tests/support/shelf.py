"""Where servers of tests keep their files: in memory where there is plenty of it.

On a disk the few hundred files of a new database cost ten times what a test then does with it. A server that is asked
to survive power cuts stays on the disk.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import psutil

DISK: Final = Path(tempfile.gettempdir())
MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 8 << 30
"""More than twice what the servers of four workers take."""


@cache
def shelf() -> Path:
    """The directory for temporary servers."""
    if MEMORY.is_mount():
        free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
        if free >= ROOM_BYTES:
            return MEMORY
    return DISK
