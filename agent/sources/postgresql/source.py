"""The PostgreSQL source: the server's own log through a replication slot.

One slot and one publication per source; nothing is ever written to the business database's tables. What we need to
go on is the position alone: the server keeps its log from the last confirmed position, and a start with a hole is
refused. When only others' tables change, a batch without deltas carries the position on every ten seconds, so that
the server can forget. Any error of the connection ends the session: open it again at the last stored position.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Final

from agent.sources.postgresql.catalog import Catalog
from agent.sources.postgresql.checks import check
from agent.sources.postgresql.connection import connect, log_end
from agent.sources.postgresql.marks import Mark
from agent.sources.postgresql.pages import PageReader
from agent.sources.postgresql.place import Place
from agent.sources.postgresql.session import Holds, Opening, Session, settings_of
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.shapes import AFRESH, Shapes
from agent.sources.postgresql.slot import drop_slot, read_slot, unless_fenced
from agent.sources.postgresql.stream import Cut
from agent.sources.postgresql.wire import Wakeup
from agent.sources.source import Finding, Limits, Page, Proof, Retained, Traits
from proto.batch import Batch, Delta, Frames, Position
from proto.errors import Refused, SchemaHold, TableHold
from proto.schema import TableSchema

PROOF_EVERY_S: Final = 1.0
ASK_AGAIN_S: Final = 0.05


class PostgresqlSource:
    """One business database on PostgreSQL 14 or later."""

    traits = Traits(sees_deletes=True, keeps_commits_whole=True, can_reread=True, copies_without_key=True)

    def __init__(self, settings: PostgresqlSettings) -> None:
        self._settings = settings
        self._dsn = settings.dsn.get_secret_value()
        self._wakeup = Wakeup()
        self._told_to_stop = Event()
        self._holds = Holds()
        self._recalled: dict[str, Mark] = {}
        self._opened: Session | None = None
        self._question = Proof("", 0)
        self._asked_lsn = 0
        self._ask_at_s = 0.0
        self._proof: Proof | None = None

    def check(self) -> list[Finding]:
        """Look at every prerequisite; changes nothing."""
        return check(self._settings)

    def schemas(self) -> list[TableSchema]:
        """The captured tables as they are now, in configured order; one that cannot be captured is left out."""
        found: list[TableSchema] = []
        with connect(self._dsn, self._settings.name) as connection:
            shapes = Shapes(Catalog(connection, self._settings.name), self._settings.tables, lambda _: False)
            for settings in self._settings.tables:
                # Why one is missing here is told by holds(): the others are copied and streamed meanwhile.
                with suppress(SchemaHold):
                    found.append(shapes.read(settings).schema)
        return found

    def open(self, position: Position) -> Position:
        """Start streaming strictly after *position*; ``""`` makes publication and slot and starts now."""
        self._hang_up()
        self._wakeup.calm()
        self._proof = None
        self._opened = Opening(self._settings, self._wakeup, self._holds, self._recalled).at(position)
        return str(self._opened.place)

    def recall(self, marks: Mapping[str, str]) -> None:
        """What :meth:`marks` said before; the next opening compares."""
        self._recalled = {name: Mark.parse(text) for name, text in marks.items()}

    def marks(self) -> dict[str, str]:
        """What must stay true of each table for its rows to be right, without those that are held."""
        marks = self._session.marks.items()
        return {name: str(mark) for name, mark in marks if name not in self._holds.tables}

    def read(self, limits: Limits) -> Batch | None:
        """What changed since the last read."""
        session = self._session
        self._ask_for_proof(session)
        cut = session.stream.read(limits, lambda: self._attend(session))
        session.copies.keyless.give_way(session.connection)
        session.copies.passed_by(session.stream.silent, session.snapshot)
        held, session.collector.holds[:] = [*session.collector.holds], []
        batch = self._deliver(session, cut) if cut else None
        for hold in [*held, *session.watch.look()]:
            self._hold(session, hold)
        self._prove(session)
        return batch

    def holds(self) -> list[Exception]:
        """TableHold errors met since the last call."""
        return self._holds.taken()

    def resume_table(self, name: str) -> None:
        """Stream a held table again as it is now; order a fresh copy of it."""
        session = self._session
        session.admit(self._settings, name)
        self._holds.tables.discard(name)
        session.collector.replan()

    def confirm(self, position: Position) -> None:
        """Let the server forget what is before *position*."""
        self._session.wire.confirm(Place.parse(position).lsn)

    def keepalive(self) -> None:
        """Keep the server from giving us up while we do not read; cheap."""
        if self._opened is not None:
            self._opened.wire.keepalive()

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
            self._hold(session, hold)
        session.collector.keep_vanished = session.copies.any_left

    def expected_rows(self, table: str) -> int:
        """The planner's estimate; 0 if it has none."""
        shape = self._session.shapes.now[table]
        return Catalog(self._session.connection, self._settings.name).expected_rows(shape.facts.relid)

    def scan(self, table: str) -> Iterator[Frames]:
        """The whole table as it is now, in key order, on a connection of its own."""
        settings = settings_of(self._settings.tables, table)
        with connect(self._dsn, self._settings.name) as connection:
            shapes = Shapes(Catalog(connection, self._settings.name), self._settings.tables, lambda _: False)
            reader = PageReader(connection, self._settings.name, lambda: False)
            yield from reader.everything(
                shapes.read(settings), self._settings.page_rows, self._settings.page_bytes
            )

    def retained(self) -> Retained | None:
        """What the server's slot keeps for us; None if there is no slot. Its own connection."""
        with connect(self._dsn, self._settings.name) as connection:
            slot = read_slot(connection, self._settings.slot_name)
        return None if slot is None else Retained(slot.retained_bytes, slot.limit_bytes)

    def give_up_place(self) -> None:
        """Drop the slot, so that the server's log can go."""
        self._hang_up()
        with connect(self._dsn, self._settings.name) as connection:
            forget = partial(drop_slot, connection, self._settings.slot_name)
            unless_fenced(forget, self._wakeup.pause)

    def stop_waiting(self) -> None:
        """Make a waiting read return soon."""
        self._told_to_stop.set()
        self._wakeup.ring()

    def close(self) -> None:
        """Let go of connections; slot and publication stay."""
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
        copies, stream = session.copies, session.stream
        if stream.between:
            copies.ask()
            if copies.ready(stream.passed):
                return 0.0
        if copies.wants_passed(stream.passed):
            session.wire.answer(ask=True)
            return ASK_AGAIN_S
        return 60.0

    def _deliver(self, session: Session, cut: Cut) -> Batch:
        deltas = self._told(session, cut)
        session.copies.delivered(cut, deltas)
        facts = (cut.first_commit_us, cut.last_commit_us, cut.transactions, cut.continues)
        return Batch(str(session.place.at(cut.lsn)), tuple(deltas), *facts)

    def _told(self, session: Session, cut: Cut) -> list[Delta]:
        """The deltas with every value in canonical form, without tables that had to be held for it."""
        told: list[Delta] = []
        for name in dict.fromkeys(delta.schema.name for delta in cut.deltas):
            deltas: Sequence[Delta] = [delta for delta in cut.deltas if delta.schema.name == name]
            try:
                deltas = session.texts.translate(deltas, lambda delta: session.shapes.of(delta.schema).asked)
                if session.copies.covers(name):
                    deltas = session.copies.completed(session.shapes.now[name], deltas, cut.xids)
            except TableHold as hold:
                self._hold(session, hold)
            else:
                told += deltas
        return told

    def _hold(self, session: Session, hold: TableHold) -> None:
        self._holds.add(hold)
        session.copies.abandon(hold.table)
        session.collector.replan()

    def _ask_for_proof(self, session: Session) -> None:
        """Now and then, note how far the server is and ask it to say when it has sent all of that."""
        if time.monotonic() < self._ask_at_s:
            return
        self._ask_at_s = time.monotonic() + PROOF_EVERY_S
        if not self._asked_lsn:
            at_us = int(time.time() * 1_000_000)
            self._asked_lsn = log_end(session.connection, self._settings.name)
            self._question = Proof("", at_us)
        session.wire.answer(ask=True)

    def _prove(self, session: Session) -> None:
        stream = session.stream
        if self._asked_lsn and stream.passed >= self._asked_lsn and not stream.continues:
            self._proof = Proof(str(session.place.at(stream.lsn)), self._question.at_us)
            self._asked_lsn = 0
