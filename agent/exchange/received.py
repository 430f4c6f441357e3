"""What others share with this department: inbound rows and their cursor, moved in one transaction.

One process receives: a lock keeps a second one out, and the epoch in the checkpoint row keeps out one that lost the
lock without noticing (E9). A failed commit is an unknown commit (E1): it raises Transient, and the caller goes on from
:meth:`Received.grants`, never from memory. What cannot be accepted holds its own grant; the others go on.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from agent.exchange.checkpoints import Checkpoints, Mark
from agent.exchange.following import demand_next, is_news, is_of_the_grant, moved_by
from agent.exchange.inbound import Inbound, refuse_foreign
from agent.exchange.inbox import Inbox, Kept
from agent.exchange.place import READS, translated
from agent.exchange.quarantine import Quarantine
from agent.exchange.receptions import (
    LIFTED,
    WITHDRAWN,
    Announced,
    Parcel,
    Reception,
    Receptions,
    announced,
    flowing,
    held_for,
    place_of_rows,
    room_of,
)
from agent.exchange.room import STANDARD, Room, StoreLimits
from agent.exchange.store import place_of
from agent.exchange.tables import tables
from proto import codec
from proto.errors import BatchCorrupt, Diverged, ExchangeError, Refused, TableHold, Unforeseen
from proto.states import State

if TYPE_CHECKING:
    from agent.exchange.place import Guard

PLATFORM: Final = "the platform"
KEPT_LIMIT_BYTES: Final = 1024**3
"""What is kept of one grant for an import that does not come; beyond it the import copies the table anew."""
PROVEN_EVERY_US: Final = 10_000_000
"""How often a grant without news is written down."""
_Answer = TypeVar("_Answer")
_log = structlog.get_logger()


@dataclass(slots=True)
class _Writing:
    """One open transaction."""

    connection: Connection
    mark: Mark


class Received:
    """Everything granted to one node. Every public method is one transaction and may be called from any thread."""

    def __init__(self, engine: Engine, node: str, limits: StoreLimits = STANDARD) -> None:
        self.node = node
        # No source is called like this, so neither a checkpoint nor a lock file is shared with a stream.
        self._stream = f"{node}/.received"
        self._engine = engine
        self._place = place_of(engine)
        self.room = Room(self._place, engine, limits, self._stream)
        here = tables(self._place.schema, self._place.prefix)
        self._checkpoints = Checkpoints(here, self._stream)
        self._audit = Quarantine(here, self._stream)
        self._receptions, self._inbox = Receptions(here), Inbox(here)
        self.inbound = Inbound(engine)
        self.keeps: Callable[[Reception], bool] = lambda _: False
        """Whether deliveries of a grant are kept for an import as well."""
        self._lock = threading.RLock()
        self._guard: Guard | None = None
        self._epoch = 0
        self._grants: dict[str, Reception] = {}
        self._noted_us: dict[str, int] = {}

    # A process's life

    def start(self) -> dict[str, Reception]:
        """Become the only receiver, or stay it; every grant as committed. Raises Fenced when another process is it."""
        with self._lock:
            if self._guard is None or not self._guard.is_held():
                self._guard = None
                with translated(self._place, self._stream):
                    self._guard = self._place.guard(self._engine, self._stream)
            if not self._epoch:
                with translated(self._place, self._stream), self._engine.begin() as connection:
                    self._epoch = self._checkpoints.begin(connection, secrets.token_hex(16)).epoch
            with self.reading() as connection:
                self._checkpoints.still(connection, self._epoch)
                self._grants = self._receptions.all(connection)
            return dict(self._grants)

    def close(self) -> None:
        """Let another process receive."""
        with self._lock:
            if self._guard is not None:
                self._guard.release()
                self._guard = None

    def grants(self) -> dict[str, Reception]:
        """Every grant as this process last saw it, by number; asks no database."""
        return dict(self._grants)

    def demand_room(self) -> None:
        """Raise DiskBlocked when too little is free to receive anything."""
        self.room.demand(lambda: 0)

    # What central says

    def announce(self, news: Announced) -> Reception:
        """Store what a grant is now. One that ended stays so; its rows go if they are to be withdrawn."""
        news.demand_sound()
        return self._emptying(lambda dropping: self._announce(news, dropping=dropping))

    def commit(self, parcel: Parcel) -> Reception | None:
        """Bring a delivery's rows in and move the cursor: all or nothing. None for a grant never announced.

        What is already there, and what comes for a grant that ended or is held, changes nothing. What does not
        follow, is damaged or cannot be held here holds the grant: see the answer's state.
        """
        grant = parcel.place.grant
        try:
            rows = self._bring_in([parcel])
        except Exception as error:
            if not is_of_the_grant(error):
                raise
            problem = error if isinstance(error, ExchangeError) else Unforeseen.met(error, grant)
            return self.hold(grant, problem)
        return rows.get(grant)

    def commit_all(self, parcels: Sequence[Parcel]) -> list[Reception]:
        """The same for deliveries that wait together, in their order, with one commit; each grant as it is then.

        When one of them cannot be accepted none is in, and each is brought in alone: so only its grant is held.
        """
        try:
            return list(self._bring_in(parcels).values())
        except Exception as error:
            if not is_of_the_grant(error):
                raise
        found = {parcel.place.grant: self.commit(parcel) for parcel in parcels}
        return [row for row in found.values() if row is not None]

    def progress(self, grant: str, source_seq: int, proven_us: int) -> None:
        """The provider was looked at and there is nothing new: shown at once, written down now and then."""
        with self._lock:
            row = self._grants.get(grant)
            if row is None or row.over:
                return
            proven_us, source_seq = max(proven_us, row.proven_us), max(source_seq, row.source_seq)
            now = replace(row, proven_us=proven_us, source_seq=source_seq)
            if proven_us - self._noted_us.get(grant, 0) > PROVEN_EVERY_US:
                with self._writing() as writing:
                    stored = self._receptions.one(writing.connection, grant)
                    if stored is not None:
                        now = replace(stored, proven_us=proven_us, source_seq=source_seq)
                        self._receptions.write(writing.connection, now)
                self._noted_us[grant] = proven_us
            self._remember(now)

    def recall(self, grant: str, recall: str, reason: str) -> int:
        """Remove every row that was delivered, on record; returns how many. Once more, the same answer."""
        return self._emptying(lambda dropping: self._recall((grant, recall, reason), dropping=dropping))

    # What people say

    def hold(self, grant: str, error: ExchangeError) -> Reception | None:
        """Hold one grant for *error*; one that ended stays ended."""
        with self._writing() as writing:
            row = self._receptions.one(writing.connection, grant)
            if row is None or row.over:
                return row
            now = held_for(row, error)
            self._receptions.write(writing.connection, now)
        _log.error("grant_held", grant=grant, state=now.state, error=str(error))
        return self._remember(now)

    def retry(self, grant: str, who: str) -> Reception:
        """Let a held grant go on: what did not pass is asked for again. Raises Refused when it is not held."""
        with self._writing() as writing:
            row = self._receptions.one(writing.connection, grant)
            if row is None or not row.held:
                what = f"grant {grant} is not held" if row else f"there is no grant {grant}"
                raise Refused(what, where=self.node, fix="exchange-agent received list")
            now = replace(flowing(row), code=LIFTED)
            self._record(writing, "reception_retried", who, now)
            self._receptions.write(writing.connection, now)
        return self._remember(now)

    # What an import reads

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with (
            translated(self._place, self._stream),
            self._engine.connect().execution_options(**READS) as connection,
        ):
            yield connection

    @contextmanager
    def still(self, grant: str) -> Iterator[tuple[Connection, Reception | None]]:
        """A transaction in which the grant, its table and its inbox are as they were at one moment."""
        with self.reading() as connection:
            self._place.hold_still(connection)
            yield connection, self._receptions.one(connection, grant)

    def next_kept(self, connection: Connection, row: Reception, generation: int, seq: int) -> Kept | None:
        """The first kept delivery after this place whose rows can be read; None when there is none."""
        kept = self._inbox.next(connection, row.grant_id, generation, seq)
        visible = kept is not None and (kept.generation, kept.seq) <= (row.generation, row.visible_seq)
        return kept if visible else None

    def forget(self, grant: str, generation: int, seq: int) -> None:
        """An import has everything up to here."""
        with self._writing() as writing:
            row = self._receptions.one(writing.connection, grant)
            if row is None:
                return
            upto = min((generation, seq), (row.generation, row.visible_seq))
            left = self._inbox.forget(writing.connection, grant, upto)
            now = replace(row, kept_bytes=left)
            self._receptions.write(writing.connection, now)
        self._remember(now)

    # Inside

    def _announce(self, news: Announced, *, dropping: bool) -> Reception:
        with self._writing() as writing:
            row = self._receptions.one(writing.connection, news.grant) or self._new(writing, news)
            if (row.stream, row.name) != (news.stream, news.table):
                raise Refused("a grant now speaks of another table", where=news.grant, fix="ask the platform")
            now = announced(row, news)
            if now.over and not row.over:
                self._record(writing, "grant_ended", PLATFORM, now, said=now.said, version=now.version)
                now = replace(now, kept_bytes=self._forget_unfinished(writing, now))
            if now.over and news.withdraw and now.code != WITHDRAWN:
                rows, now = self._empty(writing, now, dropping=dropping)
                now = replace(now, code=WITHDRAWN)
                self._record(writing, "grant_withdrawn", PLATFORM, now, rows=rows)
            if now != row or news.grant not in self._grants:
                self._receptions.write(writing.connection, now)
        return self._remember(now)

    def _recall(self, what: tuple[str, str, str], *, dropping: bool) -> int:
        grant, recall, reason = what
        with self._writing() as writing:
            row = self._receptions.one(writing.connection, grant)
            if row is None:
                return 0
            done = self._receptions.recalled(writing.connection, grant, recall)
            if done is not None:
                return done
            unfinished = row.seq > row.visible_seq
            rows, now = self._empty(writing, row, dropping=dropping)
            if unfinished and now.accepts:
                why = "a recall removed the beginning of a large transaction; only a fresh copy completes it"
                now = held_for(now, Diverged(why, where=grant))
            self._receptions.recall(writing.connection, grant, recall, rows)
            self._record(writing, "recalled", PLATFORM, now, recall=recall, rows=rows, reason=reason[:500])
            self._receptions.write(writing.connection, now)
        self._remember(now)
        return rows

    def _bring_in(self, parcels: Sequence[Parcel]) -> dict[str, Reception]:
        """All of *parcels* or none; by grant, as each is then."""
        rows: dict[str, Reception] = {}
        with self._writing(growing=True) as writing:
            changed = set()
            for parcel in parcels:
                grant = parcel.place.grant
                row = rows.get(grant) or self._receptions.one(writing.connection, grant)
                if row is None:
                    continue
                rows[grant] = row
                if is_news(row, parcel):
                    rows[grant] = self._accept(writing, row, parcel)
                    changed.add(grant)
            for grant in changed:
                self._receptions.write(writing.connection, rows[grant])
        return {grant: self._remember(row) for grant, row in rows.items()}

    def _accept(self, writing: _Writing, row: Reception, parcel: Parcel) -> Reception:
        """The grant with this delivery; raises what is wrong with it."""
        fresh = parcel.place.generation > row.generation
        demand_next(row, parcel, fresh)
        header = codec.read_header(parcel.header)
        if hashlib.sha256(parcel.payload).digest() != header.payload_sha256:
            raise BatchCorrupt("the payload does not match its checksum", where=row.grant_id)
        batch = codec.decode(parcel.header, parcel.payload)
        refuse_foreign(batch, row)
        if fresh:
            self._inbox.forget(writing.connection, row.grant_id)
            row = replace(row, generation=parcel.place.generation, visible_seq=0, kept_bytes=0)
        row = moved_by(row, parcel, batch.rows)
        keeps = self.keeps(row)
        if batch.continues or keeps:
            kept = Kept(row.generation, row.seq, parcel.header, parcel.payload)
            row = replace(
                row, kept_bytes=row.kept_bytes + self._inbox.keep(writing.connection, row.grant_id, kept)
            )
        if batch.continues:
            return row
        place = (row.grant_id, row.generation)
        if row.seq == row.visible_seq + 1:
            row = self.inbound.apply(writing.connection, row, (batch,), fresh=row.visible_seq == 0)
        else:
            before = (kept.batch for kept in self._inbox.after(writing.connection, *place, row.visible_seq))
            parts = before if keeps else (each for group in (before, (batch,)) for each in group)
            row = self.inbound.apply(writing.connection, row, parts, fresh=row.visible_seq == 0)
        if row.kept_bytes and (not keeps or row.kept_bytes > KEPT_LIMIT_BYTES):
            row = replace(row, kept_bytes=self._inbox.forget(writing.connection, row.grant_id))
        return replace(row, visible_seq=row.seq)

    def _new(self, writing: _Writing, news: Announced) -> Reception:
        others = self._receptions.all(writing.connection).values()
        place, losers = place_of_rows(news, others)
        for loser in losers:
            gone = replace(loser, place="")
            self._record(writing, "table_taken_over", PLATFORM, gone, by=news.grant)
            self._receptions.write(writing.connection, gone)
            self._grants[loser.grant_id] = gone
        row = Reception(
            news.grant,
            stream=news.stream,
            name=news.table,
            room=room_of(news.stream),
            place=place,
            state=State.SNAPSHOT,
        )
        self._record(writing, "grant_received", PLATFORM, row, room=row.room, place=row.place)
        return row

    @staticmethod
    def _emptying(act: Callable[[bool], _Answer]) -> _Answer:
        """Rows that must go do so even where the table is not as we left it: then it goes with them."""
        try:
            return act(False)
        except TableHold:
            return act(True)

    def _empty(self, writing: _Writing, row: Reception, *, dropping: bool) -> tuple[int, Reception]:
        rows = 0
        if dropping:
            self.inbound.drop(writing.connection, row)
            row = replace(row, schema=None)
        else:
            rows = self.inbound.empty(writing.connection, row)
        self._inbox.forget(writing.connection, row.grant_id)
        return rows, replace(row, kept_bytes=0, emptied=row.emptied + 1)

    def _forget_unfinished(self, writing: _Writing, row: Reception) -> int:
        """Parts whose transaction will never be whole; returns how much is kept for an import."""
        if row.seq == row.visible_seq:
            return row.kept_bytes
        return self._inbox.forget(writing.connection, row.grant_id)

    def _record(self, writing: _Writing, event: str, who: str, row: Reception, **facts: str | int) -> None:
        told = {"grant": row.grant_id, "resource": row.resource, **facts}
        self._audit.record(writing.connection, writing.mark, event, who, row.name, told)

    def _remember(self, row: Reception) -> Reception:
        if (before := self._grants.get(row.grant_id)) is not None and before.proven_us > row.proven_us:
            row = replace(row, proven_us=before.proven_us)
        self._grants[row.grant_id] = row
        return row

    @contextmanager
    def _writing(self, *, growing: bool = False) -> Iterator[_Writing]:
        with self._lock:
            if growing:
                self.demand_room()
            with (
                self.room.watched(),
                translated(self._place, self._stream),
                self._engine.begin() as connection,
            ):
                mark = self._checkpoints.lock(connection, self._epoch)
                yield _Writing(connection, mark)
                self._checkpoints.move(connection, mark)
