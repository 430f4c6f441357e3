"""Central's database on each kind of server, and a node that hands batches to it without a wire between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from central.apply import Applier
from central.intake import Intake
from central.ledger import StreamRecord, streams
from central.store import migrate, open_store, reading, writing
from central.store.names import room_of
from central.store.tables import AUDIT
from proto import codec
from proto.batch import Batch, Head, SealedBatch
from proto.frames import fields, split
from proto.schema import TableSchema
from proto.v1 import exchange_pb2
from proto.values import Kind
from replica.opening import open_replica
from tests.support.postgres import Cluster
from tests.support.tables import inserts, schema_of

DIALECTS = ("sqlite", "postgres15")
"""Where every module's tests run; one whose SQL is its own names more in a ``DIALECTS`` of its own."""
EVENT = schema_of("event", {"what": Kind.TEXT}, key=())
"""Append-only: a batch applied twice shows."""
_nodes = itertools.count(1)


def event_batch(*what: str, continues: bool = False, schema: TableSchema = EVENT) -> Batch:
    """A batch that adds one row for each of *what*."""
    delta = inserts(schema, *((each,) for each in what))
    return Batch(f"at {what[-1]}", (delta,), 1, 2, 1, continues)


@dataclass
class Store:
    """One central database."""

    url: str
    engine: Engine

    @property
    def is_sqlite(self) -> bool:
        """Where a test needs to know."""
        return self.url.startswith("sqlite")

    def table(self, name: str) -> str:
        """A bookkeeping table's name in SQL."""
        return name if self.is_sqlite else f"exchange_central.{name}"

    def run(self, statement: str, **values: object) -> None:
        """Do something behind central's back; *{name}* in it is a bookkeeping table."""
        names = {
            name: self.table(f"central_{name}")
            for name in ("ledger", "audit", "applied", "streams", "refusals", "table_holds")
        }
        with writing(self.engine) as connection:
            connection.execute(text(statement.format(**names)), values)

    def audited(self, chain: str) -> list[str]:
        """The events of one chain, in order."""
        with reading(self.engine) as connection:
            return list(
                connection.scalars(select(AUDIT.c.event).where(AUDIT.c.chain == chain).order_by(AUDIT.c.n))
            )


@dataclass
class Node:
    """A node with one stream: keeps its chain like an outbox."""

    engine: Engine
    name: str
    epoch: int = 1
    incarnation: str = "first"
    sealed: list[SealedBatch] = field(default_factory=list)

    @property
    def stream(self) -> str:
        """Its only stream."""
        return f"{self.name}/hr"

    @property
    def head(self) -> Head:
        """Its last batch."""
        return self.sealed[-1].head if self.sealed else Head()

    def seal(self, *batches: Batch) -> list[SealedBatch]:
        """Put batches into the outbox."""
        for batch in batches:
            sealed = codec.seal(self.stream, self.epoch, self.head, codec.encode(batch), batch.rows)
            self.sealed.append(sealed)
        return self.sealed[-len(batches) :]

    def events(self, first: int, last: int) -> list[SealedBatch]:
        """One batch with one event for each number."""
        return self.seal(*(event_batch(str(number)) for number in range(first, last + 1)))

    def unfit(self, *, continues: bool = False) -> list[SealedBatch]:
        """Put a batch into the outbox that is whole and chained, and does not hold what it says."""
        header, payload = codec.encode(event_batch("unfit", continues=continues))
        said = codec.read_header(header)
        said.raw_bytes += 1
        packed = said.SerializeToString(deterministic=True)
        self.sealed.append(codec.seal(self.stream, self.epoch, self.head, (packed, payload), 1))
        return self.sealed[-1:]

    def greeting(self, oldest_seq: int = 1) -> exchange_pb2.Hello:
        """What it says at connect."""
        head = exchange_pb2.ChainHead(epoch=self.head.epoch, seq=self.head.seq, digest=self.head.digest)
        return exchange_pb2.Hello(
            protocol=1,
            stream=self.stream,
            epoch=self.epoch,
            incarnation=self.incarnation,
            head=head,
            oldest_seq=oldest_seq,
        )

    def hello(self, oldest_seq: int = 1) -> Head:
        """Say hello."""
        return Intake(self.engine).hello(self.name, self.greeting(oldest_seq))

    def push(self, batches: Sequence[SealedBatch]) -> Head:
        """Have *batches* accepted."""
        return Intake(self.engine).accept(self.stream, self.epoch, self.incarnation, batches)

    def start(self, last: int) -> list[SealedBatch]:
        """Say hello and have events 1 to *last* accepted."""
        self.hello()
        self.push(batches := self.events(1, last))
        return batches

    def applier(self, owner: str = "tests") -> Applier:
        """Somebody who applies its stream."""
        return Applier(self.engine, self.stream, owner)

    def apply_all(self, owner: str = "tests") -> int:
        """Apply until nothing is left; returns the applied number."""
        applier = self.applier(owner)
        while applier.step():
            pass
        return applier.applied_seq

    def record(self) -> StreamRecord:
        """How central sees its stream."""
        return next(each for each in streams(self.engine, self.name) if each.stream == self.stream)

    def rows(self, schema: TableSchema = EVENT) -> list[str]:
        """The last column of the platform's table, sorted; empty if there is no table."""
        replica = open_replica(self.engine, room_of(self.stream))
        with writing(self.engine) as connection:
            replica.prepare(connection, schema)
            pages = list(replica.scan(connection, schema))
        return sorted(_last_text(frame) for page in pages for frame in split(page.data))


def _last_text(frame: bytes) -> str:
    return (fields(frame)[-1] or b"").decode()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a store runs on each database that its module asks for."""
    if "store" in metafunc.fixturenames:
        dialects = getattr(metafunc.module, "DIALECTS", DIALECTS)
        metafunc.parametrize("store", dialects, indirect=True, scope="session")


def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A new central database of the kind that is asked for."""
    if request.param == "sqlite":
        path: Path = tmp_path_factory.mktemp("central") / "central.db"
        url = f"sqlite:///{path}"
    else:
        cluster: Cluster = request.getfixturevalue(request.param)
        url = cluster.url(cluster.new_database("central"))
    engine = open_store(url)
    migrate(engine)
    yield Store(url, engine)
    engine.dispose()


@pytest.fixture(scope="session")
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A central database of each kind in turn, shared by the session: every test has its own node."""
    yield from opened(request, tmp_path_factory)


@pytest.fixture
def node(store: Store) -> Node:
    """A node nobody else in this session uses."""
    return Node(store.engine, f"n{next(_nodes)}")
