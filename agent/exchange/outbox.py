"""Sealed batches that wait for central, and those it has that we keep a while."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from agent.exchange.checkpoints import Mark, now_us
from agent.exchange.tables import Tables
from proto import codec
from proto.batch import Batch, Delta, Head, SealedBatch, chain
from proto.errors import BatchCorrupt, Poisoned, Transient, way_out
from proto.schema import TableSchema

READ_ROWS: Final = 200
"""Batches per read at most, however small they are."""
PRUNE_ROWS: Final = 500
"""Batches per prune at most: a short transaction does not hold up capture."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much lies in the outbox."""

    waiting_batches: int
    waiting_bytes: int
    oldest_waiting_us: int
    """When the oldest batch without acknowledgement was committed; 0 = none waits."""
    kept_batches: int
    kept_bytes: int


class OutboxDamaged(Poisoned):
    """Batch *seq* is not what was written: it is not sent, nor anything after it."""

    def __init__(self, seq: int, why: str, stream: str) -> None:
        what = f"batch {seq} in the outbox is damaged and not sent: {why}"
        super().__init__(what, where=stream, fix=f"check the disk, then {way_out(stream)}")
        self.seq = seq


@dataclass(frozen=True, slots=True)
class TakenOut:
    """What was removed from batches that lie here."""

    batches: int = 0
    last_seq: int = 0
    tables: frozenset[str] = frozenset()


class Outbox:
    """The outbox of one stream."""

    def __init__(self, tables: Tables, stream: str) -> None:
        self._table = tables.outbox
        self._checkpoint = tables.checkpoint
        self._stream = stream

    def append(self, connection: Connection, mark: Mark, sealed: SealedBatch) -> None:
        """Queue *sealed* and make it the head of *mark*."""
        mark.head = sealed.head
        mark.bytes += len(sealed.header) + len(sealed.payload)
        mark.rows += sealed.rows
        connection.execute(
            insert(self._table),
            {
                "stream": self._stream,
                "seq": sealed.seq,
                "epoch": sealed.epoch,
                "digest": sealed.digest,
                "rows": sealed.rows,
                "total_bytes": mark.bytes,
                "created_us": now_us(),
                "header": sealed.header,
                "payload": sealed.payload,
            },
        )

    def read(self, connection: Connection, after_seq: int, limit_bytes: int) -> list[SealedBatch]:
        """The batches after *after_seq*: at least one if there is any, then as many as fit. Raises Poisoned (E6)."""
        last = self._last_within(connection, after_seq, limit_bytes)
        table = self._table.c
        statement = (
            select(table.seq, table.epoch, table.digest, table.rows, table.header, table.payload)
            .where(self._mine, table.seq > after_seq, table.seq <= last)
            .order_by(table.seq)
        )
        previous = self.head_at(connection, after_seq)
        taken_seq = self._taken_seq(connection)
        batches = []
        for row in connection.execute(statement):
            if row.seq <= taken_seq:
                raise Transient(f"batch {row.seq} is sealed anew first", where=self._stream)
            batches.append(self._whole(row, previous))
            previous = batches[-1].head
        return batches

    def take_out(
        self, connection: Connection, closes: Callable[[TableSchema], bool], *, positions: bool
    ) -> TakenOut:
        """Remove all rows of shapes that *closes* names from every batch, sent or not; with *positions* those as well.

        Numbers and digests stay, since the platform may have a batch already: what it turns out not to have is sealed
        anew (:meth:`seal_anew`). Sizes go on counting what was sealed.
        """
        closes, table, after = cache(closes), self._table.c, 0
        found = TakenOut()
        while True:
            query = select(table.seq, table.header).where(self._mine, table.seq > after)
            rows = connection.execute(query.order_by(table.seq).limit(READ_ROWS)).all()
            for row in rows:
                gone = self._take_out_of(connection, row, closes, positions)
                if gone is not None:
                    found = TakenOut(found.batches + 1, row.seq, found.tables | gone)
            if len(rows) < READ_ROWS:
                return found
            after = rows[-1].seq

    def seal_anew(self, connection: Connection, mark: Mark, after: Head) -> int:
        """Chain what follows *after* to it, under the epoch of *mark*; returns how many batches."""
        table, head, count = self._table.c, after, 0
        while True:
            query = select(table.seq, table.header).where(self._mine, table.seq > head.seq)
            rows = connection.execute(query.order_by(table.seq).limit(READ_ROWS)).all()
            for row in rows:
                digest = chain(head.digest, self._stream, mark.epoch, row.seq, bytes(row.header))
                head = Head(mark.epoch, row.seq, digest)
                connection.execute(
                    update(self._table)
                    .where(self._mine, table.seq == row.seq)
                    .values(epoch=head.epoch, digest=head.digest)
                )
            count += len(rows)
            if len(rows) < READ_ROWS:
                break
        if count:
            mark.head = head
        return count

    def head_at(self, connection: Connection, seq: int) -> Head | None:
        """The chain's head as it was at *seq*; None if that batch was pruned or never was."""
        if seq == 0:
            return Head()
        table = self._table.c
        row = connection.execute(
            select(table.epoch, table.digest).where(self._mine, table.seq == seq)
        ).one_or_none()
        return Head(row.epoch, seq, bytes(row.digest)) if row else None

    def oldest_seq(self, connection: Connection) -> int:
        """The first batch still here; the next number if there is none."""
        oldest: int | None = connection.execute(
            select(func.min(self._table.c.seq)).where(self._mine)
        ).scalar()
        if oldest is not None:
            return oldest
        mark = self._checkpoint.c
        return 1 + (connection.execute(select(mark.seq).where(mark.stream == self._stream)).scalar() or 0)

    def prune(self, connection: Connection, acknowledged_seq: int, keep_us: int) -> int:
        """Forget what central has and what is older than *keep_us*; at most PRUNE_ROWS batches per call.

        The last acknowledged batch stays: its digest is what both ends compare when they meet again.
        """
        table = self._table.c
        window = connection.execute(
            select(table.seq, table.created_us)
            .where(self._mine, table.seq < acknowledged_seq)
            .order_by(table.seq)
            .limit(PRUNE_ROWS)
        ).all()
        before_us = now_us() - keep_us
        old = 0
        for row in window:
            if row.created_us >= before_us:
                break
            old = row.seq
        return (
            connection.execute(delete(self._table).where(self._mine, table.seq <= old)).rowcount if old else 0
        )

    def sizes(self, connection: Connection) -> Sizes:
        """How much waits and how much lies here in all."""
        here, mark = self._table.c, self._checkpoint.c
        row = connection.execute(
            select(mark.seq, mark.bytes, mark.acknowledged_seq, mark.acknowledged_bytes).where(
                mark.stream == self._stream
            )
        ).one_or_none()
        if row is None:
            return Sizes(0, 0, 0, 0, 0)
        first = connection.execute(
            select(here.seq, here.total_bytes, func.length(here.header) + func.length(here.payload))
            .where(self._mine)
            .order_by(here.seq)
            .limit(1)
        ).one_or_none()
        since = connection.execute(
            select(here.created_us)
            .where(self._mine, here.seq > row.acknowledged_seq)
            .order_by(here.seq)
            .limit(1)
        ).scalar()
        kept = (row.seq - first[0] + 1, row.bytes - first[1] + first[2]) if first else (0, 0)
        return Sizes(row.seq - row.acknowledged_seq, row.bytes - row.acknowledged_bytes, since or 0, *kept)

    def _take_out_of(
        self, connection: Connection, row: Any, closes: Callable[[TableSchema], bool], positions: bool
    ) -> frozenset[str] | None:
        """The tables of which one batch had rows; None when it stays as it is."""
        here = self._mine & (self._table.c.seq == row.seq)
        try:
            header = codec.read_header(bytes(row.header))
            if not positions and not any(map(closes, codec.schemas_of(header))):
                return None
            payload = connection.execute(select(self._table.c.payload).where(here)).scalar_one()
            batch = codec.decode(bytes(row.header), bytes(payload))
        except BatchCorrupt:
            # Damaged: it will never be sent, and what it holds nobody can tell.
            connection.execute(update(self._table).where(here).values(header=b"", payload=b""))
            return frozenset()
        kept = without(batch, closes)
        gone = frozenset(delta.schema.name for delta in batch.deltas if delta.rows and closes(delta.schema))
        if positions:
            kept = replace(kept, position="")
        if kept == batch:
            return None
        header_bytes, payload = codec.encode(kept)
        values = {"header": header_bytes, "payload": payload, "rows": kept.rows}
        connection.execute(update(self._table).where(here).values(values))
        return gone

    def _taken_seq(self, connection: Connection) -> int:
        mark = self._checkpoint.c
        return connection.execute(select(mark.taken_seq).where(mark.stream == self._stream)).scalar() or 0

    def _last_within(self, connection: Connection, after_seq: int, limit_bytes: int) -> int:
        # Sizes first, blobs second: a limit in SQL alone would read one blob too many or none at all.
        table = self._table.c
        rows = connection.execute(
            select(table.seq, table.total_bytes)
            .where(self._mine, table.seq > after_seq)
            .order_by(table.seq)
            .limit(READ_ROWS)
        ).all()
        if not rows:
            return after_seq
        fitting = [row.seq for row in rows if row.total_bytes - rows[0].total_bytes <= limit_bytes]
        return int(fitting[-1])

    def _whole(self, row: Any, previous: Head | None) -> SealedBatch:
        header, payload, digest = bytes(row.header), bytes(row.payload), bytes(row.digest)
        batch = SealedBatch(self._stream, row.epoch, row.seq, digest, header, payload, row.rows)
        try:
            if previous is not None:
                codec.verify(batch, previous)
            elif hashlib.sha256(payload).digest() != codec.read_header(header).payload_sha256:
                raise BatchCorrupt("the payload does not match its checksum")
        except BatchCorrupt as error:
            raise OutboxDamaged(row.seq, error.what, self._stream) from error
        return batch

    @property
    def _mine(self) -> ColumnElement[bool]:
        return self._table.c.stream == self._stream


def without(batch: Batch, closes: Callable[[TableSchema], bool]) -> Batch:
    """*batch* without the rows of shapes that *closes* names; that a table was emptied stays."""
    deltas = [
        Delta(delta.schema, truncated=True) if closes(delta.schema) else delta
        for delta in batch.deltas
        if delta.truncated or not closes(delta.schema)
    ]
    return replace(batch, deltas=tuple(deltas))
