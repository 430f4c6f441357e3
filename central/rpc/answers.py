"""How a call ends when something went wrong: always with a status that the caller can act upon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog
from grpc import aio

from proto.channel import error_status
from proto.errors import ExchangeError

Context = aio.ServicerContext[Any, Any]
Note = Callable[[Context, str, ExchangeError], Awaitable[None]]
"""Puts a refused call on record; raises nothing."""
_log = structlog.get_logger()


@asynccontextmanager
async def answering(context: Context, call: str, note: Note) -> AsyncIterator[None]:
    """Translate what is raised inside into the end of *call*, on record by *note*."""
    try:
        yield
    except (ExchangeError, aio.InternalError, ExceptionGroup) as error:
        first = _first(error)
        if isinstance(first, aio.InternalError):
            # The caller hung up while we were writing to it; nobody is left to be told.
            _log.info("caller_gone", call=call, peer=context.peer())
        elif not isinstance(first, ExchangeError):
            await _abort_unforeseen(context, call, first)
        else:
            _log.info("call_refused", call=call, peer=context.peer(), error=str(first))
            await note(context, call, first)
            await abort(context, first)
    except (asyncio.CancelledError, aio.AbortError):
        raise
    except Exception as error:  # noqa: BLE001 - a bug met by one call ends that call, not the server
        await _abort_unforeseen(context, call, error)


async def abort(context: Context, error: ExchangeError) -> None:
    """End the call with *error*; does not return."""
    status = error_status(error)
    metadata = tuple((key, value) for key, value in status.trailing_metadata or ())
    await context.abort(status.code, status.details, metadata)


async def _abort_unforeseen(context: Context, call: str, error: BaseException) -> None:
    _log.error("call_failed_unforeseen", call=call, peer=context.peer(), exc_info=error)
    # Its text may hold anything; the caller learns only where to look.
    await context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__} in {call}, see central's log")


def _first(error: BaseException) -> BaseException:
    """What went wrong first; a bug is more telling than what it dragged along."""
    while isinstance(error, BaseExceptionGroup):
        bugs = [each for each in error.exceptions if not isinstance(each, (ExchangeError, aio.InternalError))]
        error = (bugs or error.exceptions)[0]
    return error
