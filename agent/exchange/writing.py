"""One open transaction of the exchange database: rows, outbox, quarantine and checkpoint move in it, or none does."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from agent.exchange.checkpoints import Checkpoints, Mark
from agent.exchange.outbox import Outbox
from agent.exchange.quarantine import Quarantine
from agent.exchange.tablestates import (
    CopyState,
    TableStates,
    TableStatus,
    flowing,
    held_by,
    new_status,
    snapshot_ordered,
    streamed,
)
from proto import codec
from proto.batch import Batch, Delta, SealedBatch
from proto.errors import BatchCorrupt, Poisoned, Refused, TableHold
from proto.schema import TableSchema
from replica.replica import Replica

if TYPE_CHECKING:
    from agent.sources.source import Page

HAND_OVER_BYTES: Final = 8 * 1024 * 1024
"""What one transaction keeps in memory for push; the rest is read from the outbox when its turn comes."""
ENCODE_ASIDE_BYTES: Final = 64 * 1024
"""Below this a second thread costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a writing transaction of one stream works with."""

    stream: str
    checkpoints: Checkpoints
    outbox: Outbox
    states: TableStates
    quarantine: Quarantine
    replica: Replica
    encoder: Executor


class Writing:
    """Gathers what one transaction does; :meth:`finish` writes the checkpoint, the caller commits."""

    def __init__(
        self,
        desk: Desk,
        connection: Connection,
        mark: Mark,
        tables: dict[str, TableStatus],
        copies_without_key: bool,
    ) -> None:
        self._desk = desk
        self._copies_without_key = copies_without_key
        self.connection = connection
        self.mark = mark
        self.tables = dict(tables)
        self.sealed: list[SealedBatch] = []
        self._kept_bytes = 0
        self._unfinished = False

    def add(self, batch: Batch) -> None:
        """Mirror and queue *batch*; what belongs to held tables goes to quarantine instead."""
        passing, held = self._divide(batch)
        for table, deltas in held.items():
            part = replace(batch, deltas=tuple(deltas))
            self._desk.quarantine.add(self.connection, self.mark, self.tables[table], part)
        self.mark.position = batch.position
        self.mark.last_commit_us = max(self.mark.last_commit_us, batch.last_commit_us)
        # A part that others wait for must be closed even when nothing is left in the last one.
        if passing.deltas or (self._unfinished and not passing.continues):
            self._pass(passing)

    def begin_copy(self, schema: TableSchema, expected_rows: int, mark: str = "") -> None:
        """Empty a table whose copy is ordered and not begun.

        Where no page will bring back the rows of a table without a key, it is only made: what it has stays.
        """
        status = self.tables.get(schema.name, new_status(schema.name))
        if status.wants_copy and not status.copy.begun:
            copy = replace(status.copy, begun=True, rows_expected=expected_rows)
            self.change(replace(status, copy=copy, mark=mark))
            self._pass(Batch(self.mark.position, (Delta(schema, truncated=self._is_copied(schema)),)))

    def add_page(self, page: Page, generation: int) -> None:
        """Mirror and queue a page of the copy *generation* and note how far it is; the position stays."""
        status = self._known(page.schema.name)
        if status.copy.generation != generation or not status.wants_copy:
            return
        if page.frames:
            self._pass(Batch(self.mark.position, (Delta(page.schema, inserts=page.frames),)))
        copy = replace(
            status.copy,
            last_key=page.last_key or status.copy.last_key,
            rows_copied=status.copy.rows_copied + page.frames.count,
            copied=page.is_last,
        )
        status = replace(self.tables[page.schema.name], copy=copy)
        self.change(flowing(status) if page.is_last else status)

    def leave_out(self, hold: TableHold) -> None:
        """Hold a table whose source passes over changes, so that only a fresh copy mends it."""
        status = held_by(self.tables.get(hold.table, new_status(hold.table)), hold)
        self.change(replace(status, copy=CopyState(status.copy.generation)))

    def take_away(self, tables: Iterable[TableStatus]) -> None:
        """Forget the rows of *tables* here, and let the platform forget its own."""
        deltas = []
        for status in tables:
            if status.schema is not None:
                deltas.append(Delta(status.schema, truncated=True))
                self._desk.replica.drop(self.connection, status.name)
                self.change(replace(self.tables[status.name], schema=None))
        if deltas:
            batch = Batch(self.mark.position, tuple(deltas))
            self._append(self._encode(batch), batch)

    def order_copy(self, table: str, who: str) -> None:
        """Order a fresh copy; what is quarantined of the table is superseded, on record."""
        status = self._known(table)
        entries = self._desk.quarantine.supersede(self.connection, table)
        self.record("copy_ordered", who, table, superseded=entries)
        self.change(snapshot_ordered(status))

    def retry_oldest(self, table: str, who: str) -> bool:
        """Send the oldest held source transaction of *table* its normal way; says whether more is held."""
        status = self._known(table)
        if not status.held:
            raise Refused(f"table {table} is not held", where=self._desk.stream)
        self.tables[table] = flowing(status)
        parts = self._desk.quarantine.oldest(self.connection, table)
        for number, (entry, batch) in enumerate(parts, 1):
            self.add(replace(batch, position=self.mark.position, continues=number < len(parts)))
            self._desk.quarantine.forget(self.connection, entry)
        more = self._desk.quarantine.waits(self.connection, table)
        passed = self.tables[table]
        self.change(replace(status, schema=passed.schema) if more else passed)
        self.record("retried", who, table, entries=len(parts))
        return more

    def record(self, event: str, who: str, table: str, **facts: str | int) -> None:
        """Append to the audit."""
        self._desk.quarantine.record(self.connection, self.mark, event, who, table, facts)

    def change(self, status: TableStatus) -> None:
        """Put a table into another state."""
        self.tables[status.name] = status
        self._desk.states.write(self.connection, status)

    def finish(self) -> None:
        """Write where the stream is now."""
        self._desk.checkpoints.move(self.connection, self.mark)

    def _known(self, table: str) -> TableStatus:
        if table not in self.tables:
            raise Refused(f"there is no table {table} in this stream", where=self._desk.stream)
        return self.tables[table]

    def _is_copied(self, schema: TableSchema) -> bool:
        return bool(schema.key) or self._copies_without_key

    def _divide(self, batch: Batch) -> tuple[Batch, dict[str, list[Delta]]]:
        passing: list[Delta] = []
        held: dict[str, list[Delta]] = {}
        for delta in batch.deltas:
            status = self.tables.get(delta.schema.name)
            if status is not None and status.left_out:
                continue
            if status is not None and status.held:
                held.setdefault(status.name, []).append(delta)
            elif status is None or status.flows or not self._is_copied(delta.schema):
                passing.append(delta)
            # else: its copy has not begun, so the copy's pages will bring this change.
        return (batch if len(passing) == len(batch.deltas) else replace(batch, deltas=tuple(passing))), held

    def _pass(self, batch: Batch) -> None:
        encoding = self._encode(batch)
        self._mirror(batch.deltas)
        self._unfinished = batch.continues
        self._append(encoding, batch)

    def _append(self, encoding: Future[tuple[bytes, bytes]], batch: Batch) -> None:
        sealed = codec.seal(self._desk.stream, self.mark.epoch, self.mark.head, encoding.result(), batch.rows)
        self._desk.outbox.append(self.connection, self.mark, sealed)
        self._keep(sealed)

    def _encode(self, batch: Batch) -> Future[tuple[bytes, bytes]]:
        if batch.size_bytes > ENCODE_ASIDE_BYTES:
            return self._desk.encoder.submit(_encoded, batch)
        done: Future[tuple[bytes, bytes]] = Future()
        done.set_result(_encoded(batch))
        return done

    def _mirror(self, deltas: Iterable[Delta]) -> None:
        deltas = tuple(deltas)
        for delta in deltas:
            self._know(delta)
        self._desk.replica.apply(self.connection, deltas)

    def _know(self, delta: Delta) -> None:
        status = self.tables.get(delta.schema.name)
        known = status.schema if status else None
        reshaped = known is not None and known.fingerprint != delta.schema.fingerprint
        if reshaped and delta.truncated:
            # An emptied table has no values to lose, so its shape may change freely.
            self._desk.replica.drop(self.connection, delta.schema.name)
        self._desk.replica.prepare(self.connection, delta.schema)
        if reshaped or known is None:
            self.change(replace(status or streamed(delta.schema.name), schema=delta.schema))

    def _keep(self, sealed: SealedBatch) -> None:
        # The last one is always kept, so that push learns how far the stream has come.
        if self.sealed and self._kept_bytes > HAND_OVER_BYTES:
            self.sealed.pop()
        self._kept_bytes += len(sealed.payload)
        self.sealed.append(sealed)


def _encoded(batch: Batch) -> tuple[bytes, bytes]:
    try:
        return codec.encode(batch)
    except BatchCorrupt as error:
        tables = ", ".join(sorted({delta.schema.name for delta in batch.deltas}))
        raise Poisoned(
            f"{error.what}, in a batch of {tables}",
            where=batch.position,
            fix="leave the oversized column out of the captured columns",
        ) from error
