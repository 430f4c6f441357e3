"""Pull with many: two central processes on one database, many consumers that have nothing to do."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from central.daemon import Daemon
from central.store import writing
from demo.server import free_port
from proto import frames
from proto.batch import Delta, Frames
from proto.channel import channel
from proto.values import Kind
from tests.support.central import TestCentral, eventually, running
from tests.support.deliveries import Receiver
from tests.support.pulling import PEOPLE, STREAM, Provider, Pull, caught_up, civil, figure, granted
from tests.support.shares import entry_of, grant_directly, put_in_force

FAMILY = {"op": "starts with", "column": "name", "prefix": "张"}


@pytest.fixture(params=["sqlite", "postgresql"])
def central(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'central.db'}"
    else:
        server = request.getfixturevalue("postgres15")
        url = server.url(server.new_database("central"))
    yield from running(tmp_path, url)


@pytest.fixture
def second(central: TestCentral) -> Iterator[str]:
    """Another central process on the same database; where it listens."""
    port, stop = free_port(), threading.Event()
    daemon = Daemon(central.settings.model_copy(update={"listen": f"127.0.0.1:{port}"}))
    thread = threading.Thread(target=daemon.run, args=(stop,), daemon=True)
    thread.start()
    eventually(lambda: daemon.port > 0)
    yield f"127.0.0.1:{port}"
    stop.set()
    thread.join(20)


def test_two_central_processes_never_deliver_one_grant_at_once(central, second):
    """The newest call of the node wins wherever it arrives, and what the other process applied flows here as well."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil")
    client = civil(central)
    with Pull(client.channel, "civil") as older:
        caught_up(central, older, grant)
        elsewhere = channel(second, client.tls)
        with Pull(elsewhere, "civil", older.receivers.values()) as newer:
            assert "newer call" in str(older.fate(5))
            provider.people(4, 5)
            caught_up(central, newer, grant)
            assert newer.receivers[grant].generation == 1
        elsewhere.close()


def test_everything_arrives_through_hang_ups_and_restarts(central):
    """Many grants, changes without a pause, consumers that hang up at any moment, a platform that restarts (SD12.2)."""
    chance, provider = random.Random(7), Provider(central)
    provider.people(0, 300)
    terms: list[dict[str, Any]] = [{}, {"items": ("id",)}, {"rows": FAMILY}]
    grants = {f"civil-{n}": [granted(central, f"civil-{n}", **each)[0] for each in terms] for n in range(3)}
    clients = {name: central.node(name) for name in grants}
    receivers: dict[str, dict[str, Receiver]] = {name: {} for name in grants}
    for round_ in range(12):
        if round_ == 6:
            central.stop()
            central.start()
            provider.connect()
        with ExitStack() as calls:
            pulls = {
                name: calls.enter_context(Pull(clients[name].channel, name, receivers[name].values()))
                for name in grants
            }
            for _ in range(chance.randrange(1, 12)):
                provider.change(_changes(chance))
            threading.Event().wait(chance.random() * 0.5)
        for name, pull in pulls.items():
            receivers[name] = pull.receivers
    with ExitStack() as calls:
        for name, each in receivers.items():
            pull = calls.enter_context(Pull(clients[name].channel, name, each.values()))
            for grant in grants[name]:
                caught_up(central, pull, grant)
    assert {each.generation for found in receivers.values() for each in found.values()} == {1}


def _changes(chance: random.Random) -> Delta:
    keys = chance.sample(range(400), 20)
    rows = [(key, chance.choice(("张三", "李四", "王五"))) for key in keys[:14]]
    gone = frames.pack_rows([(key,) for key in keys[14:]], [Kind.INT64])
    changed = Frames(frames.pack_rows(rows, PEOPLE.kinds), len(rows))
    return Delta(PEOPLE, upserts=changed, deletes=Frames(gone, 6))


def test_idle_consumers_cost_one_question_a_second(central):
    """However many there are, and however many grants each has (G13)."""
    provider = Provider(central)
    provider.people(1, 3)
    names = [f"civil-{number}" for number in range(20)]
    entries = [entry_of(f"3070101/idle{n}", STREAM, "people", ["id", "name"]) for n in range(5)]
    with writing(central.engine) as connection:
        put_in_force(connection, *entries)
        for name in names:
            for number, entry in enumerate(entries):
                grant_directly(connection, f"I{name}-{number}", name, entry, {})
    with ExitStack() as calls:
        pulls = [calls.enter_context(Pull(central.node(name).channel, name)) for name in names]
        eventually(lambda: {len(pull.deliveries) for pull in pulls} == {5})
        eventually(lambda: all(figure(central, f"I{name}-4").acked_seq == 1 for name in names))
        asked = _statements(central.daemon._engine)
        threading.Event().wait(3)
        looks = sum("central_grants" in each for each in asked)
        assert 2 <= looks <= 5, "more than one question a second"
        assert not [each for each in asked if "central_deliveries" in each], "an idle grant was asked about"


def _statements(engine: Engine) -> list[str]:
    """What is asked of the database from now on."""
    found: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cur, statement, *_: found.append(statement))
    return found
