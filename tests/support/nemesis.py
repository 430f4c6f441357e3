"""Kills, drawn from the seed: who, after how long, and how long it stays dead."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from tests.support.postgres import Cluster
from tests.support.trial import Trial

UP_S: Final = 0.6
"""Mean time between two kills; many come while the last one is not healed, some long after."""
DOWN_S: Final = 0.15
MOVES_EVERY: Final = 12
"""After so many kills the stream must have moved: a system that only survives is not enough."""
_pause = Event()

IMPATIENT: Final = {"central": {"progress_timeout_s": 2, "welcome_timeout_s": 2}}
"""Settings with which a black hole is noticed before a test has ended."""

Kill = Callable[[], None]


@dataclass(slots=True)
class Nemesis:
    """Kills what belongs to *trial*, one after another, and asks the judge all the while."""

    trial: Trial
    weights: Mapping[str, int]
    up_s: float = UP_S
    kills: Counter[str] = field(default_factory=Counter)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.trial.seed + 1)

    def rage(self, kills: int) -> None:
        """So many kills; every few of them, wait until central has moved on."""
        moved_at = 0
        while self.kills.total() < kills:
            _pause.wait(min(self._rng.expovariate(1 / self.up_s), 4 * self.up_s))
            self._kill()
            if self.kills.total() - moved_at >= MOVES_EVERY:
                moved_at = self.kills.total()
                self.trial.wait_for_more(self.trial.central.lsn, "central moves on")
                self.trial.check()
                self.trial.check(self.trial.exchange)

    def _kill(self) -> None:
        target = self._rng.choices(list(self.weights), list(self.weights.values()))[0]
        down_s = self._rng.expovariate(1 / DOWN_S) if self._rng.random() < 0.5 else 0.0
        {
            "agent": lambda: self.trial.crash(self.trial.system.agent, down_s),
            "central": lambda: self.trial.crash(self.trial.system.central, down_s),
            "both": lambda: self._kill_both(down_s),
            "network": self._storm,
            "business": lambda: crash(self.trial.business, down_s),
            "exchange": lambda: crash(self.trial.homes.exchange, down_s),
            "platform": lambda: crash(self.trial.homes.central, down_s),
        }[target]()
        self.kills[target] += 2 if target == "both" else 1
        self.trial.check()

    def _storm(self) -> None:
        self._rng.choice(weathers(self.trial))()
        _pause.wait(self._rng.uniform(0.1, 2.0))
        self.trial.net.heal()

    def _kill_both(self, down_s: float) -> None:
        self.trial.system.agent.kill()
        self.trial.system.central.kill()
        _pause.wait(down_s)
        self.trial.system.start()


def crash(server: Cluster | None, down_s: float) -> None:
    """``kill -9`` of a database server and all its backends, and a start."""
    assert server is not None, "there is no server to kill"
    server.kill()
    _pause.wait(down_s)
    server.start()


def weathers(trial: Trial) -> list[Callable[[], None]]:
    """What may happen to the link between agent and central; each is undone by ``heal``."""
    net, rng = trial.net, trial.rng
    return [
        net.cut,
        lambda: net.cut(refuse=True),
        net.black_hole,
        lambda: net.black_hole_after_request(rng.randrange(1, 6)),
        lambda: net.delay(rng.uniform(0.02, 0.2)),
        lambda: net.drip(rng.uniform(20_000, 200_000)),
        net.pause,
    ]
