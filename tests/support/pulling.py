"""A small consumer over the wire: keeps what comes, acknowledges it, and remembers what it was told."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, Self

import grpc

from central.catalogue.entry import Entry
from central.delivery import Dispatch
from central.delivery.figures import Delivered, delivered
from central.store import reading, writing
from proto.batch import Delta
from proto.channel import PROTOCOL, from_rpc
from proto.schema import Column, TableSchema
from proto.signing import Verifier
from proto.v1 import exchange_pb2, exchange_pb2_grpc, node_pb2
from proto.values import Kind
from tests.support.central import Chain, NodeClient, TestCentral, batch_of, eventually, inserts
from tests.support.deliveries import Receiver, platform_shows
from tests.support.shares import entry_of, grant_directly, put_in_force

WAIT_S: Final = 20.0
PEOPLE: Final = TableSchema(
    "people", (Column("id", Kind.INT64, nullable=False), Column("name", Kind.TEXT)), ("id",)
)
STREAM: Final = "police/hr"
_numbers = itertools.count(1)


class Pull:
    """One open Pull; what central sends is collected by a thread."""

    def __init__(
        self,
        connection: grpc.Channel,
        consumer: str,
        receivers: Iterable[Receiver] = (),
        *,
        acknowledges: bool = True,
        window: int = 8,
    ) -> None:
        self.consumer = consumer
        self.receivers = {each.grant: each for each in receivers}
        self.granted: dict[str, list[exchange_pb2.Granted]] = {}
        self.progress: dict[str, exchange_pb2.Progress] = {}
        self.recalls: list[exchange_pb2.Recall] = []
        self.deliveries: list[exchange_pb2.Delivery] = []
        self.error: Exception | None = None
        self.ended = False
        self.acknowledges = acknowledges
        self.reads = threading.Event()
        """Cleared: nothing is read from the wire."""
        self.reads.set()
        self._welcome: exchange_pb2.PullWelcome | None = None
        self._begun: Dispatch | None = None
        self._news = threading.Condition()
        self._outbound: queue.SimpleQueue[exchange_pb2.PullRequest | None] = queue.SimpleQueue()
        hello = exchange_pb2.PullHello(
            protocol=PROTOCOL,
            incarnation="one",
            received=[each.received for each in self.receivers.values()],
            window_deliveries=window,
            window_bytes=64 * 1024 * 1024,
        )
        self._outbound.put(exchange_pb2.PullRequest(hello=hello))
        self._call = exchange_pb2_grpc.ExchangeStub(connection).Pull(iter(self._outbound.get, None))
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        self.wait_for(lambda: self._welcome is not None)
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """As when the process dies."""
        self._outbound.put(None)
        self._call.cancel()
        with self._news:
            assert self._news.wait_for(lambda: self.ended, WAIT_S)
        for each in self.receivers.values():
            each.crash()

    def send(self, **body: object) -> None:
        """Send one message."""
        self._outbound.put(exchange_pb2.PullRequest(**body))  # type: ignore[arg-type]

    def wait_for(self, ready: Callable[[], bool], within_s: float = WAIT_S) -> None:
        """Wait for *ready*; raises what central ended the call with."""
        with self._news:
            done = self._news.wait_for(lambda: ready() or self.ended, within_s)
        if self.error is not None and not ready():
            raise self.error
        assert done, f"{self.state_of_things()} after {within_s} s"

    def fate(self, within_s: float = WAIT_S) -> Exception:
        """The error central ends the call with."""
        with self._news:
            assert self._news.wait_for(lambda: self.ended, within_s), "the call goes on"
        assert self.error is not None, "the call ended well"
        return self.error

    def state_of(self, grant: str) -> str:
        """What the grant was last said to be."""
        told = self.granted.get(grant)
        return told[-1].state if told else ""

    def state_of_things(self) -> dict[str, tuple[str, int, int]]:
        """For a failing test."""
        return {
            grant: (told[-1].state + " " + told[-1].sentence, *self._place(grant))
            for grant, told in self.granted.items()
        }

    def _place(self, grant: str) -> tuple[int, int]:
        found = self.receivers.get(grant)
        return (found.generation, found.seq) if found else (0, 0)

    def _listen(self) -> None:
        error: Exception | None = None
        try:
            for reply in self._call:
                self.reads.wait(WAIT_S)
                with self._news:
                    self._take(reply)
                    self._news.notify_all()
        except grpc.RpcError as problem:
            error = from_rpc(problem)
        except AssertionError as problem:
            error = problem
        with self._news:
            self.ended, self.error = True, error
            self._news.notify_all()

    def _take(self, reply: exchange_pb2.PullReply) -> None:
        match reply.WhichOneof("body"):
            case "welcome":
                self._welcome = reply.welcome
            case "granted":
                self.granted.setdefault(reply.granted.grant, []).append(reply.granted)
            case "progress":
                self.progress[reply.progress.grant] = reply.progress
            case "recall":
                self.recalls.append(reply.recall)
            case "delivery":
                self._assemble(reply.delivery)

    def _assemble(self, part: exchange_pb2.Delivery) -> None:
        if self._begun is None:
            self._begun = Dispatch(part, part.payload, continues=False)
        else:
            assert (part.grant, part.seq, part.header) == (
                self._begun.message.grant,
                self._begun.message.seq,
                b"",
            )
            self._begun = replace(self._begun, payload=self._begun.payload + part.payload)
        if len(self._begun.payload) < self._begun.message.payload_bytes:
            return
        whole, self._begun = self._begun, None
        grant = whole.message.grant
        assert grant in self.granted, "a delivery before anything was said of its grant"
        self.deliveries.append(whole.message)
        if (receiver := self.receivers.get(grant)) is None:
            verifier = Verifier(self._welcome.platform_certificate)
            receiver = self.receivers[grant] = Receiver(grant, self.consumer, verifier)
        receiver.take(whole)
        if self.acknowledges and not receiver.has_pending:
            self.send(receipt=receiver.received)


class Provider:
    """A department that pushes people."""

    def __init__(self, central: TestCentral) -> None:
        self.chain = Chain(STREAM)
        self._node = central.node("police")
        self.connect()

    def connect(self) -> None:
        """Begin to push."""
        self._push = self._node.push(self.chain)
        self._push.__enter__()

    def change(self, *deltas: Delta, continues: bool = False) -> None:
        """One batch, visible on the platform."""
        batches = self.chain.add(batch_of(*deltas, continues=continues))
        self._push.send(*batches)
        if continues:
            self._push.until_accepted(batches[-1].seq)
        else:
            self._push.until_applied(batches[-1].seq)

    def prove(self, marker_us: int) -> None:
        """A sign of life: the business database was read to its end at *marker_us*."""
        stream = node_pb2.StreamReport(stream=STREAM, captured_seq=self.chain.head.seq, marker_us=marker_us)
        self._node.desk.Heartbeat(node_pb2.HeartbeatRequest(streams=[stream]), timeout=5)

    def people(self, first: int, last: int, name: str = "张三") -> None:
        """New people."""
        self.change(inserts([(number, name) for number in range(first, last + 1)], PEOPLE))


def granted(central: TestCentral, consumer: str, **terms: Any) -> tuple[str, Entry]:
    """A grant on people."""
    number = next(_numbers)
    entry = entry_of(f"3070101/{number:06d}", STREAM, "people", ["id", "name"])
    with writing(central.engine) as connection:
        put_in_force(connection, entry)
        grant_directly(connection, f"G{number}", consumer, entry, terms)
    return f"G{number}", entry


def caught_up(central: TestCentral, pull: Pull, grant: str) -> None:
    """Wait until the consumer has what the platform shows."""
    eventually(
        lambda: (
            grant in pull.receivers
            and pull.receivers[grant].table.rows == platform_shows(central.engine, grant, PEOPLE)
        )
    )


def civil(central: TestCentral) -> NodeClient:
    """The consumer."""
    return central.node("civil")


def figure(central: TestCentral, grant: str) -> Delivered:
    """The grant's delivery as central has it."""
    with reading(central.engine) as connection:
        return delivered(connection, grants=[grant])[0]
