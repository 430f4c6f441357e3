"""One stream in the exchange database. Each public method is one transaction; none leaves this room.

One process writes a stream: a lock keeps a second one out, and the epoch in the checkpoint row keeps out one that
lost the lock without noticing (E9). A failed commit is an unknown commit (E1): it raises Transient, and the caller
goes on from :meth:`Exchange.checkpoint`, never from memory.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine

from agent.exchange.checkpoints import Checkpoint, Checkpoints, Pause
from agent.exchange.closing import Closing
from agent.exchange.mirror import MirrorDoor
from agent.exchange.outbox import Outbox, Sizes
from agent.exchange.place import READS, translated
from agent.exchange.quarantine import Entry, Quarantine
from agent.exchange.room import STANDARD, Room, StoreLimits
from agent.exchange.store import place_of
from agent.exchange.tables import tables
from agent.exchange.tablestates import TableStates, TableStatus, held_by, new_status
from agent.exchange.writing import Desk, Writing
from proto.batch import Batch, Delta, Head, SealedBatch
from proto.errors import Fenced, Refused, TableHold, Transient
from proto.schema import TableSchema
from replica.opening import open_replica
from replica.replica import Replica

if TYPE_CHECKING:
    from agent.exchange.place import Guard
    from agent.sources.source import Page

RETENTION_US: Final = 7 * 24 * 3600 * 1_000_000


class Exchange:
    """The mirror, outbox, quarantine and checkpoint of one stream. Every method may be called from any thread."""

    def __init__(self, engine: Engine, stream: str, limits: StoreLimits = STANDARD) -> None:
        self.stream = stream
        self._engine = engine
        self._place = place_of(engine)
        self.room = Room(self._place, engine, limits, stream)
        """What is free, and what must stay so."""
        here = tables(self._place.schema, self._place.prefix)
        self._replica: Replica = open_replica(engine, stream.rpartition("/")[2])
        self.mirror = MirrorDoor(self._reading, self._replica, self._status)
        """What the stream's source may ask of the mirror."""
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._desk = Desk(
            stream,
            Checkpoints(here, stream),
            Outbox(here, stream),
            TableStates(here, stream),
            Quarantine(here, stream),
            self._replica,
            self._encoder,
        )
        self.closing = Closing(self._desk, (self._place, engine), self._writing, self._forget_epoch)
        """What takes out what may not leave any more."""
        self.copies_without_key = False
        """Whether copies bring the rows of tables without a key; if not, such tables are never emptied."""
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._guard: Guard | None = None
        self._epoch = 0
        self._acknowledged = 0
        self._tables: dict[str, TableStatus] = {}

    # A process's life with a stream

    def start(self) -> Checkpoint:
        """Become the stream's only writer under the next epoch; once more, say where it is.

        Raises Fenced when another process is the writer.
        """
        with self._starting:
            if not self._epoch:
                self._begin()
        return self._look()

    def checkpoint(self) -> Checkpoint:
        """Where the stream is, as committed: what capture goes on from after any failure. Raises Fenced."""
        with self._lock:
            self._own()
            now = self._look()
            with self._reading() as connection:
                self._tables = self._desk.states.read(connection)
            return now

    def pause(self, pause: Pause) -> None:
        """Remember across restarts who stopped the stream, and when; a repeat keeps the first one."""
        if self.start().pause is None:
            with self._writing() as writing:
                self._desk.checkpoints.pause(writing.connection, pause)
                writing.record("paused", pause.who, "")

    def resume(self, who: str) -> None:
        """Remember that the stream may go on; nothing is written when it was not paused."""
        if self.start().pause is not None:
            with self._writing() as writing:
                self._desk.checkpoints.pause(writing.connection, None)
                writing.record("resumed", who, "")

    @property
    def epoch(self) -> int:
        """What this process works under now; 0 = it is to begin."""
        return self._epoch

    def close(self) -> None:
        """Let another process have the stream."""
        with self._lock:
            self._encoder.shutdown()
            if self._guard is not None:
                self._guard.release()
                self._guard = None

    # Rows

    def commit(self, batches: Iterable[Batch]) -> list[SealedBatch]:
        """Mirror the rows, queue them for central and move the checkpoint: all or nothing.

        A list is committed even if a table has to be held for it. An iterator is read once, part by part, so its
        hold is stored and Transient asks for the transaction again. Returns what push may take from memory: from
        the first batch as many as fit, and the last.
        """
        with self._lock:
            if isinstance(batches, Sequence):
                return self._commit_list(batches)
            try:
                return self._commit(batches)
            except TableHold as hold:
                self.hold(hold)
                raise Transient(
                    f"table {hold.table} is held; reading again without it", where=self.stream
                ) from hold

    def begin_copy(self, schema: TableSchema, expected_rows: int, mark: str = "") -> list[SealedBatch]:
        """Empty the table on every side, before its copy reads the first page.

        Changes committed while pages are read win over the pages; emptied later, the table would lose them.
        """
        with self._writing(growing=True) as writing:
            writing.begin_copy(schema, expected_rows, mark)
        return writing.sealed

    def commit_page(self, page: Page, generation: int) -> list[SealedBatch]:
        """Mirror and queue a page of a first copy together with how far the copy is.

        A page of an older *generation* (the copy was ordered anew, or the table is held) changes nothing.
        A page with a row the mirror cannot hold holds the table; the copy goes on from here after a retry.
        """
        with self._lock:
            try:
                with self._writing(growing=True) as writing:
                    writing.add_page(page, generation)
            except TableHold as hold:
                self.hold(hold)
                return []
            return writing.sealed

    # Tables

    def tables(self) -> dict[str, TableStatus]:
        """The state of every table, by name."""
        return dict(self._tables)

    def know(self, names: Iterable[str]) -> None:
        """Order the first copy of tables that were never seen."""
        unknown = [name for name in names if name not in self._tables]
        if unknown:
            with self._writing() as writing:
                for name in unknown:
                    writing.change(new_status(name))

    def keep_marks(self, marks: Mapping[str, str]) -> None:
        """Keep what the source wants to know again of its tables."""
        if changed := [
            name for name in marks if name in self._tables and marks[name] != self._tables[name].mark
        ]:
            with self._writing() as writing:
                for name in changed:
                    writing.change(replace(writing.tables[name], mark=marks[name]))

    def hold(self, hold: TableHold, *, changes_left_out: bool = False) -> None:
        """Hold one table. With *changes_left_out* its source passed over changes, so only a fresh copy mends it."""
        with self._writing() as writing:
            if changes_left_out:
                writing.leave_out(hold)
            else:
                writing.change(held_by(writing.tables.get(hold.table, new_status(hold.table)), hold))

    def order_copy(self, table: str, who: str = "operator") -> None:
        """Copy *table* afresh. What is quarantined of it is superseded, on record."""
        with self._writing() as writing:
            writing.order_copy(table, who)

    def begin_anew(self, who: str, reason: str) -> None:
        """Forget the position and order a copy of every table: the way out of a gap, on record."""
        with self._writing() as writing:
            writing.mark.position = ""
            writing.record("begun_anew", who, "", reason=reason)
            for table in list(writing.tables):
                writing.order_copy(table, who)

    def retry(self, table: str, who: str = "operator") -> list[SealedBatch]:
        """Send the held changes of *table* their normal way, in order, one source transaction at a time.

        Raises Refused with the new reason when one still cannot pass; those before it stay passed.
        """
        sealed: list[SealedBatch] = []
        with self._lock:
            more = True
            while more:
                try:
                    with self._writing(growing=True) as writing:
                        more = writing.retry_oldest(table, who)
                    sealed += writing.sealed
                except TableHold as hold:
                    self.hold(hold)
                    raise Refused(f"still held: {hold.what}", where=table, fix=hold.fix) from hold
        return sealed

    def skip(self, table: str, entry: int, who: str, reason: str) -> None:
        """Leave one entry out of every retry: on record, its rows kept."""
        with self._writing() as writing:
            self._desk.quarantine.skip(writing.connection, table, entry)
            writing.record("skipped", who, table, entry=entry, reason=reason)

    def quarantine(self) -> list[Entry]:
        """What is held, oldest first."""
        with self._reading() as connection:
            return self._desk.quarantine.entries(connection)

    def quarantined_rows(self, entry: int) -> tuple[Delta, ...]:
        """The changes of one entry, for a person to look at."""
        with self._reading() as connection:
            return self._desk.quarantine.rows(connection, entry)

    # Outbox

    def read_outbox(self, after_seq: int, limit_bytes: int) -> list[SealedBatch]:
        """The batches after *after_seq*, checked; at least one if there is any. Raises Poisoned for a damaged one."""
        with self._reading() as connection:
            return self._desk.outbox.read(connection, after_seq, limit_bytes)

    def head_at(self, seq: int) -> Head | None:
        """The chain's head as it was at *seq*; None when that is no longer, or not yet, known."""
        with self._reading() as connection:
            return self._desk.outbox.head_at(connection, seq)

    def oldest_seq(self) -> int:
        """The first batch still in the outbox; the next number if there is none."""
        with self._reading() as connection:
            return self._desk.outbox.oldest_seq(connection)

    def acknowledge(self, seq: int) -> bool:
        """Central has everything up to *seq*. Lazy: False while another transaction runs, call again later."""
        self._acknowledged = max(self._acknowledged, seq)
        if not self._lock.acquire(blocking=False):
            return False
        try:
            with self._begun() as connection:
                self._desk.checkpoints.acknowledge(connection, self._epoch, self._acknowledged)
        finally:
            self._lock.release()
        return True

    @property
    def acknowledged_seq(self) -> int:
        """The highest number central has, as far as this process heard."""
        return self._acknowledged

    def prune(self, keep_us: int = RETENTION_US) -> int:
        """Forget acknowledged batches older than *keep_us*, a limited number per call; returns how many.

        On a nearly full volume, which all streams share, of any age: one at rest must not keep room from those that work.
        """
        is_short = self.room.spare_bytes() < 0
        keep_us = 0 if is_short else keep_us
        with self._writing() as writing:
            forgotten = self._desk.outbox.prune(writing.connection, writing.mark.acknowledged_seq, keep_us)
        if forgotten:
            self._place.give_back(self._engine)
            if is_short:
                self.room.say_given_up(forgotten)
        return forgotten

    def sizes(self) -> Sizes:
        """How much waits for central and how much lies here."""
        with self._reading() as connection:
            return self._desk.outbox.sizes(connection)

    def free_bytes(self) -> int | None:
        """Free bytes on the volume of the exchange database; None where only its server knows."""
        return self.room.free_bytes()

    def _commit_list(self, batches: Sequence[Batch]) -> list[SealedBatch]:
        try:
            return self._commit(batches)
        except TableHold as hold:
            if len(batches) > 1 and not any(batch.continues for batch in batches):
                # One by one, so that the batches before the bad one keep their way.
                return [sealed for batch in batches for sealed in self._commit_list([batch])]
            if hold.table in self._tables and self._tables[hold.table].held:
                raise
            return self._commit_list_holding(batches, hold)

    def _commit_list_holding(self, batches: Sequence[Batch], first: TableHold) -> list[SealedBatch]:
        holds = {first.table: first}
        while True:
            try:
                return self._commit(batches, tuple(holds.values()))
            except TableHold as hold:
                if hold.table in holds:
                    raise
                holds[hold.table] = hold

    def _commit(self, batches: Iterable[Batch], holds: Sequence[TableHold] = ()) -> list[SealedBatch]:
        with self._writing(growing=True) as writing:
            for hold in holds:
                writing.change(held_by(writing.tables.get(hold.table, new_status(hold.table)), hold))
            for batch in batches:
                writing.add(batch)
        return writing.sealed

    def _status(self, table: str) -> TableStatus | None:
        return self._tables.get(table)

    @contextmanager
    def _writing(self, *, growing: bool = False) -> Iterator[Writing]:
        with self._lock:
            if growing:
                self.room.demand(self.prune)
            with self._begun() as connection:
                mark = self._desk.checkpoints.lock(connection, self._epoch)
                if growing:
                    self.room.demand_in_outbox(mark)
                writing = Writing(self._desk, connection, mark, self._tables, self.copies_without_key)
                yield writing
                writing.finish()
            self._tables, self._epoch = writing.tables, mark.epoch

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        with (
            self.room.watched(),
            translated(self._place, self.stream),
            self._engine.begin() as connection,
        ):
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with (
            translated(self._place, self.stream),
            self._engine.connect().execution_options(**READS) as connection,
        ):
            yield connection

    def _begin(self) -> None:
        self._own()
        with translated(self._place, self.stream), self._engine.begin() as connection:
            started = self._desk.checkpoints.begin(connection, secrets.token_hex(16))
            self._tables = self._desk.states.read(connection)
        self._acknowledged, self._epoch = started.acknowledged_seq, started.epoch

    def _look(self) -> Checkpoint:
        epoch = self._epoch
        try:
            with self._reading() as connection:
                return self._desk.checkpoints.still(connection, epoch)
        except Fenced:
            # Perhaps by ourselves, a moment ago.
            with self._lock:
                if self._epoch == epoch:
                    raise
            return self._look()

    def _forget_epoch(self) -> None:
        self._epoch = 0

    def _own(self) -> None:
        if self._guard is None or not self._guard.is_held():
            self._guard = None
            with translated(self._place, self.stream):
                self._guard = self._place.guard(self._engine, self.stream)
