"""Pull over the wire: real TLS over loopback, on both databases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from central.catalogue.entry import Entry
from central.store import writing
from proto.batch import Delta
from proto.schema import Column, TableSchema
from proto.values import Kind
from tests.support.central import Chain, NodeClient, TestCentral, batch_of, eventually, inserts, running
from tests.support.deliveries import platform_shows
from tests.support.pulling import Pull
from tests.support.shares import change_grant, entry_of, grant_directly, put_in_force

PEOPLE = TableSchema("people", (Column("id", Kind.INT64, nullable=False), Column("name", Kind.TEXT)), ("id",))
STREAM = "police/hr"
_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def central(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'central.db'}"
    else:
        server = request.getfixturevalue("postgres15")
        url = server.url(server.new_database("central"))
    yield from running(tmp_path, url)


class Provider:
    """A department that pushes people."""

    def __init__(self, central: TestCentral) -> None:
        self.chain = Chain(STREAM)
        self._push = central.node("police").push(self.chain)
        self._push.__enter__()

    def change(self, *deltas: Delta, continues: bool = False) -> None:
        """One batch, visible on the platform."""
        batches = self.chain.add(batch_of(*deltas, continues=continues))
        self._push.send(*batches)
        if continues:
            self._push.until_accepted(batches[-1].seq)
        else:
            self._push.until_applied(batches[-1].seq)

    def people(self, first: int, last: int, name: str = "张三") -> None:
        """New people."""
        self.change(inserts([(number, name) for number in range(first, last + 1)], PEOPLE))


def granted(central: TestCentral, consumer: str, **terms: Any) -> tuple[str, Entry]:
    """A grant on people."""
    number = next(_numbers)
    entry = entry_of(f"3070101/{number:06d}", STREAM, "people", ["id", "name"])
    with writing(central.engine) as connection:
        put_in_force(connection, entry)
        grant_directly(connection, f"G{number}", consumer, entry, terms)
    return f"G{number}", entry


def caught_up(central: TestCentral, pull: Pull, grant: str) -> None:
    """Wait until the consumer has what the platform shows."""
    eventually(
        lambda: (
            grant in pull.receivers
            and pull.receivers[grant].table.rows == platform_shows(central.engine, grant, PEOPLE)
        )
    )


def civil(central: TestCentral) -> NodeClient:
    """The consumer."""
    return central.node("civil")


def test_what_is_granted_arrives_and_goes_on_arriving(central):
    """A first copy, then each change; a consumer that comes back goes on where it was (SD12.1, D2)."""
    provider = Provider(central)
    provider.people(1, 100)
    grant, _ = granted(central, "civil")
    client = civil(central)
    with Pull(client.channel, "civil") as pull:
        caught_up(central, pull, grant)
        provider.people(101, 110)
        caught_up(central, pull, grant)
        assert pull.state_of(grant) == "active"
    receiver = pull.receivers[grant]
    provider.people(111, 120)
    with Pull(client.channel, "civil", [receiver]) as again:
        caught_up(central, again, grant)
        assert receiver.generation == 1, "a consumer that came back was copied afresh"


def test_a_grant_made_while_the_call_is_open_is_told(central):
    """Within about a second, with what it brings."""
    provider = Provider(central)
    provider.people(1, 3)
    with Pull(civil(central).channel, "civil") as pull:
        grant, _ = granted(central, "civil")
        pull.wait_for(lambda: pull.state_of(grant) == "active", 3)
        caught_up(central, pull, grant)
        assert pull.granted[grant][-1].table == "people"


def test_a_revoked_grant_ends_within_five_seconds(central):
    """Told, and nothing more flows (D3)."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil", at_end="withdraw")
    with Pull(civil(central).channel, "civil") as pull:
        caught_up(central, pull, grant)
        with writing(central.engine) as connection:
            change_grant(connection, grant, state="revoked", sentence="数据用途不符")
        pull.wait_for(lambda: pull.state_of(grant) == "revoked", 5)
        assert pull.granted[grant][-1].withdraw
        count = len(pull.deliveries)
        provider.people(4, 5)
        pull.progress.clear()
        assert len(pull.deliveries) == count
