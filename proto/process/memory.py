"""Memory that goes back to the system when it is free: a daemon beside a business database must stay small."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 1024 * 1024
_SPARE_BYTES: Final = 8 * 1024 * 1024
_COLLECT_EVERY: Final = (50_000, 20, 50)


def keep_memory_small() -> None:
    """Have glibc keep one pool for all threads, and little in it; without glibc this does nothing.

    Batches are a few megabytes and pass through several threads. By default glibc gives each thread an arena and
    learns to keep such blocks in them, where they fragment: a backlog then held 240 MiB instead of 157. Returned at
    once, each block costs a page fault per 4 KiB when it is made again: a sixth of the agent's time. So a little
    may lie ready. Call before threads are made.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _SPARE_BYTES)


def look_for_cycles_seldom() -> None:
    """Have Python's collector leave alone what a daemon is made of, and come by less often. Call when all is imported.

    Rows are bytes in lists and dictionaries: no cycles, but tens of thousands of objects that come and go with each
    batch. Looking through them every 700 cost a tenth of the machine during a first copy.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_EVERY)
