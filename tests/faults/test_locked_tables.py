"""Somebody else holds a lock: apply tries again by itself, says so after a few attempts, and never holds the stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from central.apply import Applier
from central.store import open_store, writing
from proto.errors import Transient
from tests.support.stores import Node, Store

pytest_plugins = ["tests.support.stores"]


@contextmanager
def locked(store: Store, node: Node) -> Iterator[None]:
    """A report or a backup sits on the platform's table; on SQLite, on the file."""
    with writing(store.engine) as connection:
        if not store.is_sqlite:
            connection.exec_driver_sql(f'LOCK TABLE "{node.name}_hr".event')
        yield


@pytest.fixture
def hasty(store: Store, node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[Applier]:
    """An applier of another process that waits only shortly for locks."""
    monkeypatch.setattr("central.store.databases.FILE_WAIT_S", 0.2)
    monkeypatch.setattr("central.store.databases.ROW_WAIT_S", 0.2)
    engine = open_store(store.url)
    node.start(1)
    applier = Applier(engine, node.stream, "hasty")
    applier.step()
    node.push(node.events(2, 3))
    yield applier
    engine.dispose()


def test_a_lock_that_goes_is_waited_for(store, node, hasty):
    """Nobody notices."""
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(store, node):
            held.set()
            go.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    threading.Timer(0.4, go.set).start()

    assert hasty.step() is False
    holder.join()
    assert node.rows() == ["1", "2", "3"]


def test_a_lock_that_stays_is_reported_and_stops_nothing_for_good(store, node, hasty):
    """Backing off is the worker's business; the stream is not held."""
    with locked(store, node), pytest.raises(Transient):
        hasty.step()

    assert node.record().state == "RUNNING"
    assert hasty.step() is False
    assert node.rows() == ["1", "2", "3"]
    assert node.record().rows == 3


def test_deadlocks_heal(store, node):
    """Two that lock in opposite order: one is chosen, and tries again."""
    node.start(1)
    applier = node.applier()
    applier.step()
    node.push(node.events(2, 3))
    if store.is_sqlite:
        applier.step()  # One writer at a time: there is no opposite order.
    else:
        _deadlock(store, node, applier)

    assert node.rows() == ["1", "2", "3"]


def _deadlock(store: Store, node: Node, applier: Applier) -> None:
    step = threading.Thread(target=applier.step)
    with writing(store.engine) as connection:
        # We hold the table and then want the cursor's row, which the applier holds while it wants the table.
        connection.exec_driver_sql(f'LOCK TABLE "{node.name}_hr".event')
        step.start()
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        # Whoever looks for a deadlock first is its victim; that must be the applier.
        connection.exec_driver_sql("SET LOCAL deadlock_timeout = '60s'")
        _until_somebody_waits(store)
        connection.exec_driver_sql(
            f"SELECT FROM exchange_central.central_applied WHERE stream = '{node.stream}' FOR UPDATE"
        )
    step.join()
    assert _deadlocks(store) >= 1


def _deadlocks(store: Store) -> int:
    """How many the server has found in this database."""
    with writing(store.engine) as connection:
        connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
        found: int = connection.exec_driver_sql(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).scalar_one()
    return found


def _until_somebody_waits(store: Store) -> None:
    """The applier has reached the lock."""
    waiting = 0
    while not waiting:
        with writing(store.engine) as connection:
            waiting = connection.exec_driver_sql(
                "SELECT count(*) FROM pg_locks WHERE NOT granted"
            ).scalar_one()
