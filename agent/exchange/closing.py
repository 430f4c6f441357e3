"""What may not leave any more goes out of everything that lies here: mirror, outbox, quarantine (SD05.2).

One transaction with what is held and copied afresh, so whatever dies in between, either nothing was settled or all of it.

A batch that waits may have reached the platform already, and whether it has, only the next hello tells. So its rows go at
once and its number and digest stay; once the platform has said where its chain ends, what follows there is chained anew
without them (:meth:`Closing.seal_anew`). Both steps take a new epoch: whatever an older connection still holds is fenced off,
and what push has in memory of an older epoch is not sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import Connection, Engine, select, update

from agent.exchange.checkpoints import now_us
from agent.exchange.place import READS, Place, translated
from agent.exchange.tables import tables
from agent.exchange.writing import Desk, Writing
from proto.batch import Head, SealedBatch
from proto.errors import TableHold, Transient
from proto.schema import TableSchema

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

CATALOGUE: Final = "the sharing catalogue"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of the tables of a stream."""

    mark: str
    """Differs whenever anything else may leave."""
    holds: tuple[TableHold, ...] = ()
    copies: tuple[str, ...] = ()
    """To be copied afresh."""
    closes: Callable[[TableSchema], bool] = lambda _: False
    """Whether rows of a shape may not leave."""
    in_positions: frozenset[str] = frozenset()
    """Tables whose closed values are part of the stream's positions."""


class Closing:
    """Settles decisions in one stream. *writing* opens its transactions."""

    def __init__(
        self,
        desk: Desk,
        at: tuple[Place, Engine],
        writing: Callable[[], AbstractContextManager[Writing]],
        forget_epoch: Callable[[], None],
    ) -> None:
        self._desk, self._writing, self._forget_epoch = desk, writing, forget_epoch
        self._place, self._engine = at
        self._table = tables(self._place.schema, self._place.prefix).checkpoint

    def settle(self, decision: Decision) -> list[SealedBatch]:
        """Hold, order copies, and take out what *decision* closes; returns what that queued. Safe to repeat."""
        if not decision.holds and not decision.copies and self._settled() == decision.mark:
            return []
        with self._renewing() as writing:
            for hold in decision.holds:
                writing.leave_out(hold)
            copies = set(decision.copies)
            if self._read(writing.connection, "settled") != decision.mark:
                copies |= self._take_out(writing, decision)
                self._write(writing.connection, settled=decision.mark)
            for table in sorted(copies):
                if not writing.tables[table].held or table in decision.copies:
                    writing.order_copy(table, CATALOGUE)
        return writing.sealed

    def seal_anew(self, theirs: Head) -> bool:
        """Whether what the platform does not have had to be chained anew, after its head: then say hello again."""
        with self._reading() as connection:
            if self._read(connection, "taken_seq") <= theirs.seq:
                return False
        with self._renewing() as writing:
            self._renew(writing)
            batches = self._desk.outbox.seal_anew(writing.connection, writing.mark, theirs)
            # Those before keep their digests: should the platform go back to an older head, this is done again.
            self._write(writing.connection, taken_seq=theirs.seq)
        _log.info("sealed_anew", stream=self._desk.stream, after=theirs.seq, batches=batches)
        return True

    def scrub(self) -> bool:
        """Let the bytes of what was taken out vanish from the database's file; whether nothing is left to do."""
        with self._reading() as connection:
            if not self._read(connection, "scrub_us"):
                return True
        try:
            if not self._place.scrub(self._engine):
                return False
            with self._writing() as writing:
                self._write(writing.connection, scrub_us=0)
                writing.record("scrubbed", CATALOGUE, "")
        except Transient as error:
            _log.warning("not_scrubbed_yet", stream=self._desk.stream, error=str(error))
            return False
        return True

    def _take_out(self, writing: Writing, decision: Decision) -> set[str]:
        """Returns the tables that lost rows and are to be copied afresh, as far as they may leave."""
        connection, desk = writing.connection, self._desk
        closed = [
            each
            for each in writing.tables.values()
            if each.schema is not None and decision.closes(each.schema)
        ]
        positions = any(each.name in decision.in_positions for each in closed)
        found = desk.outbox.take_out(connection, decision.closes, positions=positions)
        entries = desk.quarantine.take_out(connection, decision.closes)
        if not (closed or found.batches or entries):
            return set()
        if found.batches:
            self._renew(writing)
            self._write(connection, taken_seq=max(self._read(connection, "taken_seq"), found.last_seq))
        self._write(connection, scrub_us=now_us())
        if positions:
            writing.mark.position = ""
        writing.take_away(closed)
        names = {each.name for each in closed} | found.tables
        facts: dict[str, str | int] = {
            "tables": ", ".join(sorted(names)),
            "batches": found.batches,
            "entries": entries,
        }
        writing.record("taken_out", CATALOGUE, "", **facts)
        _log.warning("taken_out", stream=desk.stream, **facts)
        return set(writing.tables) if positions else names & set(writing.tables)

    def _renew(self, writing: Writing) -> None:
        self._desk.checkpoints.renew(writing.connection, writing.mark, secrets.token_hex(16))

    @contextmanager
    def _renewing(self) -> Iterator[Writing]:
        taken = False
        try:
            with self._writing() as writing:
                before = writing.mark.epoch
                yield writing
                taken = writing.mark.epoch != before
        except BaseException:
            if taken:
                # Perhaps it was committed all the same, and the epoch there is not the one we know: the next start takes its own.
                self._forget_epoch()
            raise

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with (
            translated(self._place, self._desk.stream),
            self._engine.connect().execution_options(**READS) as connection,
        ):
            yield connection

    def _settled(self) -> str:
        with self._reading() as connection:
            return str(self._read(connection, "settled"))

    def _read(self, connection: Connection, name: str) -> Any:
        # There is no row before the first start, and nothing lies here either.
        return connection.execute(select(self._table.c[name]).where(self._mine)).scalar() or 0

    def _write(self, connection: Connection, **values: Any) -> None:
        connection.execute(update(self._table).where(self._mine).values(values))

    @property
    def _mine(self) -> ColumnElement[bool]:
        return self._table.c.stream == self._desk.stream
