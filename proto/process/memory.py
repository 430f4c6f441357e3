"""Memory that goes back to the system when it is free: a daemon beside a business database must stay small."""

from __future__ import annotations

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 256 * 1024


def keep_memory_small() -> None:
    """Have glibc return large blocks at once; without glibc this does nothing. Call before threads are made.

    Batches are a few megabytes and pass through several threads. By default glibc gives each thread an arena and
    learns to keep such blocks in them, where they fragment: a backlog then held 240 MiB instead of 157.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
