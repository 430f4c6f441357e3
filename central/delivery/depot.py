"""Who delivers what: a lane for each grant of each connected consumer, a few threads for all of them in turn.

A lane is woken when its provider's stream was applied further, when a receipt made room, and by :meth:`Depot.look`,
which asks once a second, in one question for everybody, what became of grants, calls and streams.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from central.crew import Crew, backoff_s
from central.delivery import calls, cursor
from central.delivery.courier import Courier, Post, Step
from central.delivery.cursor import Standing
from central.delivery.figures import AWAY
from central.delivery.looking import Seen, Sight, keep, look, proven
from central.delivery.recalls import finish
from central.delivery.visit import Lane, Visit
from central.store import writing
from proto.errors import ExchangeError, Halt, Refused, Transient
from proto.states import State
from proto.v1 import exchange_pb2

HALT_BACKOFF_S: Final = 5.0
PROGRESS_S: Final = 10.0
"""That nothing came for a grant is told at most this often."""
RECALL_AGAIN_S: Final = 60.0
TIMED: Final = frozenset({"OUTSIDE_HOURS", "DAY_IS_SPENT"})
"""Why a grant waits that only the clock ends."""
TIMED_LOOK_S: Final = 5.0
LARGEST: Final = 2**63 - 1
MOST_WORDS: Final = 500
_log = structlog.get_logger()

Listen = Callable[[str, Callable[[int], None]], Callable[[], None]]
"""Tells each new applied number of a stream, until the answer is called."""


class Depot:
    """Couriers and the threads that move them; every public method may be called from any thread."""

    def __init__(self, post: Post, listen: Listen, threads: int, owner: str) -> None:
        self._post = post
        self._listen = listen
        self._owner = owner
        self._visits: dict[str, Visit] = {}
        self._by_stream: dict[str, set[tuple[str, str]]] = {}
        self._silence: dict[str, Callable[[], None]] = {}
        self._clock_us = 0
        self._progress_at_s = 0.0
        self._lock = threading.RLock()
        self._crew = Crew(self._turn, threads, "deliver")

    def start(self) -> None:
        """Begin to work."""
        self._crew.start()

    def stop(self, timeout_s: float) -> bool:
        """Let running steps end, begin no other; True when all threads ended in time."""
        self._crew.dismiss()
        return self._crew.join(timeout_s)

    @property
    def alive(self) -> bool:
        """True while every thread is there; food for the watchdog."""
        return self._crew.alive

    def open(self, consumer: str, hello: exchange_pb2.PullHello, notify: Callable[[], None]) -> Visit:
        """Deliver to *consumer* on this call, and on no older one; *notify* is called when there is something to write."""
        with writing(self._post.engine) as connection:
            ticket = calls.open_call(connection, consumer, self._owner, plain(hello.incarnation))
        visit = Visit(ticket, hello, notify)
        with self._lock:
            older = self._visits.get(consumer)
            self._visits[consumer] = visit
        if older is not None:
            self._leave(older)
            older.end(calls.CallOver("a newer call of this node took over", where=consumer))
        self._meet(look(self._post.engine, [consumer]))
        return visit

    def close(self, visit: Visit) -> None:
        """The call is over."""
        with self._lock:
            is_newest = self._visits.get(visit.consumer) is visit
            if is_newest:
                del self._visits[visit.consumer]
        self._leave(visit)
        if not is_newest:
            return
        for lane in visit.lanes.values():
            if lane.standing.state in {State.IDLE, State.RUNNING, State.SNAPSHOT}:
                lane.standing = AWAY
        keep(self._post.engine, visit.lanes.values())

    def hold(self, visit: Visit, hold: exchange_pb2.PullHold) -> None:
        """The consumer cannot take more of a grant; an empty state says that it can again. Raises Refused."""
        lane = visit.lanes.get(hold.grant)
        if lane is None:
            raise Refused("no such grant is delivered on this call", where=hold.grant[:80])
        state = hold.state if hold.state in {"", *State} else State.PAUSED
        said = {"hold_state": state, "hold_code": plain(hold.code)}
        said |= {"hold_sentence": plain(hold.sentence), "hold_fix": plain(hold.fix)}
        with writing(self._post.engine) as connection:
            calls.hold(connection, visit.ticket)
            cursor.change(connection, lane.grant, **said)
        self.wake([lane])

    def recalled(self, visit: Visit, recalled: exchange_pb2.Recalled) -> None:
        """The consumer has removed what was recalled. Raises Refused."""
        with writing(self._post.engine) as connection:
            finish(connection, visit.consumer, plain(recalled.recall), min(recalled.rows, LARGEST))

    def look(self) -> None:
        """See what became of grants, calls and streams; call it every second."""
        with self._lock:
            consumers = list(self._visits)
        if not consumers:
            return
        sight = look(self._post.engine, consumers)
        self._watch_clock(sight, consumers)
        self._meet(sight)
        self._tell_progress()
        with self._lock:
            lanes = [lane for visit in self._visits.values() for lane in visit.lanes.values()]
        keep(self._post.engine, lanes)

    def wake(self, lanes: Iterable[Lane]) -> None:
        """There may be something to deliver."""
        with self._lock:
            for lane in lanes:
                self._enqueue(lane)

    def _meet(self, sight: Sight) -> None:
        for consumer, token in sight.tokens.items():
            visit = self._visits.get(consumer)
            if visit is not None and visit.ticket.token < token:
                visit.end(calls.CallOver("a newer call of this node took over", where=consumer))
        for seen in sight.grants:
            visit = self._visits.get(seen.consumer)
            if visit is None:
                continue
            lane = self._enter(visit, seen)
            if not seen.may_flow or (lane.under and lane.under != seen.under):
                visit.drop(lane)
            lane.under = seen.under
            if lane.seen != seen.key or self._is_due(lane):
                lane.seen = seen.key
                self.wake([lane])
        self._tell_recalls(sight)

    def _is_due(self, lane: Lane) -> bool:
        """Whether a lane that waits is to be looked at although nothing happened."""
        now_s = time.monotonic()
        if lane.standing.code in TIMED and now_s >= lane.look_again_s:
            lane.look_again_s = now_s + TIMED_LOOK_S
            return True
        return lane.failures > 0

    def _enter(self, visit: Visit, seen: Seen) -> Lane:
        with self._lock:
            if (lane := visit.lanes.get(seen.grant)) is not None:
                return lane
            said = visit.received.get(seen.grant)
            lane = Lane(visit, seen.stream, Courier(self._post, visit.ticket, seen.grant, said))
            visit.lanes[seen.grant] = lane
            self._by_stream.setdefault(seen.stream, set()).add((visit.consumer, seen.grant))
            if seen.stream not in self._silence:
                self._silence[seen.stream] = self._listen(seen.stream, lambda _: self._applied(seen.stream))
        return lane

    def _leave(self, visit: Visit) -> None:
        with self._lock:
            for lane in visit.lanes.values():
                if self._visits.get(visit.consumer) is not None:
                    continue
                members = self._by_stream.get(lane.stream, set())
                members.discard((visit.consumer, lane.grant))
                if not members and (silence := self._silence.pop(lane.stream, None)) is not None:
                    silence()

    def _applied(self, stream: str) -> None:
        with self._lock:
            lanes = [
                visit.lanes[grant]
                for consumer, grant in self._by_stream.get(stream, ())
                if (visit := self._visits.get(consumer)) is not None and grant in visit.lanes
            ]
            self.wake(lanes)

    def _watch_clock(self, sight: Sight, consumers: list[str]) -> None:
        """A clock that goes back while nothing is delivered counts as well (fault P8)."""
        if sight.now_us < self._clock_us - calls.BACKWARD_US:
            with writing(self._post.engine) as connection:
                calls.note_clock(connection, consumers, self._clock_us)
        self._clock_us = sight.now_us

    def _tell_progress(self) -> None:
        """That nothing came is worth knowing too: until when the provider's database is known to be read."""
        now_s = time.monotonic()
        if now_s < self._progress_at_s:
            return
        self._progress_at_s = now_s + PROGRESS_S
        with self._lock:
            lanes = [lane for visit in self._visits.values() for lane in visit.lanes.values()]
        known = proven(self._post.engine, {lane.stream for lane in lanes})
        for lane in lanes:
            marker_us, captured = known.get(lane.stream, (0, 0))
            is_idle = lane.standing.state == State.IDLE
            progress = (lane.source_seq, marker_us if is_idle and lane.source_seq >= captured else 0)
            if lane.source_seq and progress > lane.progress:
                lane.progress = progress
                said = exchange_pb2.Progress(grant=lane.grant, source_seq=progress[0], proven_us=progress[1])
                lane.visit.put(exchange_pb2.PullReply(progress=said))

    def _tell_recalls(self, sight: Sight) -> None:
        now_s = time.monotonic()
        for each in sight.recalls:
            visit = self._visits.get(each.consumer)
            if visit is None or now_s - visit.recalls.get(each.recall, -RECALL_AGAIN_S) < RECALL_AGAIN_S:
                continue
            visit.recalls[each.recall] = now_s
            recall = exchange_pb2.Recall(grant=each.grant, recall=each.recall, reason=each.reason)
            visit.put(exchange_pb2.PullReply(recall=recall))

    def _enqueue(self, lane: Lane) -> None:
        if lane.queued:
            lane.again = True
        elif time.monotonic() >= lane.not_before_s and not self._crew.is_dismissed:
            lane.queued = True
            self._crew.put(lane)

    def _turn(self, lane: Lane) -> None:
        """One step of one lane; then the others have their turn."""
        with self._lock:
            lane.again = False
            if self._visits.get(lane.visit.consumer) is not lane.visit:
                lane.courier.close()
                return
        # Said before it is asked, so that room made in between wakes the lane again.
        lane.is_blocked = True
        may_send = lane.may_send
        lane.is_blocked = not may_send
        try:
            if lane.back_to is not None:
                lane.courier.go_back(lane.back_to)
                lane.back_to = None
            step = lane.courier.step(may_send=may_send)
        except calls.CallOver as error:
            lane.visit.end(error)
            return
        except ExchangeError as error:
            self._settle(lane, Step(Standing.of(error)), error)
        except Exception as error:  # noqa: BLE001 - a bug met by one grant must not end the thread that serves the others
            _log.error("delivery_failed_unforeseen", grant=lane.grant, exc_info=error)
            self._settle(lane, Step(_unforeseen(error)), Transient(type(error).__name__))
        else:
            lane.visit.was_met(lane)
            self._settle(lane, step, None)

    def _settle(self, lane: Lane, step: Step, trouble: ExchangeError | None) -> None:
        if trouble is None or step.permit is not None:
            lane.visit.tell(lane, step)
        if step.dispatch is not None:
            lane.visit.was_made(lane, step.dispatch)
        with self._lock:
            lane.source_seq = max(lane.source_seq, step.source_seq)
            self._note(lane, step.standing, trouble)
            lane.queued = False
            if (step.more and not lane.is_blocked) or (lane.again and trouble is None):
                self._enqueue(lane)

    def _note(self, lane: Lane, standing: Standing, trouble: ExchangeError | None) -> None:
        if standing != lane.standing and trouble is not None:
            _log.warning("delivery_stopped", grant=lane.grant, error=str(trouble))
        lane.standing = standing
        if trouble is None:
            lane.failures, lane.not_before_s = 0, 0.0
            return
        lane.failures += 1
        wait_s = HALT_BACKOFF_S if isinstance(trouble, Halt) else backoff_s(lane.failures)
        lane.not_before_s = time.monotonic() + wait_s


def plain(text: str) -> str:
    """A consumer's words as every database can hold them."""
    return text.replace("\0", "")[:MOST_WORDS]


def _unforeseen(error: Exception) -> Standing:
    # Its text may hold anything; a person learns where to look.
    what = f"{type(error).__name__} while delivering, see central's log"
    return Standing(State.BACKING_OFF, "UNFORESEEN", what, "report it with the log")
