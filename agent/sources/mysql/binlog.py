"""Events of the binlog become collapsed deltas; pure functions of bytes, no connection here.

The hot loop (``_binlog``, compiled) takes runs of rows that tell every column; everything else, and everything when
it was not built, is done here. Both give the same bytes. Events come without the byte that precedes them on the
wire and without their checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.sources.mysql.events import (
    HEADER_BYTES,
    EventType,
    Header,
    checksum_ok,
    header,
    inflated,
)
from agent.sources.mysql.lane import OPERATIONS, Change, Lane, UnreadableValue
from agent.sources.mysql.plan import Plan, PlanColumn
from agent.sources.mysql.tablemap import ColumnType, MapColumn, TableMap, read_table_map
from proto.batch import Delta
from proto.errors import BadRow, Refused, TableHold
from proto.schema import TableSchema

if TYPE_CHECKING:
    HotLane: type | None
else:
    try:
        from agent.sources.mysql._binlog import HotLane
    except ImportError:
        HotLane = None

__all__ = [
    "Collector",
    "ColumnType",
    "EventType",
    "Header",
    "MapColumn",
    "Plan",
    "PlanColumn",
    "TableMap",
    "UnreadableValue",
    "checksum_ok",
    "header",
    "inflated",
    "read_table_map",
]

_TABLE_ID: Final = slice(HEADER_BYTES, HEADER_BYTES + 6)
_NO_TABLE: Final = 0xFFFFFF
"""In events that only say that a statement ends."""
_FULL_IMAGE: Final = "SET GLOBAL binlog_row_image = FULL; then copy the table afresh"


HotRun = Callable[[int, bytes, int], tuple[int, int]]
"""Takes in rows from a place on; says where it stopped and how many it took."""


@dataclass
class _Known:
    """A described table; without a lane it is left out."""

    table: TableMap
    body: bytes
    lane: Lane | None = None
    run: HotRun | None = None


class Collector:
    """Takes events in, gives collapsed deltas out.

    ``plan`` is asked at every table map that differs from the last one of that table: None leaves the table out, a
    TableHold leaves it out and goes to ``holds``, as does one that a change of the table causes.
    """

    def __init__(
        self,
        plan: Callable[[TableMap], Plan | None],
        holds: Callable[[TableHold], None],
        *,
        compiled: bool = True,
    ) -> None:
        self._plan = plan
        self._holds = holds
        self._hot = HotLane if compiled else None
        self._numbers: dict[int, _Known] = {}
        self._names: dict[tuple[str, str], _Known] = {}
        self._closed: list[Delta] = []
        self._keep_vanished = False
        self.rows = 0
        """Row changes that came since the last drain, before they were collapsed."""
        self.size_bytes = 0
        """The bytes they came in: at least what is held in memory."""

    @property
    def keep_vanished(self) -> bool:
        """Keep deletes of rows that were inserted since the last drain.

        Needed while a page of a first copy is being read: the page may have seen such a row.
        """
        return self._keep_vanished

    @keep_vanished.setter
    def keep_vanished(self, keep: bool) -> None:
        self._keep_vanished = keep
        for known in self._names.values():
            if known.lane is not None:
                known.lane.pending.keep_vanished = keep

    def add(self, event: bytes) -> None:
        """Take in a table map or rows; other events change no table and are passed over.

        Raises Refused when the event is damaged, or of a kind that changes tables and cannot be read.
        """
        try:
            kind = event[4]
            if kind == EventType.TABLE_MAP:
                self._describe(event)
            elif kind in OPERATIONS:
                self._change(event)
            elif kind in _UNREADABLE:
                _UNREADABLE[kind](self, event)
        except (struct.error, IndexError, ValueError, OverflowError) as error:
            raise Refused("an event of the binlog is cut off or malformed") from error

    def truncate(self, schema: str, table: str, unseen: TableSchema | None = None) -> None:
        """The table was emptied; *unseen* is its schema if no rows of it have come yet, None if nobody captures it."""
        known = self._names.get((schema, table))
        if known is None:
            if unseen is not None:
                self._closed.append(Delta(unseen, truncated=True))
        elif known.lane is not None:
            known.lane.pending.truncate()

    def drain(self) -> list[Delta]:
        """What is collapsed so far, to be applied in this order; the counts start anew."""
        for known in self._names.values():
            self._close(known)
        deltas = list(self._closed)
        self._closed.clear()
        self.rows = self.size_bytes = 0
        return deltas

    def replan(self) -> None:
        """Ask for every table's plan again: a held table was resumed, or the catalogue changed."""
        for known in self._names.values():
            self._adopt(known)

    def _describe(self, event: bytes) -> None:
        number = int.from_bytes(event[_TABLE_ID], "little")
        body = event[_TABLE_ID.stop :]
        known = self._numbers.get(number)
        if known is not None and known.body == body:
            return
        table = read_table_map(event)
        name = (table.schema, table.table)
        known = self._names.get(name)
        if known is not None and self._numbers.get(known.table.table_id) is known:
            # The server opened the table again; the old number will come for another one or never.
            del self._numbers[known.table.table_id]
        if known is None or known.body != body:
            if known is not None:
                self._leave_out(known)
            known = self._names[name] = _Known(table, body)
            self._adopt(known)
        known.table = table
        self._numbers[number] = known

    def _adopt(self, known: _Known) -> None:
        self._leave_out(known)
        try:
            plan = self._plan(known.table)
            lane = None if plan is None else Lane(known.table, plan, self._closed)
        except TableHold as hold:
            self._holds(hold)
            return
        if lane is None:
            return
        lane.pending.keep_vanished = self._keep_vanished
        known.lane = lane
        if self._hot is not None:
            known.run = self._hot(lane).run

    def _leave_out(self, known: _Known) -> None:
        self._close(known)
        known.lane = known.run = None

    def _close(self, known: _Known) -> None:
        if known.lane is not None:
            known.lane.pending.close()

    def _hold(self, known: _Known, hold: TableHold) -> None:
        self._leave_out(known)
        self._holds(hold)

    def _change(self, event: bytes) -> None:
        known = self._known(event)
        if known is None or known.lane is None:
            return
        try:
            self._take_rows(known.lane, known.run, known.lane.change_in(event))
        except TableHold as hold:
            self._hold(known, hold)

    def _known(self, event: bytes) -> _Known | None:
        """The table that an event of rows names; None in one that only says that a statement ends."""
        number = int.from_bytes(event[_TABLE_ID], "little")
        known = self._numbers.get(number)
        if known is None and number != _NO_TABLE:
            raise Refused(f"a change names table {number}, which was never described")
        return known

    def _take_rows(self, lane: Lane, run: HotRun | None, change: Change) -> None:
        at, end = change.at, len(change.data)
        if at == end:
            raise BadRow(lane.pending.schema.name, "a row tells none of its columns", fix=_FULL_IMAGE)
        while at < end:
            start = at
            rows = 0
            if run is not None and change.is_whole:
                at, rows = run(change.operation, change.data, at)
            if at == start:
                at, rows = lane.take_in(change, at), 1
            if at == start:
                raise Refused("a row of the binlog has no bytes")
            self.rows += rows
            self.size_bytes += at - start

    def _refuse_part(self, event: bytes) -> None:
        known = self._known(event)
        if known is not None and known.lane is not None:
            what = "the server logs changes of JSON values in part"
            fix = "SET GLOBAL binlog_row_value_options = ''; then copy the table afresh"
            self._hold(known, BadRow(known.lane.pending.schema.name, what, fix=fix))

    def _refuse_payload(self, event: bytes) -> None:
        raise Refused(
            f"a transaction in the binlog is compressed ({len(event)} bytes)",
            fix="SET GLOBAL binlog_transaction_compression = OFF; then copy the tables afresh",
        )


_UNREADABLE: Final[dict[int, Callable[[Collector, bytes], None]]] = {
    EventType.PARTIAL_UPDATE_ROWS: Collector._refuse_part,
    EventType.TRANSACTION_PAYLOAD: Collector._refuse_payload,
}
