"""Fixtures for tests of deliveries: a provider, a resource of its table, and a consumer with a grant."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from central.catalogue.entry import Entry
from central.delivery import Post
from central.store import reading, writing
from proto import frames as rowframes
from proto.batch import Batch, Delta, Frames, Partial
from proto.schema import TableSchema
from proto.signing import Signer, Verifier
from proto.values import Kind
from tests.support.deliveries import (
    ZONE,
    Pulling,
    Receiver,
    bound_view,
    platform_shows,
    platform_signer,
)
from tests.support.shares import entry_of, grant_directly, put_in_force
from tests.support.stores import Node, Store
from tests.support.tables import frames, keys, partial, schema_of

PERSON = schema_of("person", {"id": Kind.INT64, "name": Kind.TEXT, "phone": Kind.TEXT, "area": Kind.TEXT})
OTHER = schema_of("other", {"id": Kind.INT64, "what": Kind.TEXT})
VISIT = schema_of("visit", {"id": Kind.INT64, "what": Kind.TEXT, "area": Kind.TEXT}, key=())
AREAS = ("东区", "西区", None)
EAST = {"op": "=", "column": "area", "value": "东区"}
_numbers = itertools.count(1)


@dataclass
class Share:
    """A provider, a resource of its table, and a consumer with a grant."""

    store: Store
    node: Node
    signer: Signer
    entry: Entry
    grant: str
    consumer: str

    def change(self, *deltas: Delta, continues: bool = False) -> None:
        """One batch at the provider, accepted."""
        batch = Batch(f"at {len(self.node.sealed)}", deltas, 1, 2, 1, continues)
        if not self.node.sealed:
            self.node.hello()
        self.node.push(self.node.seal(batch))

    def apply(self) -> None:
        """Everything accepted becomes visible on the platform."""
        self.node.apply_all()

    @property
    def post(self) -> Post:
        """What a central process delivers with."""
        return Post(self.store.engine, self.signer, ZONE)

    @property
    def receiver(self) -> Receiver:
        """The consumer, before anything came."""
        return Receiver(self.grant, self.consumer, Verifier(self.signer.certificate_pem))

    def pull(self, receiver: Receiver | None = None) -> Pulling:
        """The consumer calls."""
        return Pulling(self.post, receiver or self.receiver)

    def shows(self, schema: TableSchema = PERSON) -> dict[bytes, bytes]:
        """What the grant shows of the platform's table."""
        return platform_shows(self.store.engine, self.grant, schema)

    def view_of(self, rows: dict[bytes, bytes], schema: TableSchema = PERSON) -> dict[bytes, bytes]:
        """What the grant shows of *rows*."""
        with reading(self.store.engine) as connection:
            bound = bound_view(connection, self.grant, schema)
        passing, _ = bound.divide(Frames(b"".join(rows.values()), len(rows)))
        shown = rowframes.split(passing.data)
        return dict(zip(rowframes.split(bound.keys_of(passing).data), shown, strict=True))


ShareMaker = Callable[..., Share]


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """The platform's."""
    return platform_signer(tmp_path_factory.mktemp("platform"))


@pytest.fixture
def share(store: Store, node: Node, signer: Signer) -> ShareMaker:
    """Makes a share of the node's table; what is given goes over the usual terms, ``share`` = column to share type."""

    def make(schema: TableSchema = PERSON, **terms: Any) -> Share:
        number = next(_numbers)
        types = terms.pop("share", {})
        columns = [column.name for column in schema.columns]
        entry = entry_of(f"3070155/{number:06d}", node.stream, schema.name, columns, share=types)
        made = Share(store, node, signer, entry, f"G{number}", f"pulls-{number}")
        with writing(store.engine) as connection:
            put_in_force(connection, entry)
            grant_directly(connection, made.grant, made.consumer, entry, terms)
        return made

    return make


@dataclass
class Life:
    """People come, move, change and go at the provider, by chance; what the table holds is known here as well."""

    share: Share
    chance: random.Random
    rows: dict[int, tuple[str | None, ...]] = field(default_factory=dict)
    history: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    """The table after each batch that ends a source commit, by number."""
    most_keys: int = 40

    def commit(self, *, parts: int = 1) -> None:
        """One source commit of *parts* batches."""
        for part in range(parts):
            deltas = [self._delta()]
            if self.chance.random() < 0.3:
                deltas.append(Delta(OTHER, upserts=frames(OTHER, (str(self.chance.randrange(5)), "别的"))))
            if self.chance.random() < 0.15:
                deltas = deltas[1:] or [Delta(OTHER, upserts=frames(OTHER, ("1", "别的")))]
            continues = part < parts - 1
            # A delta that was left out never happened.
            self._follow([delta for delta in deltas if delta.schema is PERSON])
            self.share.change(*deltas, continues=continues)
            if not continues:
                self.history[len(self.share.node.sealed)] = self.stored()

    def stored(self) -> dict[bytes, bytes]:
        """The table as frames, by key."""
        found = frames(PERSON, *((str(key), *row) for key, row in self.rows.items()))
        split = rowframes.split(found.data)
        return dict(zip(rowframes.keys(found.data, PERSON.key_indexes), split, strict=True))

    def _delta(self) -> Delta:
        if self.chance.random() < 0.02:
            return Delta(PERSON, inserts=self._new(range(self.chance.randrange(5))), truncated=True)
        free = self.chance.sample(range(self.most_keys), self.chance.randrange(1, 8))
        new: list[int] = []
        changed: list[int] = []
        gone: list[int] = []
        parted: list[int] = []
        for key in free:
            if key not in self.rows:
                new.append(key)
            else:
                self.chance.choice((changed, gone, parted)).append(key)
        # A row moves to a key that is nobody's and not spoken of in this delta.
        moves = [self.most_keys + key for key in parted if self.most_keys + key not in self.rows]
        partials = [self._partial(key, moves) for key in parted]
        return Delta(
            PERSON,
            inserts=self._new(new),
            upserts=self._new(changed),
            deletes=keys(PERSON, *((str(key),) for key in gone)),
            partials=tuple(partials),
        )

    def _partial(self, key: int, moves: list[int]) -> Partial:
        row = self._row(key)
        columns = sorted(self.chance.sample((1, 2, 3), self.chance.randrange(1, 3)))
        if moves and self.chance.random() < 0.4:
            target = moves.pop()
            return partial(PERSON, (0, *columns), (str(key), str(target), *(row[c] for c in columns)))
        return partial(PERSON, tuple(columns), (str(key), *(row[c] for c in columns)))

    def _row(self, key: int) -> tuple[str | None, ...]:
        text = f"{self.chance.randrange(1000)}"
        return (str(key), f"张{text}", f"138{text}", self.chance.choice(AREAS))

    def _new(self, wanted: Any) -> Frames:
        return frames(PERSON, *(self._row(key) for key in wanted))

    def _follow(self, deltas: list[Delta]) -> None:
        """Do to our rows what the deltas say."""
        for delta in deltas:
            if delta.truncated:
                self.rows.clear()
            for (key,) in rowframes.rows(delta.deletes.data, [Kind.INT64]):
                self.rows.pop(int(str(key)), None)
            for part in delta.partials:
                self._follow_partly(part)
            for section in (delta.upserts, delta.inserts):
                for key, *rest in rowframes.rows(section.data, PERSON.kinds):
                    self.rows[int(str(key))] = tuple(None if v is None else str(v) for v in rest)

    def _follow_partly(self, part: Partial) -> None:
        kinds = [Kind.INT64, *(PERSON.kinds[column] for column in part.columns)]
        for old, *present in rowframes.rows(part.frames.data, kinds):
            row: list[Any] = [int(str(old)), *self.rows.pop(int(str(old)))]
            for column, value in zip(part.columns, present, strict=True):
                row[column] = value
            key, *rest = row
            self.rows[int(str(key))] = tuple(None if v is None else str(v) for v in rest)
