"""The streaming replication protocol over libpq: start, drain, answer.

The server sends one small message per row. Waking up for each is dear for both sides, so under load we let some
gather in the socket before we drain it; a lone commit is taken at once.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import pq

from agent.sources.postgresql.connection import connect, slot_error, translated
from agent.sources.postgresql.place import format_lsn, parse_lsn
from agent.sources.postgresql.tap import Taken, messages
from agent.sources.wakeup import Wakeup as Wakeup  # noqa: PLC0414 - the room knows it by this address
from proto.errors import Transient

BEGIN: Final = ord("B")
_BUSY_MESSAGES: Final = 32
_GATHER_MS: Final = 5
"""While we do not read, the server's small messages become few large packets: a third less work for it than at 1 ms."""
_GULPS: Final = 64
_STATUS: Final = struct.Struct(">cQQQqB")
_KEEPALIVE: Final = struct.Struct(">cQqB")
_EPOCH_2000_S: Final = 946_684_800


@dataclass(frozen=True, slots=True)
class Identity:
    """Which server answers, and how far its log is on disk."""

    system: str
    timeline: int
    flushed: int


class Walsender:
    """One connection to a walsender: commands first, then the stream."""

    def __init__(self, dsn: str, name: str, wakeup: Wakeup) -> None:
        self._name = name
        self._connection = connect(dsn, name, walsender=True)
        self._pgconn = self._connection.pgconn
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)
        self._poll.register(wakeup, select.POLLIN)
        self._nap = select.poll()
        self._nap.register(wakeup, select.POLLIN)
        self._busy = False
        self._left_some = False
        self._answer_at_s = 0.0
        self._answer_every_s = 10.0
        self.wal_end = 0
        """The server has sent us everything that was committed before this place."""
        self._confirmed = 0

    def identify(self) -> Identity:
        """Ask which server this is."""
        row = self._ask("IDENTIFY_SYSTEM")
        return Identity(row[0], int(row[1]), parse_lsn(row[2]))

    def history(self, timeline: int) -> dict[int, int]:
        """Where each earlier timeline ended on the way to *timeline*."""
        lines = [line.split("\t") for line in self._ask(f"TIMELINE_HISTORY {timeline}")[1].splitlines()]
        return {
            int(parts[0]): parse_lsn(parts[1]) for parts in lines if len(parts) >= 2 and parts[0].isdigit()
        }

    def start(self, slot: str, lsn: int, publications: str) -> None:
        """Begin to stream strictly after *lsn*."""
        timeout = self._ask("SHOW wal_sender_timeout")[0]
        self._answer_every_s = min(10.0, _seconds(timeout) / 3 or 10.0)
        options = f"proto_version '1', publication_names {_quoted(publications)}, binary 'true'"
        result = self._pgconn.exec_(
            f"START_REPLICATION SLOT {slot} LOGICAL {format_lsn(lsn)} ({options})".encode()
        )
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise slot_error(result, self._name)
        self._pgconn.nonblocking = 1
        self.wal_end = self._confirmed = lsn
        self.answer()

    def wait(self, seconds: float) -> bool:
        """Wait for the server, the wakeup or the time; says whether the server sent something."""
        self.keepalive()
        if self._left_some:
            return True  # libpq has it already; the socket may stay silent
        due_s = max(0.0, self._answer_at_s - time.monotonic())
        ready = self._poll.poll(min(seconds, due_s) * 1000)
        return any(fd == self._pgconn.socket for fd, _ in ready)

    def drain(self, limit_bytes: int) -> Iterator[Taken]:
        """The messages of log data that are here now, in order, up to the one that reaches the limit."""
        if self._busy:
            self._nap.poll(_GATHER_MS)
        found = 0
        try:
            for _ in range(_GULPS if self._busy else 1):
                self._pgconn.consume_input()
                taken = messages(self._pgconn, limit_bytes)
                self._hear(taken)
                found += len(taken.data)
                limit_bytes -= taken.bytes
                if taken.data:
                    yield taken
                if limit_bytes <= 0:
                    break
            self._left_some = limit_bytes <= 0
        except psycopg.OperationalError as error:
            raise Transient(str(error).strip(), where=self._name) from error
        self._busy = found >= _BUSY_MESSAGES

    def keepalive(self) -> None:
        """Tell the server that we live, if it is time; cheap enough to be called in any loop."""
        if time.monotonic() >= self._answer_at_s:
            self.answer()

    def answer(self, *, ask: bool = False) -> None:
        """Tell the server that we live and what we received; with *ask* it answers how far it has sent.

        This says nothing of what it may forget. A server that stops waits for its readers: it takes what we received
        when we say nothing more, so that it need not wait until it is committed here.
        """
        self._tell(0, ask=ask)

    def confirm(self, lsn: int) -> None:
        """Let the server forget what is before *lsn*."""
        self._confirmed = max(self._confirmed, lsn)
        self._tell(self._confirmed)

    def close(self) -> None:
        """Hang up; the server keeps its place for us."""
        self._connection.close()

    def _tell(self, confirmed: int, *, ask: bool = False) -> None:
        now_us = int((time.time() - _EPOCH_2000_S) * 1_000_000)
        message = _STATUS.pack(b"r", max(self.wal_end, confirmed), confirmed, confirmed, now_us, ask)
        self._answer_at_s = time.monotonic() + self._answer_every_s
        with translated(self._name):
            self._pgconn.put_copy_data(message)
            self._pgconn.flush()

    def _hear(self, taken: Taken) -> None:
        """What is not log data: signs of life, and the end."""
        for message in taken.others:
            _, wal_end, _, wants_answer = _KEEPALIVE.unpack(message)
            self.wal_end = max(self.wal_end, wal_end)
            if wants_answer:
                self.answer()
        if taken.status < 0:
            raise self._ended()

    def _ended(self) -> Exception:
        result = self._pgconn.get_result()
        if result is None or result.status != pq.ExecStatus.FATAL_ERROR:
            return Transient("the server ended the stream", where=self._name)
        return slot_error(result, self._name)

    def _ask(self, command: str) -> list[str]:
        result = self._pgconn.exec_(command.encode())
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise slot_error(result, self._name)
        return [(result.get_value(0, column) or b"").decode() for column in range(result.nfields)]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _seconds(setting: str) -> float:
    """Read a duration as SHOW prints it."""
    units = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
    number = setting.rstrip("abcdefghijklmnopqrstuvwxyz")
    return float(number) * units.get(setting[len(number) :], 0.001)
