"""The replication protocol on one connection: register, ask for the log, take its events.

The server sends one packet per event as it comes. We read with large gulps and cut the events out of them, so that
a call to the system serves thousands of rows. Nothing is ever acknowledged: the server keeps its log by its own clock.
"""

from __future__ import annotations

import select
import struct
import time
from dataclasses import dataclass
from ssl import SSLSocket, SSLWantReadError
from typing import Final

import pymysql

from agent.sources.mysql.connection import Driver, hang_up, login, translated
from agent.sources.mysql.events import CHECKSUM_BYTES, HEADER_BYTES, EventType, checksum_ok
from agent.sources.mysql.gtids import DomainGtids, ServerGtids
from agent.sources.mysql.refusals import refusal
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.wakeup import Wakeup
from proto.errors import ExchangeError, Halt, Transient

_REGISTER: Final = 0x15
_DUMP: Final = 0x12
_DUMP_GTID: Final = 0x1E
_NON_BLOCKING: Final = 0x01
_BY_GTID: Final = 0x04
_ERROR: Final = b"\xff"
_LONGEST: Final = 0xFFFFFF
"""A packet of this length goes on in the next one."""
_GULP: Final = 1 << 20
_BUSY_BYTES: Final = 1 << 16
_GATHER_MS: Final = 1
_STALLED_WRITE_S: Final = 3600
"""How long the server may wait for us to read on."""


class Ended(Transient):
    """The server ended the stream without a reason we know: it stops, or another reader took our place."""


class Dump:
    """One connection that brings the log's events."""

    def __init__(self, settings: MysqlSettings, wakeup: Wakeup, *, is_mariadb: bool) -> None:
        self._name = settings.name
        self._silence_s = settings.read_timeout_s
        self._is_mariadb = is_mariadb
        self._driver: Driver = login(settings)
        self._wakeup = wakeup
        self._buffer = _Buffer()
        self._has_checksums = False
        self._long: list[bytes] = []
        self._busy = False
        self._left_some = False
        self._heard_at_s = time.monotonic()
        self._end: ExchangeError | None = None
        with translated(self._name), self._driver.cursor() as cursor:
            for statement in self._preparation():
                cursor.execute(statement)
            cursor.execute("SELECT @@global.binlog_checksum")
            row = cursor.fetchone()
        self._has_checksums = bool(row) and str(row[0]).upper() != "NONE"

    def start(self, replica_id: int, gtids: DomainGtids | ServerGtids) -> None:
        """Begin to stream strictly after *gtids*."""
        with translated(self._name):
            self._command(_REGISTER, struct.pack("<IBBBHII", replica_id, 0, 0, 0, 0, 0, 0))
            self._driver._read_packet()
            if isinstance(gtids, DomainGtids):
                with self._driver.cursor() as cursor:
                    cursor.execute("SET @slave_connect_state = %s", (gtids.ends,))
                self._command(_DUMP, struct.pack("<IHI", 4, 0, replica_id))
            else:
                self._command(_DUMP_GTID, _gtid_request(replica_id, gtids))
        self._listen()

    def start_at_file(self, file: str) -> None:
        """Begin at a file's first event and end with the log; takes no number, so it is in nobody's way."""
        with translated(self._name):
            self._command(_DUMP, struct.pack("<IHI", 4, _NON_BLOCKING, 0) + file.encode())
        self._listen()

    def wait(self, seconds: float) -> bool:
        """Wait for the server, the wakeup or the time; says whether the server sent something."""
        if self._left_some or self._end or self._pending():
            return True
        ready = self._poll.poll(min(seconds, self._silence_s) * 1000)
        if any(fd == self._socket.fileno() for fd, _ in ready):
            return True
        if time.monotonic() > self._heard_at_s + self._silence_s:
            raise Transient(f"the server has been silent for {self._silence_s:.0f} s", where=self._name)
        return False

    def drain(self, limit_bytes: int) -> list[bytes]:
        """The events that are here now, without their checksums, up to the one that reaches the limit."""
        if self._busy and not self._left_some:
            self._nap.poll(_GATHER_MS)
        found: list[bytes] = []
        taken = self._take(found, limit_bytes)
        while taken < limit_bytes and not self._end and self._fill():
            taken += self._take(found, limit_bytes - taken)
        if self._end and not found:
            raise self._end
        self._left_some = taken >= limit_bytes
        self._busy = taken >= _BUSY_BYTES
        return found

    def close(self) -> None:
        """Hang up."""
        hang_up(self._driver)

    def _preparation(self) -> list[str]:
        beat_ns = int(self._silence_s / 3 * 1e9)
        common = [
            f"SET SESSION net_write_timeout = {_STALLED_WRITE_S}",
            "SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum",
            f"SET @master_heartbeat_period = {beat_ns}, @source_heartbeat_period = {beat_ns}",
        ]
        if not self._is_mariadb:
            return common
        # 4 = we understand global transaction ids; strict: a place that is not in the log is refused, not skipped.
        return [*common, "SET @mariadb_slave_capability = 4", "SET @slave_gtid_strict_mode = 1"]

    def _command(self, number: int, content: bytes) -> None:
        self._driver._execute_command(number, content)

    def _listen(self) -> None:
        self._socket = self._driver._sock
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._wakeup, select.POLLIN)
        self._nap = select.poll()
        self._nap.register(self._wakeup, select.POLLIN)
        self._heard_at_s = time.monotonic()

    def _pending(self) -> bool:
        """Whether the protected socket holds bytes that the system no longer shows."""
        return isinstance(self._socket, SSLSocket) and self._socket.pending() > 0

    def _fill(self) -> bool:
        """Take in what the system has; False when there is nothing."""
        try:
            size = self._socket.recv_into(self._buffer.room())
        except (BlockingIOError, SSLWantReadError):
            return False
        except OSError as error:
            raise Transient(f"the stream broke: {error.strerror or error}", where=self._name) from error
        if size == 0:
            raise Ended("the server ended the stream", where=self._name)
        self._heard_at_s = time.monotonic()
        self._buffer.filled(size)
        return True

    def _take(self, found: list[bytes], limit_bytes: int) -> int:
        """Cut whole packets out of the buffer; returns their bytes."""
        taken = 0
        while taken < limit_bytes:
            packet = self._buffer.packet()
            if packet is None:
                break
            taken += len(packet)
            if len(packet) == _LONGEST:
                self._long.append(packet)
                continue
            if self._long:
                packet = b"".join([*self._long, packet])
                self._long.clear()
            if packet[:1] != b"\x00":
                # What came before it still counts.
                self._end = self._ended(packet)
                break
            found.append(self._event(packet[1:]))
        return taken

    def _event(self, event: bytes) -> bytes:
        if len(event) < HEADER_BYTES:
            raise Transient("an event of the log is cut off", where=self._name)
        is_format = event[4] == EventType.FORMAT_DESCRIPTION
        if is_format:
            self._has_checksums = event[-CHECKSUM_BYTES - 1] == 1
        if not (self._has_checksums or is_format):
            return event
        if self._has_checksums and not checksum_ok(event):
            raise Transient("an event of the log arrived damaged", where=self._name)
        return event[:-CHECKSUM_BYTES]

    def _ended(self, packet: bytes) -> ExchangeError:
        if packet[:1] != _ERROR:
            return Ended("the server ended the stream", where=self._name)
        number, said = int.from_bytes(packet[1:3], "little"), packet[3:].decode(errors="replace")
        # After the number stands a # and the SQLSTATE, except before the login is over.
        said = said[6:] if said.startswith("#") else said
        return refusal(pymysql.err.OperationalError(number, said), self._name)


@dataclass(slots=True)
class _Buffer:
    """Bytes as they come, and the packets in them."""

    data: bytearray
    start: int
    end: int

    def __init__(self) -> None:
        self.data, self.start, self.end = bytearray(2 * _GULP), 0, 0

    def room(self) -> memoryview:
        """Where the next bytes go."""
        if self.start == self.end:
            self.start = self.end = 0
        if len(self.data) - self.end < _GULP // 2:
            # A new one and no shift in place: a packet may need more than there is.
            held = self.data[self.start : self.end]
            self.data = bytearray(max(2 * _GULP, 2 * len(held)))
            self.data[: len(held)] = held
            self.start, self.end = 0, len(held)
        return memoryview(self.data)[self.end :]

    def filled(self, size: int) -> None:
        """So many bytes came."""
        self.end += size

    def packet(self) -> bytes | None:
        """The next whole packet; None when it is not here yet."""
        start = self.start + 4
        if start > self.end:
            return None
        end = start + int.from_bytes(self.data[self.start : self.start + 3], "little")
        if end > self.end:
            return None
        self.start = end
        return bytes(memoryview(self.data)[start:end])


def _gtid_request(replica_id: int, gtids: ServerGtids) -> bytes:
    parts = [struct.pack("<Q", len(gtids.intervals))]
    for name, intervals in gtids.intervals.items():
        if ":" in name:
            raise Halt(
                "tagged transaction ids are not supported", fix="do not set gtid_next to AUTOMATIC:<tag>"
            )
        parts.append(bytes.fromhex(name.replace("-", "")) + struct.pack("<Q", len(intervals)))
        parts += [struct.pack("<QQ", first, last + 1) for first, last in intervals]
    data = b"".join(parts)
    return struct.pack("<HIIQI", _BY_GTID, replica_id, 0, 4, len(data)) + data
