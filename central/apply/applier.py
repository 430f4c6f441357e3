"""One stream's applier: a step is one transaction that moves rows and cursor together.

What is one table's trouble holds that table: it is left out, and the stream goes on. Of a table that is to be tried
again a step also brings a part of what waits, in a transaction before its own.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sqlalchemy import Connection, Engine, bindparam, update

from central import audit
from central.apply import holding, lease
from central.apply.locating import Location, locate_in
from central.apply.replay import Replay
from central.apply.tables import Fingerprints, Tables, deltas_of
from central.ledger import Damaged, Ledger, Size, Span, whole_within
from central.ledger.tableholds import HeldTable, held_tables
from central.store import NowUs, reading, writing
from central.store.tables import APPLIED
from proto import codec
from proto.batch import Batch, Delta, Head, SealedBatch, chain
from proto.errors import BadRow, ExchangeError, Poisoned, Refused, TableHold, Transient
from proto.states import State

ATTEMPTS: Final = 5
FIRST_PAUSE_S: Final = 0.02
ONE_TRANSACTION: Final = Span(1, 0, 0)

_ADVANCE: Final = (
    update(APPLIED)
    .where(
        APPLIED.c.stream == bindparam("which"),
        APPLIED.c.token == bindparam("ours"),
        APPLIED.c.seq == bindparam("before"),
    )
    .values(
        seq=bindparam("last"),
        epoch=bindparam("seal_epoch"),
        digest=bindparam("seal"),
        position=bindparam("place"),
        last_commit_us=bindparam("commit_us"),
        applied_at_us=NowUs(),
        batches=APPLIED.c.batches + bindparam("more_batches"),
        rows=APPLIED.c.rows + bindparam("more_rows"),
        bytes=APPLIED.c.bytes + bindparam("more_bytes"),
    )
)
_PUT_ASIDE: Final = update(APPLIED).where(
    APPLIED.c.stream == bindparam("which"), APPLIED.c.token == bindparam("ours")
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much waits for one commit when a backlog is there, and how much of it is in memory at once."""

    batches: int = 64
    rows: int = 50_000
    bytes: int = 16 * 1024 * 1024
    reading_bytes: int = 8 * 1024 * 1024

    @property
    def span(self) -> Span:
        """As the ledger asks it."""
        return Span(self.batches, self.rows, self.bytes)


class _Unfit(Poisoned):
    """A batch is whole, but what it holds is not what it says."""


@dataclass(slots=True)
class _Run:
    """What one transaction has applied so far."""

    start: Head
    """Where the transaction began."""
    head: Head
    """Of the last batch applied; if the transaction fails, the one after it is to blame."""
    at: SealedBatch | None = None
    """The batch under way."""
    position: str = ""
    last_commit_us: int = 0
    batches: int = 0
    rows: int = 0
    bytes: int = 0
    shapes: Fingerprints = field(default_factory=dict)
    """Fingerprints that it wrote down."""
    held: dict[str, HeldTable] = field(default_factory=dict)
    copied: list[tuple[HeldTable, int]] = field(default_factory=list)
    """Tables whose hold a fresh copy ended, and the batch with which it began."""

    def add(self, sealed: SealedBatch, batch: Batch, rows: int) -> None:
        self.head = sealed.head
        self.position = batch.position
        self.last_commit_us = batch.last_commit_us or self.last_commit_us
        self.batches += 1
        self.rows += rows
        self.bytes += len(sealed.header) + len(sealed.payload)

    def leaves_out(self, delta: Delta, seq: int) -> bool:
        """Whether *delta* waits, because its table is held; one that empties the table later is the end of that."""
        held = self.held.get(delta.schema.name)
        if held is None or not delta.truncated or seq <= held.held_seq:
            return held is not None
        self.copied.append((self.held.pop(delta.schema.name), seq))
        return False


class Applier:
    """Applies one stream; one thread at a time may call it."""

    def __init__(self, engine: Engine, stream: str, owner: str, limits: Limits | None = None) -> None:
        self._engine = engine
        self._stream = stream
        self._owner = owner
        self._limits = limits or Limits()
        self._ledger = Ledger()
        self._tables = Tables(engine, stream)
        self._replay = Replay(engine, stream, self._tables, (self._limits.span, self._limits.reading_bytes))
        self._retry_is_asked = False
        self._pause = threading.Event()
        self._token: int | None = None
        self._applied_seq = 0
        self._careful_to = 0

    @property
    def applied_seq(self) -> int:
        """The last number known to be visible in the platform's tables."""
        return self._applied_seq

    def stop(self) -> None:
        """Do not wait before the next attempt; any thread may call it."""
        self._pause.set()

    def step(self, ready: Sequence[SealedBatch] = ()) -> bool:
        """Apply what comes next, in one transaction; True when there may be more.

        *ready* are batches of this stream that were just accepted; when they follow directly they are not read
        again. Raises Poisoned while the whole stream is held, DiskBlocked, and Transient after a few attempts.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._step(ready)
            except Transient:
                if attempt == ATTEMPTS - 1 or self._pause.is_set():
                    raise
                # Jitter, so that two who met once do not meet again.
                self._pause.wait(random.uniform(0, FIRST_PAUSE_S * 2**attempt))  # noqa: S311
        return True

    def _step(self, ready: Sequence[SealedBatch]) -> bool:
        if not ready and not self._is_waiting():
            return False
        if self._token is None and not self._take_lease():
            return False
        run = _Run(Head(), Head())
        try:
            if self._retry_is_asked:
                self._replay.step(self._token or 0)
            with writing(self._engine, durable=False) as connection:
                hold = lease.hold(connection, self._stream, self._token or 0)
                _raise_if_held(self._stream, hold.place)
                run.head = run.start = hold.head
                self._retry_is_asked = hold.place.asked == 1
                if hold.place.asked is not None:
                    run.held = held_tables(connection, self._stream)
                self._apply_next(connection, hold, ready, run)
        except lease.LeaseLost:
            self._token = None
            return False
        except (TableHold, Damaged, _Unfit) as error:
            return self._blame(run, error)
        self._applied_seq = run.head.seq
        self._tables.committed(run.shapes)
        return hold.head.seq < run.head.seq < hold.place.accepted or self._retry_is_asked

    def _is_waiting(self) -> bool:
        with reading(self._engine) as connection:
            place = lease.look(connection, self._stream)
        if place is None:
            return False
        self._applied_seq = place.seq
        _raise_if_held(self._stream, place)
        self._retry_is_asked = place.asked == 1
        return place.seq < place.accepted or self._retry_is_asked

    def _take_lease(self) -> bool:
        with writing(self._engine, durable=False) as connection:
            taken = lease.take(connection, self._stream, self._owner)
        if taken is None:
            return False
        self._token, self._applied_seq = taken
        self._tables.forget()
        return True

    def _apply_next(
        self, connection: Connection, hold: lease.Hold, ready: Sequence[SealedBatch], run: _Run
    ) -> None:
        limit = ONE_TRANSACTION if hold.head.seq < self._careful_to else self._limits.span
        batches: Iterable[SealedBatch] = _directly_after(hold, ready, limit)
        if not batches:
            last = self._ledger.span(connection, self._stream, hold.head.seq, limit)
            if last is None:
                return
            room = self._limits.reading_bytes
            batches = self._ledger.walk(connection, self._stream, hold.head, last, room)
        for sealed in batches:
            run.at = sealed
            run.add(sealed, *self._apply(connection, sealed, run))
        self._advance(connection, hold.head.seq, run)
        for held, seq in run.copied:
            holding.let_go(connection, held, holding.COPIED, broken_seq=seq)

    def _apply(self, connection: Connection, sealed: SealedBatch, run: _Run) -> tuple[Batch, int]:
        """The batch, and how many of its rows went in."""
        try:
            batch = codec.decode(sealed.header, sealed.payload)
        except Refused as error:
            raise _Unfit(error.what, where=error.where, fix=error.fix) from error
        waiting = 0
        for delta in batch.deltas:
            if run.held and run.leaves_out(delta, sealed.seq):
                waiting += delta.rows
            else:
                self._tables.put(connection, delta, run.shapes)
        return batch, batch.rows - waiting

    def _advance(self, connection: Connection, before: int, run: _Run) -> None:
        place = {
            "last": run.head.seq,
            "seal_epoch": run.head.epoch,
            "seal": run.head.digest,
            "place": run.position,
            "commit_us": run.last_commit_us,
            "more_batches": run.batches,
            "more_rows": run.rows,
            "more_bytes": run.bytes,
        }
        ours = {"which": self._stream, "ours": self._token, "before": before}
        if connection.execute(_ADVANCE, {**ours, **place}).rowcount != 1:
            raise lease.LeaseLost("another process moved the cursor", where=self._stream)

    def _blame(self, run: _Run, error: ExchangeError) -> bool:
        """Hold what the batch after *run* fails for; first find it alone, so that those before it are applied."""
        seq = run.head.seq + 1
        if self._careful_to < seq:
            self._careful_to = seq
            return True
        if not isinstance(error, TableHold) or run.at is None:
            self._hold_stream(seq, error)
        elif not self._hold_table(run, error, run.at):
            self._token = None
            return False
        return True

    def _hold_stream(self, seq: int, error: ExchangeError) -> None:
        held = _held_by(self._stream, seq, error)
        state = {"state": held.state, "code": held.code, "sentence": held.what, "fix": held.fix}
        with writing(self._engine) as connection:
            ours = {"which": self._stream, "ours": self._token}
            if connection.execute(_PUT_ASIDE, {**ours, **state, "held_seq": seq}).rowcount:
                facts: dict[str, audit.Fact] = {"seq": seq, "code": held.code, "what": held.what}
                audit.record(connection, self._stream, "apply_held", **facts)
        raise held from error

    def _hold_table(self, run: _Run, error: TableHold, sealed: SealedBatch) -> bool:
        """Leave the table out from its source transaction on; False when another process works here now."""
        rows = self._rows(run, error.table, sealed) if isinstance(error, BadRow) else []
        try:
            with writing(self._engine) as connection:
                if lease.hold(connection, self._stream, self._token or 0).head.seq == run.start.seq:
                    holding.hold_table(connection, run.start, holding.Trouble(error, sealed, rows))
        except lease.LeaseLost:
            return False
        return True

    def _rows(self, run: _Run, table: str, sealed: SealedBatch) -> list[Location]:
        """Which rows are bad; not asked amid a source transaction, whose earlier parts are not there any more."""
        if run.batches:
            return []
        batch = codec.decode(sealed.header, sealed.payload)
        return locate_in(deltas_of(batch, table), partial(self._tables.attempt, self._token or 0))


def _directly_after(hold: lease.Hold, ready: Sequence[SealedBatch], limit: Span) -> list[SealedBatch]:
    """Those of *ready* that continue the applied chain, are in the ledger, and end with a source transaction."""
    head, next_ones = hold.head, []
    for batch in ready:
        if batch.seq <= head.seq:
            continue
        follows = batch.digest == chain(head.digest, batch.stream, batch.epoch, head.seq + 1, batch.header)
        if batch.seq > hold.place.accepted or not follows:
            break
        next_ones.append(batch)
        head = batch.head
    last = whole_within(map(Size.of, next_ones), limit) or 0
    return [batch for batch in next_ones if batch.seq <= last]


def _held_by(stream: str, seq: int, error: ExchangeError) -> Poisoned:
    mend = f"{error.fix or 'mend the cause'}; then exchange-central stream retry {stream}"
    fix = f"{mend}, or stream skip and a fresh copy of its tables at the node"
    return Poisoned(f"batch {seq}: {error.what}", where=stream, fix=fix)


def _raise_if_held(stream: str, place: lease.Place) -> None:
    if place.state != State.RUNNING:
        raise Poisoned(place.sentence, where=stream, fix=place.fix)
