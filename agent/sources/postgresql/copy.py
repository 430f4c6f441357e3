"""First copies beside the stream: pages are read ahead in a thread, and released when the stream has caught up.

A page is asked for at a place between two deliveries of the stream. (a) A transaction delivered before may still be
invisible to the page, because the log knows a commit before other sessions do: such a page is read again. (b) The
page waits until the stream has delivered everything it may have seen; what came in between wins (:mod:`page`).
(c) A key change without its large values is completed from the source before it is delivered, because the row it
moves may not have been copied yet, and might never be: its new key may lie behind us.

One table is copied at a time, in the order asked; changes of those that wait are treated alike.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from agent.sources.page import overtaken
from agent.sources.postgresql.connection import connect
from agent.sources.postgresql.keyless import Keyless
from agent.sources.postgresql.pages import PageReader, RawPage, Snapshot
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.shapes import Shape, Shapes
from agent.sources.postgresql.stream import Cut, Stream
from agent.sources.postgresql.wire import Wakeup
from agent.sources.source import Page
from proto import frames
from proto.batch import Delta, Frames
from proto.errors import ExchangeError, TableHold, Transient
from proto.schema import TableSchema

READ_AHEAD: Final = 2
RETRY_S: Final = 0.05
VISIBLE_WITHIN_S: Final = 30.0
FORGET_ABOVE: Final = 20_000


@dataclass(eq=False)
class Flight:
    """A page on its way, and what the stream delivered meanwhile."""

    table: str
    after_key: bytes
    suspects: frozenset[int]
    """Transactions delivered before it was asked for, of which we do not know that others see them."""
    future: Future[RawPage]
    window: list[Delta] = field(default_factory=list)


class Copies:
    """The first copies of one session."""

    def __init__(
        self, settings: PostgresqlSettings, shapes: Shapes, wakeup: Wakeup, unsure: Iterable[int] = ()
    ) -> None:
        """*unsure*: the transactions that were open when the session began."""
        self._settings = settings
        self._shapes = shapes
        self._wakeup = wakeup
        self._stop = Event()
        self._thread = ThreadPoolExecutor(1, "first-copy")
        self._reader: PageReader | None = None
        self._finder: PageReader | None = None
        self._tables: dict[str, bytes] = {}
        self._flights: deque[Flight] = deque()
        self._limit_rows = settings.page_rows
        self._again_at_s = 0.0
        self._looked_up = 0
        self._delivered: set[int] = set()
        limits = (settings.page_rows, settings.page_bytes)
        self.keyless = Keyless(self._thread, self._connected, frozenset(unsure), limits)

    def start(self, table: str, after_key: bytes) -> None:
        """Begin or go on with one table's copy; a copy of it that is under way is forgotten."""
        self.abandon(table)
        self._tables[table] = after_key
        if not self._shapes.now[table].schema.key:
            self.keyless.start(table)

    def abandon(self, table: str) -> None:
        """Stop copying a table."""
        self._tables.pop(table, None)
        self.keyless.forget(table)
        if any(flight.table == table for flight in self._flights):
            self._flights.clear()

    @property
    def any_left(self) -> bool:
        """Whether a copy is under way or waits."""
        return bool(self._tables)

    def covers(self, table: str) -> bool:
        """Whether the table is being copied or waits for it."""
        return table in self._tables

    def delivered(self, cut: Cut, deltas: Iterable[Delta]) -> None:
        """Take note of what is handed out now."""
        self._delivered.update(cut.xids)
        for delta in deltas:
            for flight in self._flights:
                if flight.table == delta.schema.name and delta.schema.key:
                    flight.window.append(delta)

    def passed_by(self, xids: set[int], snapshot: Callable[[], Snapshot]) -> None:
        """Take note of transactions that brought nothing, and forget those that others see, once they are many."""
        self._delivered |= xids
        xids.clear()
        if len(self._delivered) > FORGET_ABOVE:
            now = snapshot()
            self._delivered = {xid for xid in self._delivered if now.shows_running(xid)}

    def ask(self) -> None:
        """Ask for the next page, if there is one to ask for. The stream must be between two transactions."""
        table = next(iter(self._tables), "")
        if not table or time.monotonic() < self._again_at_s:
            return
        if not self._flights:
            if self._may_read(table):
                self._ask_for(table, self._tables[table])
            return
        last = self._flights[-1]
        if len(self._flights) < READ_AHEAD and last.future.done() and not last.future.exception():
            page = last.future.result()
            if not page.is_last:
                self._ask_for(table, page.last_key)

    def ready(self, passed: int) -> bool:
        """Whether there is a page to release, or an error to raise."""
        return self._waits_for(passed) == 0

    def wants_passed(self, passed: int) -> bool:
        """Whether a page only waits for the stream to prove that it has come far enough."""
        return self._waits_for(passed) > passed

    def pages(self, stream: Stream) -> Iterator[Page]:
        """Release what the stream has caught up with; raises TableHold when a table cannot be copied."""
        while stream.between:
            # Also here, and not only when the stream is idle: under steady load it never is.
            self.ask()
            page = self._release(self._flights[0]) if self.ready(stream.passed) else None
            if page is None:
                break
            yield page

    def completed(self, shape: Shape, deltas: Iterable[Delta], xids: Iterable[int]) -> list[Delta]:
        """One table's deltas with key changes that lack values turned into deletes and full rows from the source.

        The rows may be newer than the change: then the stream still brings what made them so.
        """
        split = [(delta, _moving(delta)) for delta in deltas]
        keys = {new for _, moves in split for _, new in moves}
        if not keys:
            return [delta for delta, _ in split]
        page = self._look_up(shape, sorted(keys), set(xids))
        self._looked_up = max(self._looked_up, page.high)
        names = frames.keys(page.rows.data, shape.schema.key_indexes)
        found = dict(zip(names, frames.split(page.rows.data), strict=True))
        return [told for delta, moves in split for told in _moved(delta, moves, shape.schema, found)]

    def close(self) -> None:
        """Stop reading and hang up."""
        self._stop.set()
        self._tables.clear()
        self._flights.clear()
        self._thread.shutdown(wait=True, cancel_futures=True)
        for reader in (self._reader, self._finder):
            if reader is not None:
                reader.close()
        self.keyless.close()

    def _may_read(self, table: str) -> bool:
        """Whether its pages can be asked for: without a key they come from one snapshot, taken at this place."""
        shape = self._shapes.now[table]
        if shape.schema.key or self.keyless.frozen(table):
            return True
        try:
            is_frozen = self.keyless.freeze(shape, self._delivered, self._wakeup.ring)
            if is_frozen and (frozen := self.keyless.frozen(table)):
                # The stream leaves out what would tell; now the table is locked, and the catalogue says it.
                frozen.compare(self._shapes.read(shape.settings))
        except ExchangeError as error:
            refused: Future[RawPage] = Future()
            refused.set_exception(error)
            self._flights.append(Flight(table, b"", frozenset(), refused))
            return False
        self._again_at_s = 0.0 if is_frozen else time.monotonic() + RETRY_S
        return is_frozen

    def _ask_for(self, table: str, after_key: bytes) -> None:
        shape = self._shapes.now[table]
        frozen = self.keyless.frozen(table)
        future = (
            self._thread.submit(frozen.page) if frozen else self._thread.submit(self._read, shape, after_key)
        )
        self._flights.append(Flight(table, after_key, frozenset(self._delivered), future))
        future.add_done_callback(lambda _: self._wakeup.ring())

    def _read(self, shape: Shape, after_key: bytes) -> RawPage:
        if self._reader is None:
            self._reader = self._connected()
        limit = self._limit_rows
        page = self._reader.after(shape, after_key, limit, self._settings.page_bytes)
        # A page cut short by its bytes sets the size of the next ones; they grow again when rows get smaller.
        was_cut = not page.is_last and page.rows.count < limit
        self._limit_rows = page.rows.count if was_cut else min(limit * 2, self._settings.page_rows)
        return page

    def _connected(self) -> PageReader:
        name = self._settings.name
        connection = connect(self._settings.dsn.get_secret_value(), f"{name} copy")
        return PageReader(connection, name, self._stop.is_set)

    def _waits_for(self, passed: int) -> int:
        """The place the first page waits for; 0 = it waits for nothing, −1 = there is no page."""
        if not self._flights or not self._flights[0].future.done():
            return -1
        future = self._flights[0].future
        if future.exception() is not None:
            return 0
        page = future.result()
        # Rows that were looked up are from the future until here: the copy is not finished before that.
        high = max(page.high, self._looked_up) if page.is_last else page.high
        return 0 if passed >= high else high

    def _release(self, flight: Flight) -> Page | None:
        """The page, or None when it has to be read again."""
        try:
            page = flight.future.result()
            if not page.schema.key:
                return self._released(flight, Page(page.schema, page.rows, b"", page.is_last))
        except TableHold:
            self.abandon(flight.table)
            raise
        if self._is_too_old(flight, page):
            self._flights.clear()
            self._again_at_s = time.monotonic() + RETRY_S
            return None
        rows = overtaken(page.rows, page.schema, flight.window)
        return self._released(flight, Page(page.schema, rows, page.last_key, page.is_last))

    def _released(self, flight: Flight, page: Page) -> Page:
        self._flights.popleft()
        if page.is_last:
            self.abandon(flight.table)
        else:
            self._tables[flight.table] = page.last_key
        return page

    def _is_too_old(self, flight: Flight, page: RawPage) -> bool:
        running = {xid for xid in flight.suspects if page.snapshot.shows_running(xid)}
        self._delivered -= flight.suspects - running
        now = self._shapes.now[flight.table].schema.fingerprint
        changed = {delta.schema.fingerprint for delta in flight.window} | {now}
        return bool(running) or changed != {page.schema.fingerprint}

    def _look_up(self, shape: Shape, keys: list[bytes], xids: set[int]) -> RawPage:
        """The rows of *keys*, read when others see the transactions that brought them."""
        if self._finder is None:
            self._finder = self._connected()
        give_up_s = time.monotonic() + VISIBLE_WITHIN_S
        while time.monotonic() < give_up_s:
            page = self._finder.by_key(shape, keys)
            if not any(map(page.snapshot.shows_running, xids)):
                return page
            self._stop.wait(RETRY_S)
        raise Transient("a delivered transaction stays invisible to others", where=shape.schema.name)


def _moving(delta: Delta) -> list[tuple[bytes, bytes]]:
    """Old and new key frame of each partial update that changes the key; the collector gives it a delta of its own."""
    key = set(delta.schema.key_indexes)
    return [
        _move(delta.schema, part.columns, frame)
        for part in delta.partials
        if key & set(part.columns)
        for frame in frames.split(part.frames.data)
    ]


def _moved(
    delta: Delta, moves: Sequence[tuple[bytes, bytes]], now: TableSchema, found: Mapping[bytes, bytes]
) -> list[Delta]:
    if not moves:
        return [delta]
    rows = [found[new] for _, new in moves if new in found]
    gone = Frames(b"".join(old for old, _ in moves), len(moves))
    return [
        Delta(delta.schema, deletes=gone),
        *([Delta(now, upserts=Frames(b"".join(rows), len(rows)))] if rows else []),
    ]


def _move(schema: TableSchema, columns: tuple[int, ...], frame: bytes) -> tuple[bytes, bytes]:
    row = frames.fields(frame)
    old = row[: len(schema.key)]
    present = dict(zip(columns, row[len(old) :], strict=True))
    new = [present.get(at, value) for at, value in zip(schema.key_indexes, old, strict=True)]
    return frames.pack(old), frames.pack(new)
