"""How fast granted rows leave the ledger, beside how fast the same batches became rows of the platform's table.

python -m tests.bench.delivery [--rows ROWS] [--batch ROWS ...] [--only sqlite|postgres15|postgres18]

80 % inserts, 15 % updates, 5 % deletes of 12 columns and about 300 bytes, as in tests.bench.apply.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine

from central.delivery import Post
from central.delivery.calls import open_call
from central.delivery.courier import Courier
from central.store import migrate, open_store, writing
from proto.batch import Batch
from proto.v1 import exchange_pb2
from tests.bench.apply import SCHEMA, base, work
from tests.support.deliveries import ZONE, platform_signer
from tests.support.postgres import Cluster
from tests.support.shares import entry_of, grant_directly, put_in_force
from tests.support.stores import Node

SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB"}
CHOSEN: Final = [f"c{number}" for number in (0, 1, 2, 3, 6, 7, 8, 9)]
MASKS: Final = {"c8": {"mask": "keep", "first": 3, "last": 4}}
FILTER: Final = {"op": ">=", "column": "c1", "value": "1"}
GRANTS: Final[dict[str, dict[str, Any]]] = {
    "everything, as stored": {},
    "8 of 12 columns": {"items": CHOSEN},
    "8 of 12 columns, filtered": {"items": CHOSEN, "rows": FILTER},
    "8 of 12 columns, one masked, filtered": {"items": CHOSEN, "rows": FILTER, "masks": MASKS},
}
SIMPLE: Final = "8 of 12 columns, filtered"
ROWS, BASE, BATCH = 200_000, 100_000, 10_000
_numbers = itertools.count(1)


def against_apply() -> dict[str, float]:
    """For ``make bench``: a column choice with a simple filter, beside central's own apply of the same batches."""
    with Cluster(15, settings=SETTINGS) as cluster:
        engine = open_store(cluster.url(cluster.new_database()))
        node, couriers = _prepared(engine, {SIMPLE: GRANTS[SIMPLE]}, BASE)
        rows, apply_s = _applied(node, BASE, ROWS, BATCH)
        began_s = time.perf_counter()
        _drain(couriers[SIMPLE])
        took_s = time.perf_counter() - began_s
        engine.dispose()
    return {
        "delivery_apply_rows_per_s": rows / apply_s,
        "delivery_filtered_rows_per_s": rows / took_s,
        "delivery_vs_apply": apply_s / took_s,
    }


def _prepared(
    engine: Engine, grants: dict[str, dict[str, Any]], rows: int
) -> tuple[Node, dict[str, Courier]]:
    """A provider whose first rows are applied, and a courier for each grant whose first copy is done."""
    migrate(engine)
    node = Node(engine, f"bench-{next(_numbers)}")
    node.hello()
    for delta in base(rows):
        node.push(node.seal(Batch("base", (delta,), 1, 1, 1)))
    node.apply_all()
    with tempfile.TemporaryDirectory() as folder:
        post = Post(engine, platform_signer(Path(folder)), ZONE)
    return node, {label: _caught_up(post, node, terms) for label, terms in grants.items()}


def _applied(node: Node, start: int, rows: int, batch: int) -> tuple[int, float]:
    """Accept the changes, then apply them; how many rows they were and the seconds applying took."""
    deltas = work(start, rows, batch)
    for delta in deltas:
        node.push(node.seal(Batch("p", (delta,), 1, 1, 1)))
    began_s = time.perf_counter()
    node.apply_all()
    return sum(delta.rows for delta in deltas), time.perf_counter() - began_s


def measure(name: str, url: str, batch: int, options: argparse.Namespace) -> None:
    """Accept all batches, apply them, then deliver them under each grant."""
    engine = open_store(url)
    node, couriers = _prepared(engine, GRANTS, options.base)
    rows, apply_s = _applied(node, options.base, options.rows, batch)
    apply_rate = rows / apply_s
    print(f"{name:11} batch {batch:6}: {apply_rate:9,.0f} rows/s applied by central")
    for label, courier in couriers.items():
        began_s, cpu_s = time.perf_counter(), time.process_time()
        count, _ = _drain(courier)
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        rate = rows / took_s
        print(
            f"{name:11}   {label:38} {rate:9,.0f} rows/s  {rate / apply_rate:5.2f} of apply"
            f"  {count:5} deliveries  our CPU {cpu_s / rows * 1e6:5.1f} µs per row"
        )
    engine.dispose()


def _caught_up(post: Post, node: Node, terms: dict[str, Any]) -> Courier:
    """A courier whose first copy is done."""
    number = next(_numbers)
    entry = entry_of(f"3070101/{number:06d}", node.stream, SCHEMA.name, [c.name for c in SCHEMA.columns])
    with writing(post.engine) as connection:
        put_in_force(connection, entry)
        grant_directly(connection, f"B{number}-{node.name}", f"civil-{number}", entry, terms)
        ticket = open_call(connection, f"civil-{number}", "bench", "one")
    courier = Courier(post, ticket, f"B{number}-{node.name}", exchange_pb2.Received())
    began_s = time.perf_counter()
    _, rows = _drain(courier)
    print(f"{'':13} first copy: {rows / (time.perf_counter() - began_s):9,.0f} rows/s ({rows:,} rows)")
    return courier


def _drain(courier: Courier) -> tuple[int, int]:
    count = rows = 0
    while (step := courier.step(may_send=True)).more:
        if step.dispatch is not None:
            count += 1
            rows = max(rows, step.dispatch.message.rows_copied)
    assert step.standing.state == "IDLE", step.standing
    return count, rows


@contextmanager
def databases(only: str | None) -> Iterator[dict[str, str]]:
    """A database of each kind; the servers do not wait for the disk, which is not what is measured."""
    with (
        Cluster(15, settings=SETTINGS) as p15,
        Cluster(18, settings=SETTINGS) as p18,
        tempfile.TemporaryDirectory() as directory,
    ):
        urls = {
            "sqlite": f"sqlite:///{directory}/bench.db",
            "postgres15": p15.url(p15.new_database()),
            "postgres18": p18.url(p18.new_database()),
        }
        yield {name: url for name, url in urls.items() if only in {None, name}}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--base", type=int, default=BASE)
    parser.add_argument("--batch", type=int, nargs="+", default=[10_000, 100])
    parser.add_argument("--only", choices=("sqlite", "postgres15", "postgres18"))
    options = parser.parse_args()
    with databases(options.only) as urls:
        for name, url in urls.items():
            for batch in options.batch:
                measure(name, url, batch, options)


if __name__ == "__main__":
    main()
