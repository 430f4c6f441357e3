"""Capture on a source that fails, a database that fails, and people who stop it: every row once, in order."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from agent.capture import Capture, CaptureSettings
from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from agent.sources.source import Limits
from agent.worker import run_worker
from proto.batch import SealedBatch
from proto.errors import Credential, SchemaHold, Transient
from proto.schema import TableSchema
from proto.states import State
from tests.support.exchanges import NODE, ROOMY, STREAM, Killed, chain_of
from tests.support.fate import Fate
from tests.support.rows import PERSON, VISIT, values
from tests.support.scripted import Scripted, position_of

pytest_plugins = ["tests.support.exchanges"]

SOON_S = 20.0
FAST = CaptureSettings(Limits(wait_s=0.05), drop_log_at_bytes=1000)


def until(what: Callable[[], bool]) -> None:
    """Wait until *what* holds; fail if it does not soon."""
    deadline = time.monotonic() + SOON_S
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@dataclass
class Agent:
    """A capture worker on its thread."""

    source: Scripted
    exchange: Exchange
    pushed: list[SealedBatch] = field(default_factory=list)
    died: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.capture = Capture(self.source, self.exchange, self.pushed.extend, FAST)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Agent:
        self.thread.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        self.capture.stop()
        self.thread.join(SOON_S)
        assert not self.thread.is_alive()

    def _run(self) -> None:
        try:
            run_worker("capture", self.capture.step, self.stopping, self.capture.state)
        except BaseException as error:  # noqa: BLE001 — the tests look at it
            self.died.append(error)

    @property
    def state(self) -> State:
        return self.capture.state.read().state


@pytest.fixture
def agent(exchange: Exchange) -> Iterator[Agent]:
    """A running agent whose source checks every confirmation against the database."""
    it = Agent(Scripted(), exchange)

    def look(position: str) -> None:
        assert position <= exchange.start().position, "confirmed before it was committed"

    it.source.on_confirm = look
    yield it
    if it.thread.is_alive():
        it.stop()


def rows(exchange: Exchange, schema: TableSchema = VISIT) -> list[Any]:
    """The ids in a mirror, however often they are there."""
    status = exchange.tables().get(schema.name)
    if status is None or status.schema is None:
        return []
    return sorted(row[0] for row in values(exchange.mirror.scan(schema.name), schema))


def mirrors(agent: Agent, *ids: int) -> Callable[[], bool]:
    return lambda: rows(agent.exchange) == list(ids) == rows(agent.exchange, PERSON)


def test_changes_arrive_and_are_confirmed_after_their_commit(agent: Agent) -> None:
    """New tables are copied first, then changes flow; push gets every batch in order."""
    agent.source.write(1, 2, 3)
    agent.start()
    until(mirrors(agent, 1, 2, 3))
    agent.source.write(4)
    agent.source.write(5, 6)
    until(mirrors(agent, 1, 2, 3, 4, 5, 6))
    until(lambda: agent.source.confirmed[-1:] == [position_of(3)])

    assert [b.seq for b in agent.pushed] == list(range(1, len(agent.pushed) + 1))
    assert chain_of(agent.exchange) == agent.pushed[-1].head
    assert agent.source.confirmed == sorted(agent.source.confirmed)
    assert not agent.died


def test_idle_is_proven_and_only_when_all_is_delivered(agent: Agent) -> None:
    """Silence is not idleness."""
    agent.source.write(1)
    agent.start()
    until(mirrors(agent, 1))
    until(lambda: agent.capture.state.read().marker_us > agent.capture.state.read().changed_us)
    assert agent.state != State.IDLE

    agent.exchange.acknowledge(agent.pushed[-1].seq)
    until(lambda: agent.state == State.IDLE)


def test_a_large_transaction_is_cut_off_by_a_stop_and_comes_whole_later(
    agent: Agent, exchange: Exchange
) -> None:
    """Parts that were committed by nobody are read again."""
    agent.start()
    until(lambda: all(s.copy.copied for s in exchange.tables().values()) and len(exchange.tables()) == 2)
    agent.source.fail_after(2, Transient("the link broke"))
    agent.source.write_large(1, 2, 3, 4, 5)
    until(mirrors(agent, 1, 2, 3, 4, 5))

    assert agent.source.opened.count(position_of(0)) >= 1
    assert chain_of(exchange).seq == exchange.checkpoint().head.seq


@pytest.mark.parametrize("method", ["open", "read", "confirm", "schemas", "start_copy", "pages"])
def test_a_failing_source_is_opened_again_where_the_database_is(agent: Agent, method: str) -> None:
    """Whatever fails first, nothing is lost and nothing comes twice."""
    agent.source.write(1, 2, 3)
    agent.source.failures[method].extend([Transient("no"), Transient("still no")])
    agent.start()
    until(mirrors(agent, 1, 2, 3))
    agent.source.failures[method].append(Transient("no more"))
    agent.source.write(4)
    until(mirrors(agent, 1, 2, 3, 4))

    assert not agent.died


def test_a_halt_parks_the_stream_until_it_is_resumed(agent: Agent) -> None:
    """It says what, and what to do; it does not hammer the server (C21)."""
    agent.source.failures["open"].append(Credential("the password is refused", fix="renew it"))
    agent.start()
    until(lambda: agent.state == State.CREDENTIAL)
    now = agent.capture.state.read()
    assert (now.sentence, now.fix, now.code) == ("the password is refused", "renew it", "CREDENTIAL")
    assert now.retry_us - now.since_us > 30_000_000

    agent.source.write(1)
    agent.capture.resume()
    until(mirrors(agent, 1))


def test_a_bug_ends_the_worker_loudly(agent: Agent) -> None:
    """It is never retried, never swallowed."""
    agent.source.failures["read"].append(ZeroDivisionError("a bug"))
    agent.start()
    agent.thread.join(SOON_S)

    assert isinstance(agent.died[0], ZeroDivisionError)


def test_pause_and_resume(agent: Agent) -> None:
    """While paused nothing is read; afterwards nothing is missing."""
    agent.source.write(1)
    agent.start()
    until(mirrors(agent, 1))
    agent.capture.pause()
    until(lambda: agent.state == State.PAUSED)
    agent.source.write(2)
    time.sleep(0.3)
    assert rows(agent.exchange) == [1]

    agent.capture.resume()
    until(mirrors(agent, 1, 2))


def test_a_stop_is_clean_and_confirms_what_it_committed(agent: Agent, exchange: Exchange) -> None:
    """The next process need not read it again."""
    agent.start()
    until(lambda: len(exchange.tables()) == 2 and all(s.copy.copied for s in exchange.tables().values()))
    for number in range(1, 30):
        agent.source.write(number)
    until(lambda: exchange.checkpoint().position >= position_of(1))
    began = time.monotonic()
    agent.stop()

    assert time.monotonic() - began < 10
    assert agent.source.confirmed[-1] == exchange.checkpoint().position
    assert not agent.died


def test_a_table_is_copied_afresh_on_order(agent: Agent) -> None:
    """What the mirror had too much or too little is right afterwards."""
    agent.source.write(1, 2, 3, 4, 5)
    agent.start()
    until(mirrors(agent, 1, 2, 3, 4, 5))
    with agent.exchange._engine.begin() as connection:
        quote = connection.dialect.identifier_preparer.quote_identifier
        room = quote("hr.person") if agent.exchange._place.schema is None else "hr.person"
        connection.execute(text(f"DELETE FROM {room} WHERE id = 2"))

    agent.capture.order_copy("person")
    until(mirrors(agent, 1, 2, 3, 4, 5))
    until(lambda: agent.exchange.tables()["person"].state == State.RUNNING)
    assert agent.source.resumed.count("person") == 2


def test_a_table_the_source_holds_is_shown_and_copied_on_order(agent: Agent) -> None:
    """The others go on meanwhile."""
    agent.source.write(1)
    agent.start()
    until(mirrors(agent, 1))
    agent.source.pending_holds.append(SchemaHold("person", "column name was dropped"))
    until(lambda: agent.exchange.tables()["person"].state == State.SCHEMA_HOLD)
    agent.source.write(2)
    until(lambda: rows(agent.exchange) == [1, 2])
    assert rows(agent.exchange, PERSON) == [1]

    agent.capture.order_copy("person")
    until(mirrors(agent, 1, 2))


def test_the_source_is_protected_from_our_outage(agent: Agent) -> None:
    """Its disk matters more than our stream (C10); the way back is a fresh copy of everything."""
    agent.source.write(1)
    agent.start()
    until(mirrors(agent, 1))
    agent.source.retained_bytes = 999
    agent.capture.protect_source()
    agent.source.retained_bytes = 1000
    agent.capture.protect_source()
    until(lambda: agent.state == State.GAP)
    assert agent.source.is_lost

    agent.source.write(2)
    agent.capture.begin_anew("wang", "the slot was given up")
    until(mirrors(agent, 1, 2))


def test_the_server_hears_from_us_while_the_database_is_slow(agent: Agent) -> None:
    """A walsender must not time out because a commit takes long (C14)."""
    agent.start()
    until(
        lambda: (
            all(s.copy.copied for s in agent.exchange.tables().values()) and len(agent.exchange.tables()) == 2
        )
    )
    with agent.exchange._lock:
        for number in range(1, 9):
            agent.source.write(number)
        until(lambda: agent.source.keepalives >= 2)
    until(mirrors(agent, *range(1, 9)))


def rests(agent: Agent) -> bool:
    """It died, or has confirmed everything."""
    return bool(agent.died) or agent.source.confirmed[-1:] == [position_of(len(agent.source.log))]


@pytest.mark.parametrize("exchange_url", ["sqlite", "postgresql15"], indirect=True)
def test_killed_at_every_step_and_started_again(exchange_url: str) -> None:
    """The agent dies before each statement in turn, in copies and streams alike; every row is there once."""
    source = Scripted()
    source.write(1, 2, 3)
    number, deaths = 3, 0
    for nth in range(1, 40):
        fate = Fate(nth)
        engine = open_exchange(exchange_url, NODE)
        fate.govern(engine)
        migrate(engine)
        exchange = Exchange(engine, STREAM, ROOMY)
        fate.watch()
        agent = Agent(source, exchange).start()
        number += 1
        source.write(number)
        if nth % 2:
            number += 2
            source.write_large(number - 1, number)
        until(partial(rests, agent))
        agent.stop()
        with contextlib.suppress(Killed):
            exchange.close()
        engine.dispose()
        deaths += fate.died
    assert deaths > 10

    engine = open_exchange(exchange_url, NODE)
    exchange = Exchange(engine, STREAM, ROOMY)
    agent = Agent(source, exchange).start()
    until(mirrors(agent, *range(1, number + 1)))
    agent.stop()
    assert chain_of(exchange) == exchange.checkpoint().head
    exchange.close()
    engine.dispose()


def test_a_full_disk_blocks_capture_and_heals_by_itself(opened: Callable[..., Exchange]) -> None:
    """No manual step once there is room again (E3)."""
    exchange = opened(StoreLimits(min_free_bytes=0, outbox_bytes=1500))
    agent = Agent(Scripted(), exchange).start()
    for number in range(1, 40):
        agent.source.write(number)
    until(lambda: agent.state == State.BLOCKED_DISK)

    def taken() -> bool:
        exchange.acknowledge(exchange.start().head.seq)
        return mirrors(agent, *range(1, 40))()

    until(taken)
    agent.stop()
