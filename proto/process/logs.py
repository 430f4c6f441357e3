"""One line per event: JSON for machines, colours for a terminal. A log line can neither fail nor forge another.

Events are snake_case constants; values are numbers, names and positions, never row values.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, Final

import structlog
from structlog.typing import EventDict, WrappedLogger

DEPTH: Final = 6
PRIORITY: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
_LEVELS: Final = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
# What a terminal or a viewer would act upon: controls, line and paragraph separators, changes of direction, lone surrogates.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


class _Threshold:
    """The least level that is written; the only part of the configuration that changes at run time."""

    number = logging.INFO

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        if _LEVELS.get(name, logging.ERROR) < self.number:
            raise structlog.DropEvent
        return event


class _Output:
    """A stream whose loss does not stop the work: nobody could be told anyway."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(line)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Foreign(logging.Handler):
    """Warnings of libraries take the same way out."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            words = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's broken format string must not reach our worker
            words = str(record.msg)
        log = structlog.get_logger()
        log.log(record.levelno, "library_said", logger=record.name, words=words, exc_info=record.exc_info)


_threshold = _Threshold()


def configure_logging(level: str = "info", stream: IO[bytes] | None = None) -> None:
    """Decide once per process where logs go and how they look; a second call only sets the level."""
    set_level(level)
    if structlog.is_configured():
        return
    output = stream or sys.stdout.buffer
    terminal = stream is None and sys.stdout.isatty()
    structlog.configure(
        processors=[
            _threshold,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_for_people() if terminal else _for_machines("JOURNAL_STREAM" in os.environ)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.BytesLoggerFactory(_Output(output)),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Foreign()], force=True)


def set_level(level: str) -> None:
    """Change the least level that is written, from now on."""
    _threshold.number = _LEVELS[level.lower()]


def escape(text: str, keep: str = "") -> str:
    """*text* with every character that could move a cursor or fake a line written as ``\\uXXXX``."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text)


def plain(value: Any, depth: int = DEPTH) -> Any:
    """*value* as JSON can hold it, whatever it is."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping() if depth:
            return {str(key): plain(inner, depth - 1) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset() if depth:
            return [plain(inner, depth - 1) for inner in value]
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - an object that cannot describe itself is still worth its line
        return f"<{type(value).__name__}>"


def _for_machines(journal: bool) -> list[Any]:
    def render(logger: WrappedLogger, name: str, event: EventDict) -> bytes:
        line = _UNSAFE.sub(
            lambda found: f"\\u{ord(found[0]):04x}", json.dumps(plain(event), ensure_ascii=False)
        )
        prefix = f"<{PRIORITY.get(event.get('level', ''), 3)}>" if journal else ""
        return (prefix + line).encode()

    return [structlog.processors.format_exc_info, render]


def _for_people() -> list[Any]:
    def soften(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        return {
            escape(str(key)): escape(inner, keep="\n\t" if key == "exception" else "")
            if isinstance(inner, str)
            else inner
            for key, inner in plain(event).items()
        }

    def encode(logger: WrappedLogger, name: str, line: str) -> bytes:
        return line.encode(errors="backslashreplace")

    colours = "NO_COLOR" not in os.environ
    console = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    return [structlog.processors.format_exc_info, soften, console, encode]
