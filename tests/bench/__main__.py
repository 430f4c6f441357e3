"""``make bench``: native logical replication, a bare COPY pipe and our path on the same seeded workload in one run."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from demo.system import System
from tests.bench import delivery, sources, trickle, workload
from tests.bench.path import CENTRAL_TABLE, EXCHANGE_TABLE, OurPath, Progress
from tests.bench.report import Findings, rates
from tests.bench.rivals import Native, copy_pipe, wait_for
from tests.support.postgres import Cluster

OUT: Final = Path("build")
SETTINGS: Final = {
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "30min",
    "wal_compression": "off",
    "autovacuum": "off",
}
BUSINESS: Final = "business"
DATABASES: Final = ("native", "exchange", "central", "pipe")
BULK_START: Final = 10_000_000
SINGLES_START: Final = 50_000_000
TRICKLE_START: Final = 70_000_000
SIDES: Final = (("native", workload.TABLE), ("exchange", EXCHANGE_TABLE), ("central", CENTRAL_TABLE))
APPLIED_ROWS: Final = "SELECT sum(rows) FROM exchange_central.central_applied"
DIGEST: Final = "SELECT count(*), coalesce(sum(hashtextextended(p::text, 0)::numeric), 0) FROM {} p"


@dataclass(slots=True)
class Bench:
    """One run: two clusters, both contestants, and what was found."""

    options: argparse.Namespace
    console: Console
    business: Cluster
    target: Cluster
    found: Findings

    def run(self, home: Path) -> None:
        """All rows of the table, one after another."""
        self._make_business()
        native = Native(self.business, self.target, BUSINESS, "native")
        system = self._system(home)
        ours = OurPath(system, self.business, self.target, "central")
        self.say("first copies")
        copy_s = native.prepare()
        system.prepare()
        system.start()
        try:
            system.wait_until_copied(600)
            self._copy(copy_s, ours)
            self._backlog(native, ours, "bulk", self.options.transactions * 1000)
            self._backlog(native, ours, "small", self.options.singles)
            self._trickle(native)
            self._compare("after backlogs and trickle", 2_000_000_001, SIDES)
            self._large(ours)
            self.found.ratios["peak_rss_mib"] = ours.peak_rss_mib()
            # The native subscriber would need minutes for that transaction, and proves nothing about us.
            self._compare("after the large transaction", 2_000_000_002, SIDES[1:])
        finally:
            system.stop()

    def say(self, what: str) -> None:
        """Tell the person who waits what is going on."""
        self.console.print(f"[dim]…[/] {what}")

    def _make_business(self) -> None:
        self.say(f"PostgreSQL {self.business.version}, {self.options.rows:,} base rows")
        self.business.create_database(BUSINESS)
        for name in DATABASES:
            self.target.create_database(name)
        with self.business.connect(BUSINESS) as connection:
            workload.create(connection, self.options.rows)

    def _system(self, home: Path) -> System:
        return System(
            home,
            self.business.dsn(BUSINESS),
            [{"table": f"public.{workload.TABLE}"}],
            exchange_url=self.target.url("exchange"),
            central_url=self.target.url("central"),
        )

    def _copy(self, native_s: float, ours: OurPath) -> None:
        rows = self.options.rows
        with self.business.connect(BUSINESS) as source, self.target.connect("pipe") as target:
            workload.create_table(target)
            pipe_s = copy_pipe(source, target)
        our_s = ours.copy_again(rows - 1)
        self.found.ratios["copy_vs_pipe"] = pipe_s / our_s
        self.say(f"  pipe {rows / pipe_s:,.0f}, ours {rows / our_s:,.0f} rows/s: {pipe_s / our_s:.2f}")
        self.found.raw |= {
            "copy_pipe_rows_per_s": rows / pipe_s,
            "copy_native_rows_per_s": rows / native_s,
            "copy_ours_rows_per_s": rows / our_s,
        }

    def _backlog(self, native: Native, ours: OurPath, name: str, changes: int) -> None:
        ratios, native_rates, our_rates, shares = [], [], [], []
        for pair in range(self.options.pairs):
            self.say(f"{name}: {changes:,} changes, pair {pair + 1} of {self.options.pairs}")
            ours.pause()
            sentinel = self._generate(name, pair)
            native_s = native.drain(sentinel)
            with Progress(self.target, "central", APPLIED_ROWS) as progress:
                our_s, cpu = ours.drain(sentinel)
            self.found.curves[f"rows_per_s, {name} {pair + 1}"] = rates(progress.samples)
            ratios.append(native_s / our_s)
            native_rates.append(changes / native_s)
            our_rates.append(changes / our_s)
            shares.append(cpu.python_share)
            self.say(
                f"  native {changes / native_s:,.0f}, ours {changes / our_s:,.0f} rows/s: {native_s / our_s:.2f}"
            )
            self.found.raw[f"{name}_cpu_s_{pair + 1}"] = (
                f"agent {cpu.agent_s:.1f}, central {cpu.central_s:.1f}, servers {cpu.servers_s:.1f}"
            )
        self.found.ratios[f"{name}_vs_native"] = statistics.median(ratios)
        self.found.raw[f"{name}_native_rows_per_s"] = statistics.median(native_rates)
        self.found.raw[f"{name}_ours_rows_per_s"] = statistics.median(our_rates)
        if name == "bulk":
            self.found.ratios["python_cpu_share"] = statistics.median(shares)

    def _generate(self, name: str, pair: int) -> int:
        with self.business.connect(BUSINESS) as connection:
            if name == "bulk":
                start = BULK_START + pair * int(self.options.transactions) * 1000
                workload.bulk(connection, self.options.transactions, 1000, start)
            else:
                start = SINGLES_START + pair * int(self.options.singles)
                workload.singles(connection, self.options.singles, start)
            sentinel: int = start + 900_000_000
            workload.finish(connection, sentinel)
        return sentinel

    def _large(self, ours: OurPath) -> None:
        self.say("one transaction over every row")
        sentinel = 2_000_000_000
        with self.business.connect(BUSINESS) as connection:
            changed = connection.execute(f"UPDATE {workload.TABLE} SET income = income + 1").rowcount
            workload.finish(connection, sentinel)
        took, _ = ours.drain(sentinel)
        self.found.raw["large_transaction_rows_per_s"] = changed / took

    def _trickle(self, native: Native) -> None:
        self.say(f"trickle of 500 rows/s for {self.options.trickle:.0f} s, ours and then native")
        source = lambda: self.business.connect(BUSINESS)  # noqa: E731
        ours = trickle.measure(
            source, lambda: self.target.connect("central"), CENTRAL_TABLE, TRICKLE_START, self.options.trickle
        )
        self.found.ratios |= {"latency_p50_ms": ours.percentile(50), "latency_p99_ms": ours.percentile(99)}
        self.found.curves["lag_ms"] = [(n / 50, lag) for n, lag in enumerate(ours.milliseconds)]
        with self.target.connect("native") as subscriber:
            subscriber.execute("ALTER SUBSCRIPTION native ENABLE")
            wait_for(subscriber, self._last_row())
            theirs = trickle.measure(
                source,
                lambda: self.target.connect("native"),
                workload.TABLE,
                TRICKLE_START + 10_000_000,
                self.options.trickle,
            )
        self.found.raw |= {
            "latency_native_p50_ms": theirs.percentile(50),
            "latency_native_p99_ms": theirs.percentile(99),
        }

    def _last_row(self) -> int:
        with self.business.connect(BUSINESS) as connection:
            row = connection.execute(
                f"SELECT max(id) FROM {workload.TABLE} WHERE id BETWEEN %s AND %s",
                (TRICKLE_START, TRICKLE_START + 9_999_999),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def _compare(self, when: str, sentinel: int, sides: tuple[tuple[str, str], ...]) -> None:
        self.say(f"comparing {when}")
        with self.business.connect(BUSINESS) as connection:
            workload.finish(connection, sentinel)
            truth = _digest(connection, workload.TABLE)
        for database, table in sides:
            with self.target.connect(database) as connection:
                wait_for(connection, sentinel, table)
                self.found.equal[f"{database} {when}"] = _digest(connection, table) == truth


def _digest(connection: Any, table: str) -> tuple[Any, ...]:
    connection.execute("SET TimeZone = 'UTC'")
    row: tuple[Any, ...] = connection.execute(DIGEST.format(table)).fetchone()
    return row


def main() -> int:
    """Run, print, write ``build/bench.json``; 1 when any side differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--version", type=int, default=15, choices=(15, 18), help="PostgreSQL on both sides")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the first copy")
    parser.add_argument("--transactions", type=int, default=1000, help="of 1,000 changes, in the backlog")
    parser.add_argument("--singles", type=int, default=200_000, help="single-row transactions")
    parser.add_argument("--trickle", type=float, default=20.0, help="seconds of 500 rows/s")
    parser.add_argument("--pairs", type=int, default=1, help="repetitions of each backlog, medians are shown")
    parser.add_argument("--plot", action="store_true", help="draw build/bench.png")
    options = parser.parse_args()
    console = Console()
    found = Findings()
    with (
        tempfile.TemporaryDirectory(prefix="exchange-bench-") as home,
        Cluster(options.version, fsync=True, settings=SETTINGS) as business,
        Cluster(options.version, fsync=True, settings=SETTINGS) as target,
    ):
        Bench(options, console, business, target, found).run(Path(home))
    console.print("[dim]…[/] every kind of source into a SQLite file")
    found.raw |= sources.measure(sources.ROWS)
    console.print("[dim]…[/] granted rows through a choice of columns and a filter")
    found.raw |= (delivered := delivery.against_apply())
    found.ratios["delivery_vs_apply"] = delivered["delivery_vs_apply"]
    found.show(console)
    found.write(OUT / "bench.json")
    if options.plot:
        found.plot(OUT / "bench.png")
    return 0 if all(found.equal.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
