"""First copies beside the stream: pages are read ahead in a thread, and released when the stream has caught up.

A page is asked for at a place between two deliveries of the stream. (a) A transaction delivered before may still be
invisible to the page, because the log knows a commit before other sessions do: such a page is read again. (b) The
page waits until the stream has delivered everything it may have seen; what came in between wins (:mod:`page`).

One table is copied at a time, in the order asked; changes of those that wait are treated alike.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from agent.sources.mysql.pages import Asked, PageReader, RawPage
from agent.sources.mysql.place import Spot
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.shapes import AFRESH, Shape, Shapes
from agent.sources.mysql.stream import Stream
from agent.sources.page import overtaken
from agent.sources.source import Page
from agent.sources.wakeup import Wakeup
from proto.batch import NO_FRAMES, Delta
from proto.errors import SchemaHold, TableHold

READ_AHEAD: Final = 2
RETRY_S: Final = 0.05
STARTED: Final = Spot("", 0)


@dataclass(eq=False)
class Flight:
    """A page on its way, and what the stream delivered meanwhile."""

    table: str
    after_key: bytes
    future: Future[RawPage]
    window: list[Delta] = field(default_factory=list)


class Copies:
    """The first copies of one session."""

    def __init__(self, settings: MysqlSettings, shapes: Shapes, wakeup: Wakeup) -> None:
        self._settings = settings
        self._shapes = shapes
        self._wakeup = wakeup
        self._stop = Event()
        self._thread = ThreadPoolExecutor(1, "first-copy")
        self._reader: PageReader | None = None
        self._tables: dict[str, bytes] = {}
        self._flights: deque[Flight] = deque()
        self._limit_rows = settings.page_rows
        self._again_at_s = 0.0

    def start(self, table: str, after_key: bytes) -> None:
        """Begin or go on with one table's copy; a copy of it that is under way is forgotten."""
        self.abandon(table)
        self._tables[table] = after_key

    def abandon(self, table: str) -> None:
        """Stop copying a table."""
        self._tables.pop(table, None)
        if any(flight.table == table for flight in self._flights):
            self._flights.clear()

    @property
    def any_left(self) -> bool:
        """Whether a copy is under way or waits."""
        return bool(self._tables)

    def delivered(self, deltas: Iterable[Delta]) -> None:
        """Take note of what is handed out now."""
        for delta in deltas:
            for flight in self._flights:
                if flight.table == delta.schema.name:
                    flight.window.append(delta)

    def ask(self, stream: Stream) -> None:
        """Ask for the next page, if there is one to ask for. The stream must be between two transactions."""
        table = next(iter(self._tables), "")
        if not table or time.monotonic() < self._again_at_s:
            return
        if not self._flights:
            self._ask_for(table, self._tables[table], stream)
            return
        last = self._flights[-1]
        if len(self._flights) < READ_AHEAD and last.future.done() and not last.future.exception():
            page = last.future.result()
            if page.saw_all and not page.is_last:
                self._ask_for(table, page.last_key, stream)

    def ready(self, passed: Spot) -> bool:
        """Whether there is a page to release, or an error to raise."""
        if not self._flights or not self._flights[0].future.done():
            return False
        future = self._flights[0].future
        return future.exception() is not None or passed.reaches(future.result().high)

    def pages(self, stream: Stream) -> Iterator[Page]:
        """Release what the stream has caught up with; raises TableHold when a table cannot be copied."""
        while stream.between:
            # Also here, and not only when the stream is idle: under steady load it never is.
            self.ask(stream)
            page = self._release(self._flights[0]) if self.ready(stream.passed) else None
            if page is None:
                break
            yield page

    def close(self) -> None:
        """Stop reading and hang up."""
        self._stop.set()
        self._tables.clear()
        self._flights.clear()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._hang_up()

    def _ask_for(self, table: str, after_key: bytes, stream: Stream) -> None:
        shape = self._shapes.now[table]
        limits = (self._limit_rows, self._settings.page_bytes)
        asked = Asked(after_key, *limits, stream.passed, str(stream.gtids))
        future = self._thread.submit(self._read, shape, asked)
        self._flights.append(Flight(table, after_key, future))
        future.add_done_callback(lambda _: self._wakeup.ring())

    def _read(self, shape: Shape, asked: Asked) -> RawPage:
        if not shape.schema.key:
            return RawPage(shape.schema, NO_FRAMES, b"", True, True, STARTED)
        if self._reader is None:
            self._reader = PageReader(self._settings, self._stop.is_set)
        page = self._reader.after(shape, asked)
        # A page cut short by its bytes sets the size of the next ones; they grow again when rows get smaller.
        was_cut = page.saw_all and not page.is_last and page.rows.count < asked.limit_rows
        self._limit_rows = page.rows.count if was_cut else min(asked.limit_rows * 2, self._settings.page_rows)
        return page

    def _release(self, flight: Flight) -> Page | None:
        """The page, or None when it has to be read again."""
        try:
            page = flight.future.result()
        except TableHold:
            self.abandon(flight.table)
            raise
        now = self._shapes.now[flight.table].schema.fingerprint
        changed = {delta.schema.fingerprint for delta in flight.window} | {now}
        if not page.saw_all or changed != {page.schema.fingerprint}:
            self._read_again(flight)
            return None
        self._flights.popleft()
        if page.is_last:
            del self._tables[flight.table]
            if not self._tables:
                self._thread.submit(self._hang_up)
        else:
            self._tables[flight.table] = page.last_key
        rows = overtaken(page.rows, page.schema, flight.window)
        return Page(page.schema, rows, page.last_key, page.is_last)

    def _read_again(self, flight: Flight) -> None:
        """The stream has come as far as the page: if the table still is another one, the log said nothing of it."""
        self._flights.clear()
        self._again_at_s = time.monotonic() + RETRY_S
        shape = self._shapes.now[flight.table]
        facts = self._shapes.facts(shape.settings)
        if facts is None or not shape.matches(facts):
            self.abandon(flight.table)
            what = "its structure is not the one the log told, or the log has not told it yet"
            raise SchemaHold(flight.table, what, fix=AFRESH)

    def _hang_up(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(OSError):
                reader.close()
