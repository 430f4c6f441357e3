"""pgoutput's messages (protocol 1) become collapsed deltas; pure functions of bytes, no connection here.

The hot loop (``_pgoutput``, compiled) takes runs of plain inserts, updates and deletes; everything else, and
everything when it was not built, is done here. Both give the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.sources.postgresql.lane import (
    HEADER_BYTES,
    LENGTH,
    RELID,
    Lane,
    Relation,
    RelationColumn,
    TablePlan,
    read_relation,
    string_at,
)
from agent.sources.postgresql.transactions import Transactions
from proto.batch import Delta
from proto.errors import Refused, TableHold

if TYPE_CHECKING:
    HotLoop: type | None
    HotTransactions: type[Transactions] | None
else:
    try:
        from agent.sources.postgresql._pgoutput import HotLoop, HotTransactions
    except ImportError:
        HotLoop = HotTransactions = None

__all__ = ["Collector", "LogicalMessage", "Relation", "RelationColumn", "TablePlan"]

_MESSAGE: Final = struct.Struct(">BQ")


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """What somebody wrote into the log with pg_logical_emit_message."""

    lsn: int
    prefix: str
    content: bytes
    transactional: bool


class Collector:
    """Takes messages in, gives collapsed deltas out.

    ``plan`` is asked at every description of a relation that differs from the last one of that relation: None
    leaves it out, a TableHold leaves it out and is kept in ``holds``. The facts below hold what came since the
    last :meth:`take`, unless they say otherwise.
    """

    def __init__(self, plan: Callable[[Relation], TablePlan | None], *, compiled: bool = True) -> None:
        self._plan = plan
        self._described: dict[int, bytes] = {}
        self._lanes: dict[int, Lane | None] = {}
        self._closed: list[Delta] = []
        self.transactions = Transactions()
        """Where they began and ended; the facts of their commits start anew at :meth:`take`."""
        self._hot = None
        if compiled and HotLoop is not None and HotTransactions is not None:
            self.transactions = HotTransactions()
            self._hot = HotLoop(self.transactions)
        self._keep_vanished = False
        self._rows = self._size_bytes = 0
        self.holds: list[TableHold] = []
        """Whoever reads them empties the list."""
        self._reset()

    @property
    def rows(self) -> int:
        """Row changes that came, before they were collapsed."""
        return self._rows + (self._hot.rows if self._hot is not None else 0)

    @property
    def size_bytes(self) -> int:
        """The bytes they came in: at least what is held in memory."""
        return self._size_bytes + (self._hot.size_bytes if self._hot is not None else 0)

    @property
    def keep_vanished(self) -> bool:
        """Keep deletes of rows that were inserted since the last take.

        Needed while a page of a first copy is being read: the page may have seen such a row.
        """
        return self._keep_vanished

    @keep_vanished.setter
    def keep_vanished(self, keep: bool) -> None:
        self._keep_vanished = keep
        for lane in self._lanes.values():
            if lane is not None:
                lane.pending.keep_vanished = keep
        if self._hot is not None:
            self._hot.keep_vanished = keep

    def feed(self, messages: Sequence[bytes]) -> None:
        """Take in CopyData messages of kind 'w', header included, in the order they came."""
        at, count = 0, len(messages)
        while at < count:
            if self._hot is not None and not self.transactions.skipping:
                at = self._hot.run(messages, at)
                if at == count:
                    return
            try:
                self._take_in(messages[at])
            except (struct.error, IndexError, ValueError) as error:
                raise Refused("a message of the log stream is cut off or malformed") from error
            at += 1

    def take(self) -> tuple[Delta, ...]:
        """Drain what is collapsed so far, to be applied in this order, and start the facts anew."""
        for relid, lane in self._lanes.items():
            if lane is not None:
                self._close(relid, lane)
        deltas = tuple(self._closed)
        self._closed.clear()
        self._reset()
        return deltas

    def replan(self) -> None:
        """Ask for every relation's plan again: a held table was resumed, or the catalogue changed."""
        for relid, body in self._described.items():
            self._adopt(relid, body)

    def _reset(self) -> None:
        self._rows = self._size_bytes = 0
        if self._hot is not None:
            self._hot.rows = self._hot.size_bytes = 0
        self.transactions.reset()
        self.messages: list[LogicalMessage] = []

    def _take_in(self, message: bytes) -> None:
        if message[0] != ord("w"):
            raise Refused("a message of the log stream is not of kind 'w'")
        kind = message[HEADER_BYTES : HEADER_BYTES + 1]
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise Refused(f"a message of the log stream has the unknown kind {kind!r}")
        handler(self, message)

    def _begin(self, message: bytes) -> None:
        self.transactions.begin(message)

    def _commit(self, message: bytes) -> None:
        self.transactions.commit(message)

    def _describe(self, message: bytes) -> None:
        body = message[HEADER_BYTES + 1 :]
        (relid,) = RELID.unpack_from(body)
        if self._described.get(relid) != body:
            self._described[relid] = body
            self._adopt(relid, body)

    def _adopt(self, relid: int, body: bytes) -> None:
        relation = read_relation(body)
        self._leave_out(relid)
        try:
            plan = self._plan(relation)
            lane = None if plan is None else Lane(relation, plan, self._closed)
        except TableHold as hold:
            self.holds.append(hold)
            return
        if lane is None:
            return
        lane.pending.keep_vanished = self._keep_vanished
        self._lanes[relid] = lane
        if self._hot is not None:
            self._hot.set_lane(relid, lane)

    def _leave_out(self, relid: int) -> None:
        lane = self._lanes.get(relid)
        self._lanes[relid] = None
        if self._hot is not None:
            self._hot.leave_out(relid)
        if lane is not None:
            self._close(relid, lane)

    def _close(self, relid: int, lane: Lane) -> None:
        try:
            lane.pending.close()
        except TableHold as hold:
            self.holds.append(hold)
            self._leave_out(relid)

    def _change(self, message: bytes) -> None:
        at = HEADER_BYTES + 1
        lane = self._lane(message, at)
        if lane is None or self.transactions.skipping:
            return
        try:
            lane.take_in(message)
        except TableHold as hold:
            self._leave_out(lane.relation.relid)
            self.holds.append(hold)
            return
        self._rows += 1
        self._size_bytes += len(message) - HEADER_BYTES

    def _truncate(self, message: bytes) -> None:
        at = HEADER_BYTES + 1
        (count,) = LENGTH.unpack_from(message, at)
        for number in range(count):
            lane = self._lane(message, at + 5 + 4 * number)
            if lane is not None and not self.transactions.skipping:
                lane.pending.truncate()

    def _lane(self, message: bytes, at: int) -> Lane | None:
        (relid,) = RELID.unpack_from(message, at)
        if relid not in self._lanes:
            raise Refused(f"a change names relation {relid}, which was never described")
        return self._lanes[relid]

    def _message(self, message: bytes) -> None:
        flags, lsn = _MESSAGE.unpack_from(message, HEADER_BYTES + 1)
        prefix, at = string_at(message, HEADER_BYTES + 1 + _MESSAGE.size)
        (length,) = LENGTH.unpack_from(message, at)
        content = message[at + 4 : at + 4 + length]
        if len(content) != length:
            raise Refused("a logical message is cut off")
        # One outside a transaction stands for itself; its place in the log says whether it is a replay.
        if not (self.transactions.skipping if flags & 1 else lsn < self.transactions.skip_until):
            self.messages.append(LogicalMessage(lsn, prefix, content, bool(flags & 1)))

    def _ignore(self, message: bytes) -> None:
        """Types and origins tell nothing that a row needs."""


_HANDLERS: Final[dict[bytes, Callable[[Collector, bytes], None]]] = {
    b"I": Collector._change,
    b"U": Collector._change,
    b"D": Collector._change,
    b"B": Collector._begin,
    b"C": Collector._commit,
    b"R": Collector._describe,
    b"T": Collector._truncate,
    b"M": Collector._message,
    b"Y": Collector._ignore,
    b"O": Collector._ignore,
}
