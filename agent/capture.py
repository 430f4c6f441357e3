"""From the source to the exchange database: one thread reads, one commits, and a short belt lies between them.

The source may forget only what is committed: a position is confirmed after its commit, never before. When anything
fails, both threads end, the source is closed, and the next session starts at the checkpoint as the database has it:
a failed commit may have happened (E1), so memory is never believed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from agent.belt import Belt, Ended
from agent.exchange import Exchange
from agent.snapshot import Begin, Copies, CopyPage
from agent.sources.source import Limits, Remembering, Resting, Source
from agent.worker import StreamState, now_us
from proto.batch import Batch, Position, SealedBatch
from proto.errors import Gap, TableHold
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
        self._stop = threading.Event()
        self._session: Session | None = None

    def step(self) -> bool:
        """Capture until stopped, paused, or something fails. Raises Transient and Halt."""
        self._give_up_if_asked()
        self._exchange.start()
        session = Session(self._source, self._exchange, self._wake_push, self._settings.limits, self.state)
        self._session = session
        if self._stop.is_set() or self.state.paused:
            return False
        try:
            session.run()
        finally:
            self._session = None
        return not self._stop.is_set()

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
        limits: Limits,
        state: StreamState,
    ) -> None:
        self._source = source
        self._exchange = exchange
        self._wake_push = wake_push
        self._limits = limits
        self._state = state
        self._copies = Copies(source, exchange, source.resume_table)
        self._belt: Belt[Item] = Belt(BELT_ITEMS, limits.bytes, _weight)
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
            self._committed_rows(self._exchange.begin_copy(item.schema, item.expected_rows, item.mark))
        elif isinstance(item, CopyPage):
            self._committed_rows(self._exchange.commit_page(item.page, item.generation))
        else:
            log.warning("table_held", stream=self._exchange.stream, table=item.table, error=str(item))
            self._exchange.hold(item, changes_left_out=True)

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
            self._exchange.know(schema.name for schema in self._source.schemas())
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
