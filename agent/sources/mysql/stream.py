"""The change stream: events in, whole transactions out.

What is handed out ends at a transaction's end. While earlier transactions wait to be handed out, the events of the
next one wait until its end is here; otherwise they are decoded as they come, and what is over the limits is handed
out in parts. A file's end, a heartbeat and what others changed move the place on without a word.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from agent.sources.mysql.binlog import Collector
from agent.sources.mysql.events import HEADER_BYTES, EventType, header
from agent.sources.mysql.lane import OPERATIONS
from agent.sources.mysql.place import Place, Spot
from agent.sources.mysql.refusals import AFRESH
from agent.sources.mysql.statements import Beginning, read_mariadb_gtid, read_mysql_gtid, read_statement
from agent.sources.mysql.wire import Dump
from agent.sources.source import Limits
from proto.batch import Delta
from proto.errors import Gap, Halt, Refused

WAITING_BYTES: Final = 1 << 20
"""How much of a transaction waits for its end while others wait to be handed out."""
_WRAP: Final = 1 << 32
"""Offsets in events are cut to 32 bits; files may be longer."""
_LOAD_QUERY: Final = 18
"""A LOAD DATA that was logged as a statement."""
_QUERIES: Final = frozenset({EventType.QUERY, EventType.MARIADB_QUERY_COMPRESSED})
_ROWS: Final = frozenset(
    {*OPERATIONS, EventType.TABLE_MAP, EventType.PARTIAL_UPDATE_ROWS, EventType.TRANSACTION_PAYLOAD}
)


@dataclass(frozen=True, slots=True)
class Cut:
    """What was handed out: everything up to ``place``, or a part of a transaction after it."""

    place: Place
    deltas: tuple[Delta, ...]
    first_commit_us: int = 0
    last_commit_us: int = 0
    transactions: int = 0
    continues: bool = False


class Ears(Protocol):
    """Who hears what the log says in words."""

    def statement(self, text: str, database: str) -> None:
        """A statement ran in *database*; everything before it is decoded."""
        ...

    def doubtful(self, maps: Sequence[bytes], why: str) -> None:
        """What became of the rows of these tables cannot be told."""
        ...


@dataclass(slots=True)
class _Group:
    """A transaction whose end is not here yet."""

    beginning: Beginning
    is_open: bool
    """It ends with a commit and not after one statement."""
    waiting: list[bytes] = field(default_factory=list)
    waiting_bytes: int = 0
    is_decoded: bool = False
    """Its events are decoded as they come."""
    is_prepared: bool = False
    """Whether its rows ever count is decided by another transaction."""
    maps: list[bytes] = field(default_factory=list)
    """The tables its rows belong to."""


class Stream:
    """Reads one dump through one collector."""

    def __init__(self, wire: Dump, collector: Collector, place: Place, ears: Ears, every_s: float) -> None:
        """When nothing is ours, a cut without deltas carries the place on every *every_s* seconds."""
        self._wire = wire
        self._collector = collector
        self._ears = ears
        self._every_s = every_s
        self._events: deque[bytes] = deque()
        self._group: _Group | None = None
        self._file, self._offset, self._born_s = place.spot.file, place.spot.offset, place.born_s
        self._at_s = place.at_s
        self._base = place
        self.gtids = place.read_gtids()
        """Every transaction that has ended here."""
        self.passed = place.spot
        """Where the last of them ended."""
        self.place = place
        """Where the last cut ended."""
        self.continues = False
        """The last cut was a part of a transaction; its other parts are still to come."""
        self._moved = False
        self._cut_at_s = time.monotonic()
        self._facts = (0, 0, 0)

    @property
    def between(self) -> bool:
        """Everything decoded was handed out, and it ended with a transaction."""
        return (
            not self.continues and not self._collector.rows and not self._facts[2] and not self._is_decoding
        )

    def read(self, limits: Limits, attend: Callable[[], float]) -> Cut | None:
        """The next cut; None when nothing came in time, or *attend* no longer wants to wait.

        *attend* is called whenever nothing is there; it says how long it may be left alone.
        """
        deadline_s = time.monotonic() + limits.wait_s
        while True:
            while self._events:
                self._take_in(self._events.popleft())
                if (cut := self._full(limits)) is not None:
                    return cut
            if self._wire.wait(0):
                self._events.extend(self._wire.drain(limits.bytes))
                continue
            if self._facts[2] and not self._is_decoding and (cut := self._whole()) is not None:
                return cut
            left_s = min(deadline_s - time.monotonic(), attend())
            if left_s <= 0:
                return self._empty()
            self._wire.wait(left_s)

    @property
    def _is_decoding(self) -> bool:
        return self._group is not None and self._group.is_decoded

    def _full(self, limits: Limits) -> Cut | None:
        """A cut, if it is time for one although more is here."""
        over = self._collector.rows >= limits.rows or self._collector.size_bytes >= limits.bytes
        group = self._group
        if group is None or not group.is_decoded:
            if self._facts[2] and (over or (group is not None and group.waiting_bytes > WAITING_BYTES)):
                return self._whole()
            return None
        return self._part() if over else None

    def _part(self) -> Cut:
        self.continues = True
        return Cut(self.place, tuple(self._collector.drain()), continues=True)

    def _whole(self) -> Cut | None:
        """Everything up to the last transaction's end; None when none of it is ours."""
        facts, self._facts = self._facts, (0, 0, 0)
        deltas = tuple(self._collector.drain())
        if not deltas and not self.continues:
            return None
        self.continues = False
        return self._handed_out(deltas, facts)

    def _empty(self) -> Cut | None:
        """Let the place pass over what others did, now and then."""
        if not self._moved or not self.between or time.monotonic() < self._cut_at_s + self._every_s:
            return None
        return self._handed_out((), (0, 0, 0))

    def _handed_out(self, deltas: tuple[Delta, ...], facts: tuple[int, int, int]) -> Cut:
        self.place = self._base.at(str(self.gtids), self.passed, self._born_s, self._at_s)
        self._moved = False
        self._cut_at_s = time.monotonic()
        return Cut(self.place, deltas, *facts)

    # Events

    def _take_in(self, event: bytes) -> None:
        kind = event[4]
        if kind in _ROWS:
            self._rows(event)
        elif kind == EventType.XID:
            self._end(event)
        elif kind in _QUERIES:
            self._query(event)
        elif (handler := _HANDLERS.get(kind)) is not None:
            handler(self, event)

    def _rows(self, event: bytes) -> None:
        group = self._group
        if group is None:
            raise Refused("the log has rows outside a transaction")
        if event[4] == EventType.TABLE_MAP:
            group.maps.append(event)
        if group.is_prepared:
            return
        if not group.is_decoded and not self._facts[2]:
            # Nothing waits to be handed out, so this transaction may be handed out in parts.
            self._decode(group)
        if group.is_decoded:
            self._collector.add(event)
        else:
            group.waiting.append(event)
            group.waiting_bytes += len(event)

    def _decode(self, group: _Group) -> None:
        group.is_decoded = True
        for event in group.waiting:
            self._collector.add(event)
        group.waiting.clear()
        group.waiting_bytes = 0

    def _begin_mariadb(self, event: bytes) -> None:
        beginning = read_mariadb_gtid(event, header(event).server_id)
        self._group = _Group(beginning, not beginning.stands_alone, is_prepared=beginning.is_prepared)

    def _begin_mysql(self, event: bytes) -> None:
        self._group = _Group(read_mysql_gtid(event), is_open=False)

    def _query(self, event: bytes) -> None:
        group = self._group
        if group is None:
            raise Refused("the log has a statement outside a transaction")
        database, text = read_statement(event)
        words = text[:32].upper().split()
        if words[:1] == ["BEGIN"]:
            group.is_open = True
        elif words[:1] == ["XA"]:
            self._two_phase(group, words, event)
        elif words == ["COMMIT"]:
            self._end(event)
        elif words[:1] == ["ROLLBACK"]:
            self._rolled_back(group, words, event)
        elif words[:1] not in (["SAVEPOINT"], ["RELEASE"]):
            self._decode(group)
            self._ears.statement(text, database)
            if not group.is_open:
                self._end(event)

    def _two_phase(self, group: _Group, words: list[str], event: bytes) -> None:
        if words[1:2] in (["START"], ["BEGIN"]):
            group.is_open = group.is_prepared = True
        elif words[1:2] != ["END"]:
            self._end(event)

    def _rolled_back(self, group: _Group, words: list[str], event: bytes) -> None:
        """It is in the log because a part of it stays: rows of tables without transactions."""
        self._ears.doubtful(group.maps, "a transaction was rolled back in part")
        if len(words) == 1:
            group.waiting.clear()
            self._end(event)

    def _end(self, event: bytes) -> None:
        """A transaction ends with this event."""
        group, self._group = self._group, None
        if group is None:
            raise Refused("the log ends a transaction that did not begin")
        self._decode(group)
        if group.is_prepared:
            self._ears.doubtful(group.maps, "a two-phase (XA) transaction changed the table")
        told = header(event)
        self._advance(told.next_position)
        self.gtids.add(group.beginning.gtid)
        self.passed = Spot(self._file, self._offset)
        self._at_s = header(group.maps[-1]).time_s if group.maps else told.time_s
        self._moved = True
        at_us = group.beginning.at_us or told.time_s * 1_000_000
        first, _, count = self._facts
        self._facts = (first or at_us, at_us, count + 1)

    def _advance(self, offset: int) -> None:
        """The place in the file, whose upper half the event leaves out."""
        whole = self._offset - self._offset % _WRAP + offset
        self._offset = whole if whole >= self._offset else whole + _WRAP

    def _rotate(self, event: bytes) -> None:
        file = event[HEADER_BYTES + 8 :].decode()
        if file != self._file:
            self._file, self._offset = file, 0

    def _format(self, event: bytes) -> None:
        self._born_s = header(event).time_s
        self._pass(event)

    def _pass(self, event: bytes) -> None:
        """What stands between transactions is passed as well; a stream that begins midway is told of a file's first event."""
        offset = header(event).next_position
        if self._group is None and offset > self._offset:
            self._offset = offset
            self.passed = Spot(self._file, offset)
            self._moved = True

    def _load(self, event: bytes) -> None:
        self._ears.statement("LOAD DATA", "")

    def _incident(self, event: bytes) -> None:
        raise Gap("the server says that changes are missing in its log", fix=AFRESH)

    def _tagged(self, event: bytes) -> None:
        raise Halt("tagged transaction ids are not supported", fix="do not set gtid_next to AUTOMATIC:<tag>")


_HANDLERS: Final[dict[int, Callable[[Stream, bytes], None]]] = {
    EventType.MARIADB_GTID: Stream._begin_mariadb,
    EventType.GTID: Stream._begin_mysql,
    EventType.GTID_TAGGED: Stream._tagged,
    EventType.ROTATE: Stream._rotate,
    EventType.FORMAT_DESCRIPTION: Stream._format,
    EventType.XA_PREPARE: Stream._end,
    EventType.INCIDENT: Stream._incident,
    _LOAD_QUERY: Stream._load,
    **dict.fromkeys(
        (
            *(EventType.PREVIOUS_GTIDS, EventType.HEARTBEAT, EventType.STOP),
            *(EventType.MARIADB_GTID_LIST, EventType.MARIADB_BINLOG_CHECKPOINT),
        ),
        Stream._pass,
    ),
}
