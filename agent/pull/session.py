"""One connection to central's Pull. A thread of its own reads, and stops reading while nobody takes what it read."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agent.link import Link
from proto.channel import PROTOCOL
from proto.errors import Credential, Refused, Transient
from proto.signing import PLATFORM_URI, SignatureWrong, Verifier
from proto.v1 import exchange_pb2

READ_AHEAD_BYTES: Final = 4 * 1024 * 1024
"""Read and not yet taken; one message more at the most."""
LOOK_S: Final = 0.2


class _Replies(queue.Queue[exchange_pb2.PullReply]):
    """Full by bytes: many small messages may wait together, few large ones."""

    def _init(self, maxsize: int) -> None:
        self._held: deque[exchange_pb2.PullReply] = deque()
        self._bytes = 0

    def _qsize(self) -> int:
        return self._bytes

    def _put(self, item: exchange_pb2.PullReply) -> None:
        self._held.append(item)
        self._bytes += max(1, item.ByteSize())

    def _get(self) -> exchange_pb2.PullReply:
        item = self._held.popleft()
        self._bytes -= max(1, item.ByteSize())
        return item


class Session:
    """From hello to its end; *hide* takes out of what is sent what central is not to know."""

    def __init__(
        self, door: Link, hello: exchange_pb2.PullRequest, hide: Callable[[exchange_pb2.PullRequest], None]
    ) -> None:
        self._door, self._hide = door, hide
        self._out: queue.SimpleQueue[exchange_pb2.PullRequest | None] = queue.SimpleQueue()
        self._out.put(hello)
        self._in = _Replies(READ_AHEAD_BYTES)
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._call = door.pull_session(iter(self._out.get, None))
        self._reader = threading.Thread(target=self._follow, name="deliveries", daemon=True)
        self._reader.start()

    def welcome(self, within_s: float) -> Verifier:
        """Wait for central's welcome; who signs what it delivers. Raises Credential when that is not the platform."""
        reply = self.next(within_s)
        if reply is None:
            raise Transient("central did not say welcome in time")
        if reply.WhichOneof("body") != "welcome":
            raise Transient("central began without a welcome")
        if reply.welcome.protocol != PROTOCOL:
            raise Refused(f"central speaks protocol {reply.welcome.protocol}, we speak {PROTOCOL}")
        try:
            verifier = Verifier(reply.welcome.platform_certificate)
            verifier.demand_issued_by(self._door.authorities(), PLATFORM_URI)
        except SignatureWrong as error:
            what = f"whoever signs central's deliveries is not the platform: {error.what}"
            fix = "ask the platform which certificate signs; nothing is received until then"
            raise Credential(what, where=error.where, fix=fix) from error
        return verifier

    def next(self, wait_s: float) -> exchange_pb2.PullReply | None:
        """What central says next; None when it says nothing for so long. Raises what ended the connection."""
        until = time.monotonic() + wait_s
        while True:
            with suppress(queue.Empty):
                return self._in.get(timeout=max(0.001, min(LOOK_S, until - time.monotonic())))
            if self._over.is_set() and self._in.empty():
                raise self._error or Transient("central ended the connection")
            if time.monotonic() >= until:
                return None

    def at_hand(self) -> exchange_pb2.PullReply | None:
        """What central has said already; None when nothing is here."""
        with suppress(queue.Empty):
            return self._in.get_nowait()
        return None

    def send(self, request: exchange_pb2.PullRequest) -> None:
        """Say something; any thread."""
        self._hide(request)
        self._out.put(request)

    def wants_renewal(self) -> bool:
        """True when our certificate changed, so that a new connection is due."""
        return not self._call.is_current()

    def give_up(self) -> None:
        """Make whoever waits here return soon; any thread."""
        self._end(Transient("stopped"))

    def close(self) -> None:
        """End it now; what was read and not taken comes again."""
        self._end(None)
        self._out.put(None)
        self._call.close()
        self._reader.join(timeout=1)

    def _follow(self) -> None:
        try:
            for reply in self._call.replies():
                if not self._keep(reply):
                    return
        except BaseException as error:  # noqa: BLE001 - whatever ends this thread is raised where its words are taken
            self._end(error)
        else:
            self._end(None)

    def _keep(self, reply: exchange_pb2.PullReply) -> bool:
        """Lay it where it is taken from; waits for room. False at the end."""
        while not self._over.is_set():
            try:
                self._in.put(reply, timeout=LOOK_S)
            except queue.Full:
                continue
            return True
        return False

    def _end(self, error: BaseException | None) -> None:
        if not self._over.is_set():
            self._error = error
            self._over.set()
