"""BadNet: a TCP proxy of our own whose network can be made bad, one fault at a time, and good again."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

import pytest

Address = tuple[str, int]
CHUNK: Final = 65536
WAIT_S: Final = 0.05
"""How long a socket operation may block before it looks whether the link still exists."""


@dataclass(slots=True)
class Weather:
    """What one direction does to the bytes that pass; read anew for every chunk."""

    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    swallow: bool = False
    clear: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.clear.set()


class Link:
    """One client connection and its twin to the server, carried by two threads."""

    def __init__(self, client: socket.socket, server: socket.socket, net: BadNet) -> None:
        self._ends = (client, server)
        self._net = net
        self.gone = threading.Event()
        for end in self._ends:
            end.settimeout(WAIT_S)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def carry(self) -> None:
        """Start carrying bytes both ways."""
        client, server = self._ends
        for source, sink, weather in ((client, server, self._net.up), (server, client, self._net.down)):
            threading.Thread(target=self._pump, args=(source, sink, weather), daemon=True).start()

    def reset(self) -> None:
        """End both halves with RST: no farewell, unread bytes are lost."""
        self.gone.set()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # A pump may be blocked in recv, which would hold the socket open past close.
                end.close()

    def _pump(self, source: socket.socket, sink: socket.socket, weather: Weather) -> None:
        try:
            while not self.gone.is_set():
                self._stand_still(weather)
                try:
                    data = source.recv(CHUNK)
                except TimeoutError:
                    continue
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                if weather is self._net.up:
                    self._net.request_seen()
                self._pass_on(data, sink, weather)
        except OSError:
            self.reset()

    def _pass_on(self, data: bytes, sink: socket.socket, weather: Weather) -> None:
        if weather.delay_s:
            self.gone.wait(weather.delay_s)
        self._stand_still(weather)
        if weather.swallow:
            return
        for piece in self._pieces(data, weather):
            self._send(piece, sink)

    def _pieces(self, data: bytes, weather: Weather) -> Iterator[bytes]:
        """All at once, or in drips of a tenth of a second's worth."""
        start = 0
        while start < len(data) and not self.gone.is_set():
            pace = weather.bytes_per_s
            size = max(1, int(pace / 10)) if pace else len(data)
            if pace:
                self.gone.wait(size / pace)
            self._stand_still(weather)
            yield data[start : start + size]
            start += size

    def _send(self, data: bytes, sink: socket.socket) -> None:
        view = memoryview(data)
        while view and not self.gone.is_set():
            with contextlib.suppress(TimeoutError):
                view = view[sink.send(view) :]

    def _stand_still(self, weather: Weather) -> None:
        while not weather.clear.wait(WAIT_S) and not self.gone.is_set():
            pass


class BadNet:
    """A proxy in front of *target* that starts out perfect.

    Clients connect to ``host:port``. ``up`` is the weather from client to server, ``down`` from server to client; the methods
    set the usual combinations. ``heal`` ends them all, but what was cut or swallowed stays lost.
    """

    def __init__(self, target: Address) -> None:
        self.target = target
        self.up, self.down = Weather(), Weather()
        self._links: list[Link] = []
        self._requests_until_hole: Iterator[int] | None = None
        self._lock = threading.Lock()
        self._refuse = threading.Event()
        self._closed = threading.Event()
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(WAIT_S)
        self.host: str = "127.0.0.1"
        self.port: int = self._door.getsockname()[1]
        self._greeter = threading.Thread(target=self._greet, name="badnet", daemon=True)
        self._greeter.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{self.host}:{self.port}"

    @property
    def links(self) -> int:
        """How many connections are alive."""
        with self._lock:
            return sum(not link.gone.is_set() for link in self._links)

    def cut(self, refuse: bool = False) -> None:
        """Reset every connection; with *refuse*, reset new ones as well until ``heal``."""
        if refuse:
            self._refuse.set()
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.reset()

    def black_hole(self) -> None:
        """Keep connections open and let nothing through, either way."""
        self.up.swallow = self.down.swallow = True

    def black_hole_after_request(self, chunks: int = 1) -> None:
        """Forward the next *chunks* from clients, then swallow all answers: the outcome is unknown to the client."""
        with self._lock:
            self._requests_until_hole = iter(range(chunks - 1, -1, -1))
        self.down.swallow = chunks <= 1

    def delay(self, seconds: float) -> None:
        """Hold every chunk back this long, each way."""
        self.up.delay_s = self.down.delay_s = seconds

    def drip(self, bytes_per_s: float) -> None:
        """Let only so much through, each way."""
        self.up.bytes_per_s = self.down.bytes_per_s = bytes_per_s

    def pause(self) -> None:
        """Stop carrying; senders feel back pressure, nothing is lost."""
        self.up.clear.clear()
        self.down.clear.clear()

    def resume(self) -> None:
        """Carry on after ``pause``."""
        self.up.clear.set()
        self.down.clear.set()

    def heal(self) -> None:
        """A perfect network again, for connections alive and to come."""
        self._refuse.clear()
        with self._lock:
            self._requests_until_hole = None
        for weather in (self.up, self.down):
            weather.delay_s, weather.bytes_per_s, weather.swallow = 0.0, 0.0, False
        self.resume()

    def close(self) -> None:
        """Reset everything and stop listening."""
        self._closed.set()
        self._greeter.join()
        self._door.close()
        self.cut()

    def request_seen(self) -> None:
        """A chunk from a client is about to pass; the last one before the hole closes the way back."""
        with self._lock:
            if self._requests_until_hole is not None and next(self._requests_until_hole, 0) == 0:
                self.down.swallow = True

    def _greet(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._door.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        if self._refuse.is_set():
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        try:
            server = socket.create_connection(self.target, timeout=5)
        except OSError:
            client.close()
            return
        link = Link(client, server, self)
        with self._lock:
            self._links = [one for one in self._links if not one.gone.is_set()]
            self._links.append(link)
        link.carry()


@pytest.fixture
def badnet() -> Iterator[type[BadNet]]:
    """A maker of proxies: ``badnet((host, port))``; all are closed afterwards."""
    made: list[BadNet] = []

    class Remembered(BadNet):
        def __init__(self, target: Address) -> None:
            super().__init__(target)
            made.append(self)

    yield Remembered
    for net in made:
        net.close()
