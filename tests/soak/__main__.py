"""``make soak``: five kinds of sources under load, then trial after trial, each with a seed of its own.

It ends when MINUTES are over or a promise is broken.

``MINUTES=480 make soak`` for a night; ``SEED=…`` begins with the seed of a trial that failed.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from demo.system import CommandFailed
from tests.soak import kinds
from tests.support.judge import Broken
from tests.support.nemesis import IMPATIENT, Nemesis
from tests.support.postgres import Cluster
from tests.support.trial import Homes, Trial

KINDS_SHARE: Final = 0.3
"""Of the time, for the node with a source of every kind."""
KILLS: Final = 110
"""In a row; ``make test`` does about half as many."""
DAEMONS: Final = {"agent": 5, "central": 4, "both": 1, "network": 4}
SERVERS: Final = {"business": 1, "exchange": 1, "platform": 1}
KINDS: Final = ("sqlite", "postgres")
WHO: Final = {
    "agent": ("agent",),
    "central": ("central",),
    "both": ("both",),
    "net": ("network",),
    "servers": tuple(SERVERS),
}


@dataclass(slots=True)
class Round:
    """One trial, and what came of it."""

    kind: str
    seed: int
    business: int
    kills: Counter[str] = field(default_factory=Counter)
    transactions: int = 0
    snapshots: int = 0
    seconds: float = 0.0
    broken: str = ""

    def run(self) -> None:
        """Work, rage, heal, judge."""
        begun = time.monotonic()
        with self._trial() as trial:
            nemesis = Nemesis(trial, DAEMONS if self.kind == "sqlite" else {**DAEMONS, **SERVERS})
            try:
                trial.start()
                with trial.workload(60) as work:
                    nemesis.rage(KILLS)
                trial.finish(work)
            except (Broken, CommandFailed) as error:
                self.broken = str(error)
                raise
            finally:
                self.kills, self.transactions = nemesis.kills, trial.judge.transactions
                self.snapshots, self.seconds = trial.judge.checks, time.monotonic() - begun

    @contextmanager
    def _trial(self) -> Iterator[Trial]:
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exchange-soak-")))
            business = stack.enter_context(Cluster(self.business))
            homes = Homes()
            if self.kind == "postgres":
                homes = Homes(stack.enter_context(Cluster(18)), stack.enter_context(Cluster(15)))
            # The trial prints its seed for pytest; here the table has it.
            with redirect_stdout(StringIO()):
                trial = Trial(home, business, homes, self.seed, bad_network=True, agent_settings=IMPATIENT)
            yield stack.enter_context(trial)


def table(rounds: list[Round]) -> Table:
    """All rounds so far: who was killed how often, and what was looked at."""
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title in ("kind", "seed", *WHO, "commits", "looks", "s", ""):
        grid.add_column(title, justify="left" if title == "kind" else "right", no_wrap=True)
    for each in rounds:
        kills = [str(sum(each.kills[name] for name in names)) for names in WHO.values()]
        counts = (f"{each.transactions:,}", str(each.snapshots), f"{each.seconds:.0f}")
        verdict = "[red]BROKEN[/]" if each.broken else "[green]✓[/]"
        grid.add_row(f"{each.kind}{each.business}", str(each.seed), *kills, *counts, verdict)
    total = sum((each.kills for each in rounds), Counter[str]())
    grid.caption = f"{total.total()} faults, {sum(each.transactions for each in rounds):,} transactions"
    return grid


def main() -> int:
    """0 when every promise held for all the time."""
    console = Console()
    seconds = float(os.environ.get("MINUTES", "10")) * 60
    until = time.monotonic() + seconds
    seeds = random.Random(os.environ.get("SEED"))
    seed = int(os.environ.get("SEED", seeds.randrange(10**9)))
    if not kinds.told(console, seconds * KINDS_SHARE, seed):
        return 1
    rounds: list[Round] = []
    while time.monotonic() < until:
        # The seed says it all, so that one number repeats a trial.
        rounds.append(Round(KINDS[seed % 2], seed, (15, 18)[seed // 2 % 2]))
        try:
            rounds[-1].run()
        except (Broken, CommandFailed):
            console.print(table(rounds))
            console.print(rounds[-1].broken, style="red", markup=False)
            console.print(f"again: SEED={seed} make soak")
            return 1
        console.print(table(rounds[-1:]))
        seed = seeds.randrange(10**9)
    console.print(table(rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
