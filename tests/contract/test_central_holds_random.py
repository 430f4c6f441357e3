"""Whatever is held and retried in whatever order, a table ends equal to what an apply gives that was never held."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field

import pytest

from central.apply import Applier, Held, Limits
from proto.batch import Batch, Delta
from proto.frames import fields
from proto.schema import TableSchema
from proto.values import Kind
from tests.support.deliveries import Table
from tests.support.fences import BAD, Fence
from tests.support.stores import Node, Store
from tests.support.tables import frames, keys, partial, schema_of

pytest_plugins = ["tests.support.stores"]
DIALECTS = ("sqlite", "postgres15", "postgres18")

PERSON = schema_of("person", {"id": Kind.INT64, "name": Kind.TEXT})
HOUSE = schema_of("house", {"id": Kind.INT64, "name": Kind.TEXT})
VISIT = schema_of("visit", {"name": Kind.TEXT}, key=())
"""Append-only: what goes in twice shows."""
TABLES = (PERSON, HOUSE, VISIT)


@dataclass
class World:
    """A node whose tables fall and rise by chance, and what they ought to hold after each batch."""

    store: Store
    node: Node
    twin: Node
    """Gets the same batches and meets no fence."""
    chance: random.Random
    tables: dict[str, Table] = field(default_factory=lambda: {each.name: Table() for each in TABLES})
    history: list[dict[str, Table]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fences = [Fence(self.store, self.node.stream, each, "name") for each in TABLES]
        self.note()
        self.node.hello()
        self.twin.hello()

    def note(self) -> None:
        """Remember what the tables hold now."""
        self.history.append(copy.deepcopy(self.tables))

    def commit(self) -> None:
        """One source commit, sometimes in parts."""
        parts = self.chance.choice((1, 1, 1, 3))
        for part in range(parts):
            deltas = tuple(self._delta(each) for each in TABLES if self.chance.random() < 0.6)
            for delta in deltas:
                self.tables[delta.schema.name].apply(delta)
            batch = Batch(f"at {len(self.node.sealed)}", deltas, 1, 2, 1, part < parts - 1)
            for node in (self.node, self.twin):
                node.push(node.seal(batch))
            self.note()

    def _delta(self, schema: TableSchema) -> Delta:
        truncated = self.chance.random() < 0.05
        if not schema.key:
            named = [(self._name(),) for _ in range(self.chance.randrange(3))]
            return Delta(schema, inserts=frames(schema, *named), truncated=truncated)
        known = (
            []
            if truncated
            else [str(int.from_bytes(key[-8:], "big")) for key in self.tables[schema.name].rows]
        )
        some = self.chance.sample(range(20), 6)
        gone = [key for key in known if int(key) in some[:2]]
        partly = [key for key in known if int(key) in some[2:3]]
        rows = [(str(key), self._name()) for key in some[3:]]
        return Delta(
            schema,
            upserts=frames(schema, *rows),
            deletes=keys(schema, *((key,) for key in gone)),
            partials=(partial(schema, (1,), *((key, self._name()) for key in partly)),) if partly else (),
            truncated=truncated,
        )

    def _name(self) -> str:
        return BAD if self.chance.random() < 0.3 else f"王{self.chance.randrange(100)}"

    def apply(self) -> None:
        """A few steps of an applier with little room."""
        limits = Limits(self.chance.choice((1, 3, 64)), self.chance.choice((1, 5, 1000)), reading_bytes=200)
        applier = Applier(self.node.engine, self.node.stream, "tests", limits)
        for _ in range(self.chance.randrange(1, 6)):
            applier.step()

    def decide(self) -> None:
        """Somebody breaks something, or mends it, or tries again, mended or not."""
        fence = self.chance.choice(self.fences)
        if self.chance.random() < 0.5:
            fence.down() if fence.stands else fence.up()
        held = [each.table for each in self.node.record().tables]
        if held and self.chance.random() < 0.4:
            Held(self.store.engine).retry_table(self.node.stream, self.chance.choice(held))
        elif self.chance.random() < 0.1:
            Held(self.store.engine).retry(self.node.stream)

    def check(self) -> None:
        """Each table shows its stream up to where it says."""
        record = self.node.record()
        held = {each.table: each for each in record.tables}
        for schema in TABLES:
            found = held.get(schema.name)
            # A copy that cannot be applied leaves the table as it was long before.
            if found is None or found.after.seq != found.broken_seq:
                after = found.after.seq if found else record.applied_seq
                assert self.node.rows(schema) == self._names(schema, after), f"{schema.name} after {after}"

    def _names(self, schema: TableSchema, after: int) -> list[str]:
        table = self.history[after][schema.name]
        rows = [*table.rows.values(), *table.appended]
        return sorted((fields(row)[-1] or b"").decode() for row in rows)

    def mend(self) -> None:
        """Every cause is mended, everything is tried again."""
        for fence in self.fences:
            fence.down()
        Held(self.store.engine).retry(self.node.stream)
        self.node.apply_all()


@pytest.mark.parametrize("seed", range(6))
def test_in_the_end_every_table_is_as_if_it_had_never_been_held(store, node, seed):
    """And while it is held it shows its stream up to a commit, never half of one (SD11.3)."""
    twin = Node(store.engine, f"{node.name}-twin")
    world = World(store, node, twin, random.Random(seed))
    holds = 0
    for _ in range(25):
        world.commit()
        world.decide()
        world.apply()
        world.check()
        holds += len(node.record().tables)
    world.mend()
    twin.apply_all()

    assert holds > 5, "nothing was ever held"
    assert (node.record().tables, node.record().applied_seq) == ((), len(node.sealed))
    for schema in TABLES:
        assert node.rows(schema) == twin.rows(schema) == world._names(schema, len(node.sealed))
    events = store.audited(node.stream)
    assert events.count("table_let_go") <= events.count("table_held")
