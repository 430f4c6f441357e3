"""One stream and its workers: capture on one thread, push on another, an exchange database between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from agent.binding import NotCatalogued
from agent.capture import Capture, CaptureSettings
from agent.daemon.catalogue import NeverHeard
from agent.daemon.leaving import Leaving, Platform
from agent.daemon.limits import push_limits
from agent.describing import describe
from agent.exchange import Exchange, Gauge, Pause, Sizes
from agent.link import Link
from agent.push import Push
from agent.settings import Settings
from agent.sources.kinds import SourceSettings, new_source
from agent.sources.source import Dated, Fading, Forgetting, Remark, Remarking, Retained
from agent.status import View, report
from agent.worker import StreamState, now_us, run_worker
from proto.errors import Credential, ExchangeError, Halt, Refused, Transient, way_out
from proto.states import State
from proto.v1 import node_pb2

PRUNES_AT_A_TIME, ASK_AGAIN_S = 20, 10.0
FADING_EDGES = (0.5, 0.8, 1.0)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all lanes of a node share."""

    link: Link
    prepare: Callable[[], None]
    """Bring the exchange database up to date; cheap when that was done."""
    on_bug: Callable[[str, BaseException], None]
    platform: Platform
    """Says what may leave."""


class Lane:
    """The workers of one source. Whatever stops one lane, the others go on."""

    def __init__(
        self, settings: Settings, source: SourceSettings, exchange: Exchange, around: Surroundings
    ) -> None:
        self.name = source.name
        self.exchange = exchange
        self._around = around
        self._settings = settings
        self._source = source
        self._retained: Retained | None = None
        self._warned_at = 0
        self._fading: Fading | None = None
        self._gauge = Gauge()
        self._no_capture, self._no_push = threading.Event(), threading.Event()
        self._leaving = Leaving(source.name, exchange, around.platform)
        self._push = Push(exchange, around.link, push_limits(settings), self._leaving)
        self._capture = self._new_capture()
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.RLock()
        self._recalling, self._recalled = threading.Lock(), False

    # Life

    def start(self) -> None:
        """Begin both hops."""
        self._spawn("push", self._push_on)
        self._spawn("capture", self._capture_on)

    def is_alive(self) -> bool:
        """Whether every thread that should run does."""
        return all(thread.is_alive() for thread in self._threads.values())

    def stop_capture(self, timeout_s: float) -> bool:
        """End capture; what is under way is finished or rolled back. False when it did not end in time."""
        self._no_capture.set()
        self._capture.stop()
        return self._joined("capture", timeout_s)

    def stop_push(self, timeout_s: float) -> bool:
        """End push, and let go of the exchange database."""
        self._no_push.set()
        self._push.stop_waiting()
        ended = self._joined("push", timeout_s)
        if ended:
            self.exchange.close()
        return ended

    def change(self, settings: Settings, source: SourceSettings) -> None:
        """Go on under other settings: push at once, capture from its checkpoint."""
        with self._lock:
            self._push.change(push_limits(settings))
            capture_changed = source != self._source or settings.limits != self._settings.limits
            self._settings, self._source = settings, source
            if not capture_changed:
                return
            self._no_capture.set()
            self._capture.stop()
            self._joined("capture", None)
            self._no_capture.clear()
            state, self._capture = self._capture.state, self._new_capture()
            # What was counted goes on, and so does a pause.
            self._capture.state = state
            self._spawn("capture", self._capture_on)

    def rebind(self) -> None:
        """The catalogue may let something else leave: capture goes on under it, if that is so."""
        if self._leaving.is_settled(self._source.tables):
            self._push.offer(())
        else:
            self._push.begin_again()
            self._capture.turn_over()

    @property
    def kept_back(self) -> str:
        """What the catalogue keeps here of what the settings ask for."""
        return self._leaving.sentence

    # What people ask

    def pause(self, who: str) -> None:
        """Read nothing and let nothing leave until :meth:`resume`, not even after a restart.

        Raises Transient when it could not be stored: then it holds until the next restart.
        """
        pause = Pause(who, now_us())
        if not self.is_paused:
            self._stand_still(pause)
        try:
            self._around.prepare()
            self.exchange.pause(pause)
        except ExchangeError as error:
            what = f"paused, but a restart would lift it, because it could not be stored: {error.what}"
            raise Transient(what, where=self.name, fix="once that is mended: exchange-agent pause") from error

    def resume(self, who: str) -> None:
        """Go on after a pause, or try again after a halt."""
        if self.is_paused:
            self.exchange.resume(who)
        self._capture.resume()
        self._push.resume()

    @property
    def is_paused(self) -> bool:
        """Whether people stopped it."""
        return self._capture.state.paused or self._push.state.paused

    def order_copy(self, table: str, who: str) -> None:
        """Copy *table* afresh; all of them with ``""``, which also mends a gap."""
        if not table:
            self._refuse_unless_heard()
            self._capture.begin_anew(who, "asked to copy every table afresh")
            # What may not leave is held again before anything is read.
            self._leaving.forget()
            self._capture.turn_over()
            return
        known = [one.catalogued for one in self._source.tables]
        if table not in known:
            raise Refused(f"{self.name} has no table {table}", fix=f"one of: {', '.join(known)}")
        self._refuse_bound(table)
        halted = self._capture.state.read().state
        if halted in (State.GAP, State.DIVERGED):
            what = f"{self.exchange.stream} is in {halted}: one table alone does not mend that"
            raise Refused(what, where=table, fix=f"exchange-agent snapshot --all --source {self.name}")
        self._capture.order_copy(table, who)

    def _refuse_unless_heard(self) -> None:
        """A released stream goes on at the end of our outbox: what was copied before that would never arrive."""
        if self._push.disagreement is not None:
            # Perhaps the platform has released the stream meanwhile.
            said = self._push.ask_again(self._no_push, ASK_AGAIN_S)
            if said is not None:
                stream = self.exchange.stream
                what = f"central takes nothing of {stream} now: {said.what}"
                raise Refused(what, where=self.name, fix=way_out(stream))

    def _refuse_bound(self, table: str) -> None:
        """People cannot let a table leave that the catalogue does not."""
        hold = self._leaving.bound(self._source.tables).hold(table)
        if hold is not None:
            raise Refused(hold.what, where=table, fix=hold.fix)

    def retry(self, table: str, who: str) -> None:
        """Apply the held changes of *table* again."""
        self._refuse_bound(table)
        self._capture.retry(table, who)

    @property
    def is_connected(self) -> bool:
        """Whether a session with central is open."""
        return self._push.facts().connected

    def standing(self) -> tuple[bool, frozenset[State], Mapping[str, Remark]]:
        """What people should hear of as soon as it changes; asks no database."""
        states = frozenset(worker.state.read().state for worker in (self._capture, self._push))
        return self.is_connected, states - {State.RUNNING, State.IDLE}, self._remarks()

    def describe(self) -> list[node_pb2.TableShape]:
        """How its tables are now, every column; structure only, over a connection of its own."""
        return describe(self.exchange.stream, self._source, self.exchange.mirror)

    def report(self) -> node_pb2.StreamReport:
        """How the stream is, in one picture."""
        facts = self._push.facts()
        return report(
            View(
                stream=self.exchange.stream,
                capture=self._capture.state.read(),
                push=self._push.state.read(),
                sizes=self._sizes(),
                captured_seq=max(self._capture.state.read().seq, facts.newest_seq),
                acknowledged_seq=max(facts.acknowledged_seq, self.exchange.acknowledged_seq),
                acknowledged_us=facts.acknowledged_us,
                tables=self.exchange.tables(),
                retained_bytes=self._retained.bytes if self._retained else 0,
                fading=self._fading,
                horizon=self._gauge.horizon(),
                retention_given_up_us=self.exchange.room.retention_given_up_us,
                looking_proves=self._reader.traits.looking_proves,
                captured=frozenset(table.catalogued for table in self._source.tables),
                deletes_every_s={table.catalogued: table.deletes_every_s for table in self._source.tables},
                remarks=self._remarks(),
                read_at=self._reader.read_at() if isinstance(self._reader, Dated) else {},
            )
        )

    def _remarks(self) -> Mapping[str, Remark]:
        return self._reader.remarks() if isinstance(self._reader, Remarking) else {}

    def _sizes(self) -> Sizes:
        try:
            return self.exchange.sizes()
        except ExchangeError:
            # The workers meet the same trouble and say so; a status that cannot be asked for helps nobody.
            return Sizes(0, 0, 0, 0, 0)

    # What happens by the clock

    def prune(self) -> None:
        """Forget what central has had long enough."""
        try:
            for _ in range(PRUNES_AT_A_TIME):
                if not self.exchange.prune(self._settings.exchange.keep_us):
                    self.exchange.closing.scrub()
                    return
        except Halt:
            # Not the stream's writer, or not yet: then there is nothing to forget, and capture says why.
            return

    def watch_room(self) -> None:
        """Look how full the outbox and its volume are, so that people hear when they will be."""
        self._gauge.note(self.exchange.room.level(self.exchange.sizes().waiting_bytes))

    def watch_source(self) -> None:
        """Look at what the source keeps for us; warn, and give up our place before its disk is full (C10)."""
        if self._capture.state.read().state is State.CREDENTIAL:
            # Asking again with a refused password locks accounts (C21).
            return
        try:
            self._retained = self._reader.retained()
            self._capture.protect_source()
            self._look_ahead()
        except (Transient, Credential):
            # Capture meets the same trouble, and says so where people look.
            self._retained = None
        self._warn()

    def _look_ahead(self) -> None:
        """Warn at half and at four fifths of the time that the source's log has left, and say so in the status (C11)."""
        if not isinstance(self._reader, Forgetting):
            return
        try:
            position = self.exchange.start().position
            found = self._reader.fading(position) if position else None
        except Halt:
            # Not the stream's writer, or a position of another source: capture says why.
            found = None
        before, self._fading = self._fading, found
        edge = max((each for each in FADING_EDGES if found and found.share >= each), default=0.0)
        if found and edge and (before is None or before.share < edge):
            _log.warning(
                "source_log_fades", stream=self.exchange.stream, sentence=found.sentence, fix=found.fix
            )

    def _warn(self) -> None:
        kept, disk = self._retained, self._source.disk
        if kept is None or disk is None:
            return
        limit = disk.drop_slot_at_bytes
        edges = [disk.warn_bytes]
        edges += [bound * share // 10 for bound in (kept.limit_bytes, limit) if bound for share in (5, 8)]
        passed = max((edge for edge in edges if kept.bytes >= edge), default=0)
        if passed > self._warned_at:
            _log.warning(
                "source_keeps_much",
                stream=self.exchange.stream,
                kept_bytes=kept.bytes,
                limit_bytes=kept.limit_bytes,
            )
        self._warned_at = passed

    # Threads

    def _new_capture(self) -> Capture:
        self._reader = new_source(self._source, self.exchange.mirror)
        disk = self._source.disk
        settings = CaptureSettings(self._settings.limits.read, disk.drop_slot_at_bytes if disk else None)
        capture = Capture(self._reader, self.exchange, self._push.offer, settings)
        self._leaving.forget()
        capture.before = lambda: self._go_by_catalogue(capture)
        return capture

    def _go_by_catalogue(self, capture: Capture) -> None:
        """Let the next session of *capture* read what may leave, and nothing else."""
        tables = self._source.tables
        while not self._leaving.is_settled(tables):
            bound = self._leaving.settle(tables, self._push.offer)
            allowed = self._source.model_copy(update={"tables": bound.tables})
            self._reader = new_source(allowed, self.exchange.mirror)
            capture.use(self._reader, bound.refusal)
            if capture.state.read().code in (NeverHeard.code, NotCatalogued.code):
                # That is over, whatever the source has to say now.
                capture.state.set(State.RUNNING, "opening the source")
        self._leaving.bound(tables).demand_any()

    def _spawn(self, hop: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(
            target=self._watched, args=(hop, work), name=f"{hop}-{self.name}", daemon=True
        )
        self._threads[hop] = thread
        thread.start()

    def _watched(self, hop: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to the supervisor, which ends the daemon
            self._around.on_bug(f"{hop}-{self.name}", error)

    def _capture_on(self) -> None:
        capture = self._capture
        self._work("capture", capture.step, self._no_capture, capture.state)

    def _push_on(self) -> None:
        self._work("push", self._push.step, self._no_push, self._push.state)
        try:
            self._push.close()
        except ExchangeError as error:
            # Nothing is lost: what could not be noted now, central says again at the next hello.
            _log.warning("push_not_closed", stream=self.exchange.stream, error=str(error))

    def _work(self, hop: str, step: Callable[[], bool], stop: threading.Event, state: StreamState) -> None:
        def prepared() -> bool:
            self._around.prepare()
            self._recall()
            return True if state.paused else step()

        structlog.contextvars.bind_contextvars(worker=hop, stream=self.exchange.stream)
        run_worker(f"{hop}-{self.name}", prepared, stop, state)

    def _recall(self) -> None:
        """Know how far the stream is, and stand still when people stopped it before this process began."""
        with self._recalling:
            if not self._recalled:
                now = self.exchange.start()
                # A stream that stands still has nobody else to say how far it is.
                self._capture.state.note(seq=now.head.seq, position=now.position)
                if now.pause is not None:
                    self._stand_still(now.pause)
                self._recalled = True

    def _stand_still(self, pause: Pause) -> None:
        since = datetime.fromtimestamp(pause.since_us / 1_000_000, UTC)
        sentence = f"stopped by {pause.who} on {since:%Y-%m-%d %H:%M} UTC"
        self._capture.pause(sentence)
        self._push.pause(sentence)

    def _joined(self, hop: str, timeout_s: float | None) -> bool:
        thread = self._threads.get(hop)
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()
