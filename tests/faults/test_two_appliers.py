"""Two central processes, zombies among them: whoever lost the lease changes nothing."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

from sqlalchemy import Engine, event

from central.apply import Applier, Limits, lease
from central.store import open_store, reading
from proto.batch import SealedBatch
from proto.errors import ExchangeError, Transient
from tests.support.stores import Node, Store

pytest_plugins = ["tests.support.stores"]

PATIENCE_S = 20


def let_leases_expire(store: Store, node: Node) -> None:
    """As if its owner had slept too long."""
    store.run("UPDATE {applied} SET expires_us = 0 WHERE stream = :s", s=node.stream)


@dataclass
class Sleeper:
    """An applier of another process, stopped before the first statement that contains *words*."""

    store: Store
    node: Node
    words: str
    asleep: threading.Event = field(default_factory=threading.Event)
    awake: threading.Event = field(default_factory=threading.Event)
    outcome: list[bool | ExchangeError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine: Engine = open_store(self.store.url)
        self.applier = Applier(self.engine, self.node.stream, "sleeper")
        self.applier.stop()  # one attempt
        self.thread = threading.Thread(target=self._run)

    def fall_asleep(self, ready: list[SealedBatch]) -> None:
        """Take the lease by applying *ready*; then begin the rest, and sleep."""
        self.applier.step(ready)
        event.listen(self.engine, "before_cursor_execute", self._sleep)
        self.thread.start()
        assert self.asleep.wait(PATIENCE_S)

    def wake_up(self) -> bool | ExchangeError:
        """Let it go on to its end; what came of it."""
        self.awake.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        self.engine.dispose()
        return self.outcome[0]

    def _sleep(self, *arguments: object) -> None:
        if self.words in str(arguments[2]) and not self.asleep.is_set():
            self.asleep.set()
            self.awake.wait(PATIENCE_S)

    def _run(self) -> None:
        try:
            self.outcome.append(self.applier.step())
        except ExchangeError as error:
            self.outcome.append(error)


def test_a_second_applier_waits_for_the_lease(store, node):
    """The first is alive: nobody else touches the stream; once it is gone for long enough, somebody does."""
    node.start(1)
    node.apply_all("first")
    node.push(node.events(2, 2))

    assert node.applier("second").step() is False
    assert node.rows() == ["1"]
    let_leases_expire(store, node)
    assert node.apply_all("second") == 2
    assert node.applier("first").step() is False
    assert node.rows() == ["1", "2"]


def test_a_lease_is_not_lost_while_its_owner_works(store, node):
    """Every transaction renews it."""
    node.start(1)
    node.apply_all("first")
    let_leases_expire(store, node)
    node.push(node.events(2, 2))
    first = node.applier("first")
    first.step()
    node.push(node.events(3, 3))

    assert node.applier("second").step() is False
    first.step()
    assert node.rows() == ["1", "2", "3"]


def test_a_zombie_that_slept_before_its_transaction_changes_nothing(store, node):
    """It had looked and seen work; when it wakes, somebody else did the work."""
    batches = node.start(4)
    words = "BEGIN IMMEDIATE" if store.is_sqlite else "UPDATE exchange_central.central_applied SET expires_us"
    sleeper = Sleeper(store, node, words)
    sleeper.fall_asleep(batches[:1])
    let_leases_expire(store, node)
    assert node.apply_all("living") == 4
    node.push(node.events(5, 5))

    assert sleeper.wake_up() is False
    assert node.record().applied_seq == 4
    assert node.apply_all("living") == 5
    assert node.rows() == ["1", "2", "3", "4", "5"]


def test_a_zombie_in_the_middle_of_its_transaction_changes_nothing(store, node, monkeypatch):
    """PostgreSQL ends its session after a while; the rows it had written go with it."""
    monkeypatch.setattr("central.store.databases.IDLE_IN_TRANSACTION_S", 1)
    batches = node.start(4)
    sleeper = Sleeper(store, node, "central_applied SET seq")
    sleeper.fall_asleep(batches[:1])
    if store.is_sqlite:
        # Its lock is the file's: nobody works while it sleeps, so nobody can come in between.
        assert sleeper.wake_up() is False
    else:
        let_leases_expire(store, node)
        assert node.apply_all("living") == 4
        assert isinstance(sleeper.wake_up(), Transient)
    assert node.rows() == ["1", "2", "3", "4"]
    assert node.record().rows == 4


def test_two_appliers_that_lose_their_leases_at_random_apply_everything_once(store, node):
    """Whatever the interleaving: the token is checked where the cursor moves."""
    node.start(60)
    done = threading.Event()

    def work(owner: str) -> None:
        applier = Applier(store.engine, node.stream, owner, Limits(batches=2))
        while not done.is_set():
            applier.step()
            time.sleep(random.uniform(0, 0.002))

    threads = [threading.Thread(target=work, args=(f"owner {n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    limit_s = time.monotonic() + PATIENCE_S
    while node.record().applied_seq < 60 and time.monotonic() < limit_s:
        let_leases_expire(store, node)
    done.set()
    for thread in threads:
        thread.join()

    assert node.rows() == sorted(str(number) for number in range(1, 61))
    assert node.record().rows == 60


def test_an_adopted_head_fences_whoever_still_applies_the_old_past(store, node):
    """The token changes with the head."""
    node.start(2)
    applier = node.applier("first")
    applier.step()
    with reading(store.engine) as connection:
        before = lease.look(connection, node.stream)
    store.run("UPDATE {applied} SET token = token + 1, owner = '' WHERE stream = :s", s=node.stream)
    node.push(node.events(3, 3))

    assert before is not None
    assert applier.step(node.sealed) is False
    assert node.rows() == ["1", "2"]
    assert applier.step(node.sealed) is False
    assert node.rows() == ["1", "2", "3"]
