"""The PostgreSQL source: the server's own log through a replication slot.

One slot and one publication per source; nothing is ever written to the business database's tables. What we need to
go on is the position alone: the server keeps its log from the last confirmed position, and a start with a hole is
refused. When only others' tables change, a batch without deltas carries the position on every ten seconds, so that
the server can forget. Any error of the connection ends the session: open it again at the last stored position.
"""

from __future__ import annotations

import time
from typing import Final

from agent.sources.postgresql_catalog import Catalog
from agent.sources.postgresql_connection import connect
from agent.sources.postgresql_place import Place
from agent.sources.postgresql_session import Holds, Opening, Session, settings_of
from agent.sources.postgresql_shapes import Shapes
from agent.sources.postgresql_slot import drop_slot, read_slot
from agent.sources.postgresql_stream import Cut
from agent.sources.postgresql_wire import Wakeup
from agent.sources.settings import PostgresqlSettings
from agent.sources.source import Limits, Proof, Retained, Traits
from proto.batch import Batch, Delta, Position
from proto.errors import Refused, TableHold
from proto.schema import TableSchema

PROOF_EVERY_S: Final = 1.0


class PostgresqlSource:
    """One business database on PostgreSQL 14 or later."""

    traits = Traits(sees_deletes=True, keeps_commits_whole=True, can_reread=True)

    def __init__(self, settings: PostgresqlSettings) -> None:
        self._settings = settings
        self._dsn = settings.dsn.get_secret_value()
        self._wakeup = Wakeup()
        self._holds = Holds()
        self._opened: Session | None = None
        self._question = Proof("", 0)
        self._asked_lsn = 0
        self._ask_at_s = 0.0
        self._proof: Proof | None = None

    def schemas(self) -> list[TableSchema]:
        """The captured tables as they are now, in configured order."""
        with connect(self._dsn, self._settings.name) as connection:
            shapes = Shapes(Catalog(connection, self._settings.name), self._settings.tables, lambda _: False)
            return [shapes.read(settings).schema for settings in self._settings.tables]

    def open(self, position: Position) -> Position:
        """Start streaming strictly after *position*; ``""`` makes publication and slot and starts now."""
        self._hang_up()
        self._wakeup.calm()
        self._proof = None
        self._opened = Opening(self._settings, self._wakeup, self._holds).at(position)
        return str(self._opened.place)

    def read(self, limits: Limits) -> Batch | None:
        """What changed since the last read."""
        session = self._session
        self._ask_for_proof(session)
        cut = session.stream.read(limits, lambda: self._interrupted(session))
        self._wakeup.calm()
        for hold in session.collector.holds:
            self._holds.add(hold)
        session.collector.holds.clear()
        batch = self._batch(session, cut) if cut else None
        self._prove(session)
        return batch

    def holds(self) -> list[Exception]:
        """TableHold errors met since the last call."""
        return self._holds.taken()

    def resume_table(self, name: str) -> None:
        """Stream a held table again as it is now; order a fresh copy of it."""
        session = self._session
        session.shapes.open(settings_of(self._settings.tables, name))
        self._holds.tables.discard(name)
        session.collector.replan()

    def confirm(self, position: Position) -> None:
        """Let the server forget what is before *position*."""
        wire = self._session.wire
        wire.confirmed = max(wire.confirmed, Place.parse(position).lsn)
        wire.answer()

    def keepalive(self) -> None:
        """Keep the server from giving us up while we do not read; cheap."""
        if self._opened is not None:
            self._opened.wire.keepalive()

    def proof(self) -> Proof | None:
        """The newest proof that the source was read to its end."""
        return self._proof

    def retained(self) -> Retained | None:
        """What the server's slot keeps for us; None if there is no slot. Its own connection."""
        with connect(self._dsn, self._settings.name) as connection:
            slot = read_slot(connection, self._settings.slot_name)
        return None if slot is None else Retained(slot.retained_bytes, slot.limit_bytes)

    def drop_slot(self) -> None:
        """Give up our place at the server for its disk's sake: the stream has a gap from here on."""
        self._hang_up()
        with connect(self._dsn, self._settings.name) as connection:
            drop_slot(connection, self._settings.slot_name)

    def stop_waiting(self) -> None:
        """Make a waiting read return soon."""
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

    def _interrupted(self, session: Session) -> bool:
        return self._wakeup.rang()

    def _batch(self, session: Session, cut: Cut) -> Batch:
        deltas = tuple(self._told(session, delta) for delta in cut.deltas)
        return Batch(
            str(session.place.at(cut.lsn)),
            tuple(delta for delta in deltas if delta is not None),
            cut.first_commit_us,
            cut.last_commit_us,
            cut.transactions,
            cut.continues,
        )

    def _told(self, session: Session, delta: Delta) -> Delta | None:
        """The delta with every value in canonical form; None if its table had to be held for it."""
        shape = session.shapes.now[delta.schema.name]
        try:
            return session.texts.translate(delta, shape.asked)
        except TableHold as hold:
            self._holds.add(hold)
            session.collector.replan()
            return None

    def _ask_for_proof(self, session: Session) -> None:
        """Now and then, note how far the server is and ask it to say when it has sent all of that."""
        if time.monotonic() < self._ask_at_s:
            return
        self._ask_at_s = time.monotonic() + PROOF_EVERY_S
        if not self._asked_lsn:
            at_us = int(time.time() * 1_000_000)
            self._asked_lsn = session.inserted()
            self._question = Proof("", at_us)
        session.wire.answer(ask=True)

    def _prove(self, session: Session) -> None:
        stream = session.stream
        if self._asked_lsn and stream.passed >= self._asked_lsn and not stream.continues:
            self._proof = Proof(str(session.place.at(stream.lsn)), self._question.at_us)
            self._asked_lsn = 0
