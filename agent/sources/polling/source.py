"""The polling source: any database that can be asked, with nothing but the right to read.

Changes are noticed by a watermark column; deletes, and updates that leave the watermark alone, only by a scheduled
comparison with the mirror. Nothing is made, locked or kept at the source. A commit is not kept whole: its rows are seen
when their pages are read. The position holds watermarks and how far a comparison is; the mirror is the rest of the
memory, so reading again from any position, after any crash, ends at the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from threading import Event
from typing import Final

from agent.sources.polling.checks import check
from agent.sources.polling.connecting import connect
from agent.sources.polling.pace import Pace
from agent.sources.polling.position import Place
from agent.sources.polling.reader import Reader
from agent.sources.polling.settings import PollingSettings, is_open
from agent.sources.polling.shapes import read_shape
from agent.sources.polling.tables import Tables
from agent.sources.polling.watcher import Found, Watcher
from agent.sources.source import Finding, Limits, Mirror, Page, Proof, Retained, Traits
from proto import frames
from proto.batch import Batch, Delta, Frames, Position
from proto.errors import Refused, SchemaHold
from proto.schema import TableSchema

NOTE_S: Final = 10.0
"""How often the position is told although nothing changed, so that a restart need not compare from the start."""
PAGES_AT_ONCE: Final = 8
CLOSED_S: Final = 5.0
IDLE_S: Final = 60.0
POLL, COMPARE = "poll", "compare"


class PollingSource:
    """One business database that is only ever asked."""

    traits = Traits(sees_deletes=False, keeps_commits_whole=False, can_reread=True, compares=True)

    def __init__(self, settings: PollingSettings, mirror: Mirror) -> None:
        self._settings = settings
        self._mirror = mirror
        self._pace = Pace(settings.load)
        self._stop = Event()
        self._place = Place()
        self._told: Position = ""
        self._noted_s = 0.0
        self._tables: Tables | None = None
        self._watchers: dict[str, Watcher] = {}
        self._copies: dict[str, bytes] = {}
        self._turn = 0

    def check(self) -> list[Finding]:
        """Look at every prerequisite; changes nothing."""
        return check(self._settings)

    def schemas(self) -> list[TableSchema]:
        """The captured tables as they are now, in configured order."""
        found: list[TableSchema] = []
        with closing(connect(self._settings)) as database:
            for table in self._settings.tables:
                # Why one is missing here is told by holds(): the others go on meanwhile.
                with suppress(SchemaHold):
                    found.append(read_shape(database, table).schema)
        return found

    def open(self, position: Position) -> Position:
        """Go on from *position*; a new stream notes the newest watermarks and starts there."""
        place = Place.parse(position)
        self.close()
        self._place = place
        self._tables = Tables(connect(self._settings), self._settings, self._mirror)
        for table in self._settings.tables:
            name = table.catalogued
            self._watchers[name] = Watcher(table, self._mirror, place.of(name))
            if not self._pace.closed():
                with self._tables.holding(name):
                    self._start(self._tables, self._watchers[name])
        self._told = position or str(place)
        self._noted_s = time.monotonic()
        return self._told

    def read(self, limits: Limits) -> Batch | None:
        """The next page that holds news; None after a quiet ``wait_s``, and at once when a copy may go on."""
        tables, until_s = self._opened, time.monotonic() + limits.wait_s
        while not self._stop.is_set():
            found, idle_s = self._step(tables, limits.rows)
            if found is not None and found.delta is not None:
                return self._batch(found.delta)
            left_s = until_s - time.monotonic()
            if left_s <= 0 or (self._copies and idle_s == 0.0):
                return self._note()
            self._stop.wait(min(left_s, idle_s))
        self._stop.clear()
        return None

    def holds(self) -> list[Exception]:
        """TableHold errors met since the last call."""
        return self._tables.take_news() if self._tables else []

    def resume_table(self, name: str) -> None:
        """Watch a held table again as it is now."""
        self._opened.resume(name)

    def keepalive(self) -> None:
        """Nobody waits for us."""

    def confirm(self, position: Position) -> None:
        """What was told up to *position* is in the mirror now."""
        for watcher in self._watchers.values():
            watcher.unconfirmed.confirm(position)

    def proof(self) -> Proof | None:
        """When every watermark was read to its end last; what only a comparison finds is not in it."""
        tables = self._tables
        watched = [w.proven_s for w in self._watchers.values() if tables and tables.watches(w.name)]
        if not watched or not min(watched) or self._copies:
            return None
        return Proof(self._told, int(min(watched) * 1_000_000))

    def start_copy(self, table: str, after_key: bytes) -> None:
        """Begin or go on with a first copy."""
        if self._opened.is_held(table):
            if after_key:
                raise SchemaHold(table, "it is held, so its copy cannot go on", fix="copy it afresh")
            self._opened.resume(table)
        self._copies[table] = after_key

    def pages(self) -> Iterator[Page]:
        """A few pages as they are now; nothing overtakes them, because one thread reads pages and changes alike."""
        tables = self._opened
        for table in list(self._copies):
            with tables.holding(table):
                for _ in range(PAGES_AT_ONCE):
                    if table not in self._copies or self._pace.closed() or self._pace.wait_s():
                        break
                    yield self._copied(tables.reader(table), table)
            if tables.is_held(table):
                self._copies.pop(table, None)

    def expected_rows(self, table: str) -> int:
        """The server's own estimate; 0 if it has none."""
        return self._opened.reader(table).estimate()

    def scan(self, table: str) -> Iterator[Frames]:
        """The whole table by one statement, on a connection of its own."""
        settings = next(one for one in self._settings.tables if one.catalogued == table)
        with closing(connect(self._settings)) as database:
            reader = Reader(database, read_shape(database, settings), settings.parts)
            yield from reader.everything(self._settings.load.page_rows)

    def retained(self) -> Retained | None:
        """Nothing is kept for us."""
        return None

    def give_up_place(self) -> None:
        """There is none."""

    def resting(self) -> str:
        """Why nothing is read now, in words; empty when it is."""
        return self._pace.closed()

    def stop_waiting(self) -> None:
        """Make a waiting read return soon."""
        self._stop.set()

    def close(self) -> None:
        """Hang up."""
        if self._tables is not None:
            self._tables.close()
            self._tables = None
        self._watchers.clear()
        self._copies.clear()

    @property
    def _opened(self) -> Tables:
        if self._tables is None:
            raise Refused("the source is not open", where=self._settings.name)
        return self._tables

    def _start(self, tables: Tables, watcher: Watcher) -> None:
        reader = tables.reader(watcher.name)
        if watcher.progress.compared_s:
            watcher.look_back(reader)
        else:
            watcher.start_at_newest(reader)
        watcher.started = True

    def _step(self, tables: Tables, limit_rows: int) -> tuple[Found | None, float]:
        """Read one page of what is due; what it brought, and how long there is nothing else to do."""
        if self._pace.closed():
            return None, CLOSED_S
        if wait_s := self._pace.wait_s():
            return None, wait_s
        watcher, idle_s = self._next(tables)
        if watcher is None:
            return None, 0.0 if self._copies else idle_s
        found: Found | None = None
        with tables.holding(watcher.name):
            found = self._look(tables, watcher, min(self._settings.load.page_rows, limit_rows))
            self._pace.spent(found.rows_read)
        return found, 0.0

    def _next(self, tables: Tables) -> tuple[Watcher | None, float]:
        """Whose turn it is among those that are due, and else the seconds until the first is."""
        watchers = [watcher for watcher in self._watchers.values() if tables.watches(watcher.name)]
        idle_s = IDLE_S
        for step in range(1, len(watchers) + 1):
            watcher = watchers[(self._turn + step) % len(watchers)]
            due_s = min(self._due(watcher), key=lambda due: due[0])[0]
            if due_s <= 0:
                self._turn = (self._turn + step) % len(watchers)
                return watcher, 0.0
            idle_s = min(idle_s, due_s)
        return None, idle_s

    def _due(self, watcher: Watcher) -> list[tuple[float, str]]:
        """Seconds until each kind of look at a table."""
        due = [(IDLE_S, "")]
        poll_s = watcher.poll_due_in(time.monotonic())
        if poll_s is not None:
            due.append((poll_s, POLL))
        compare_s = watcher.compare_due_in(time.time())
        may = watcher.name not in self._copies and is_open(
            watcher.settings.compare_windows, datetime.now().astimezone()
        )
        if compare_s is not None and may:
            due.append((compare_s, COMPARE))
        return due

    def _look(self, tables: Tables, watcher: Watcher, rows: int) -> Found:
        reader = tables.reader(watcher.name)
        if not watcher.started:
            self._start(tables, watcher)
        if tables.has_grown(watcher.name):
            watcher.compare_now()
        due = [what for due_s, what in self._due(watcher) if due_s <= 0]
        # A poll goes first and a comparison takes its turns between polls: neither keeps the other from its place.
        watcher.polled_last = POLL in due and not (watcher.polled_last and COMPARE in due)
        if watcher.polled_last:
            return watcher.poll(reader, rows, keep_all=watcher.name in self._copies)
        return watcher.compare(reader, rows)

    def _batch(self, delta: Delta) -> Batch:
        self._place.number += 1
        self._told, self._noted_s = str(self._place), time.monotonic()
        self._watchers[delta.schema.name].unconfirmed.tell(self._told, delta)
        return Batch(self._told, (delta,))

    def _note(self) -> Batch | None:
        """Nothing changed; now and then the position is told all the same, if it has moved."""
        if time.monotonic() - self._noted_s < NOTE_S:
            return None
        self._noted_s = time.monotonic()
        if str(self._place) == self._told:
            return None
        self._place.number += 1
        self._told = str(self._place)
        return Batch(self._told, ())

    def _copied(self, reader: Reader, table: str) -> Page:
        rows = self._settings.load.page_rows
        found = reader.page(self._copies[table], rows)
        self._pace.spent(found.count)
        schema = reader.shape.schema
        last_key = frames.keys(found.data, schema.key_indexes)[-1] if found else b""
        is_last = found.count < rows
        if is_last:
            del self._copies[table]
            self._watchers[table].copied()
        else:
            self._copies[table] = last_key
        return Page(schema, found, last_key, is_last)
