"""Batches that pass through several threads leave no memory behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Blocks of many sizes, made in one thread and freed in another, as batches are; a few small ones stay, as logs and rows do.
PROGRAM = """
import queue, random, sys, threading
from proto.process import keep_memory_small
if sys.argv[1] == "small":
    keep_memory_small()
belt, kept, chance = queue.Queue(4), [], random.Random(1)
def use():
    while (blocks := belt.get()) is not None:
        kept.append(b"x" * 600)
        copies = [block + b"y" for block in blocks]
        del blocks, copies
threads = [threading.Thread(target=use) for _ in range(4)]
[thread.start() for thread in threads]
for _ in range(150):
    belt.put([bytes(chance.randrange(300_000, 8_000_000)) for _ in range(3)])
[belt.put(None) for _ in threads]
[thread.join() for thread in threads]
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


def left_kib(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def test_large_blocks_go_back_to_the_system():
    """What a process holds in the end is what it uses; the default allocator keeps tens of megabytes more."""
    small, default = left_kib("small"), left_kib("default")

    assert small < 60 * 1024
    assert small < default


SELDOM = """
import gc
from proto.process import look_for_cycles_seldom
look_for_cycles_seldom()
before = gc.get_stats()[0]["collections"]
rows = [[number] for number in range(40_000)]
print(gc.get_stats()[0]["collections"] - before, gc.get_freeze_count() > 1000)
"""


def test_the_rows_of_a_batch_are_not_searched_for_cycles():
    """A page's worth of objects comes and goes without the collector; what the daemon is made of is never searched."""
    done = subprocess.run(
        [sys.executable, "-c", SELDOM], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["0", "True"]
