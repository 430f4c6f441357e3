"""Exchange.Push: batches come in, acknowledgements go out.

While one group of batches is being accepted the next gathers, so the number of commits follows the load by itself.
An acknowledgement is sent only after the commit; the applier is woken with the batches still in memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from central.rpc.answers import Context, answering
from central.rpc.assembly import Assembler, Budget, size_of
from central.rpc.gate import Gate
from central.rpc.identity import Doorkeeper
from central.rpc.opening import from_thread, hello_of
from proto.batch import Head, SealedBatch
from proto.channel import PROGRESS_DEADLINE_S, PROTOCOL
from proto.errors import Refused, Transient
from proto.v1 import exchange_pb2, exchange_pb2_grpc

GROUP_BATCHES: Final = 64
GROUP_BYTES: Final = 16 * 1024 * 1024
"""How much is accepted in one transaction; a single larger batch is a group of its own."""
APPLIED_PACE_S: Final = 0.05
"""That something became visible is told at most this often, unless an acknowledgement goes out anyway."""
_log = structlog.get_logger()


class Accepting(Protocol):
    """What decides about batches; blocking."""

    def hello(self, node: str, hello: exchange_pb2.Hello) -> Head:
        """Where central's chain of this stream ends."""
        ...

    def accept(self, stream: str, epoch: int, incarnation: str, batches: Sequence[SealedBatch]) -> Head:
        """Make *batches* durable, all or none."""
        ...


class Applying(Protocol):
    """What makes accepted batches visible; never blocks."""

    def wake(self, stream: str, batches: Sequence[SealedBatch] = ()) -> None:
        """There may be something to apply."""
        ...

    def listen(self, stream: str, listener: Callable[[int], None]) -> Callable[[], None]:
        """Tell *listener* each new applied number, from a thread, until the answer is called."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """How far a node may run ahead of its acknowledgements."""

    batches: int
    bytes: int


class ExchangeService(exchange_pb2_grpc.ExchangeServicer):
    """Translates between the wire and intake."""

    def __init__(
        self,
        door: Doorkeeper,
        intake: Accepting,
        appliers: Applying,
        run: Callable[..., Awaitable[Any]],
        limits: tuple[Window, Budget, asyncio.Event],
        catalogue: Callable[[str], tuple[int, str]] = lambda _: (0, ""),
    ) -> None:
        self._door = door
        self._intake = intake
        self._appliers = appliers
        self._run = run
        self._window, self._budget, self._closing = limits
        self._catalogue = catalogue
        self._gate = Gate()

    async def Push(  # noqa: N802 - the wire's name
        self, requests: AsyncIterator[exchange_pb2.PushRequest], context: Context
    ) -> None:
        """One stream of one node, until either side ends it."""
        async with answering(context, "Push", self._door.note):
            with self._gate:
                node = await self._door.node(context)
            hello: exchange_pb2.Hello = await hello_of(requests)
            with self._gate:
                head = await self._run(self._intake.hello, node, hello)
                await self._door.opened("Push", node, hello.stream)
                told = await self._run(self._catalogue, node)
            _log.info("push_opened", stream=hello.stream, epoch=hello.epoch, accepted=head.seq)
            await context.write(exchange_pb2.PushReply(welcome=self._welcome(head, *told)))
            lane = _Lane(hello, self._window, Assembler(hello.stream, self._budget), head.seq)
            await self._serve(lane, requests, context)
            _log.info("push_closed", stream=hello.stream, accepted=lane.accepted)
            if self._closing.is_set():
                raise Transient("central is stopping", fix="nothing to do: the node comes back by itself")

    async def _serve(
        self, lane: _Lane, requests: AsyncIterator[exchange_pb2.PushRequest], context: Context
    ) -> None:
        loop = asyncio.get_running_loop()
        silence = self._appliers.listen(lane.stream, lambda seq: from_thread(loop, lane.was_applied, seq))
        self._appliers.wake(lane.stream)
        try:
            async with asyncio.TaskGroup() as tasks:
                teller = tasks.create_task(_acknowledge(lane, context))
                reader = tasks.create_task(_receive(lane, requests))
                guards = (
                    tasks.create_task(self._door.watch(context, self._door.node)),
                    tasks.create_task(self._drain(lane, reader)),
                )
                await self._accept(lane)
                lane.close()
                await teller
                for guard in guards:
                    guard.cancel()
        finally:
            silence()
            lane.assembler.close()

    async def _drain(self, lane: _Lane, reader: asyncio.Task[None]) -> None:
        """When central stops: read no more, accept and acknowledge what is here."""
        await self._closing.wait()
        reader.cancel()
        lane.end()

    async def _accept(self, lane: _Lane) -> None:
        while group := await lane.next_group():
            head: Head = await self._run(self._accept_group, lane.hello, group)
            lane.was_accepted(head.seq, sum(map(size_of, group)))

    def _accept_group(self, hello: exchange_pb2.Hello, group: Sequence[SealedBatch]) -> Head:
        # In one thread call, so that a caller who hangs up between commit and acknowledgement stops neither.
        head = self._intake.accept(hello.stream, hello.epoch, hello.incarnation, group)
        self._appliers.wake(hello.stream, group)
        return head

    def _welcome(self, head: Head, release: int, part: str) -> exchange_pb2.Welcome:
        return exchange_pb2.Welcome(
            protocol=PROTOCOL,
            head=exchange_pb2.ChainHead(epoch=head.epoch, seq=head.seq, digest=head.digest),
            window_batches=self._window.batches,
            window_bytes=self._window.bytes,
            release=release,
            part=part,
        )


class _Lane:
    """What is under way on one open Push; lives on the event loop."""

    def __init__(
        self, hello: exchange_pb2.Hello, window: Window, assembler: Assembler, accepted: int
    ) -> None:
        self.hello = hello
        self.stream = hello.stream
        self.assembler = assembler
        self.accepted = accepted
        self.applied = 0
        self.received_bytes = 0
        self.closed = False
        self.news = asyncio.Event()
        """Something to tell the node."""
        self.urgent = asyncio.Event()
        """Something the node is waiting for."""
        self._window = window
        self._whole: deque[SealedBatch] = deque()
        self._bytes = 0
        self._ended = False
        self._some = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, batch: SealedBatch) -> None:
        """Queue a whole batch; wait while the window is full, so that the wire pushes back."""
        self._whole.append(batch)
        self._bytes += size_of(batch)
        self._some.set()
        while len(self._whole) >= self._window.batches or self._bytes >= self._window.bytes:
            self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        """The node sends no more."""
        self._ended = True
        self._some.set()

    async def next_group(self) -> list[SealedBatch]:
        """Whatever is whole by now, within the limits of a group; empty at the end."""
        while not self._whole and not self._ended:
            self._some.clear()
            await self._some.wait()
        group: list[SealedBatch] = []
        size = 0
        while self._whole and len(group) < GROUP_BATCHES:
            size += size_of(self._whole[0])
            if group and size > GROUP_BYTES:
                break
            group.append(self._whole.popleft())
        self._bytes -= sum(map(size_of, group))
        self._room.set()
        return group

    def was_received(self, size: int, *, whole: bool) -> None:
        """A part came. Of a whole batch the acknowledgement will tell; of a part of one, the node hears now."""
        self.received_bytes += size
        if not whole:
            self.urgent.set()
            self.news.set()

    def was_accepted(self, seq: int, size: int) -> None:
        """Central's chain now ends at *seq*."""
        self.assembler.let_go(size)
        self.accepted = seq
        self.urgent.set()
        self.news.set()

    def was_applied(self, seq: int) -> None:
        """Everything up to *seq* is visible."""
        self.applied = max(self.applied, seq)
        self.news.set()

    def close(self) -> None:
        """Nothing will come any more; tell the rest."""
        self.closed = True
        self.urgent.set()
        self.news.set()


async def _receive(lane: _Lane, requests: AsyncIterator[exchange_pb2.PushRequest]) -> None:
    while (request := await _next(lane, requests)) is not None:
        if request.WhichOneof("body") != "part":
            raise Refused("after hello only parts of batches are expected", where=lane.stream)
        batch = lane.assembler.add(request.part)
        lane.was_received(len(request.part.payload), whole=batch is not None)
        if batch is not None:
            await lane.put(batch)
    lane.end()


async def _next(
    lane: _Lane, requests: AsyncIterator[exchange_pb2.PushRequest]
) -> exchange_pb2.PushRequest | None:
    if not lane.assembler.unfinished:
        return await anext(requests, None)
    try:
        async with asyncio.timeout(PROGRESS_DEADLINE_S):
            return await anext(requests, None)
    except TimeoutError as error:
        raise Transient(
            f"a batch that was begun made no progress for {PROGRESS_DEADLINE_S:g} s", where=lane.stream
        ) from error


async def _acknowledge(lane: _Lane, context: Context) -> None:
    told = (0, 0, 0)
    while not (lane.closed and told[:2] == (lane.accepted, lane.applied)):
        await lane.news.wait()
        if not lane.urgent.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(APPLIED_PACE_S):
                    await lane.urgent.wait()
        lane.news.clear()
        lane.urgent.clear()
        if told != (lane.accepted, lane.applied, lane.received_bytes):
            told = (lane.accepted, lane.applied, lane.received_bytes)
            ack = exchange_pb2.Ack(seq=told[0], applied=told[1], received_bytes=told[2])
            await context.write(exchange_pb2.PushReply(ack=ack))
