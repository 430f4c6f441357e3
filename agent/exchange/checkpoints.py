"""The row every hop starts from: position, chain head and counters of one stream."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from agent.exchange.tables import Tables
from proto.batch import CHAIN_START, Head, Position
from proto.errors import Fenced, Halt

_NOT_PAUSED: Final[dict[str, Any]] = {"paused_by": "", "paused_us": 0}


def now_us() -> int:
    """Our clock, microseconds since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Pause:
    """A stream that people stopped, until people let it go on."""

    who: str
    since_us: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a stream has come, and under which identity this process goes on."""

    position: Position
    head: Head
    """The last batch in the outbox; its epoch is the one it was sealed under."""
    epoch: int
    """This process's own: every start of a process takes a new one."""
    incarnation: str
    acknowledged_seq: int
    pause: Pause | None = None


@dataclass(slots=True)
class Mark:
    """The checkpoint row inside a transaction: read locked, moved on while batches are added, written once."""

    position: Position
    head: Head
    epoch: int
    bytes: int = 0
    rows: int = 0
    waiting_bytes: int = 0
    quarantine_id: int = 0
    audit_id: int = 0
    last_commit_us: int = 0
    acknowledged_seq: int = 0
    incarnation: str = field(default="", repr=False)

    def next_quarantine_id(self) -> int:
        """Numbers of quarantined entries are dense, like all others."""
        self.quarantine_id += 1
        return self.quarantine_id

    def next_audit_id(self) -> int:
        """The audit has no holes either: a missing number is a missing record."""
        self.audit_id += 1
        return self.audit_id


class Checkpoints:
    """Reads and moves the checkpoint row of one stream."""

    def __init__(self, tables: Tables, stream: str) -> None:
        self._table = tables.checkpoint
        self._outbox = tables.outbox
        self._stream = stream

    def read(self, connection: Connection) -> Checkpoint | None:
        """The row as last committed; None before the first start."""
        row = connection.execute(select(self._table).where(self._mine)).mappings().one_or_none()
        if row is None:
            return None
        head = Head(row["head_epoch"], row["seq"], bytes(row["digest"]))
        pause = Pause(row["paused_by"], row["paused_us"]) if row["paused_us"] else None
        place = (row["position"], head, row["epoch"], row["incarnation"], row["acknowledged_seq"])
        return Checkpoint(*place, pause)

    def begin(self, connection: Connection, incarnation: str) -> Checkpoint:
        """Make the row if it is new, and take the next epoch."""
        if self.read(connection) is None:
            connection.execute(
                insert(self._table).values(
                    stream=self._stream, position="", incarnation="", digest=CHAIN_START
                )
            )
        connection.execute(
            update(self._table)
            .where(self._mine)
            .values(epoch=self._table.c.epoch + 1, incarnation=incarnation)
        )
        started = self.read(connection)
        if started is None:
            raise RuntimeError(f"the checkpoint of {self._stream} vanished inside its transaction")
        return started

    def renew(self, connection: Connection, mark: Mark, incarnation: str) -> None:
        """Take the next epoch inside a transaction: what speaks for the stream under the one before is fenced off."""
        connection.execute(
            update(self._table)
            .where(self._mine, self._table.c.epoch == mark.epoch)
            .values(epoch=mark.epoch + 1, incarnation=incarnation)
        )
        mark.epoch += 1

    def lock(self, connection: Connection, epoch: int) -> Mark:
        """The row, locked until the transaction ends. Raises Fenced when another process took over (E9)."""
        statement = select(self._table).where(self._mine).with_for_update()
        row = connection.execute(statement).mappings().one_or_none()
        if row is None:
            raise self._gone()
        self._refuse_stranger(epoch, row["epoch"])
        return _mark(row)

    def still(self, connection: Connection, epoch: int) -> Checkpoint:
        """The row as last committed, if it is still ours. Raises Fenced like :meth:`lock`."""
        now = self.read(connection)
        if now is None:
            raise self._gone()
        self._refuse_stranger(epoch, now.epoch)
        return now

    def move(self, connection: Connection, mark: Mark) -> None:
        """Write where *mark* has come to."""
        moved = connection.execute(
            update(self._table)
            .where(self._mine, self._table.c.epoch == mark.epoch)
            .values(
                position=mark.position,
                head_epoch=mark.head.epoch,
                seq=mark.head.seq,
                digest=mark.head.digest,
                bytes=mark.bytes,
                rows=mark.rows,
                quarantine_id=mark.quarantine_id,
                audit_id=mark.audit_id,
                last_commit_us=mark.last_commit_us,
                committed_us=now_us(),
            )
        )
        if moved.rowcount != 1:
            raise Fenced("another process took over", where=self._stream, fix="stop one of the two")

    def pause(self, connection: Connection, pause: Pause | None) -> None:
        """Remember that people stopped the stream, or with None that it may go on; under :meth:`lock`."""
        written = {"paused_by": pause.who, "paused_us": pause.since_us} if pause else _NOT_PAUSED
        connection.execute(update(self._table).where(self._mine).values(written))

    def acknowledge(self, connection: Connection, epoch: int, seq: int) -> None:
        """Remember that central has everything up to *seq*; never moves back."""
        table, outbox = self._table.c, self._outbox.c
        total = (
            select(outbox.total_bytes)
            .where(outbox.stream == self._stream, outbox.seq == seq)
            .scalar_subquery()
        )
        connection.execute(
            update(self._table)
            .where(self._mine, table.epoch == epoch, table.acknowledged_seq < seq, table.seq >= seq)
            .values(acknowledged_seq=seq, acknowledged_bytes=total)
        )

    def _gone(self) -> Halt:
        return Halt(
            "the checkpoint is gone: the exchange database was emptied while we worked",
            where=self._stream,
            fix="restart the agent to begin anew; central will ask for confirmation",
        )

    def _refuse_stranger(self, ours: int, there: int) -> None:
        if there != ours:
            raise Fenced(
                f"another process took over with epoch {there}, ours is {ours}",
                where=self._stream,
                fix="stop one of the two; restart this one to take over again",
            )

    @property
    def _mine(self) -> ColumnElement[bool]:
        return self._table.c.stream == self._stream


def _mark(row: Any) -> Mark:
    return Mark(
        position=row["position"],
        head=Head(row["head_epoch"], row["seq"], bytes(row["digest"])),
        epoch=row["epoch"],
        bytes=row["bytes"],
        rows=row["rows"],
        waiting_bytes=row["bytes"] - row["acknowledged_bytes"],
        quarantine_id=row["quarantine_id"],
        audit_id=row["audit_id"],
        last_commit_us=row["last_commit_us"],
        acknowledged_seq=row["acknowledged_seq"],
        incarnation=row["incarnation"],
    )
