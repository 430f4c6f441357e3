"""What we are measured against: PostgreSQL's own logical replication over one hop, and a bare COPY pipe."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import psycopg

from demo.embedded import EmbeddedPostgres
from tests.bench import workload

WAIT_S: Final = 900.0
POLL_S: Final = 0.01
_pause = Event()


class NeverArrived(RuntimeError):
    """The last row did not arrive in time."""


def wait_for(connection: psycopg.Connection[Any], sentinel: int, table: str = workload.TABLE) -> float:
    """Return the moment (monotonic seconds) the row *sentinel* is visible in *table*."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        row = connection.execute(f"SELECT 1 FROM {table} WHERE id = %s", (sentinel,)).fetchone()
        if row is not None:
            return time.monotonic()
        _pause.wait(POLL_S)
    raise NeverArrived(f"row {sentinel} did not arrive in {table} within {WAIT_S:.0f} s")


@dataclass(frozen=True, slots=True)
class Native:
    """A binary subscription from one database to another."""

    publisher: EmbeddedPostgres
    subscriber: EmbeddedPostgres
    business: str
    target: str

    def prepare(self) -> float:
        """Subscribe, wait for the first copy, stop again with the slot kept; returns the copy's seconds."""
        with self.publisher.connect(self.business) as publisher:
            publisher.execute(f"CREATE PUBLICATION native FOR TABLE {workload.TABLE}")
        with self.subscriber.connect(self.target) as subscriber:
            workload.create_table(subscriber)
            begun = time.monotonic()
            subscriber.execute(
                f"CREATE SUBSCRIPTION native CONNECTION '{self.publisher.dsn(self.business)}' "
                "PUBLICATION native WITH (binary = true)"
            )
            self._wait_until_copied(subscriber)
            took = time.monotonic() - begun
            subscriber.execute("ALTER SUBSCRIPTION native DISABLE")
        return took

    def drain(self, sentinel: int) -> float:
        """Replicate everything up to *sentinel*; seconds from ENABLE to its being visible."""
        with self.subscriber.connect(self.target) as subscriber:
            begun = time.monotonic()
            subscriber.execute("ALTER SUBSCRIPTION native ENABLE")
            took = wait_for(subscriber, sentinel) - begun
            subscriber.execute("ALTER SUBSCRIPTION native DISABLE")
        return took

    def drop(self) -> None:
        """Remove the subscription and its slot."""
        with self.subscriber.connect(self.target) as subscriber:
            subscriber.execute("DROP SUBSCRIPTION native")

    def _wait_until_copied(self, subscriber: psycopg.Connection[Any]) -> None:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            states = subscriber.execute("SELECT srsubstate FROM pg_subscription_rel").fetchall()
            if states and all(state == ("r",) for state in states):
                return
            _pause.wait(POLL_S)
        raise NeverArrived("the subscription's first copy did not end")


def copy_pipe(source: psycopg.Connection[Any], target: psycopg.Connection[Any]) -> float:
    """Seconds of ``COPY … TO STDOUT | COPY … FROM STDIN`` in binary, committed."""
    begun = time.monotonic()
    with (
        target.transaction(),
        source.cursor().copy(f"COPY {workload.TABLE} TO STDOUT (FORMAT binary)") as read,
        target.cursor().copy(f"COPY {workload.TABLE} FROM STDIN (FORMAT binary)") as write,
    ):
        for data in read:
            write.write(data)
    return time.monotonic() - begun
