"""A running central for tests: real certificates, real TLS over loopback, and a node that speaks its protocol."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import grpc
from pydantic import SecretStr

from central.ca import Authority, Issued, make_authority, save_authority
from central.daemon import Daemon
from central.registry import Registry
from central.settings import Disk, Limits, Operator, Settings, Signing, Tls
from central.store import migrate, open_store
from demo.server import free_port
from proto import codec, frames
from proto.batch import Batch, Delta, Frames, Head, SealedBatch
from proto.channel import PROTOCOL, TlsFiles, channel, from_rpc, parts
from proto.schema import Column, TableSchema
from proto.v1 import exchange_pb2, exchange_pb2_grpc, node_pb2_grpc, status_pb2_grpc
from proto.values import Kind
from replica.opening import open_replica

WAIT_S: Final = 20.0
EVENTS: Final = TableSchema("events", (Column("id", Kind.INT64), Column("note", Kind.TEXT)), ())
"""Append-only: a batch applied twice would show."""
PEOPLE: Final = TableSchema("people", (Column("id", Kind.INT64), Column("name", Kind.TEXT)), ("id",))
_numbers = itertools.count(1)


def eventually(answer: Callable[[], Any], wanted: Any = True, within_s: float = WAIT_S) -> None:
    """Wait until *answer* gives *wanted*; fail with what it gave last."""
    deadline = time.monotonic() + within_s
    while (got := answer()) != wanted:
        assert time.monotonic() < deadline, f"still {got!r} instead of {wanted!r} after {within_s} s"
        threading.Event().wait(0.02)


def inserts(rows: list[tuple[int, str]], schema: TableSchema = EVENTS) -> Delta:
    """A delta that inserts *rows*."""
    return Delta(schema, inserts=Frames(frames.pack_rows(rows, schema.kinds), len(rows)))


def batch_of(*deltas: Delta, position: str = "p", continues: bool = False) -> tuple[bytes, bytes]:
    """An encoded batch."""
    return codec.encode(Batch(position, deltas, 1, 2, 1, continues=continues))


@dataclass(slots=True)
class Chain:
    """What a node's outbox would hold of one stream."""

    stream: str
    epoch: int = 1
    head: Head = field(default_factory=Head)
    batches: list[SealedBatch] = field(default_factory=list)

    def add(self, *encoded: tuple[bytes, bytes]) -> list[SealedBatch]:
        """Seal batches onto the end."""
        made = []
        for each in encoded:
            made.append(codec.seal(self.stream, self.epoch, self.head, each))
            self.head = made[-1].head
        self.batches += made
        return made

    def events(self, count: int, rows: int = 3) -> list[SealedBatch]:
        """*count* batches of *rows* new events each."""
        start = len(self.batches) * rows
        return self.add(
            *(
                batch_of(inserts([(start + n * rows + r, f"备注 {n}") for r in range(rows)]))
                for n in range(count)
            )
        )


class Push:
    """One open Push; what central sends is collected by a thread."""

    def __init__(self, connection: grpc.Channel, hello: exchange_pb2.Hello) -> None:
        self._outbound: queue.SimpleQueue[exchange_pb2.PushRequest | None] = queue.SimpleQueue()
        self._outbound.put(exchange_pb2.PushRequest(hello=hello))
        stub = exchange_pb2_grpc.ExchangeStub(connection)
        self._call = stub.Push(iter(self._outbound.get, None))
        self._news = threading.Condition()
        self.accepted = self.applied = -1
        self.acks: list[int] = []
        self.welcome: exchange_pb2.Welcome | None = None
        self.error: Exception | None = None
        self.ended = False
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        self.wait_for(lambda: self.welcome is not None)
        return self

    def __exit__(self, *_: object) -> None:
        self._outbound.put(None)
        self._call.cancel()

    def send(self, *batches: SealedBatch) -> None:
        """Send whole batches."""
        for batch in batches:
            for part in parts(batch):
                self._outbound.put(part)

    def send_raw(self, request: exchange_pb2.PushRequest) -> None:
        """Send one message as it is."""
        self._outbound.put(request)

    def finish(self) -> None:
        """Say that nothing more comes, and wait for the end."""
        self._outbound.put(None)
        self.wait_for(lambda: self.ended)

    def wait_for(self, ready: Callable[[], bool], within_s: float = WAIT_S) -> None:
        """Wait for *ready*; raises what central ended the call with."""
        with self._news:
            done = self._news.wait_for(lambda: ready() or self.ended, within_s)
        if self.error is not None:
            raise self.error
        assert done, f"accepted {self.accepted}, applied {self.applied} after {within_s} s"

    def fate(self, within_s: float = WAIT_S) -> Exception:
        """The error central ends the call with."""
        with self._news:
            assert self._news.wait_for(lambda: self.ended, within_s), "the call goes on"
        assert self.error is not None, "the call ended well"
        return self.error

    def until_accepted(self, seq: int) -> None:
        """Wait for the acknowledgement of *seq*."""
        self.wait_for(lambda: self.accepted >= seq)
        assert self.accepted >= seq, f"the call ended at {self.accepted}"

    def until_applied(self, seq: int) -> None:
        """Wait until *seq* is visible."""
        self.wait_for(lambda: self.applied >= seq)
        assert self.applied >= seq, f"the call ended at {self.applied}"

    def _listen(self) -> None:
        error: Exception | None = None
        try:
            for reply in self._call:
                with self._news:
                    self._take(reply)
                    self._news.notify_all()
        except grpc.RpcError as problem:
            error = from_rpc(problem)
        with self._news:
            self.ended, self.error = True, error
            self._news.notify_all()

    def _take(self, reply: exchange_pb2.PushReply) -> None:
        if reply.WhichOneof("body") == "welcome":
            self.welcome = reply.welcome
        else:
            self.accepted, self.applied = reply.ack.seq, reply.ack.applied
            self.acks.append(reply.ack.seq)


class NodeClient:
    """A node, as far as central can tell."""

    def __init__(self, name: str, target: str, tls: TlsFiles) -> None:
        self.name, self.target, self.tls = name, target, tls
        self.channel = channel(target, tls)
        self.desk = node_pb2_grpc.NodeStub(self.channel)
        self.status = status_pb2_grpc.StatusStub(self.channel)

    def push(self, chain: Chain, incarnation: str = "one", oldest: int = 1) -> Push:
        """Open a Push for *chain* as it is now."""
        head = exchange_pb2.ChainHead(epoch=chain.head.epoch, seq=chain.head.seq, digest=chain.head.digest)
        hello = exchange_pb2.Hello(
            protocol=PROTOCOL,
            stream=chain.stream,
            epoch=chain.epoch,
            incarnation=incarnation,
            head=head,
            oldest_seq=oldest,
        )
        return Push(self.channel, hello)

    def close(self) -> None:
        """Hang up."""
        self.channel.close()


class TestCentral:
    """Central on *url* in this process, behind real TLS on a port of its own."""

    __test__ = False

    def __init__(self, folder: Path, url: str, limits: Limits | None = None) -> None:
        self.folder, self.url = folder, url
        folder.mkdir(exist_ok=True)
        self.least_free_bytes = 0
        self.authority: Authority = make_authority("市大数据局 CA")
        self.limits = limits or Limits()  # type: ignore[call-arg]
        save_authority(self.authority, folder / "ca.pem", folder / "ca.key")
        self.authority.issue_server(["localhost", "127.0.0.1"]).write(
            folder / "server.pem", folder / "server.key"
        )
        self.authority.issue_platform("platform.example").write(
            folder / "platform.pem", folder / "platform.key"
        )
        self.engine = open_store(url, 4)
        migrate(self.engine)
        self.registry = Registry(self.engine)
        self.port = free_port()
        self._clients: list[NodeClient] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.daemon: Daemon | None = None

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        """As ``central.yaml`` would say it."""
        return Settings(
            listen=f"127.0.0.1:{self.port}",
            database=SecretStr(self.url),
            tls=Tls(
                ca=self.folder / "ca.pem",
                certificate=self.folder / "server.pem",
                key=self.folder / "server.key",
            ),
            operator=Operator(certificate=self.folder / "op.pem", key=self.folder / "op.key"),
            signing=Signing(certificate=self.folder / "platform.pem", key=self.folder / "platform.key"),
            limits=self.limits,
            disk=Disk(least_free_bytes=self.least_free_bytes),
            heartbeat_s=1,
        )

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._stop = threading.Event()
        daemon = self.daemon = Daemon(self.settings)
        self._thread = threading.Thread(target=daemon.run, args=(self._stop,), daemon=True)
        self._thread.start()
        eventually(lambda: daemon.port > 0)

    def stop(self) -> None:
        """As SIGTERM would."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(WAIT_S)
            assert not self._thread.is_alive()

    def close(self) -> None:
        """Stop and forget everything."""
        for client in self._clients:
            with suppress(Exception):
                client.close()
        self.stop()
        self.engine.dispose()

    def files(self, issued: Issued, name: str) -> TlsFiles:
        """*issued* as files that trust this central."""
        stem = f"{name}-{next(_numbers)}"
        certificate, key = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        issued.write(certificate, key)
        return TlsFiles(self.folder / "ca.pem", certificate, key)

    def register(self, name: str, issued: Issued) -> None:
        """Let a node in with this certificate."""
        self.registry.add(name, issued.identity.fingerprint, issued.identity.not_after_us, "test")

    def node(self, name: str = "hr-node", issued: Issued | None = None) -> NodeClient:
        """A registered node with a certificate."""
        issued = issued or self.authority.issue_node(name)
        self.register(name, issued)
        return self.client(name, issued)

    def client(self, name: str, issued: Issued) -> NodeClient:
        """Somebody with this certificate, registered or not."""
        made = NodeClient(name, self.target, self.files(issued, name))
        self._clients.append(made)
        return made

    def operator(self) -> NodeClient:
        """A registered operator."""
        issued = self.authority.issue_operator("admin")
        self.registry.add_operator("admin", issued.identity.fingerprint, issued.identity.not_after_us, "test")
        return self.client("admin", issued)

    def person(self, name: str) -> NodeClient:
        """Somebody who decides, with a certificate; make them known with :class:`central.people.Office`."""
        issued = self.authority.issue_person(name)
        self.registry.add_person(name, issued.identity.fingerprint, issued.identity.not_after_us, "test")
        return self.client(name, issued)

    def rows(self, stream: str, schema: TableSchema = EVENTS) -> list[tuple[Any, ...]]:
        """What the platform's table holds, sorted."""
        node, source = stream.split("/")
        replica = open_replica(self.engine, f"{node}_{source}")
        with self.engine.connect() as connection:
            pages = list(replica.scan(connection, schema))
        return sorted(row for page in pages for row in frames.rows(page.data, schema.kinds))


def running(folder: Path, url: str, limits: Limits | None = None) -> Iterator[TestCentral]:
    """For fixtures: a central that is there until the test ends."""
    central = TestCentral(folder, url, limits)
    central.start()
    try:
        yield central
    finally:
        central.close()
