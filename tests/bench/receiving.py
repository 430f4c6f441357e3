"""How fast small deliveries become rows at their consumer: each with a commit of its own, and those that wait together.

python -m tests.bench.receiving [--deliveries N] [--grants N] [--only sqlite|postgres15]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agent.exchange import Parcel, Received, StoreLimits, migrate, open_exchange
from agent.pull.pull import SHARED_DELIVERIES
from tests.support.exchanges import NODE
from tests.support.parcels import Share, came
from tests.support.postgres import Cluster

_grants: Final = itertools.count(1)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1_000)
    parser.add_argument("--grants", type=int, default=10)
    parser.add_argument("--only", choices=("sqlite", "postgres15"))
    options = parser.parse_args()
    for name in ("sqlite", "postgres15"):
        if options.only in {None, name}:
            with database(name) as url:
                measure(name, url, options)


@contextmanager
def database(name: str) -> Iterator[str]:
    """A fresh one that waits for its disk."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "sqlite":
            yield f"sqlite:///{folder}/exchange.db"
            return
        with Cluster(int(name.removeprefix("postgres")), fsync=True) as cluster:
            yield cluster.url(cluster.new_database())


def measure(name: str, url: str, options: argparse.Namespace) -> None:
    """Two times as many deliveries of one row, by turns of all grants."""
    engine = open_exchange(url, NODE)
    migrate(engine)
    received = Received(engine, NODE, StoreLimits(min_free_bytes=0))
    received.start()
    for together in (1, SHARED_DELIVERIES):
        parcels = waiting(received, options)
        began_s, cpu_s = time.perf_counter(), time.process_time()
        for start in range(0, len(parcels), together):
            received.commit_all(parcels[start : start + together])
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        rate, cost_ms = len(parcels) / took_s, cpu_s / len(parcels) * 1000
        print(
            f"{name:11} {together:3} in a commit: {rate:7,.0f} deliveries/s, our CPU {cost_ms:5.2f} ms for each"
        )
    received.close()
    engine.dispose()


def waiting(received: Received, options: argparse.Namespace) -> list[Parcel]:
    """Deliveries of new grants whose tables are there already."""
    shares = [Share(f"G-{next(_grants)}", "visit", f"police/s{n}") for n in range(options.grants)]
    for share in shares:
        received.announce(share.news())
        received.commit(share.parcel(came(0)))
    turns = itertools.islice(itertools.cycle(shares), options.deliveries)
    return [share.parcel(came(n)) for n, share in enumerate(turns, 1)]


if __name__ == "__main__":
    main()
