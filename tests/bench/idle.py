"""What connected consumers cost central while nothing happens: CPU and statements, with and without them.

python -m tests.bench.idle [--nodes 200] [--grants 5] [--seconds 20]

Central stands on PostgreSQL and listens with real certificates; the consumers are another process, which is not measured.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from central.store import writing
from proto.channel import TlsFiles
from tests.support.central import NodeClient, TestCentral, eventually
from tests.support.counting import counted
from tests.support.postgres import Cluster
from tests.support.pulling import Pull
from tests.support.shares import entry_of, grant_directly, put_in_force

SETTLE_S: Final = 10.0
DAYS: Final = 300
"""Long enough that nobody is reminded of the end."""


def main() -> None:
    """Measure, or be the consumers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--grants", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--consumers", nargs=2, metavar=("TARGET", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.consumers:
        target, place = options.consumers
        consume(target, place, options.nodes)
        return
    with tempfile.TemporaryDirectory() as folder, Cluster(15, fsync=True) as cluster:
        central = TestCentral(Path(folder), cluster.url(cluster.new_database()))
        central.start()
        give(central, options.nodes, options.grants)
        show(central, "nobody is connected", options.seconds)
        with consumers(central, options.nodes):
            show(central, f"{options.nodes} with {options.grants} grants each", options.seconds)
        central.close()


def give(central: TestCentral, nodes: int, grants: int) -> None:
    """Grants of tables that do not change, and a certificate for each node."""
    entries = [entry_of(f"3070101/{n:05}", f"p{n % 20}/hr", f"t{n}", ["id", "姓名"]) for n in range(grants)]
    with writing(central.engine) as connection:
        put_in_force(connection, *entries)
        for node, entry in itertools.product(range(nodes), entries):
            grant_directly(connection, f"G{node}-{entry.code[-5:]}", f"node{node}", entry, {}, DAYS)
    for node in range(nodes):
        issued = central.authority.issue_node(f"node{node}")
        central.register(f"node{node}", issued)
        issued.write(central.folder / f"node{node}.pem", central.folder / f"node{node}.key")


@contextmanager
def consumers(central: TestCentral, nodes: int) -> Iterator[None]:
    """All of them, connected."""
    command = [sys.executable, "-m", __spec__.name, "--nodes", str(nodes)]
    command += ["--consumers", central.target, str(central.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield
        child.kill()


def consume(target: str, folder: str, nodes: int) -> None:
    """Connect all nodes, say so, and stay until killed; who is turned away comes again."""
    place = Path(folder)

    def call(node: int) -> Pull:
        files = TlsFiles(place / "ca.pem", place / f"node{node}.pem", place / f"node{node}.key")
        return Pull(NodeClient(f"node{node}", target, files).channel, f"node{node}")

    pulls = {node: call(node) for node in range(nodes)}

    def everybody() -> bool:
        away = [node for node, pull in pulls.items() if pull.ended]
        pulls.update({node: call(node) for node in away})
        return not away and all(pull.granted for pull in pulls.values())

    eventually(everybody, within_s=300)
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    threading.Event().wait()


def show(central: TestCentral, what: str, seconds: float) -> None:
    """CPU of this process, and how often it asked its database."""
    assert central.daemon is not None
    threading.Event().wait(SETTLE_S)
    with counted(central.daemon._engine) as asked:
        began_s, cpu_s = time.monotonic(), time.process_time()
        threading.Event().wait(seconds)
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    rate = len(asked.statements) / took_s
    print(f"{what:28} {cpu_s / took_s:6.2%} of a core, {rate:5.1f} statements/s", flush=True)


if __name__ == "__main__":
    main()
