"""From the source to the exchange database: one thread reads, one commits, and a short belt lies between them.

The source may forget only what is committed: a position is confirmed after its commit, never before. When anything
fails, both threads end, the source is closed, and the next session starts at the checkpoint as the database has it:
a failed commit may have happened (E1), so memory is never believed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from agent.belt import Belt, Ended
from agent.exchange import Exchange
from agent.snapshot import Begin, Copies, CopyPage
from agent.sources.source import Limits, Remembering, Resting, Source
from agent.worker import StreamState, now_us
from proto.batch import Batch, Position, SealedBatch
from proto.errors import Gap, TableHold
from proto.schema import TableSchema
from proto.states import State

LAST_WORD_S: Final = 5.0
"""How long a clean stop waits for the last commit, so that its position can still be confirmed (C2)."""
ROOM_S: Final = 0.5
GATHER_S: Final = 0.01
SHOW_S: Final = 0.5
BELT_ITEMS: Final = 2

log = structlog.get_logger()


Item = Batch | Begin | CopyPage | TableHold


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """How a stream is read."""

    limits: Limits = field(default_factory=Limits)
    drop_log_at_bytes: int | None = None
    """When the source keeps more than this for us, we give up our place there (C10); None = never."""
    refusal: Callable[[TableSchema], TableHold | None] = lambda _: None
    """Why rows of a shape may not leave; looked at before the first of them is committed."""


class Capture:
    """The worker of one stream's first hop. :meth:`step` belongs to one thread; the others may be called from any."""

    def __init__(
        self,
        source: Source,
        exchange: Exchange,
        wake_push: Callable[[Sequence[SealedBatch]], None],
        settings: CaptureSettings = CaptureSettings(),
    ) -> None:
        self.state = StreamState(exchange.stream)
        self._source = source
        self._exchange = exchange
        exchange.copies_without_key = source.traits.copies_without_key
        self._wake_push = wake_push
        self._settings = settings
        self._given_up = ""
        self._stop, self._over = threading.Event(), threading.Event()
        self._session: Session | None = None
        self.before: Callable[[], None] = lambda: None
        """Decides, before each session, under what it runs; may call :meth:`use`, and raise what a step may raise."""

    def step(self) -> bool:
        """Capture until stopped, paused, turned over, or something fails. Raises Transient and Halt."""
        self._over.clear()
        self.before()
        self._give_up_if_asked()
        self._exchange.start()
        session = Session(self._source, self._exchange, self._wake_push, self._settings, self.state)
        self._session = session
        if self._stop.is_set() or self.state.paused:
            return False
        if self._over.is_set():
            # Something was decided after we had asked.
            return True
        try:
            session.run()
        finally:
            self._session = None
        return not self._stop.is_set()

    def use(self, source: Source, refusal: Callable[[TableSchema], TableHold | None]) -> None:
        """Read *source* from the next session on. For :attr:`before` only."""
        self._source, self._settings = source, replace(self._settings, refusal=refusal)
        self._exchange.copies_without_key = source.traits.copies_without_key

    def turn_over(self) -> None:
        """End the session; the next one begins at once, under what is decided by then. A paused stream stays so."""
        self._over.set()
        self._end_session()
        self.state.try_again()

    def stop(self) -> None:
        """End the session after what is under way; what was read of an open transaction is rolled back."""
        self._stop.set()
        self._end_session()

    def pause(self, sentence: str = "") -> None:
        """Stop until :meth:`resume`; the source keeps its log meanwhile."""
        self.state.pause(sentence)
        self._end_session()

    def resume(self) -> None:
        """Go on after a pause, or try again now after a halt."""
        self.state.resume()

    def order_copy(self, table: str, who: str = "operator") -> None:
        """Copy *table* afresh."""
        self._exchange.order_copy(table, who)
        self._source.stop_waiting()

    def begin_anew(self, who: str, reason: str) -> None:
        """Start a new stream with fresh copies of all tables: the way out of a gap. A paused stream stays so."""
        self._given_up = ""
        self._exchange.begin_anew(who, reason)
        self._end_session()
        self.state.try_again()

    def retry(self, table: str, who: str = "operator") -> None:
        """Send what is quarantined of *table* its normal way."""
        self._wake_push(self._exchange.retry(table, who))

    def protect_source(self) -> None:
        """Give up our place at the source when its server keeps too much for us: its disk matters more (C10)."""
        limit, retained = self._settings.drop_log_at_bytes, self._source.retained()
        if limit is None or retained is None or retained.bytes < limit:
            return
        self._given_up = f"the source kept {retained.bytes} bytes of its log for us, the limit is {limit}"
        log.error("source_protected", stream=self._exchange.stream, retained=retained.bytes, limit=limit)
        self._end_session()
        self.state.resume()

    def _give_up_if_asked(self) -> None:
        if not self._given_up:
            return
        self._source.give_up_place()
        what, self._given_up = self._given_up, ""
        raise Gap(
            f"{what}; our place there was given up",
            where=self._exchange.stream,
            fix="see why capture stood still, then copy all tables afresh: "
            f"exchange-agent snapshot --all --source {self._exchange.stream.rpartition('/')[2]}",
        )

    def _end_session(self) -> None:
        session = self._session
        if session is not None:
            session.end()


class Session:
    """One time of reading, from opening the source to closing it."""

    def __init__(
        self,
        source: Source,
        exchange: Exchange,
        wake_push: Callable[[Sequence[SealedBatch]], None],
        settings: CaptureSettings,
        state: StreamState,
    ) -> None:
        self._source = source
        self._exchange = exchange
        self._wake_push = wake_push
        self._limits, self._refusal = settings.limits, settings.refusal
        self._state = state
        self._copies = Copies(source, exchange, source.resume_table)
        self._belt: Belt[Item] = Belt(BELT_ITEMS, settings.limits.bytes, _weight)
        self._ending = threading.Event()
        self._committed: Position = ""
        self._seq = 0
        self._show_at_s = 0.0

    def end(self) -> None:
        """Make :meth:`run` return soon. Any thread may call it."""
        self._ending.set()
        self._source.stop_waiting()

    def run(self) -> None:
        """Read and commit until told to end. Raises what ended it."""
        now = self._exchange.checkpoint()
        self._committed, self._seq = now.position, now.head.seq
        reader = threading.Thread(target=self._read, name=f"read-{self._exchange.stream}", daemon=True)
        reader.start()
        try:
            self._commit_all()
        finally:
            self._belt.close()
            self.end()
            reader.join()

    # The committing thread

    def _commit_all(self) -> None:
        try:
            while True:
                self._commit(self._belt.take())
                self._belt.done()
        except Ended as end:
            if end.cause is not None:
                raise end.cause from end

    def _commit(self, item: Item) -> None:
        if isinstance(item, Batch):
            self._commit_batches(item)
        elif isinstance(item, Begin):
            self._begin_copy(item)
        elif isinstance(item, CopyPage):
            self._committed_rows(self._exchange.commit_page(item.page, item.generation))
        else:
            self._hold(item)

    def _begin_copy(self, item: Begin) -> None:
        if hold := self._refusal(item.schema):
            self._hold(hold)
        else:
            self._committed_rows(self._exchange.begin_copy(item.schema, item.expected_rows, item.mark))

    def _hold(self, hold: TableHold) -> None:
        log.warning("table_held", stream=self._exchange.stream, table=hold.table, error=str(hold))
        self._exchange.hold(hold, changes_left_out=True)

    def _commit_batches(self, first: Batch) -> None:
        batches = [first]
        if first.continues:
            sealed = self._exchange.commit(self._parts(batches))
        else:
            batches += self._more_after(first)
            sealed = self._exchange.commit(batches)
        last = batches[-1]
        # Only now may the reader confirm this position: the order is the whole guarantee.
        self._committed = last.position
        self._state.note(position=last.position)
        if last.last_commit_us:
            lag_us = max(0, now_us() - last.last_commit_us)
            self._state.note(last_commit_us=last.last_commit_us, lag_us=lag_us, kept_us=now_us())
        self._committed_rows(sealed)

    def _more_after(self, first: Batch) -> list[Batch]:
        """What else waits and is small: many small commits of the source become one of ours."""
        room = self._limits.bytes - first.size_bytes

        def fits(item: Item) -> bool:
            nonlocal room
            if not isinstance(item, Batch) or item.continues:
                return False
            room -= item.size_bytes
            return room >= 0

        return [item for item in self._belt.take_more(fits) if isinstance(item, Batch)]

    def _parts(self, last: list[Batch]) -> Iterator[Batch]:
        """The parts of one large transaction as they come; only the newest is kept."""
        yield last[0]
        while last[0].continues:
            self._belt.done()
            part = self._belt.take()
            if not isinstance(part, Batch):
                raise TypeError(f"a {type(part).__name__} inside a source transaction")
            last[0] = part
            yield part

    def _committed_rows(self, sealed: list[SealedBatch]) -> None:
        if not sealed:
            return
        self._seq = sealed[-1].seq
        rows = sum(batch.rows for batch in sealed)
        self._state.count(rows, sum(len(batch.payload) for batch in sealed), len(sealed))
        self._state.note(seq=self._seq)
        self._wake_push(sealed)

    # The reading thread, the only one that uses the source

    def _read(self) -> None:
        try:
            with self._state.asking(
                "opening the source", "if its server does not answer, mend that; see: exchange-agent check"
            ):
                self._open()
            while not self._ending.is_set():
                self._turn()
            self._last_word()
        except Ended:
            pass
        except BaseException as error:  # noqa: BLE001 — carried to the committing thread, which raises it
            self._belt.close(error)
        finally:
            self._belt.close()
            self._source.close()

    def _open(self) -> None:
        if isinstance(self._source, Remembering):
            tables = self._exchange.tables()
            self._source.recall({name: status.mark for name, status in tables.items() if status.mark})
        opened = self._source.open(self._committed)
        if opened != self._committed:
            self._put(Batch(opened, ()))
        try:
            schemas = self._source.schemas()
            self._exchange.know(schema.name for schema in schemas)
            for hold in filter(None, map(self._refusal, schemas)):
                self._put(hold)
        except TableHold as hold:
            self._put(hold)
        if isinstance(self._source, Remembering):
            self._exchange.keep_marks(self._source.marks())
        log.info("capture_opened", stream=self._exchange.stream, position=opened)

    def _turn(self) -> None:
        # What comes while a commit is under way waits for its end anyway: read afterwards it is one batch, not many.
        self._belt.wait_idle(GATHER_S)
        batch = self._source.read(self._limits)
        if batch is not None:
            self._put(batch)
        for hold in self._source.holds():
            if not isinstance(hold, TableHold):
                raise hold
            # A table that is new in the settings was not published before; its copy begins after all that.
            if not self._copies.starts_over(hold.table):
                self._put(hold)
        if batch is None or not batch.continues:
            for item in self._copies.turn():
                self._put(item)
        if self._committed:
            self._source.confirm(self._committed)
        self._show(batch is None)

    def _put(self, item: Item) -> None:
        while not self._belt.put(item, ROOM_S):
            self._source.keepalive()

    def _last_word(self) -> None:
        if self._belt.wait_idle(LAST_WORD_S) and self._committed:
            self._source.confirm(self._committed)

    def _show(self, quiet: bool) -> None:
        """Say what the stream is doing; idle only when a proof is newer than the last change, and all is delivered."""
        proof = self._source.proof()
        if quiet and proof is not None and self._belt.idle:
            self._state.note(marker_us=proof.at_us)
        if time.monotonic() < self._show_at_s:
            return
        self._show_at_s = time.monotonic() + SHOW_S
        now = self._state.read()
        waiting = self._seq - self._exchange.acknowledged_seq
        copying = self._copies.progress()
        resting = self._source.resting() if isinstance(self._source, Resting) else ""
        if resting:
            self._state.set(State.PAUSED, resting)
        elif copying:
            self._state.set(State.SNAPSHOT, copying)
        elif waiting == 0 and now.marker_us > now.changed_us:
            self._state.set(State.IDLE)
        else:
            self._state.set(
                State.RUNNING, f"streaming at {self._committed}, {waiting} batches wait for central"
            )


def _weight(item: Item) -> int:
    """What lies on the belt is memory; pages and full batches come one at a time."""
    if isinstance(item, Batch):
        return item.size_bytes
    return len(item.page.frames.data) if isinstance(item, CopyPage) else 0
