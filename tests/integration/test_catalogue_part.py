"""A node's part of the catalogue: fetched from a real central, verified, kept, never widened by what does not verify."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.daemon.catalogue import Catalogue, NeverHeard
from agent.daemon.leaving import Leaving
from agent.exchange import Catalogued, Exchange, StoreLimits, migrate, open_exchange
from agent.link import Address, Link
from agent.sources.settings import TableSettings
from central.ca import make_authority
from central.store import writing
from proto.states import State
from proto.v1 import node_pb2
from tests.support.central import NodeClient, TestCentral, running
from tests.support.shares import change_grant, entry_of, grant_directly, put_in_force

NODE = "police"
ENTRY = entry_of("3010011/7", f"{NODE}/hr", "person", ("id", "身份证号"), share={"身份证号": "not_shared"})


@pytest.fixture
def central(tmp_path: Path) -> Iterator[TestCentral]:
    """A central on SQLite."""
    yield from running(tmp_path / "central", f"sqlite:///{tmp_path}/central.db")


class Bureau:
    """A node that only hears of the catalogue."""

    def __init__(self, folder: Path, central: TestCentral, node: NodeClient) -> None:
        self.engine = open_exchange(f"sqlite:///{folder}/exchange.db", NODE)
        migrate(self.engine)
        self.kept = Catalogued(self.engine, NODE)
        self.node, self.ca = node, node.tls.ca
        self.link = Link(Address(central.target, node.tls))
        self.told: list[int] = []
        self.begin()

    def begin(self) -> None:
        """As a new process does."""
        self.catalogue = Catalogue(self.link, self.kept, NODE, self.ca)
        self.catalogue.changed = lambda: self.told.append(self.catalogue.release)
        self.catalogue.recall()

    def beat(self) -> node_pb2.HeartbeatReply:
        """A heartbeat, and what follows from it."""
        reply = self.link.heartbeat(node_pb2.HeartbeatRequest(version="test", release=self.catalogue.release))
        self.catalogue.heard(reply.release, reply.part)
        self.catalogue.fetch()
        return reply


@pytest.fixture
def bureau(tmp_path: Path, central: TestCentral) -> Iterator[Bureau]:
    """A node of that central."""
    made = Bureau(tmp_path, central, central.node(NODE))
    yield made
    made.link.close()
    made.engine.dispose()


def next_release(central: TestCentral) -> int:
    """One more."""
    with writing(central.engine) as connection:
        return put_in_force(connection, ENTRY)


def looked_again(central: TestCentral) -> None:
    """As if a second had passed."""
    assert central.daemon is not None
    central.daemon._parts._look_at_s = 0.0


def test_nothing_is_known_before_the_platform_was_heard(central, bureau):
    """Neither that there is a catalogue nor that there is none; afterwards it is kept, even that there is none."""
    with pytest.raises(NeverHeard):
        bureau.catalogue.part()
    assert bureau.catalogue.standing[0] is State.BACKING_OFF
    bureau.beat()
    assert (bureau.catalogue.release, bureau.told) == (0, [0])
    central.stop()
    bureau.begin()

    part = bureau.catalogue.part()
    assert part is not None
    assert (part.release, part.node) == (0, NODE)


def test_a_part_is_fetched_only_when_it_is_another(central, bureau):
    """By its digest, so that a directed grant arrives without a release, and its end as well (SD05.4)."""
    bureau.beat()
    number = next_release(central)
    looked_again(central)
    bureau.beat()
    bureau.beat()
    assert bureau.told == [0, number]

    def directed() -> bool:
        looked_again(central)
        bureau.beat()
        part = bureau.catalogue.part()
        assert part is not None
        return bool(part.entries[0].columns[1].directed)

    assert not directed()
    with writing(central.engine) as connection:
        grant_directly(connection, "G-1", "tax", ENTRY, {"is_directed": True})
        grant_directly(connection, "G-2", "health", ENTRY, {})
    assert directed()
    with writing(central.engine) as connection:
        change_grant(connection, "G-1", state="suspended")
    assert not directed()
    with writing(central.engine) as connection:
        change_grant(connection, "G-1", state="active", valid_to_us=1)
    assert not directed()
    assert bureau.told == [0, number, number, number]


def test_what_does_not_verify_widens_nothing(central, bureau, tmp_path):
    """Another authority signs: the old part stays in force, people are told, and it ends by itself once it is right."""
    bureau.beat()
    first = next_release(central)
    looked_again(central)
    bureau.beat()
    right = [
        (path, path.read_bytes())
        for path in (central.folder / "platform.pem", central.folder / "platform.key")
    ]
    central.stop()
    for path, _ in right:
        path.unlink()
    make_authority("冒充的 CA").issue_platform("platform.example").write(*(path for path, _ in right))
    second = next_release(central)
    central.start()
    bureau.beat()

    assert bureau.catalogue.release == first
    state, sentence, fix = bureau.catalogue.standing
    assert state is State.CREDENTIAL
    assert f"release {first} binds" in sentence and str(bureau.ca) in fix
    bureau.begin()
    assert bureau.catalogue.release == first

    central.stop()
    for path, content in right:
        path.write_bytes(content)
    central.start()
    bureau.beat()
    assert (bureau.catalogue.release, bureau.catalogue.standing[0]) == (second, State.RUNNING)


def test_what_was_kept_is_verified_when_it_is_read(central, bureau):
    """A byte changed in the exchange database: nothing is known any more, so nothing leaves until central is heard."""
    bureau.beat()
    number = next_release(central)
    looked_again(central)
    bureau.beat()
    kept = bureau.kept.read()
    assert kept is not None
    bureau.kept.keep(replace(kept, document=kept.document.replace(b"not_shared", b"conditional")))
    bureau.begin()
    with pytest.raises(NeverHeard, match="signature"):
        bureau.catalogue.part()
    assert bureau.catalogue.standing[0] is State.CREDENTIAL
    bureau.beat()

    assert (bureau.catalogue.release, bureau.catalogue.standing[0]) == (number, State.RUNNING)


def test_the_part_of_another_node_is_refused(central, bureau, tmp_path):
    """Well signed, and not ours."""
    next_release(central)
    other = Link(Address(central.target, central.node("tax").tls))
    said = other.catalogue()
    bureau.beat()
    kept = bureau.kept.read()
    assert kept is not None
    bureau.kept.keep(
        replace(kept, document=said.document, signature=said.signature, certificate=said.certificate)
    )
    bureau.begin()

    with pytest.raises(NeverHeard, match="of node tax"):
        bureau.catalogue.part()


def test_nothing_is_sent_between_hearing_of_a_release_and_going_by_it(central, bureau):
    """What waits is let through under everything that is known, and under nothing less (SD05.2)."""
    exchange = Exchange(bureau.engine, f"{NODE}/hr", StoreLimits(min_free_bytes=0))
    leaving = Leaving("hr", exchange, bureau.catalogue)
    table = TableSettings(table="public.other", columns=("id",))
    bureau.beat()
    assert not leaving.is_open()
    leaving.settle([table], lambda _: None)
    assert leaving.is_open()

    number = next_release(central)
    leaving.heard(number, "another part")
    assert not leaving.is_open()
    assert "nothing is sent before" in bureau.catalogue.standing[1]
    bureau.catalogue.fetch()
    assert bureau.catalogue.release == number
    assert not leaving.is_open()
    assert not leaving.is_settled([table])
    assert leaving.settle([table], lambda _: None).reasons
    assert leaving.is_open()
    exchange.close()
