"""One open call of a consumer: its grants' lanes, what waits to be written to it, what it has not acknowledged."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from central.delivery.booking import Dispatch, Withheld
from central.delivery.calls import Ticket
from central.delivery.courier import Courier, Step
from central.delivery.cursor import Standing
from central.sharing.states import FLOWING
from proto.errors import ExchangeError, Refused
from proto.v1 import exchange_pb2

OUTBOX_BYTES: Final = 4 * 1024 * 1024
"""Made ready for one consumer and not yet written; what is in here is dropped when its grant ends."""

USUAL_DELIVERIES: Final = 8
MOST_DELIVERIES: Final = 1000
MOST_BYTES: Final = 256 * 1024 * 1024
"""Of one grant without a receipt, whatever a hello asks for."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to write: a message, or a delivery with the payload that travels in parts."""

    reply: exchange_pb2.PullReply
    dispatch: Dispatch | None = None

    @property
    def size(self) -> int:
        """Bytes it keeps in memory."""
        return self.dispatch.size if self.dispatch else 0


@dataclass(frozen=True, slots=True)
class Window:
    """How far one grant may run ahead of its receipts."""

    deliveries: int
    bytes: int

    @classmethod
    def of(cls, hello: exchange_pb2.PullHello) -> Window:
        """As the consumer asks for it, within bounds; at least one delivery may always be under way."""
        deliveries, size = hello.window_deliveries or USUAL_DELIVERIES, hello.window_bytes or MOST_BYTES
        return cls(min(deliveries, MOST_DELIVERIES), min(size, MOST_BYTES))


@dataclass(slots=True)
class Lane:
    """One grant on one call."""

    visit: Visit
    stream: str
    courier: Courier
    queued: bool = False
    """Waiting for a thread, or in one."""
    again: bool = False
    """Woken while in a thread."""
    is_blocked: bool = False
    """It may have more, and waits for room or receipts."""
    look_again_s: float = 0.0
    """When a limit that a clock lifts is looked at again."""
    failures: int = 0
    not_before_s: float = 0.0
    seen: tuple[object, ...] = ()
    """What the last look found of its grant."""
    under: tuple[object, ...] = ()
    """And of the catalogue."""
    standing: Standing = field(default_factory=Standing)
    written_down: tuple[Standing, int] | None = None
    told: tuple[object, ...] = ()
    source_seq: int = 0
    progress: tuple[int, int] = (0, 0)
    """Source number and time of proof, as last told."""
    written_seq: int = 0
    """The last delivery that was written to the wire."""
    back_to: int | None = None
    """Deliveries after this one were dropped."""
    is_dropping: bool = False
    """A delivery is under way that should not be; what follows waits until that has left or has not."""
    generation: int = 0
    acked_seq: int = 0
    acked_on_record: tuple[int, int] = (0, 0)
    """Generation and delivery."""
    waits_for_more: bool = False
    """The last delivery ends amid a source commit."""
    unacknowledged: deque[tuple[int, int, bytes]] = field(default_factory=deque)
    """Number, size and digest."""

    @property
    def grant(self) -> str:
        """Its grant."""
        return self.courier.grant

    @property
    def may_send(self) -> bool:
        """Whether another delivery may be made now."""
        with self.visit.lock:
            if self.is_dropping or not self.visit.has_room:
                return False
            window, waiting = self.visit.window, self.unacknowledged
            if not waiting or self.waits_for_more:
                return True
            return len(waiting) < window.deliveries and sum(size for _, size, _ in waiting) < window.bytes


class Visit:
    """Shared between the threads that deliver and the loop that writes; every method takes its lock."""

    def __init__(self, ticket: Ticket, hello: exchange_pb2.PullHello, notify: Callable[[], None]) -> None:
        self.ticket = ticket
        self.window = Window.of(hello)
        self.received = {each.grant: each for each in hello.received}
        """How far each grant has come, as the consumer says."""
        self.lanes: dict[str, Lane] = {}
        self.lock = threading.RLock()
        self.over: ExchangeError | None = None
        """Why the call must end."""
        self.recalls: dict[str, float] = {}
        """When each was last told."""
        self._notify = notify
        self._outbox: deque[Item] = deque()
        self._outbox_bytes = 0
        self._writing: Item | None = None

    @property
    def consumer(self) -> str:
        """Who is calling."""
        return self.ticket.consumer

    @property
    def has_room(self) -> bool:
        """Whether more may be made ready."""
        return self._outbox_bytes < OUTBOX_BYTES

    def end(self, error: ExchangeError) -> None:
        """The call must end."""
        with self.lock:
            self.over = self.over or error
        self._notify()

    def put(self, reply: exchange_pb2.PullReply, dispatch: Dispatch | None = None) -> None:
        """Queue something to be written."""
        with self.lock:
            item = Item(reply, dispatch)
            self._outbox.append(item)
            self._outbox_bytes += item.size
        self._notify()

    def take(self) -> Item | None:
        """What to write next; it counts as being written until :meth:`written`. Raises why the call must end."""
        with self.lock:
            if self.over is not None:
                raise self.over
            self._writing = self._outbox.popleft() if self._outbox else None
            return self._writing

    @property
    def was_dropped(self) -> bool:
        """Whether what is being written should not be."""
        lane = self._lane_of(self._writing)
        return lane is not None and lane.is_dropping

    def written(self) -> list[Lane]:
        """The last item taken is on its way, whole; returns the lanes that waited for it."""
        with self.lock:
            item, self._writing = self._writing, None
            if item is None or item.dispatch is None:
                return []
            self._outbox_bytes -= item.size
            lane, message = self._lane_of(item), item.dispatch.message
            if lane is not None and lane.generation == message.generation:
                lane.written_seq = message.seq
                if lane.is_dropping:
                    self._go_back(lane)
                    return [lane]
            return [each for each in self.lanes.values() if each.is_blocked] if self.has_room else []

    def _lane_of(self, item: Item | None) -> Lane | None:
        return self.lanes.get(item.dispatch.message.grant) if item and item.dispatch else None

    def _go_back(self, lane: Lane) -> None:
        lane.is_dropping, lane.back_to = False, lane.written_seq
        while lane.unacknowledged and lane.unacknowledged[-1][0] > lane.written_seq:
            lane.unacknowledged.pop()

    def was_met(self, lane: Lane) -> None:
        """The consumer's place was compared with what was sent."""
        met = lane.courier.met
        with self.lock:
            if lane.generation == 0 and met is not None:
                lane.generation, lane.acked_seq = met
                lane.written_seq = lane.acked_seq

    def was_made(self, lane: Lane, dispatch: Dispatch) -> None:
        """Queue a delivery."""
        message = dispatch.message
        with self.lock:
            if message.generation != lane.generation:
                lane.generation, lane.written_seq, lane.acked_seq = message.generation, message.seq - 1, 0
                lane.unacknowledged.clear()
            lane.unacknowledged.append((message.seq, dispatch.size, message.digest))
            lane.waits_for_more = dispatch.continues
            self.put(exchange_pb2.PullReply(delivery=message), dispatch)

    def drop(self, lane: Lane) -> None:
        """Nothing that was made for *lane* and not yet written may leave."""
        with self.lock:
            kept = [item for item in self._outbox if self._lane_of(item) is not lane]
            was_there = len(kept) != len(self._outbox)
            self._outbox_bytes -= sum(item.size for item in self._outbox if self._lane_of(item) is lane)
            self._outbox = deque(kept)
            if self._lane_of(self._writing) is lane:
                lane.is_dropping = True
            elif was_there:
                self._go_back(lane)

    def receipt(self, received: exchange_pb2.Received) -> Lane | None:
        """The consumer has committed up to there. Raises Refused when that is not what was delivered."""
        with self.lock:
            lane = self.lanes.get(received.grant)
            if lane is None or received.generation != lane.generation:
                return None
            waiting = lane.unacknowledged
            while waiting and waiting[0][0] <= received.seq:
                seq, _, digest = waiting.popleft()
                if seq == received.seq and digest != received.digest:
                    raise Refused("the receipt is for another delivery than ours", where=received.grant[:80])
                lane.acked_seq = seq
            return lane if lane.is_blocked else None

    def tell(self, lane: Lane, step: Step) -> None:
        """Say what the grant is, when that changed since it was last said."""
        said = granted(step)
        if said is None:
            return
        key = (said.version, said.state, said.sentence, said.valid_to_us, said.contract, said.change)
        with self.lock:
            if key != lane.told:
                lane.told = key
                self.put(exchange_pb2.PullReply(granted=said))


def granted(step: Step) -> exchange_pb2.Granted | None:
    """A step as the consumer reads it; None when the grant was not looked at."""
    permit, standing = step.permit, step.standing
    if permit is None:
        return None
    state = permit.state
    if standing.code == "RECALLED":
        state = "recalled"
    elif standing.code == "NOT_GRANTED" and state in FLOWING:
        state = "expired" if "run out" in standing.sentence else "pending"
    sentence = standing.sentence
    if not sentence and step.reason and standing.state == "SNAPSHOT":
        sentence = f"announced fresh copy: {step.reason}"
    fix = standing.fix
    if standing.code == Withheld.code:
        # Who receives has no command of the platform, but can ask its desk.
        fix = f"exchange-agent ask share.explain consumer={permit.consumer} resource={permit.resource} --person NAME"
    sentence = f"{sentence} — {fix}" if sentence and fix else sentence
    if state in FLOWING and step.deletes:
        sentence = "; ".join(filter(None, (sentence, step.deletes)))
    contract = step.contract
    coming = contract.coming if contract and state in FLOWING else None
    return exchange_pb2.Granted(
        grant=permit.grant,
        version=permit.version,
        state=state,
        sentence=sentence,
        resource=permit.resource,
        resource_name=contract.entry.name if contract else "",
        stream=permit.stream,
        table=permit.table,
        valid_to_us=permit.valid_to_us,
        purpose=permit.terms.purpose,
        withdraw=permit.terms.at_end == "withdraw" and state in {"expired", "revoked"},
        contract=contract.version if contract else 0,
        change=coming.what if coming else "",
        change_us=coming.at_us if coming else 0,
    )
