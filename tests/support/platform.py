"""A platform that delivers by script: the real protocol over real TLS, with the signatures of a real authority."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import grpc

from central.ca import Authority, make_authority, save_authority
from demo.server import free_port
from proto.channel import PROTOCOL, SERVER_OPTIONS, TlsFiles, error_status, server_credentials
from proto.errors import ExchangeError
from proto.signing import Signer
from proto.v1 import exchange_pb2, exchange_pb2_grpc
from tests.support.parcels import CONSUMER, Share, in_parts

WAIT_S: Final = 20.0


@dataclass
class Visit:
    """One call of the consumer's."""

    hello: exchange_pb2.PullHello
    said: list[exchange_pb2.PullRequest] = field(default_factory=list)
    out: queue.SimpleQueue[exchange_pb2.PullReply | ExchangeError | None] = field(
        default_factory=queue.SimpleQueue
    )
    ended: bool = False


class Platform(exchange_pb2_grpc.ExchangeServicer):
    """Listens; each test says what is sent, and sees what was answered."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.authority: Authority = make_authority("市大数据局 CA")
        save_authority(self.authority, folder / "ca.pem", folder / "ca.key")
        self.authority.issue_server(["127.0.0.1"]).write(folder / "server.pem", folder / "server.key")
        self.authority.issue_platform("platform.example").write(
            folder / "platform.pem", folder / "platform.key"
        )
        self.signer = Signer.load(folder / "platform.pem", folder / "platform.key")
        self.certificate = self.signer.certificate_pem
        self.welcomes = True
        self.refuses: ExchangeError | None = None
        self.visits: list[Visit] = []
        self.port = free_port()
        self._news = threading.Condition()
        self._server: grpc.Server | None = None

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def node(self, name: str = CONSUMER) -> TlsFiles:
        """The certificate of a node."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self.authority.issue_node(name).write(certificate, key)
        return TlsFiles(self.folder / "ca.pem", certificate, key)

    def start(self) -> Self:
        """Listen, on the same port as before."""
        self._server = grpc.server(ThreadPoolExecutor(8), options=SERVER_OPTIONS)
        exchange_pb2_grpc.add_ExchangeServicer_to_server(self, self._server)
        files = TlsFiles(self.folder / "ca.pem", self.folder / "server.pem", self.folder / "server.key")
        self._server.add_secure_port(self.target, server_credentials(files))
        self._server.start()
        return self

    def stop(self) -> None:
        """Hang up on everybody."""
        for visit in self.visits:
            visit.out.put(None)
        if self._server is not None:
            self._server.stop(0).wait()

    def share(self, grant: str = "G-1", **other: Any) -> Share:
        """A grant whose deliveries we sign."""
        return Share(grant, signer=self.signer, **other)

    def send(self, *replies: Any, to: int = -1) -> None:
        """Say something on the newest call, or another."""
        for reply in replies:
            self.visits[to].out.put(_worded(reply))

    def deliver(self, *deliveries: exchange_pb2.Delivery, size: int = 1 << 20) -> None:
        """Send whole deliveries in parts."""
        for delivery in deliveries:
            self.send(*in_parts(delivery, size))

    def end(self, error: ExchangeError | None = None) -> None:
        """End the newest call."""
        self.visits[-1].out.put(error)

    def wait(self, ready: Callable[[], Any], within_s: float = WAIT_S) -> Any:
        """Wait for something the consumer does; what it was."""
        with self._news:
            assert self._news.wait_for(lambda: bool(ready()), within_s), self.said()
            return ready()

    def visited(self, times: int = 1) -> Visit:
        """Wait for that many calls; the newest."""
        self.wait(lambda: len(self.visits) >= times)
        return self.visits[-1]

    def said(self) -> list[str]:
        """What the consumer said, on all calls, one line each."""
        return [str(request).replace("\n", " ")[:300] for visit in self.visits for request in visit.said]

    def received(self, grant: str, generation: int, seq: int) -> None:
        """Wait for the receipt of a delivery."""
        wanted = (grant, generation, seq)
        self.wait(lambda: wanted in [(r.grant, r.generation, r.seq) for r in self.receipts()])

    def receipts(self) -> list[exchange_pb2.Received]:
        """Every receipt so far."""
        return [each.receipt for each in self._all("receipt")]

    def holds(self) -> list[exchange_pb2.PullHold]:
        """Every hold so far."""
        return [each.hold for each in self._all("hold")]

    def recalled(self) -> list[exchange_pb2.Recalled]:
        """Every recall that was done so far."""
        return [each.recalled for each in self._all("recalled")]

    def _all(self, body: str) -> list[exchange_pb2.PullRequest]:
        return [each for visit in self.visits for each in visit.said if each.WhichOneof("body") == body]

    def Pull(
        self, requests: Iterator[exchange_pb2.PullRequest], context: grpc.ServicerContext
    ) -> Iterator[exchange_pb2.PullReply]:
        """One call of the consumer's."""
        hello = next(requests)
        visit = Visit(hello.hello)
        with self._news:
            self.visits.append(visit)
            self._news.notify_all()
        threading.Thread(target=self._listen, args=(visit, requests), daemon=True).start()
        if self.refuses is not None:
            context.abort_with_status(error_status(self.refuses))
        if self.welcomes:
            yield exchange_pb2.PullReply(
                welcome=exchange_pb2.PullWelcome(protocol=PROTOCOL, platform_certificate=self.certificate)
            )
        while (reply := visit.out.get()) is not None:
            if isinstance(reply, ExchangeError):
                context.abort_with_status(error_status(reply))
            else:
                yield reply

    def _listen(self, visit: Visit, requests: Iterator[exchange_pb2.PullRequest]) -> None:
        try:
            for request in requests:
                with self._news:
                    visit.said.append(request)
                    self._news.notify_all()
        except grpc.RpcError:
            pass
        finally:
            visit.out.put(None)
            with self._news:
                visit.ended = True
                self._news.notify_all()


def _worded(reply: Any) -> exchange_pb2.PullReply:
    match reply:
        case exchange_pb2.Granted():
            return exchange_pb2.PullReply(granted=reply)
        case exchange_pb2.Delivery():
            return exchange_pb2.PullReply(delivery=reply)
        case exchange_pb2.Progress():
            return exchange_pb2.PullReply(progress=reply)
        case _:
            return exchange_pb2.PullReply(recall=reply)
