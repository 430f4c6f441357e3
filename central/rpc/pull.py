"""Exchange.Pull: deliveries go out, receipts come in. Translation only: what goes is decided in :mod:`central.delivery`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog

from central.delivery import Item, Visit
from central.delivery.visit import Lane
from central.rpc.answers import Context, answering
from central.rpc.exchange import ExchangeService
from central.rpc.gate import Gate
from central.rpc.identity import Doorkeeper
from central.rpc.opening import from_thread, hello_of
from proto.channel import MAX_PART_BYTES, PROTOCOL
from proto.errors import ExchangeError, Refused, Transient
from proto.v1 import exchange_pb2, exchange_pb2_grpc

MOST_GRANTS: Final = 10_000
"""In one hello."""
_log = structlog.get_logger()


class Delivering(Protocol):
    """What decides about deliveries; blocking but for ``wake``."""

    def open(self, consumer: str, hello: exchange_pb2.PullHello, notify: Callable[[], None]) -> Visit:
        """Deliver to *consumer* on this call."""
        ...

    def close(self, visit: Visit) -> None:
        """The call is over."""
        ...

    def wake(self, lanes: Iterable[Lane]) -> None:
        """There may be something to deliver."""
        ...

    def hold(self, visit: Visit, hold: exchange_pb2.PullHold) -> None:
        """The consumer cannot take more of a grant, or can again."""
        ...

    def recalled(self, visit: Visit, recalled: exchange_pb2.Recalled) -> None:
        """The consumer has removed what was recalled."""
        ...


class PullService:
    """Translates between the wire and delivery."""

    def __init__(
        self,
        door: Doorkeeper,
        depot: Delivering,
        run: Callable[..., Awaitable[Any]],
        platform_certificate: bytes,
        closing: asyncio.Event,
    ) -> None:
        self._door = door
        self._depot = depot
        self._run = run
        self._certificate = platform_certificate
        self._closing = closing
        self._gate = Gate()

    async def serve(self, requests: AsyncIterator[exchange_pb2.PullRequest], context: Context) -> None:
        """Everything granted to one node, until either side ends it."""
        async with answering(context, "Pull", self._door.note):
            with self._gate:
                node = await self._door.node(context)
            hello: exchange_pb2.PullHello = await hello_of(requests)
            if len(hello.received) > MOST_GRANTS:
                raise Refused(f"a hello that speaks of more than {MOST_GRANTS} grants")
            news = asyncio.Event()
            loop = asyncio.get_running_loop()
            with self._gate:
                await self._door.opened("Pull", node, f"{len(hello.received)} grants")
                visit = await self._open(node, hello, lambda: from_thread(loop, news.set))
            _log.info("pull_opened", node=node, grants=len(hello.received))
            try:
                await self._serve(visit, news, requests, context)
            finally:
                self._close(visit)
            _log.info("pull_closed", node=node)
            if self._closing.is_set():
                raise Transient("central is stopping", fix="nothing to do: the node comes back by itself")

    async def _open(self, node: str, hello: exchange_pb2.PullHello, notify: Callable[[], None]) -> Visit:
        opening = asyncio.ensure_future(self._run(self._depot.open, node, hello, notify))
        try:
            visit: Visit = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The caller hung up; the thread opens all the same, and somebody must close.
            opening.add_done_callback(lambda done: None if done.exception() else self._close(done.result()))
            raise
        return visit

    def _close(self, visit: Visit) -> None:
        # Not awaited: if the caller is gone, nobody waits for it.
        closing = asyncio.ensure_future(self._run(self._depot.close, visit))
        closing.add_done_callback(_noted)

    async def _serve(
        self,
        visit: Visit,
        news: asyncio.Event,
        requests: AsyncIterator[exchange_pb2.PullRequest],
        context: Context,
    ) -> None:
        welcome = exchange_pb2.PullWelcome(protocol=PROTOCOL, platform_certificate=self._certificate)
        await context.write(exchange_pb2.PullReply(welcome=welcome))
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(self._write(visit, news, context)),
                tasks.create_task(self._door.watch(context, self._door.node)),
            ]
            reader = tasks.create_task(self._read(visit, requests))
            drain = tasks.create_task(self._drain(reader))
            with suppress(asyncio.CancelledError):
                await reader
            for task in (*others, drain):
                task.cancel()

    async def _drain(self, reader: asyncio.Task[None]) -> None:
        await self._closing.wait()
        reader.cancel()

    async def _write(self, visit: Visit, news: asyncio.Event, context: Context) -> None:
        while True:
            news.clear()
            while (item := visit.take()) is not None:
                for message in _parts(item):
                    if visit.was_dropped:
                        raise Transient(
                            "a grant ended or became another while a delivery of it was under way",
                            where=visit.consumer,
                        )
                    await context.write(message)
                self._depot.wake(visit.written())
            await news.wait()

    async def _read(self, visit: Visit, requests: AsyncIterator[exchange_pb2.PullRequest]) -> None:
        while (request := await anext(requests, None)) is not None:
            match request.WhichOneof("body"):
                case "receipt":
                    if (lane := visit.receipt(request.receipt)) is not None:
                        self._depot.wake([lane])
                case "hold":
                    await self._run(self._depot.hold, visit, request.hold)
                case "recalled":
                    await self._run(self._depot.recalled, visit, request.recalled)
                case _:
                    raise Refused("after hello only receipts, holds and answers to recalls are expected")


class Exchange(exchange_pb2_grpc.ExchangeServicer):
    """Both calls of the service."""

    def __init__(self, push: ExchangeService, pull: PullService) -> None:
        self._push = push
        self._pull = pull

    async def Push(self, requests: AsyncIterator[exchange_pb2.PushRequest], context: Context) -> None:  # noqa: N802 - the wire's name
        """Batches come in."""
        await self._push.Push(requests, context)

    async def Pull(self, requests: AsyncIterator[exchange_pb2.PullRequest], context: Context) -> None:  # noqa: N802 - the wire's name
        """Deliveries go out."""
        await self._pull.serve(requests, context)


def _parts(item: Item) -> Iterator[exchange_pb2.PullReply]:
    """The messages that carry *item*; the first describes it, and its payload is never copied whole."""
    if item.dispatch is None:
        yield item.reply
        return
    message, payload = item.dispatch.message, memoryview(item.dispatch.payload)
    first = exchange_pb2.Delivery()
    first.CopyFrom(message)
    first.payload = bytes(payload[:MAX_PART_BYTES])
    yield exchange_pb2.PullReply(delivery=first)
    for start in range(MAX_PART_BYTES, len(payload), MAX_PART_BYTES):
        yield exchange_pb2.PullReply(
            delivery=exchange_pb2.Delivery(
                grant=message.grant,
                generation=message.generation,
                seq=message.seq,
                payload=bytes(payload[start : start + MAX_PART_BYTES]),
            )
        )


def _noted(closing: asyncio.Future[Any]) -> None:
    error = None if closing.cancelled() else closing.exception()
    if isinstance(error, ExchangeError):
        _log.warning("pull_not_closed", error=str(error))
    elif error is not None:
        _log.error("pull_not_closed", exc_info=error)
