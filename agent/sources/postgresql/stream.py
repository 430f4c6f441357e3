"""The change stream: messages in, whole commits out.

Messages of a transaction wait until its commit is here, so that what is handed out ends at a commit. Only a
transaction over the limits is decoded as it comes and handed out in parts. Everything up to ``passed`` has been
handed out: the end of the last commit or, when nothing is pending, what the server says it has sent.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent.sources.postgresql.keyless import Keyless
from agent.sources.postgresql.pgoutput import Collector
from agent.sources.postgresql.tap import KIND_AT
from agent.sources.postgresql.wire import BEGIN, Walsender
from agent.sources.source import Limits
from proto.batch import Delta

_XID: Final = struct.Struct(">I")
_BEGIN: Final = struct.Struct(">Q8xI")


@dataclass(frozen=True, slots=True)
class Cut:
    """What was handed out: up to ``lsn``, or a part of a transaction after it."""

    lsn: int
    deltas: tuple[Delta, ...]
    first_commit_us: int = 0
    last_commit_us: int = 0
    transactions: int = 0
    xids: tuple[int, ...] = ()
    continues: bool = False


class Stream:
    """Reads one walsender through one collector."""

    def __init__(
        self, wire: Walsender, collector: Collector, keyless: Keyless, lsn: int, empty_every_s: float
    ) -> None:
        """Stream after *lsn*; a batch without deltas may carry the position on every *empty_every_s* seconds."""
        self._keyless = keyless
        self._wire = wire
        self._collector = collector
        collector.transactions.skip_until = lsn
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._whole = 0
        self._open_xid = 0
        self._empty_every_s = empty_every_s
        self._cut_at_s = time.monotonic()
        self.lsn = lsn
        """Where the last cut ended."""
        self.passed = lsn
        self.continues = False
        """The last cut was a part of a transaction; its other parts are still to come."""
        self.silent: set[int] = set()
        """Transactions that passed by without a change for us. Whoever reads them empties it."""

    @property
    def between(self) -> bool:
        """Everything decoded was handed out, and it ended at a commit."""
        return not self.continues and not self._collector.transactions.is_open and not self._collector.rows

    @property
    def quiet(self) -> bool:
        """Nothing is pending here."""
        return not self._pending and not self._collector.transactions.is_open

    def read(self, limits: Limits, attend: Callable[[], float]) -> Cut | None:
        """The next cut; None when nothing came in time, or *attend* no longer wants to wait.

        *attend* is called whenever nothing is there; it says how long it may be left alone.
        """
        deadline_s = time.monotonic() + limits.wait_s
        while True:
            self._gather(limits)
            self._absorb(limits)
            if cut := self._cut(limits):
                return cut
            left_s = min(deadline_s - time.monotonic(), attend())
            if left_s <= 0:
                return self._empty_cut()
            self._wire.wait(left_s)

    def _gather(self, limits: Limits) -> None:
        """Take what is waiting, up to the limits."""
        while not self._over(len(self._pending), self._pending_bytes, limits):
            before = len(self._pending)
            for taken in self._wire.drain(limits.bytes - self._pending_bytes):
                if taken.whole:
                    self._whole = len(self._pending) + taken.whole
                self._pending += taken.data
                self._pending_bytes += taken.bytes
            if len(self._pending) == before or not self._wire.wait(0):
                break

    def _absorb(self, limits: Limits) -> None:
        """Decode whole transactions; of one that is too large, what is here of it."""
        if self._whole:
            ready, self._pending = self._pending[: self._whole], self._pending[self._whole :]
        elif self._collector.transactions.is_open or self._over(
            len(self._pending), self._pending_bytes, limits
        ):
            ready, self._pending = self._pending, []
            if not self._collector.transactions.is_open:
                self._open_xid = next(
                    _XID.unpack_from(m, KIND_AT + 17)[0] for m in ready if m[KIND_AT] == BEGIN
                )
        else:
            return
        self._whole = 0
        self._pending_bytes = sum(map(len, self._pending))
        self._feed(ready)

    def _feed(self, ready: list[bytes]) -> None:
        """Decode, and ask for every transaction by itself while some of them come with a copy."""
        if self._keyless.turned():
            self._collector.replan()
        start = 0
        for at, message in enumerate(ready if self._keyless.divides else ()):
            if message[KIND_AT] == BEGIN:
                self._collector.feed(ready[start:at])
                start = at
                self._keyless.begin(*_BEGIN.unpack_from(message, KIND_AT + 1))
                if self._keyless.turned():
                    self._collector.replan()
        self._collector.feed(ready[start:] if start else ready)

    def _cut(self, limits: Limits) -> Cut | None:
        collector = self._collector
        transactions = collector.transactions
        if transactions.is_open:
            return self._part() if self._over(collector.rows, collector.size_bytes, limits) else None
        if transactions.count or transactions.end_lsn > self.passed:
            return self._whole_cut()
        if self.quiet:
            self.passed = max(self.passed, self._wire.wal_end)
        return None

    def _part(self) -> Cut:
        self.continues = True
        return Cut(self.lsn, self._collector.take(), xids=(self._open_xid,), continues=True)

    def _whole_cut(self) -> Cut | None:
        """Everything up to the last commit; None when none of it is ours."""
        collector = self._collector
        ended = collector.transactions
        facts = (ended.first_commit_us, ended.last_commit_us, ended.count)
        xids = tuple(ended.xids)
        deltas = collector.take()
        self.passed = max(self.passed, ended.end_lsn, self._wire.wal_end if self.quiet else 0)
        if not deltas and not self.continues:
            self.silent.update(xids)
            return None
        self.continues = False
        return self._handed_out(Cut(self.passed, deltas, *facts, xids))

    def _empty_cut(self) -> Cut | None:
        """Let the position pass over what others did, now and then."""
        if (
            self.continues
            or self.passed == self.lsn
            or time.monotonic() < self._cut_at_s + self._empty_every_s
        ):
            return None
        return self._handed_out(Cut(self.passed, ()))

    def _handed_out(self, cut: Cut) -> Cut:
        self.lsn = cut.lsn
        self._cut_at_s = time.monotonic()
        return cut

    @staticmethod
    def _over(rows: int, size_bytes: int, limits: Limits) -> bool:
        return rows >= limits.rows or size_bytes >= limits.bytes
