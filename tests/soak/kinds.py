"""Long heavy load on one node with a source of every kind at once, its agent killed now and then.

In the end every bureau's table is the same at central, row by row, and the agent never took more memory than it may.
``MINUTES=3 python -m tests.soak.kinds`` runs it alone.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console
from rich.table import Table

from agent.sources.memory import Row
from tests.support.judge import Broken
from tests.support.manysources import KINDS, Bureau, Bureaus
from tests.support.mariadb import MariadbServer
from tests.support.postgres import Cluster

LIMIT_MIB: Final = 200
KEYS: Final = 20_000
ROWS: Final = 250
"""Of one transaction."""
DELETES: Final = 0.1
PACE_S: Final[dict[str, float]] = {"dropfolder": 0.5, "polling": 0.2}
"""Between two transactions where a person or a timetable stands in between; the logs get all they can take."""
USUAL_PACE_S: Final = 0.05
BETWEEN_KILLS_S: Final = (8.0, 20.0)
SAMPLE_S: Final = 0.1
DRAIN_S: Final = 300.0
MIB: Final = 1024**2


@dataclass(slots=True)
class Figures:
    """What was done, and what it took."""

    rows: Counter[str] = field(default_factory=Counter)
    commits: Counter[str] = field(default_factory=Counter)
    left: dict[str, int] = field(default_factory=dict)
    """How many rows each table has in the end."""
    drained_s: dict[str, float] = field(default_factory=dict)
    kills: int = 0
    peak_mib: float = 0.0
    load_s: float = 0.0

    def table(self) -> Table:
        """For people."""
        grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for title in ("kind", "commits", "rows", "rows/s", "in the end", "drained after s"):
            grid.add_column(title, justify="left" if title == "kind" else "right")
        for kind in KINDS:
            counts = (
                f"{self.commits[kind]:,}",
                f"{self.rows[kind]:,}",
                f"{self.rows[kind] / self.load_s:,.0f}",
            )
            grid.add_row(kind, *counts, f"{self.left[kind]:,}", f"{self.drained_s[kind]:.1f}")
        grid.caption = (
            f"{self.kills} kills of the agent in {self.load_s:.0f} s, {self.peak_mib:.0f} MiB at the peak"
        )
        return grid


class Load:
    """Everybody at work on *bureaus* until told to stop."""

    def __init__(self, bureaus: Bureaus, seed: int) -> None:
        self.figures = Figures()
        self._bureaus, self._seed = bureaus, seed
        self._over, self._drained = threading.Event(), threading.Event()
        self._failures: list[BaseException] = []

    def run(self, seconds: float) -> Figures:
        """Work, kill, let it drain, compare. Raises Broken."""
        begun_s = time.monotonic()
        with self._beside(self._sample, self._drained):
            with ExitStack() as work:
                for kind in KINDS:
                    work.enter_context(self._beside(partial(self._work, kind), self._over))
                self._kill_until(begun_s + seconds)
            self.figures.load_s = time.monotonic() - begun_s
            if self._failures:
                raise Broken(f"a business failed: {self._failures[0]!r}")
            self._drain()
        if self.figures.peak_mib > LIMIT_MIB:
            raise Broken(f"the agent took {self.figures.peak_mib:.0f} MiB, it may take {LIMIT_MIB}")
        return self.figures

    def _work(self, kind: str) -> None:
        chance, bureau = random.Random(f"{self._seed} {kind}"), self._bureaus.all[kind]
        there: dict[int, Row] = {}
        pace_s = PACE_S.get(kind, USUAL_PACE_S)
        while not self._over.wait(pace_s):
            # A busy file of a business database is its own affair: its program tries again.
            with suppress(sqlite3.OperationalError):
                self.figures.rows[kind] += _transact(bureau, chance, there)
                self.figures.commits[kind] += 1

    def _kill_until(self, end_s: float) -> None:
        chance = random.Random(self._seed)
        agent = self._bureaus.system.agent
        while (left_s := end_s - time.monotonic()) > 0 and not self._failures:
            if (
                not self._over.wait(min(left_s, chance.uniform(*BETWEEN_KILLS_S)))
                and time.monotonic() < end_s
            ):
                self._bureaus.system.raise_if_ended()
                agent.kill()
                agent.start()
                self.figures.kills += 1

    def _drain(self) -> None:
        try:
            self.figures.drained_s = self._bureaus.arrives(*KINDS, within_s=DRAIN_S)
        except AssertionError as error:
            raise Broken(str(error)) from error
        for kind in KINDS:
            self.figures.left[kind] = len(self._bureaus.at_central(kind))

    def _sample(self) -> None:
        while not self._drained.wait(SAMPLE_S):
            process = self._bureaus.system.agent.process
            with suppress(psutil.NoSuchProcess):
                if process is not None:
                    taken = psutil.Process(process.pid).memory_info().rss / MIB
                    self.figures.peak_mib = max(self.figures.peak_mib, taken)

    @contextmanager
    def _beside(self, work: Callable[[], None], end: threading.Event) -> Iterator[None]:
        def watched() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - told at the end of the load
                self._failures.append(error)

        thread = threading.Thread(target=watched, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()


def _transact(bureau: Bureau, chance: random.Random, there: dict[int, Row]) -> int:
    """One transaction of the business; how many rows it touched."""
    changed = dict(there)
    keys = chance.sample(range(1, KEYS + 1), ROWS)
    with bureau.rig.transaction() as writer:
        for key in keys:
            if key in changed and chance.random() < DELETES:
                writer.delete("person", changed.pop(key))
            else:
                changed[key] = (
                    key,
                    f"张三{chance.randrange(10**6)}",
                    "住址不详，𠮷" + "备注" * chance.randrange(80),
                )
                writer.put("person", changed[key])
    there.clear()
    there.update(changed)
    return len(keys)


def soak(seconds: float, seed: int) -> Figures:
    """The whole of it, in places of its own that are gone afterwards. Raises Broken."""
    with (
        tempfile.TemporaryDirectory(prefix="exchange-kinds-") as home,
        Cluster(15) as cluster,
        MariadbServer() as server,
        Bureaus(Path(home), cluster, server) as bureaus,
    ):
        bureaus.system.start()
        bureaus.system.wait_until_listening()
        return Load(bureaus, seed).run(seconds)


def told(console: Console, seconds: float, seed: int) -> bool:
    """Whether everything arrived within the memory there is; prints the figures."""
    try:
        console.print(soak(seconds, seed).table())
    except Broken as error:
        console.print(f"{error}\nagain: SEED={seed} python -m tests.soak.kinds", style="red", markup=False)
        return False
    return True


if __name__ == "__main__":
    minutes, number = os.environ.get("MINUTES", "4"), os.environ.get("SEED", random.randrange(10**9))
    sys.exit(not told(Console(), float(minutes) * 60, int(number)))
