"""Test the tester: bugs that others have shipped, put in on purpose, and how soon the judge finds each."""

import random
from dataclasses import dataclass, field, replace

import psycopg
import pytest

from proto.batch import NO_FRAMES, Batch, Delta, Frames, Partial, Position
from proto.errors import Gap
from proto.frames import fields, pack, split
from tests.support.judge import Broken
from tests.support.pipeline import Bench, Crashed, Pipeline

ROUNDS = 30
PATIENCE = 250
"""Rounds within which a bug must be found: some need an act that is rare, such as a TRUNCATE."""
PER_ROUND = 8
CRASHES = ("read", "", "commit", "", "", "")


@dataclass(slots=True)
class ConfirmsBeforeCommit(Pipeline):
    """Lets the source forget what is not kept yet."""

    def keep(self, batch: Batch, crash_after: str) -> None:
        self.source.confirm(batch.position)
        Pipeline.keep(self, batch, crash_after)


@dataclass(slots=True)
class BelievesTheSlot(ConfirmsBeforeCommit):
    """… and goes on from where the server thinks we are."""

    def position(self) -> Position:
        place, slot = self.started.position, self.settings.slot_name
        with psycopg.connect(self.settings.dsn.get_secret_value(), autocommit=True) as connection:
            query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
            row = connection.execute(query, (slot,)).fetchone()
        return f"{place.rsplit('/', 2)[0]}/{row[0]}" if place and row else place


@dataclass(slots=True)
class KeepsItsPlaceElsewhere(Pipeline):
    """Stores the position after the transaction of the rows, not in it."""

    place: Position = ""

    def open(self) -> None:
        Pipeline.open(self)
        self.place = self.place or self.opened

    def position(self) -> Position:
        return self.place

    def keep(self, batch: Batch, crash_after: str) -> None:
        if crash_after == "read":
            raise Crashed
        self.commit(batch)
        if crash_after == "commit":
            raise Crashed
        # A process that dies here has done nothing wrong; one that died a line earlier does its work twice.
        self.place = batch.position
        self.source.confirm(batch.position)


@dataclass(slots=True)
class Distorts(Pipeline):
    """Commits every batch with its deltas changed by :meth:`distorted`."""

    def commit(self, batch: Batch) -> None:
        Pipeline.commit(self, replace(batch, deltas=tuple(map(self.distorted, batch.deltas))))

    def distorted(self, delta: Delta) -> Delta:
        return delta


@dataclass(slots=True)
class TakesUnchangedForNull(Distorts):
    """A large value that was not logged becomes NULL."""

    def distorted(self, delta: Delta) -> Delta:
        frames = [row for part in delta.partials for row in _with_nulls(delta, part)]
        old = delta.upserts
        return replace(
            delta,
            partials=(),
            upserts=Frames(old.data + b"".join(frames), old.count + len(frames)),
        )


def _with_nulls(delta: Delta, part: Partial) -> list[bytes]:
    keys = len(delta.schema.key)
    rows = []
    for frame in split(part.frames.data):
        present = dict(zip(part.columns, fields(frame)[keys:], strict=True))
        present |= dict(zip(delta.schema.key_indexes, fields(frame)[:keys], strict=True)) | present
        rows.append(pack([present.get(column) for column in range(len(delta.schema.columns))]))
    return rows


@dataclass(slots=True)
class TakesKeyChangesForUpserts(Distorts):
    """The row under the old key stays."""

    def distorted(self, delta: Delta) -> Delta:
        return replace(delta, deletes=NO_FRAMES) if delta.upserts or delta.inserts else delta


@dataclass(slots=True)
class ForgetsTruncates(Distorts):
    """What was there before stays."""

    def distorted(self, delta: Delta) -> Delta:
        return replace(delta, truncated=False)


@dataclass(slots=True)
class SplitsTransactions(Pipeline):
    """Each table's changes arrive by themselves, and somebody looks in between."""

    def commit(self, batch: Batch) -> None:
        for delta in batch.deltas:
            self.exchange.commit([replace(batch, deltas=(delta,))])
            self.push()
            self.watch()


@dataclass(slots=True)
class AppliesTwice(Pipeline):
    """What was handed over before a crash is handed over again as something new."""

    last: list[Batch] = field(default_factory=list)

    def commit(self, batch: Batch) -> None:
        Pipeline.commit(self, batch)
        self.last = [batch]

    def restart(self) -> None:
        Pipeline.restart(self)
        self.exchange.commit(self.last)


BROKEN = (
    BelievesTheSlot,
    KeepsItsPlaceElsewhere,
    TakesUnchangedForNull,
    TakesKeyChangesForUpserts,
    ForgetsTruncates,
    SplitsTransactions,
    AppliesTwice,
)


def run(bench, pipeline, rounds=PATIENCE):
    """Work, crash now and then, look after every push."""
    for turn in range(rounds):
        bench.work(PER_ROUND)
        pipeline.turn(CRASHES[turn % len(CRASHES)])
        pipeline.push()
        bench.check()


def settle(pipeline):
    """The first copies, table by table."""
    for _ in range(200):
        pipeline.turn()
        pipeline.push()
        if all(status.copy.copied for status in pipeline.exchange.tables().values()):
            return
    raise AssertionError("the first copies did not end")


@pytest.fixture
def bench(postgres18):
    """A seeded bench on PostgreSQL 18."""
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    database = postgres18.new_database("business")
    yield Bench(postgres18, database, seed)
    postgres18.drop_database(database)


def test_the_product_passes(bench, tmp_path):
    """The same work and the same crashes; without this the tests below would prove nothing."""
    with Pipeline(tmp_path, bench.prepare(tmp_path)) as pipeline:
        settle(pipeline)
        run(bench, pipeline, ROUNDS)
        pipeline.turn()
        pipeline.push()

        assert bench.check() == bench.judge.transactions > ROUNDS


@pytest.mark.parametrize("variant", BROKEN, ids=lambda variant: variant.__name__)
def test_a_broken_variant_is_found(bench, tmp_path, variant):
    """Whatever the seed."""
    with variant(tmp_path, bench.prepare(tmp_path)) as pipeline:
        pipeline.watch = bench.check
        settle(pipeline)
        with pytest.raises(Broken) as found:
            run(bench, pipeline)
    print(f"found after {bench.done} transactions: {str(found.value)[:200]}")


def test_the_source_itself_refuses_a_confirmation_before_its_commit(bench, tmp_path):
    """Without believing the slot, the hole does not even reach the judge (C7)."""
    with ConfirmsBeforeCommit(tmp_path, bench.prepare(tmp_path)) as pipeline:
        settle(pipeline)
        with pytest.raises(Gap):
            run(bench, pipeline)
