"""A business database listened to through triggers: they note which keys changed, we read what is there now.

The law that everything rests on is in :mod:`agent.sources.journal.marks`: what lies in the journal and was not read
is to be read, and what is confirmed is deleted. So it does not matter in which order transactions commit.

A batch ends where the journal did when its snapshot was taken, so it is the state of the tables at one moment. A
large backlog comes in parts, all read in the one snapshot.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from agent.sources.journal import checks
from agent.sources.journal.dialects import Entry, JournalPlace, dialect_of
from agent.sources.journal.dialects.dialect import BIRTH
from agent.sources.journal.fence import Fence
from agent.sources.journal.marks import Mark
from agent.sources.journal.notes import Eraser, Journal
from agent.sources.journal.settings import JournalSettings
from agent.sources.journal.slices import Slice, deltas_of
from agent.sources.journal.watching import Watching
from agent.sources.polling.connecting import connect
from agent.sources.polling.connection import Database, DataTrouble, TableTrouble
from agent.sources.polling.reader import Reader
from agent.sources.polling.shapes import read_shape
from agent.sources.source import Finding, Limits, Page, Proof, Retained, Traits
from proto import frames
from proto.batch import Batch, Delta, Frames, Position
from proto.errors import Refused, TableHold
from proto.schema import TableSchema

ENTRIES_AT_ONCE: Final = 1_000
"""So many rows at most are in memory beyond the limits of a batch."""


@dataclass
class _Group:
    """A batch that is being read in one snapshot."""

    slices: Iterator[Slice]
    ahead: Slice | None
    """The next one; None when the journal's end is reached."""
    ids: array[int] = field(default_factory=lambda: array("q"))
    first_us: int = 0
    last_us: int = 0
    newest_us: int = 0

    def take(self) -> Slice:
        """The next slice; there must be one."""
        part, self.ahead = self.ahead, next(self.slices, None)
        if part is None:
            raise Refused("the journal's end was reached before")
        self.ids.extend(part.ids)
        self.first_us = min(self.first_us or part.first_us, part.first_us)
        self.last_us, self.newest_us = max(self.last_us, part.last_us), part.newest_us
        return part


@dataclass
class _Session:
    """Everything that lives between open and close."""

    database: Database
    eraser: Eraser
    journal: Journal
    watching: Watching
    mark: Mark
    confirmed: Position
    group: _Group | None = None
    """None between batches."""


class JournalSource:
    """Reads one journal."""

    traits = Traits(sees_deletes=True, keeps_commits_whole=True, can_reread=True)

    def __init__(self, settings: JournalSettings) -> None:
        self._settings = settings
        self._place = JournalPlace(settings.journal_schema, settings.journal)
        self._fence = Fence(settings.name)
        self._told_to_stop = Event()
        self._opened: _Session | None = None
        self._copies: dict[str, bytes] = {}
        self._proof: Proof | None = None
        self._verify_at_s = 0.0

    def check(self) -> list[Finding]:
        """Connection, tables, journal, triggers and rights."""
        return checks.findings(self._settings, self._place)

    def schemas(self) -> list[TableSchema]:
        """The captured tables that can be read."""
        if self._opened is not None:
            readers = self._opened.watching.readers
            names = [table.catalogued for table in self._settings.tables]
            return [readers[name].shape.schema for name in names if name in readers]
        database = connect(self._settings.reading)
        try:
            return [read_shape(database, table).schema for table in self._settings.reading.tables]
        finally:
            database.close()

    def open(self, position: Position) -> Position:
        """Start strictly after *position*; a new stream starts with an empty journal."""
        self.close()
        database = connect(self._settings.reading)
        try:
            session = self._begin(database, position)
        except BaseException:
            self._fence.open_gate()
            database.close()
            raise
        self._opened, self._proof = session, None
        self._verify_at_s = time.monotonic() + self._settings.verify_every_s
        return str(session.mark)

    def read(self, limits: Limits) -> Batch | None:
        """What the next entries led to."""
        session = self._session
        if session.group is None:
            self._verify_now_and_then(session)
            asked_us = time.time_ns() // 1000
            # A copy that is under way goes on at once where nothing is new.
            if not self._wait(session, 0.0 if self._copies else limits.wait_s):
                self._proof = Proof(str(session.mark), asked_us)
                return None
            session.group = self._begin_batch(session, limits)
        return self._next_part(session, session.group, limits)

    def holds(self) -> list[Exception]:
        """Tables that cannot be followed."""
        return self._session.watching.told()

    def resume_table(self, name: str) -> None:
        """Take a held table in again as it is now."""
        self._session.watching.resume(name)

    def keepalive(self) -> None:
        """Nobody gives us up here."""

    def confirm(self, position: Position) -> None:
        """Delete what was delivered; its newest entry stays as our bookmark."""
        session = self._session
        if position == session.confirmed or session.group is not None:
            return
        done = Mark.parse(position)
        session.eraser.forget(done.runs, done.kept)
        session.mark = session.mark.without(done)
        session.confirmed = position

    def proof(self) -> Proof | None:
        """The last time the journal held nothing new."""
        return self._proof

    def start_copy(self, table: str, after_key: bytes) -> None:
        """Begin or go on with a first copy; a fresh one also takes a held table in again."""
        if not after_key and table in self._session.watching.held:
            self.resume_table(table)
        self._copies[table] = after_key

    def pages(self) -> Iterator[Page]:
        """The next page of each table, read now: whatever changes from now on is noted and delivered later."""
        session = self._session
        for table, after_key in list(self._copies.items()):
            if session.group is not None:
                return
            if table not in session.watching.readers:
                del self._copies[table]
                continue
            page = self._page(session, table, after_key)
            if page is None or page.is_last:
                del self._copies[table]
            else:
                self._copies[table] = page.last_key
            if page is not None:
                yield page

    def expected_rows(self, table: str) -> int:
        """As the catalogue estimates."""
        return self._session.watching.readers[table].estimate()

    def scan(self, table: str) -> Iterator[Frames]:
        """The whole table in key order, on a connection of its own."""
        reading = self._settings.reading
        settings = next(one for one in reading.tables if one.catalogued == table)
        database = connect(reading)
        try:
            reader = Reader(database, read_shape(database, settings), settings.parts)
            # It is one moment already: a transaction of ours around it is one too many for SQLite.
            yield from reader.everything(self._settings.page_rows)
        finally:
            database.close()

    def retained(self) -> Retained | None:
        """The size of the journal, on a connection of its own."""
        database = connect(self._settings.reading)
        try:
            return Retained(self._journal(database).size_bytes(), None)
        except TableTrouble:
            return None
        finally:
            database.close()

    def give_up_place(self) -> None:
        """Empty the journal for the sake of the database's disk."""
        self.close()
        database = connect(self._settings.reading)
        eraser = self._eraser(database)
        try:
            eraser.forget_before(self._journal(database).newest().number)
        finally:
            eraser.close()
            database.close()

    def stop_waiting(self) -> None:
        """Make a waiting read return."""
        self._told_to_stop.set()

    def close(self) -> None:
        """Hang up; the journal goes on without us."""
        session, self._opened = self._opened, None
        self._copies.clear()
        self._fence.open_gate()
        if session is not None:
            session.eraser.close()
            session.database.close()

    # Opening

    def _begin(self, database: Database, position: Position) -> _Session:
        journal = self._journal(database)
        birth = journal.birth()
        self._fence.close_gate(birth.key)
        eraser = self._eraser(database)
        if position:
            mark = Mark.parse(position)
            journal.check(mark)
        else:
            mark = self._start(journal, birth, eraser)
        watching = Watching(journal, self._settings)
        watching.verify()
        return _Session(database, eraser, journal, watching, mark, str(mark))

    def _start(self, journal: Journal, birth: Entry, eraser: Eraser) -> Mark:
        """What was noted before belongs to the first copies."""
        newest = journal.newest()
        eraser.forget_before(newest.number)
        return Mark(birth.key, newest.number, newest.at_us).after([newest.number], newest.at_us)

    def _journal(self, database: Database) -> Journal:
        return Journal(database, dialect_of(database.dialect.name), self._place, self._settings.name)

    def _eraser(self, database: Database) -> Eraser:
        dialect = dialect_of(database.dialect.name)
        return Eraser(self._settings.url.get_secret_value(), dialect, self._place, self._settings.name)

    # Reading

    @property
    def _session(self) -> _Session:
        if self._opened is None:
            raise Refused("the source is not open", where=self._settings.name)
        return self._opened

    def _wait(self, session: _Session, seconds: float) -> bool:
        """Whether there is an entry that was not read yet."""
        deadline_s = time.monotonic() + seconds
        while not self._has_new(session):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or self._told_to_stop.wait(min(left_s, self._settings.look_every_s)):
                self._told_to_stop.clear()
                return self._has_new(session)
        self._told_to_stop.clear()
        return True

    def _has_new(self, session: _Session) -> bool:
        return next(self._new_entries(session, ENTRIES_AT_ONCE), None) is not None

    def _new_entries(self, session: _Session, at_once: int) -> Iterator[Slice]:
        """What was not read yet, some entries at a time."""
        has, after = session.mark.finder(), 0
        while entries := session.journal.entries(after, at_once):
            after = entries[-1].number
            found = Slice()
            found.add(one for one in entries if one.operation != BIRTH and not has(one.number))
            if found.ids:
                yield found

    def _begin_batch(self, session: _Session, limits: Limits) -> _Group:
        for statement in session.journal.dialect.begin:
            session.database.query(statement)
        slices = self._new_entries(session, min(ENTRIES_AT_ONCE, limits.rows))
        return _Group(slices, next(slices, None))

    def _next_part(self, session: _Session, group: _Group, limits: Limits) -> Batch:
        deltas: list[Delta] = []
        while group.ahead is not None:
            deltas += deltas_of(group.take(), session.watching, session.journal.dialect)
            full = sum(delta.size_bytes for delta in deltas) >= limits.bytes
            if group.ahead is not None and (full or sum(delta.rows for delta in deltas) >= limits.rows):
                return Batch(str(session.mark), tuple(deltas), continues=True)
        session.database.query("COMMIT")
        session.group = None
        session.mark = session.mark.after(group.ids, group.newest_us)
        return Batch(str(session.mark), tuple(deltas), group.first_us, group.last_us, 1)

    def _verify_now_and_then(self, session: _Session) -> None:
        if time.monotonic() >= self._verify_at_s:
            session.watching.verify()
            self._verify_at_s = time.monotonic() + self._settings.verify_every_s

    def _page(self, session: _Session, table: str, after_key: bytes) -> Page | None:
        reader, rows = session.watching.readers[table], self._settings.page_rows
        try:
            found = reader.page(after_key, rows)
        except TableHold as hold:
            session.watching.hold(hold)
            return None
        except (TableTrouble, DataTrouble) as trouble:
            session.watching.trouble(table, trouble)
            return None
        schema = reader.shape.schema
        last = frames.keys(found.data, schema.key_indexes)[-1] if found else b""
        return Page(schema, found, last, found.count < rows)
