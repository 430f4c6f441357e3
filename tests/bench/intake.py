"""Many agents on one central: can it accept and apply as fast as they send, and what is the most it can do?

    python -m tests.bench.intake --database postgresql --agents 200 --seconds 20

Each agent sends one batch a second; then everything that is left goes as fast as central takes it.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine, func, select

from central.appliers import Appliers
from central.apply import Applier
from central.intake import Intake
from central.store import migrate, open_store, reading
from central.store.tables import APPLIED, STREAMS
from proto import codec
from proto.batch import Batch, Delta, Frames, Head, SealedBatch
from proto.frames import pack
from proto.v1 import exchange_pb2
from proto.values import Kind, from_text
from tests.support.postgres import Cluster
from tests.support.tables import schema_of

COLUMNS = {
    "id": Kind.INT64,
    "name": Kind.TEXT,
    "note": Kind.TEXT,
    "at": Kind.TIMESTAMPTZ,
    "amount": Kind.DECIMAL,
}
PERSON = schema_of("person", COLUMNS)
NOTE_LETTERS = 200
SERVER = {"shared_buffers": "256MB", "max_wal_size": "8GB"}


@dataclass
class Agent:
    """One stream and what it will send."""

    number: int
    batches: list[SealedBatch]
    latencies_s: list[float] = field(default_factory=list)
    sent: int = 0

    @property
    def name(self) -> str:
        """Its node."""
        return f"bench-{self.number}"

    @property
    def stream(self) -> str:
        """Its stream."""
        return f"{self.name}/hr"


class Central:
    """Intake and appliers, with as many threads as central has by default."""

    def __init__(self, engine: Engine, intake_threads: int, apply_threads: int) -> None:
        self.engine = engine
        self.intake = Intake(engine)
        self.appliers = Appliers(lambda stream: Applier(engine, stream, "bench"), apply_threads, 2**27)
        self.pool = ThreadPoolExecutor(intake_threads)
        self.appliers.start()

    def greet(self, agent: Agent) -> None:
        """Say hello for *agent*."""
        hello = exchange_pb2.Hello(stream=agent.stream, epoch=1, incarnation="bench", oldest_seq=1)
        self.intake.hello(agent.name, hello)

    def push(self, agent: Agent, count: int = 1) -> None:
        """Accept the next batches of *agent*, wake its applier, note how long it took."""
        batches = agent.batches[agent.sent : agent.sent + count]
        started_s = time.perf_counter()
        self.intake.accept(agent.stream, 1, "bench", batches)
        agent.latencies_s.append(time.perf_counter() - started_s)
        agent.sent += len(batches)
        self.appliers.wake(agent.stream, batches)

    def waiting(self) -> int:
        """Batches that are accepted and not applied."""
        with reading(self.engine) as connection:
            accepted = connection.scalar(select(func.sum(STREAMS.c.head_seq))) or 0
            return int(accepted - (connection.scalar(select(func.sum(APPLIED.c.seq))) or 0))

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()
        self.appliers.stop(10)


def make_batches(stream: str, count: int, rows: int) -> list[SealedBatch]:
    """Nine tenths new rows, one tenth changes of the batch before."""
    letters = random.Random(stream)
    head, sealed = Head(), []
    for number in range(count):
        first = number * rows
        added = [_row(first + each, letters) for each in range(rows * 9 // 10)]
        changed = [_row(first - each - rows // 5, letters) for each in range(rows // 10)]
        upserts = Frames(b"".join(changed), len(changed)) if number else Frames()
        delta = Delta(PERSON, Frames(b"".join(added), len(added)), upserts)
        sealed.append(
            codec.seal(stream, 1, head, codec.encode(Batch(str(number), (delta,), 1, 1, 1)), delta.rows)
        )
        head = sealed[-1].head
    return sealed


def _row(number: int, letters: random.Random) -> bytes:
    note = "".join(letters.choices("abcdefghijklmnopqrstuvwxyz ", k=NOTE_LETTERS))
    texts = (str(number), f"person {number}", note, "2024-02-29 12:00:00+00", f"{number}.25")
    return pack([from_text(kind, text) for kind, text in zip(COLUMNS.values(), texts, strict=True)])


@contextmanager
def database(kind: str) -> Iterator[str]:
    """A fresh one that really writes to its disk."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="exchange-bench-", dir="/var/tmp") as home:
            yield f"sqlite:///{Path(home)}/central.db"
        return
    with Cluster(15, fsync=True, settings=SERVER) as cluster:
        yield cluster.url(cluster.new_database("bench"))


def paced(central: Central, agents: list[Agent], seconds: int) -> list[int]:
    """One batch per agent and second, spread over the second; returns what waits after each second."""
    backlog, started_s = [], time.perf_counter()
    alarm = threading.Event()
    for second in range(seconds):
        sent = []
        for place, agent in enumerate(agents):
            due_s = started_s + second + place / len(agents)
            alarm.wait(max(0.0, due_s - time.perf_counter()))
            sent.append(central.pool.submit(central.push, agent))
        for future in sent:
            future.result()
        backlog.append(central.waiting())
    return backlog


def flood(central: Central, agents: list[Agent], together: int) -> tuple[float, float]:
    """Everything that is left, *together* batches in each call; seconds until accepted and until applied."""
    started_s = time.perf_counter()
    while any(agent.sent < len(agent.batches) for agent in agents):
        list(central.pool.map(lambda agent: central.push(agent, together), agents))
    accepted_s = time.perf_counter() - started_s
    alarm = threading.Event()
    while central.waiting():
        alarm.wait(0.05)
    return accepted_s, time.perf_counter() - started_s


def run(options: argparse.Namespace, console: Console) -> None:
    """Both measurements on one database."""
    each = options.seconds + options.flood
    agents = [Agent(number, []) for number in range(options.agents)]
    for agent in agents:
        agent.batches = make_batches(agent.stream, each, options.rows)
    with database(options.database) as url:
        engine = open_store(url, options.intake_threads + options.apply_threads + 2)
        migrate(engine)
        central = Central(engine, options.intake_threads, options.apply_threads)
        for agent in agents:
            central.greet(agent)
        cpu_s, wall_s = _cpu_s(), time.perf_counter()
        backlog = paced(central, agents, options.seconds)
        cpu_s, wall_s = _cpu_s() - cpu_s, time.perf_counter() - wall_s
        _report_paced(console, agents, backlog, (wall_s, cpu_s / wall_s))
        left = sum(len(agent.batches) - agent.sent for agent in agents)
        accepted_s, applied_s = flood(central, agents, options.together)
        console.print(
            f"flood: {left / accepted_s:,.0f} batches/s accepted, {left / applied_s:,.0f} applied "
            f"({left * options.rows / applied_s:,.0f} rows/s)"
        )
        central.close()
        engine.dispose()


def _report_paced(
    console: Console, agents: list[Agent], backlog: list[int], used: tuple[float, float]
) -> None:
    latencies = sorted(itertools.chain.from_iterable(agent.latencies_s for agent in agents))
    middle, late = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    wall_s, cores = used
    console.print(
        f"paced: {len(latencies) / wall_s:,.0f} batches/s for {wall_s:.0f} s, waiting each second {backlog}"
    )
    console.print(f"accept p50 {middle * 1e3:.1f} ms, p99 {late * 1e3:.1f} ms; our process {cores:.2f} cores")


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    for name, default in {
        "agents": 200,
        "seconds": 20,
        "flood": 10,
        "together": 1,
        "rows": 100,
        "intake-threads": 8,
        "apply-threads": 4,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    run(parser.parse_args(), Console(width=200))


if __name__ == "__main__":
    main()
