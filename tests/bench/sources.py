"""The first hop of every kind of source: its business database → capture → an exchange database in a SQLite file.

    python -m tests.bench.sources [--rows N]

Rows per second of a first copy, and of as many new rows in transactions of a thousand that waited. Of a drop folder
both are files, because it has nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import structlog
from pydantic import TypeAdapter

from agent.capture import Capture
from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from agent.sources.kinds import SourceSettings, new_source
from agent.worker import run_worker
from tests.support.manysources import KINDS, Bureau, Bureaus
from tests.support.mariadb import MariadbServer
from tests.support.postgres import Cluster

ROWS: Final = 50_000
SIZE: Final = 1000
WAIT_S: Final = 300.0


def measure(rows: int) -> dict[str, float]:
    """Rows per second of each kind's first copy and changes."""
    found: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory(prefix="exchange-bench-sources-") as home,
        Cluster(15) as cluster,
        MariadbServer() as server,
    ):
        bureaus = Bureaus(Path(home), cluster, server)
        try:
            for kind in KINDS:
                found |= _measure(Path(home), kind, bureaus.all[kind], rows)
        finally:
            bureaus.close()
    return found


def _measure(home: Path, kind: str, bureau: Bureau, rows: int) -> dict[str, float]:
    engine = open_exchange(f"sqlite:///{home / kind}-exchange.db", "bench")
    migrate(engine)
    exchange = Exchange(engine, f"bench/{kind}", StoreLimits(min_free_bytes=0))
    found = {}
    for turn, what in enumerate(("copy", "changes"), 1):
        for begin in range((turn - 1) * rows, turn * rows, SIZE):
            bureau.put(*((n, f"张三{n}", "济南市历下区经十路" * 8) for n in range(begin, begin + SIZE)))
        found[f"{kind}_{what}_rows_per_s"] = rows / _capture(exchange, kind, bureau, turn * rows)
    engine.dispose()
    return found


def _capture(exchange: Exchange, kind: str, bureau: Bureau, until: int) -> float:
    """Capture until the exchange database has so many rows; the seconds it took."""
    settings = TypeAdapter[SourceSettings](SourceSettings).validate_python({"name": kind, **bureau.section})
    capture = Capture(new_source(settings, exchange.mirror), exchange, lambda _: None)
    stop = threading.Event()
    worker = threading.Thread(target=run_worker, args=("capture", capture.step, stop, capture.state))
    began_s = time.monotonic()
    worker.start()
    try:
        while exchange.mirror.count("person") < until:
            if time.monotonic() - began_s > WAIT_S or not worker.is_alive():
                raise RuntimeError(f"{kind}: {capture.state.read()}")
            time.sleep(0.02)
        return time.monotonic() - began_s
    finally:
        stop.set()
        capture.stop()
        worker.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    for name, value in measure(arguments.rows).items():
        print(f"{name:32} {value:10,.0f}")


if __name__ == "__main__":
    main()
