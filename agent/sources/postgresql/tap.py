"""Taking what a connection has received out of libpq: many small messages, so this is a hot loop.

Compiled (``_tap``) it calls libpq itself, the very library that psycopg has loaded; where there is no compiled
half, or that library cannot be told from another one, psycopg does it message by message. Both give the same.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
from psycopg import pq

if TYPE_CHECKING:
    PIPE: Any
    HotRows: Any
    Pipe: Any
else:
    try:
        from agent.sources.postgresql._tap import Pipe
        from agent.sources.postgresql._tap import Rows as HotRows
    except ImportError:
        Pipe = None

KIND_AT: Final = 25
"""Where pgoutput's message begins inside a message that carries log data."""
_DATA: Final = ord("w")
_HEADER: Final = 19
"""Bytes before the first row of a binary COPY; they come in one message with it."""
_TRAILER: Final = 2
_FAILED: Final = -2
_MAPS: Final = Path("/proc/self/maps")


class Taken(NamedTuple):
    """Messages of the log stream, in order."""

    data: list[bytes]
    """Those that carry log data."""
    others: list[bytes]
    bytes: int
    """How large the data is."""
    whole: int
    """How many of the data messages there are up to the last commit; 0 = no commit is among them."""
    status: int
    """What libpq said last: 0 = nothing more is here, negative = the stream ended, positive = there may be more."""


def messages(pgconn: pq.abc.PGconn, limit_bytes: int, *, compiled: bool = True) -> Taken:
    """What libpq has of the log stream, up to the message that reaches *limit_bytes* of data."""
    if compiled and PIPE is not None:
        taken = Taken(*PIPE.messages(_address(pgconn), limit_bytes))
        return taken._replace(status=_checked(pgconn, taken.status))
    data: list[bytes] = []
    others: list[bytes] = []
    total = whole = size = 0
    while total < limit_bytes:
        size, found = pgconn.get_copy_data(1)
        if size <= 0:
            break
        message = bytes(found)
        if message[0] != _DATA:
            others.append(message)
            continue
        data.append(message)
        total += size
        if message[KIND_AT : KIND_AT + 1] == b"C":
            whole = len(data)
    return Taken(data, others, total, whole, size)


class Rows:
    """The rows of one binary COPY as they come, without what stands before and after them."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self._begun = False
        self.size = 0
        """Bytes that wait for :meth:`take`."""
        self.count = 0
        """Rows that wait for it."""

    def gather(self, pgconn: pq.abc.PGconn) -> int:
        """Move what libpq has here; 0 = there may come more, negative = that was the end."""
        while True:
            size, found = pgconn.get_copy_data(1)
            if size <= 0:
                return size
            row = bytes(found) if self._begun else bytes(found)[_HEADER:]
            self._begun = True
            if len(row) > _TRAILER:
                self._rows.append(row)
                self.size += len(row)
                self.count += 1

    def take(self) -> tuple[bytes, int, int]:
        """The rows, how many they are, and where the last one begins."""
        rows, count, size = self._rows, self.count, self.size
        self._rows, self.count, self.size = [], 0, 0
        return b"".join(rows), count, size - len(rows[-1]) if rows else 0


class _HotRows(Rows):
    """The same, compiled."""

    def __init__(self) -> None:
        self._gathered = HotRows(PIPE)
        self.size = self.count = 0

    def gather(self, pgconn: pq.abc.PGconn) -> int:
        status: int = _checked(pgconn, self._gathered.gather(_address(pgconn)))
        self.size, self.count = self._gathered.size, self._gathered.count
        return status

    def take(self) -> tuple[bytes, int, int]:
        self.size = self.count = 0
        taken: tuple[bytes, int, int] = self._gathered.take()
        return taken


def new_rows(*, compiled: bool = True) -> Rows:
    """Where the rows of one COPY are gathered."""
    return _HotRows() if compiled and PIPE is not None else Rows()


def _address(pgconn: pq.abc.PGconn) -> int:
    address: int | None = pgconn.pgconn_ptr  # type: ignore[attr-defined] # every implementation has it
    if not address:
        raise psycopg.OperationalError("the connection is closed")
    return address


def _checked(pgconn: pq.abc.PGconn, status: int) -> int:
    """*status*, unless libpq says that it failed: psycopg raises then, and so do we."""
    if status == _FAILED:
        raise psycopg.OperationalError(f"getting copy data failed: {pgconn.get_error_message()}")
    return status


def _loaded() -> ctypes.CDLL | None:
    """The libpq in this process, when there is exactly one and it is the one psycopg uses."""
    try:
        words = [line.split() for line in _MAPS.read_text().splitlines()]
        paths = {line[-1] for line in words if Path(line[-1]).name.startswith("libpq")}
        library = ctypes.CDLL(paths.pop(), mode=os.RTLD_NOW | os.RTLD_NOLOAD) if len(paths) == 1 else None
    except OSError:
        return None
    return library if library is not None and library.PQlibVersion() == pq.version() else None


def _pipe() -> Any:
    library = _loaded() if Pipe is not None else None
    if library is None:
        return None
    return Pipe(
        *(ctypes.cast(call, ctypes.c_void_p).value for call in (library.PQgetCopyData, library.PQfreemem))
    )


PIPE = _pipe()
