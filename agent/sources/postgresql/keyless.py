"""The first copy of a table without a key: one snapshot, read to its end, and a stream that is divided by it.

A row without a key cannot be told from its equals, so no row may come twice and none can be mended later. The
snapshot knows of every transaction whether it has seen it: what it has seen is left out of the stream, and the stream
brings all the rest. Until it is taken, the table is left out altogether, so it must have seen every transaction that
went by before; if one is missing (the log knows a commit before other sessions do), another snapshot is taken. It
must also have seen those that were open when this session began: an earlier one may have delivered them.

Such a copy cannot go on after a break: it begins again, with an emptied table. While it lasts it holds the lock of any
SELECT, so whoever wants to empty or alter the table would wait for its end, and everybody else behind him: it gives way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

from agent.sources.postgresql.connection import Connection, translated
from agent.sources.postgresql.pages import PageReader, RawPage, Snapshot
from agent.sources.postgresql.shapes import AFRESH, Shape
from proto.batch import NO_FRAMES, Frames
from proto.errors import SchemaHold, Transient

LOCKED_FOR_S: Final = 10.0
LOOK_EVERY_S: Final = 1.0
_WAITS: Final = "SELECT pid FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid)) LIMIT 1"


@dataclass(eq=False)
class Frozen:
    """A table as one snapshot sees it, half read."""

    shape: Shape
    snapshot: Snapshot
    high: int
    """Whatever the snapshot has seen lies before this place in the log."""
    rows: Iterator[Frames]
    pid: int
    """The server's process that reads it; until it is told to stop, nobody can empty or alter the table."""

    def page(self) -> RawPage:
        """The rows that come next; an empty last page when there are no more."""
        rows = next(self.rows, None)
        return RawPage(self.shape.schema, rows or NO_FRAMES, b"", rows is None, self.snapshot, self.high)

    def compare(self, now: Shape) -> None:
        """Raise SchemaHold unless the table is *now* as it is read."""
        if now.schema.fingerprint != self.shape.schema.fingerprint:
            what = "its structure changed while it was copied"
            raise SchemaHold(self.shape.schema.name, what, fix=AFRESH)


class Keyless:
    """What the stream leaves out for such copies, and the snapshot of the one that is under way."""

    def __init__(
        self,
        thread: Executor,
        connected: Callable[[], PageReader],
        unsure: Collection[int],
        page_limits: tuple[int, int],
    ) -> None:
        """*unsure* holds the transactions that were open when the session began; pages end at rows or bytes."""
        self._thread = thread
        self._connected = connected
        self._unsure = frozenset(unsure)
        self._page_limits = page_limits
        self._waiting: set[str] = set()
        self._frozen: Frozen | None = None
        self._divides = self._hides = False
        self._is_stale = False
        self._reader: Future[PageReader] | None = None
        self._locked_since_s = 0.0
        self._look_at_s = 0.0

    # What the stream asks

    @property
    def divides(self) -> bool:
        """Whether it matters which transaction a change belongs to."""
        return self._divides

    def leaves_out(self, table: str) -> bool:
        """Whether the changes of *table* are left out, in the transaction that began last."""
        return table in self._waiting or (self._hides and self.frozen(table) is not None)

    def begin(self, commits_at: int, xid: int) -> None:
        """A transaction begins: its changes of the frozen table come with the copy or with the stream, never both."""
        self._divides = self._frozen is not None and commits_at < self._frozen.high
        hides = self._divides and self._frozen is not None and not self._frozen.snapshot.shows_running(xid)
        self._is_stale |= hides != self._hides
        self._hides = hides

    def turned(self) -> bool:
        """Whether another table is left out than when this was asked last."""
        was, self._is_stale = self._is_stale, False
        return was

    # What the copies ask

    def start(self, table: str) -> None:
        """Leave a table out until it is frozen."""
        self._waiting.add(table)
        self._is_stale = True

    def forget(self, table: str) -> None:
        """Its copy is done or given up: leave nothing of it out."""
        self._is_stale |= self.leaves_out(table)
        self._waiting.discard(table)
        if self.frozen(table) is not None:
            self._frozen, self._divides, self._hides = None, False, False
            self._hang_up()

    def frozen(self, table: str) -> Frozen | None:
        """The copy of *table* that is being read."""
        return self._frozen if self._frozen and self._frozen.shape.schema.name == table else None

    def freeze(self, shape: Shape, delivered: Collection[int], ring: Callable[[], None]) -> bool:
        """Take the snapshot, if it can be taken now. The stream must be between two transactions.

        Never waits for others: neither for the connection nor for a lock that somebody holds. False = ask again.
        """
        if self._reader is None:
            self._reader = self._thread.submit(self._connected)
            self._reader.add_done_callback(lambda _: ring())
        if not self._reader.done():
            return False
        reader = self._reader.result()
        found = reader.freeze(shape)
        if found is None:
            return self._is_patient(shape)
        self._locked_since_s = 0.0
        snapshot, high = found
        if any(map(snapshot.shows_running, delivered)) or any(map(snapshot.shows_running, self._unsure)):
            reader.thaw()
            return False
        self._unsure = frozenset()
        rows = reader.everything(shape, *self._page_limits)
        self._frozen = Frozen(shape, snapshot, high, rows, reader.pid)
        # Until the next transaction begins nothing is read that could be another's.
        self._waiting.discard(shape.schema.name)
        self._divides = self._hides = True
        return True

    def give_way(self, connection: Connection) -> None:
        """Raise Transient when somebody waits for the table that is being read; cheap when called often."""
        if self._frozen is None or time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        name = self._frozen.shape.schema.name
        with translated(name):
            row = connection.execute(_WAITS, (self._frozen.pid,)).fetchone()
        if row is not None:
            raise Transient(f"the copy gives way to process {row[0]}, which waits for the table", where=name)

    def close(self) -> None:
        """Hang up, once nothing is being read any more."""
        if self._reader is not None and self._reader.done() and not self._reader.cancelled():
            if self._reader.exception() is None:
                self._reader.result().close()
            self._reader = None

    def _hang_up(self) -> None:
        """Let the server forget the snapshot, after what is being read of it now."""
        if self._reader is not None:
            self._thread.submit(self._reader.result().close)
            self._reader = None

    def _is_patient(self, shape: Shape) -> bool:
        now_s = time.monotonic()
        self._locked_since_s = self._locked_since_s or now_s
        if now_s - self._locked_since_s > LOCKED_FOR_S:
            raise Transient("the table is locked by another session", where=shape.schema.name)
        return False
