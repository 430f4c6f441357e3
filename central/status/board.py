"""The whole picture, made from one read of the database and the counters of the last seconds."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Engine

from central.status.explain import node_state, silence_of, stream_status, with_received
from central.status.facts import NodeFacts, StreamFacts, counters, held_by, read_facts
from proto.errors import ExchangeError, Refused
from proto.v1 import status_pb2

RATE_WINDOW_S: Final = 10.0
_Trouble = Callable[[str], ExchangeError | None]
_Deliveries = Callable[[str | None], Mapping[str, Sequence[status_pb2.DeliveryStatus]]]
"""By consumer; of one, or of all."""


_Notices = Callable[[str | None], Mapping[str, Sequence[str]]]
"""The same: what a node's department is told of its being late."""


class Rates:
    """Rows and bytes per second of each stream over the last seconds, from counters that only grow."""

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._lock = threading.Lock()
        self._samples: defaultdict[str, deque[tuple[float, int, int]]] = defaultdict(deque)

    def sample(self, now_s: float, counted: dict[str, tuple[int, int]]) -> None:
        """Take in what the counters say at *now_s*; older samples than the window go, but one."""
        with self._lock:
            for stream, (rows, size) in counted.items():
                samples = self._samples[stream]
                samples.append((now_s, rows, size))
                while len(samples) > 2 and samples[1][0] <= now_s - self._window_s:
                    samples.popleft()

    def of(self, stream: str) -> tuple[float, float]:
        """Rows and bytes per second."""
        with self._lock:
            samples = self._samples.get(stream)
            if not samples or samples[-1][0] <= samples[0][0]:
                return 0.0, 0.0
            (start, rows, size), (end, more_rows, more_size) = samples[0], samples[-1]
        return max(0, more_rows - rows) / (end - start), max(0, more_size - size) / (end - start)


class Board:
    """Builds the status of nodes; safe to use from many threads."""

    def __init__(
        self,
        engine: Engine,
        heartbeat_s: int,
        trouble: _Trouble = lambda _stream: None,
        others: tuple[_Deliveries, _Notices] = (lambda _node: {}, lambda _node: {}),
    ) -> None:
        self._engine = engine
        self._heartbeat_s = heartbeat_s
        self._trouble = trouble
        self._deliveries, self._notices = others
        self._rates = Rates()

    def sample(self) -> None:
        """Read the counters; call it every second or two."""
        self._rates.sample(time.monotonic(), counters(self._engine))

    def nodes(self) -> list[status_pb2.NodeStatus]:
        """Every registered node."""
        deliveries = self._deliveries(None)
        notices = self._notices(None)
        return [self._status(facts, deliveries, notices) for facts in read_facts(self._engine)]

    def node(self, name: str) -> status_pb2.NodeStatus:
        """One node; raises Refused when there is none of that name."""
        found = read_facts(self._engine, name)
        if not found:
            raise Refused("no such node", where=name[:80], fix="see 'exchange-central node list'")
        return self._status(found[0], self._deliveries(name), self._notices(name))

    def _status(
        self,
        node: NodeFacts,
        deliveries: Mapping[str, Sequence[status_pb2.DeliveryStatus]],
        notices: Mapping[str, Sequence[str]],
    ) -> status_pb2.NodeStatus:
        silence = silence_of(node, self._heartbeat_s)
        streams = [stream_status(self._with_trouble(stream), node, silence) for stream in node.streams]
        for stream in streams:
            stream.rows_per_s, stream.bytes_per_s = self._rates.of(stream.stream)
        state, sentence = node_state(node, streams, silence)
        return status_pb2.NodeStatus(
            node=node.node,
            state=state,
            sentence=sentence,
            last_seen_us=node.last_seen_us,
            clock_skew_us=node.clock_skew_us,
            certificate_not_after_us=node.not_after_us,
            revoked=node.revoked,
            version=node.version,
            streams=streams,
            deliveries=[with_received(each, node, silence) for each in deliveries.get(node.node, ())],
            notices=notices.get(node.node, ()),
        )

    def _with_trouble(self, stream: StreamFacts) -> StreamFacts:
        error = self._trouble(stream.stream)
        if error is None or stream.apply.state not in {"", "RUNNING"}:
            return stream
        return replace(stream, apply=held_by(error))
