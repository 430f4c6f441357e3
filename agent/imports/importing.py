"""One import: its worker applies what the inbox keeps, or copies the inbound table anew where that does not continue."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final, cast

import structlog
from sqlalchemy import Connection

from agent.exchange import Received, Reception
from agent.exchange.inbound import as_here
from agent.exchange.inbox import Kept
from agent.imports.target import Cursor, Target
from agent.worker import StreamState
from proto.batch import Delta, Frames
from proto.errors import ExchangeError, Halt, Poisoned, Transient, Unforeseen
from proto.schema import TableSchema
from proto.states import State

STRETCH_BYTES: Final = 16 * 1024 * 1024
"""How much one transaction brings over; a large source transaction is never divided."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Order:
    """What a department wants imported."""

    grant: str
    resource: str

    @property
    def name(self) -> str:
        """As people call it."""
        return self.grant or self.resource

    def wants(self, row: Reception) -> bool:
        """Whether *row* is such a grant."""
        return row.grant_id == self.grant if self.grant else row.resource == self.resource


class Importing:
    """The worker of one import. :meth:`step` belongs to one thread; the others to any."""

    def __init__(self, order: Order, received: Received, opening: Callable[[], Target]) -> None:
        self.order = order
        self.state = StreamState(f"import {order.name}")
        self.at = Cursor()
        """How far it is."""
        self._received, self._opening = received, opening
        self._target: Target | None = None

    def step(self) -> bool:
        """Bring over what there is; True: there may be more. Raises Transient, Halt."""
        try:
            return self._step()
        except (Transient, Halt):
            raise
        except Exception as problem:
            # Nothing but this import stops, whatever it met in somebody else's database.
            error = (
                problem if isinstance(problem, ExchangeError) else Unforeseen.met(problem, self.order.name)
            )
            if isinstance(error, Unforeseen):
                error.fix = "see what exchange-agent check says of the import"
            fix = f"{error.fix}; then: exchange-agent received retry {self.order.name}"
            raise Poisoned(error.what, where=error.where, fix=fix.removeprefix("; then: ")) from problem

    def close(self) -> None:
        """Let go of the target."""
        if self._target is not None:
            self._target.close()

    def _step(self) -> bool:
        chosen = self._chosen()
        if chosen is None:
            self.state.set(State.IDLE, "nothing of it has been received yet")
            return False
        target = self._target = self._target or self._opening()
        before = target.cursor()
        with self._received.still(chosen.grant_id) as (source, row):
            if row is None or row.copying or not row.place:
                self.state.set(State.IDLE, "waits until the copy is whole")
                return False
            now = self._bring(target, before, source, row)
        self.at = now
        if now != before:
            self._received.forget(row.grant_id, now.generation, now.seq)
        self.state.set(State.IDLE if now == before else State.RUNNING, f"delivery {now.seq} is imported")
        return now != before

    def _chosen(self) -> Reception | None:
        """Of several grants of a resource the one in force, and of those the newest."""
        wanted = [row for row in self._received.grants().values() if self.order.wants(row) and row.generation]
        return max(wanted, key=lambda row: (row.accepts, row.received_us), default=None)

    def _bring(self, target: Target, before: Cursor | None, source: Connection, row: Reception) -> Cursor:
        if before is None:
            before = target.claim(row.grant_id)
        if not _same_table(before, row):
            return self._copy(target, before, source, row)
        if before.seq == row.visible_seq:
            return before
        following = self._received.next_kept(source, row, before.generation, before.seq)
        if following is None or (following.generation, following.seq) != (before.generation, before.seq + 1):
            return self._copy(target, before, source, row)
        if before.schema is not None and not target.is_there():
            # Made anew by the first change, it would hold nothing else.
            return self._copy(target, before, source, row)
        return self._follow(target, before, source, row)

    def _copy(self, target: Target, before: Cursor, source: Connection, row: Reception) -> Cursor:
        """All rows as they are at one moment, in one transaction; rows of another grant or copy go with it."""
        had = before.schema if target.is_there() else None
        schema = _named(row.reads, target.table)
        self.state.set(State.SNAPSHOT, "the table is copied anew")
        with target.moving(before) as connection:
            if had is None or (schema is not None and had.fingerprint != schema.fingerprint):
                target.replica.drop(connection, target.table)
            else:
                target.replica.apply(connection, (Delta(had, truncated=True),))
            rows = 0
            if schema is not None and row.reads is not None:
                target.replica.prepare(connection, schema)
                pages = cast("Generator[Frames]", self._received.inbound.room(row).scan(source, row.reads))
                # Left open by an error, its COPY would spoil the connection.
                with closing(pages):
                    for page in pages:
                        target.replica.apply(connection, (Delta(schema, inserts=page),))
                        rows += page.count
            now = Cursor(row.grant_id, row.generation, row.visible_seq, row.emptied, schema or had)
            target.move(connection, now)
        self.state.count(rows, 0)
        _log.info("import_copied", grant=row.grant_id, rows=rows, seq=now.seq)
        return now

    def _follow(self, target: Target, before: Cursor, source: Connection, row: Reception) -> Cursor:
        now, rows, size = before, 0, 0
        with target.moving(before) as connection:
            for kept in self._stretch(source, row, before):
                batch = kept.batch
                for delta in batch.deltas:
                    here = as_here(delta, target.table)
                    self._fit(target, connection, now.schema, here)
                    target.replica.apply(connection, (here,))
                    now = replace(now, schema=here.schema)
                now = replace(now, seq=kept.seq)
                rows, size = rows + batch.rows, size + len(kept.payload)
            target.move(connection, now)
        self.state.count(rows, size)
        return now

    def _stretch(self, source: Connection, row: Reception, after: Cursor) -> Iterator[Kept]:
        """Kept deliveries without a hole, ending where a source transaction ends."""
        seq, size, unfinished = after.seq, 0, False
        while unfinished or size < STRETCH_BYTES:
            kept = self._received.next_kept(source, row, after.generation, seq)
            if kept is None or (kept.generation, kept.seq) != (after.generation, seq + 1):
                return
            yield kept
            seq, size, unfinished = kept.seq, size + len(kept.payload), kept.continues

    @staticmethod
    def _fit(target: Target, connection: Connection, had: TableSchema | None, delta: Delta) -> None:
        if had is not None and had.fingerprint != delta.schema.fingerprint and delta.truncated:
            target.replica.drop(connection, target.table)
        target.replica.prepare(connection, delta.schema)


def _same_table(at: Cursor, row: Reception) -> bool:
    return (at.grant, at.generation, at.emptied) == (row.grant_id, row.generation, row.emptied)


def _named(schema: TableSchema | None, name: str) -> TableSchema | None:
    return replace(schema, name=name) if schema else None
