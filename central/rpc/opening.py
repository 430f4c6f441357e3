"""How Push and Pull begin: with a hello, in time, in a protocol that both speak; and how threads wake their calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from proto.channel import HELLO_DEADLINE_S, PROTOCOL
from proto.errors import Refused, Transient


async def hello_of(requests: AsyncIterator[Any]) -> Any:
    """The hello that a call's first message must be. Raises Transient when it does not come, Refused otherwise."""
    try:
        async with asyncio.timeout(HELLO_DEADLINE_S):
            first = await anext(requests, None)
    except TimeoutError as error:
        raise Transient(f"no hello within {HELLO_DEADLINE_S:g} s") from error
    if first is None or first.WhichOneof("body") != "hello":
        raise Refused("the first message must be a hello")
    if first.hello.protocol != PROTOCOL:
        what = f"protocol {first.hello.protocol} is not spoken here, only {PROTOCOL}"
        raise Refused(what, where=getattr(first.hello, "stream", "")[:80], fix="upgrade the older side")
    return first.hello


def from_thread(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *told: object) -> None:
    """Let *loop* make a call; it may be gone when the last step of a stopping process reports."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *told)
