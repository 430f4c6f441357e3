"""The MariaDB and MySQL source: the server's own binary log, read as a replica reads it.

Nothing is written to the business database and nothing is acknowledged to it: the server keeps its log by its own
clock, and what we need to go on is the position alone. A start with a hole is refused. When only others' tables
change, a batch without deltas carries the position on every ten seconds, so that it never grows old. Any error of the
connection ends the session: open it again at the last stored position.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from threading import Event
from typing import Final

from agent.sources.holds import Holds
from agent.sources.mysql import server
from agent.sources.mysql.catalog import Catalog
from agent.sources.mysql.checks import check
from agent.sources.mysql.connection import Connection
from agent.sources.mysql.fading import fading
from agent.sources.mysql.gtids import DomainGtids, ServerGtids
from agent.sources.mysql.pages import PageReader
from agent.sources.mysql.refusals import KICKED_FIX
from agent.sources.mysql.session import Opening, Session, settings_of
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.shapes import AFRESH, Shapes
from agent.sources.mysql.stream import Cut
from agent.sources.mysql.wire import Ended
from agent.sources.source import Fading, Finding, Limits, Page, Proof, Retained, Traits
from agent.sources.wakeup import Wakeup
from proto.batch import Batch, Frames, Position
from proto.errors import Fenced, Refused, SchemaHold, TableHold
from proto.schema import TableSchema

PROOF_EVERY_S: Final = 1.0
KICKS: Final = 3
KICKS_WITHIN_S: Final = 60.0


class MysqlSource:
    """One business database on MariaDB 10.5 or MySQL 8.0, or later."""

    traits = Traits(sees_deletes=True, keeps_commits_whole=True, can_reread=True)

    def __init__(self, settings: MysqlSettings) -> None:
        self._settings = settings
        self._wakeup = Wakeup()
        self._told_to_stop = Event()
        self._holds = Holds()
        self._opened: Session | None = None
        self._kicked_at_s: deque[float] = deque(maxlen=KICKS)
        self._asked: DomainGtids | ServerGtids | None = None
        self._asked_us = 0
        self._ask_at_s = 0.0
        self._proof: Proof | None = None

    def check(self) -> list[Finding]:
        """Look at every prerequisite; changes nothing."""
        return check(self._settings)

    def schemas(self) -> list[TableSchema]:
        """The captured tables as they are now, in configured order; one that cannot be captured is left out."""
        found: list[TableSchema] = []
        with closing(Connection(self._settings)) as connection:
            shapes = Shapes(Catalog(connection), self._settings, lambda _: False)
            for table in self._settings.tables:
                # Why one is missing here is told by holds(): the others are copied and streamed meanwhile.
                with suppress(SchemaHold):
                    found.append(shapes.read(table).schema)
        return found

    def open(self, position: Position) -> Position:
        """Start streaming strictly after *position*; ``""`` starts now."""
        self._hang_up()
        self._wakeup.calm()
        self._proof = self._asked = None
        self._opened = Opening(self._settings, self._wakeup, self._holds, self._hold).at(position)
        return str(self._opened.stream.place)

    def read(self, limits: Limits) -> Batch | None:
        """What changed since the last read."""
        session = self._session
        self._ask_for_proof(session)
        try:
            cut = session.stream.read(limits, lambda: self._attend(session))
        except Ended as error:
            self._count_kick(error)
            raise
        batch = self._deliver(session, cut) if cut else None
        if session.shapes.passed(session.stream.passed):
            session.collector.replan()
        self._prove(session)
        return batch

    def holds(self) -> list[Exception]:
        """TableHold errors met since the last call."""
        return self._holds.taken()

    def resume_table(self, name: str) -> None:
        """Stream a held table again as it is now, from where the log ends now; order a fresh copy of it."""
        session = self._session
        session.shapes.open(settings_of(self._settings, name), server.log_end(session.connection))
        self._holds.tables.discard(name)
        session.shapes.passed(session.stream.passed)
        session.collector.replan()

    def confirm(self, position: Position) -> None:
        """The server keeps its log by its own clock, whatever we say."""

    def keepalive(self) -> None:
        """The server waits for us for an hour by its own clock; nothing is to be said."""

    def proof(self) -> Proof | None:
        """The newest proof that the source was read to its end."""
        return self._proof

    def start_copy(self, table: str, after_key: bytes) -> None:
        """Begin or go on with a first copy. A fresh copy (``b""``) of a held table also streams it again."""
        session = self._session
        if table in self._holds.tables:
            if after_key:
                raise SchemaHold(table, "its changes are left out, so its copy cannot go on", fix=AFRESH)
            self.resume_table(table)
        session.copies.start(table, after_key)
        session.collector.keep_vanished = True

    def pages(self) -> Iterator[Page]:
        """Pages that are ready now: call after each read, commit each before the next batch."""
        session = self._session
        try:
            yield from session.copies.pages(session.stream)
        except TableHold as hold:
            self._hold(hold)
        session.collector.keep_vanished = session.copies.any_left

    def expected_rows(self, table: str) -> int:
        """The server's estimate."""
        session = self._session
        facts = session.shapes.facts(settings_of(self._settings, table))
        return facts.rows if facts else 0

    def scan(self, table: str) -> Iterator[Frames]:
        """The whole table as it is now, in key order, on connections of its own."""
        with closing(Connection(self._settings)) as connection:
            shapes = Shapes(Catalog(connection), self._settings, lambda _: False)
            shape = shapes.read(settings_of(self._settings, table))
        with closing(PageReader(self._settings, lambda: False)) as reader:
            yield from reader.everything(shape, self._settings.page_rows, self._settings.page_bytes)

    def retained(self) -> Retained | None:
        """Nothing: the server keeps its log by its own clock, for nobody in particular."""
        return None

    def fading(self, position: Position) -> Fading | None:
        """Whether the server will soon drop what comes after *position*."""
        return fading(self._settings, position)

    def give_up_place(self) -> None:
        """There is no place of ours at the server; only our session ends."""
        self._hang_up()

    def stop_waiting(self) -> None:
        """Make a waiting read return soon."""
        self._told_to_stop.set()
        self._wakeup.ring()

    def close(self) -> None:
        """Let go of connections."""
        self._hang_up()

    @property
    def _session(self) -> Session:
        if self._opened is None:
            raise Refused("the source is not open", where=self._settings.name)
        return self._opened

    def _hang_up(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _attend(self, session: Session) -> float:
        """What else there is to do while nothing comes; 0 = stop waiting."""
        self._wakeup.calm()
        if self._told_to_stop.is_set():
            self._told_to_stop.clear()
            return 0.0
        if session.stream.between:
            session.copies.ask(session.stream)
            if session.copies.ready(session.stream.passed):
                return 0.0
        return 60.0

    def _deliver(self, session: Session, cut: Cut) -> Batch:
        session.copies.delivered(cut.deltas)
        facts = (cut.first_commit_us, cut.last_commit_us, cut.transactions, cut.continues)
        return Batch(str(cut.place), cut.deltas, *facts)

    def _hold(self, hold: TableHold) -> None:
        self._holds.add(hold)
        if self._opened is not None:
            self._opened.copies.abandon(hold.table)
            self._opened.collector.replan()

    def _count_kick(self, error: Ended) -> None:
        """A server that throws us out again and again has another reader of our number."""
        now_s = time.monotonic()
        self._kicked_at_s.append(now_s)
        if len(self._kicked_at_s) == KICKS and now_s - self._kicked_at_s[0] < KICKS_WITHIN_S:
            self._kicked_at_s.clear()
            what = (
                f"the server ended the stream {KICKS} times within a minute: another replica has our number"
            )
            raise Fenced(what, where=self._settings.name, fix=KICKED_FIX) from error

    def _ask_for_proof(self, session: Session) -> None:
        """Now and then, note how far the server is; it also shows that our session there is alive."""
        if time.monotonic() < self._ask_at_s:
            return
        self._ask_at_s = time.monotonic() + PROOF_EVERY_S
        if self._asked is None:
            at_us = int(time.time() * 1_000_000)
            self._asked = server.executed(session.connection)
            self._asked_us = at_us

    def _prove(self, session: Session) -> None:
        stream = session.stream
        if self._asked is not None and stream.between and stream.gtids.contains(self._asked):  # type: ignore[arg-type]
            self._proof = Proof(str(stream.place), self._asked_us)
            self._asked = None
