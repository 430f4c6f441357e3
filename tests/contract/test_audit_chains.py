"""Two processes begin one audit chain at the same moment: both records are there, and nobody is told to try again."""

from __future__ import annotations

import threading
import time

from sqlalchemy import text

from central import audit
from central.store import open_store, reading, writing

pytest_plugins = ["tests.support.stores"]
DIALECTS = ("postgres15", "postgres18")
WAIT_S = 2.5


def test_a_chain_that_two_begin_at_once_is_one_chain(store, node):
    """The second waits for the first, and follows it (SD26.1)."""
    chain, other = f"delivery:{node.name}", open_store(store.url)
    numbers: list[int] = []

    def second() -> None:
        with writing(other) as connection:
            numbers.append(audit.record(connection, chain, "delivered", rows=2))
            numbers.append(audit.record(connection, chain, "delivered", rows=3))

    thread = threading.Thread(target=second)
    with writing(store.engine) as connection:
        numbers.append(audit.record(connection, chain, "delivered", rows=1))
        thread.start()
        _until_it_waits(store)
    thread.join(10)
    other.dispose()
    assert numbers == [1, 2, 3]
    with reading(store.engine) as connection:
        assert audit.verify(connection, chain) == 3


def _until_it_waits(store) -> None:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%central_audit_heads%'"
    )
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with reading(store.engine) as connection:
            if connection.execute(waiting).scalar_one():
                return
    raise AssertionError("nobody waits for the head of the chain")
