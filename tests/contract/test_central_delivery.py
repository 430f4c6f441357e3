"""Granted data leaves the ledger through the grant: what a consumer has is what the grant shows, after anything."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from central.catalogue.entry import Entry
from central.delivery import Post
from central.store import writing
from proto.batch import Batch, Delta
from proto.schema import TableSchema
from proto.signing import Signer, Verifier
from proto.values import Kind
from tests.support.deliveries import ZONE, Pulling, Receiver, platform_shows, platform_signer
from tests.support.shares import entry_of, grant_directly, put_in_force
from tests.support.stores import Node, Store
from tests.support.tables import deletes, inserts, schema_of, upserts

pytest_plugins = ["tests.support.stores"]
PERSON = schema_of("person", {"id": Kind.INT64, "name": Kind.TEXT, "phone": Kind.TEXT, "area": Kind.TEXT})
OTHER = schema_of("other", {"id": Kind.INT64, "what": Kind.TEXT})
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """The platform's."""
    return platform_signer(tmp_path_factory.mktemp("platform"))


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

    def pull(self) -> Pulling:
        """The consumer calls for the first time."""
        post = Post(self.store.engine, self.signer, ZONE)
        return Pulling(post, Receiver(self.grant, self.consumer, Verifier(self.signer.certificate_pem)))

    def shows(self, schema: TableSchema = PERSON) -> dict[bytes, bytes]:
        """What the grant shows of the platform's table."""
        return platform_shows(self.store.engine, self.grant, schema)


@pytest.fixture
def share(store: Store, node: Node, signer: Signer):
    """Makes a share; *terms* over the usual ones."""

    def make(schema: TableSchema = PERSON, **terms: object) -> Share:
        number = next(_numbers)
        share_types = terms.pop("share", {})
        columns = [column.name for column in schema.columns]
        entry = entry_of(f"3070101/{number:06d}", node.stream, schema.name, columns, share=share_types)
        made = Share(store, node, signer, entry, f"G{number}", f"civil-{number}")
        with writing(store.engine) as connection:
            put_in_force(connection, entry)
            grant_directly(connection, made.grant, made.consumer, entry, terms)
        return made

    return make


def test_an_unrestricted_grant_gets_the_stored_bytes(share):
    """First a copy, then each batch as it lies in the ledger, and nothing else (SD12.1)."""
    one = share()
    one.change(inserts(PERSON, ("1", "张三", "138", "东区"), ("2", "李四", "139", "西区")))
    one.apply()
    pulling = one.pull()
    assert pulling.drain().standing.state == "IDLE"
    assert pulling.receiver.table.rows == one.shows()
    assert not pulling.receiver.copying

    one.change(upserts(PERSON, ("1", "张三丰", "138", "东区")), deletes(PERSON, ("2",)))
    one.change(inserts(OTHER, ("1", "与授权无关")))
    one.apply()
    step = pulling.step()
    assert step.dispatch.message.header == one.node.sealed[1].header
    assert step.dispatch.payload == one.node.sealed[1].payload
    pulling.drain()
    assert pulling.receiver.table.rows == one.shows()
    assert pulling.receiver.generation == 1
