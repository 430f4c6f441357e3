"""Every hop of the product in one thread, so that a test can break one of them and let the others be as they are."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Engine

from agent.exchange import Checkpoint, Exchange, StoreLimits, migrate, open_exchange
from agent.snapshot import Begin, Copies
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.source import PostgresqlSource
from agent.sources.source import Limits
from central import store
from central.apply import Applier
from central.intake import Intake
from proto.batch import Batch, Position
from proto.v1 import exchange_pb2
from tests.support import workloads
from tests.support.judge import Judge
from tests.support.postgres import Cluster
from tests.support.reference import Decoder, columns_of
from tests.support.views import View, central_view

NODE: Final = "population"
STREAM: Final = f"{NODE}/hr"
LIMITS: Final = Limits(rows=1_000_000, bytes=1 << 30, wait_s=0.05)
PUSH_BYTES: Final = 1 << 26


class Crashed(Exception):
    """Stands for ``kill -9`` of the agent: nothing after it happens."""


@dataclass(slots=True)
class Pipeline:
    """Source → exchange database → intake → platform's tables; a broken variant overrides one of the small methods."""

    home: Path
    settings: PostgresqlSettings
    intake: Intake = field(init=False)
    applier: Applier = field(init=False)
    exchange: Exchange = field(init=False)
    source: PostgresqlSource = field(init=False)
    copies: Copies = field(init=False)
    started: Checkpoint = field(init=False)
    opened: Position = ""
    accepted: int = 0
    watch: Callable[[], object] = lambda: None
    """Called where a variant lets somebody look at a moment that should not be visible."""
    _engines: list[Engine] = field(default_factory=list)

    def __enter__(self) -> Self:
        central = store.open_store(f"sqlite:///{self.home / 'central.db'}", 2)
        exchange = open_exchange(f"sqlite:///{self.home / 'exchange.db'}", NODE)
        self._engines = [exchange, central]
        store.migrate(central)
        migrate(exchange)
        self.intake, self.applier = Intake(central), Applier(central, STREAM, "one")
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.source.close()
        self.exchange.close()
        for engine in self._engines:
            engine.dispose()

    def open(self) -> None:
        """As a process starts: a new epoch, the stored position, hello to central."""
        self.exchange = Exchange(self._engines[0], STREAM, StoreLimits(min_free_bytes=0))
        self.started = self.exchange.start()
        self.source = PostgresqlSource(self.settings)
        self.opened = self.source.open(self.position())
        if self.opened != self.started.position:
            self.exchange.commit([Batch(self.opened, ())])
        self.copies = Copies(self.source, self.exchange, self.source.resume_table)
        self.exchange.know(schema.name for schema in self.source.schemas())
        last = self.exchange.checkpoint().head
        head = exchange_pb2.ChainHead(epoch=last.epoch, seq=last.seq, digest=last.digest)
        hello = exchange_pb2.Hello(
            protocol=1,
            stream=STREAM,
            epoch=self.started.epoch,
            incarnation=self.started.incarnation,
            head=head,
            oldest_seq=self.exchange.oldest_seq(),
        )
        self.accepted = self.intake.hello(NODE, hello).seq

    def restart(self) -> None:
        """After a crash: nothing that was only in memory is left."""
        self.source.close()
        self.exchange.close()
        self.open()

    def turn(self, crash_after: str = "") -> None:
        """Read once, keep it, let the source forget; *crash_after* names the step after which the agent dies."""
        batch = self.source.read(LIMITS)
        for item in self.copies.turn():
            if isinstance(item, Begin):
                self.exchange.begin_copy(item.schema, item.expected_rows)
            else:
                self.exchange.commit_page(item.page, item.generation)
        if batch is None:
            return
        try:
            self.keep(batch, crash_after)
        except Crashed:
            self.restart()

    def push(self) -> None:
        """Hand over what waits, and make it visible."""
        waiting = self.exchange.read_outbox(self.accepted, PUSH_BYTES)
        if waiting:
            head = self.intake.accept(STREAM, self.started.epoch, self.started.incarnation, waiting)
            self.accepted = head.seq
        while self.applier.step():
            pass

    # What a broken variant does otherwise

    def position(self) -> Position:
        """Where the stream goes on."""
        return self.started.position

    def keep(self, batch: Batch, crash_after: str) -> None:
        """Commit, then confirm."""
        if crash_after == "read":
            raise Crashed
        self.commit(batch)
        if crash_after == "commit":
            raise Crashed
        self.source.confirm(batch.position)

    def commit(self, batch: Batch) -> None:
        """Everything in one batch, as it was read."""
        self.exchange.commit([batch])


@dataclass(slots=True)
class Bench:
    """A business database with the probes, its reference, and one client that works when told to."""

    business: Cluster
    database: str
    seed: int
    dsn: str = field(init=False)
    decoder: Decoder = field(init=False)
    judge: Judge = field(init=False)
    view: View = field(init=False)
    client: workloads.Client = field(init=False)
    rng: random.Random = field(init=False)
    done: int = 0

    def prepare(self, home: Path) -> PostgresqlSettings:
        """Make the database; the settings of a source that captures it."""
        self.dsn = self.business.dsn(self.database)
        with self.business.connect(self.database) as connection:
            workloads.create(connection)
            tables = columns_of(connection, workloads.PLACES)
            self.decoder, self.judge = Decoder(self.dsn), Judge(tables)
            workloads.fill(connection)
        self.view = central_view(f"sqlite:///{home / 'central.db'}", STREAM, tables)
        self.client, self.rng = workloads.Client(self.dsn, 1, self.seed), random.Random(self.seed)
        return PostgresqlSettings.model_validate(
            {
                "kind": "postgresql",
                "name": "hr",
                "dsn": self.dsn,
                "slot": self.database,
                "publication": self.database,
                "tables": workloads.SETTINGS,
            }
        )

    def work(self, transactions: int) -> None:
        """So many transactions."""
        with workloads.connect(self.dsn) as connection:
            for _ in range(transactions):
                self.done += 1
                self.client.transact(connection, self.rng, self.done)

    def check(self) -> int:
        """*Prefix*, the laws and *once* on what central shows now."""
        sight = self.view.look()
        self.judge.learn(self.decoder.read())
        commits = self.judge.check(sight)
        workloads.check_laws(sight)
        return commits
