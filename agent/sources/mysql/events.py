"""The binlog's events as bytes: headers, checksums, compressed bodies, and a reader that never reads past the end.

What is cut off or makes no sense raises Refused; no byte of an event is ever repeated in an error.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from proto.errors import Refused

HEADER_BYTES: Final = 19
CHECKSUM_BYTES: Final = 4
MAX_EVENT_BYTES: Final = 1 << 30
"""As much as the servers let a packet have; nothing is unpacked to more."""
_HEADER: Final = struct.Struct("<IBIIIH")
_CHECKSUM: Final = struct.Struct("<I")
_CHECKSUM_FLAG_AT: Final = 17
_IN_USE: Final = 0x01


class EventType(IntEnum):
    """The events a reader of either server may meet."""

    QUERY = 2
    STOP = 3
    ROTATE = 4
    INTVAR = 5
    RAND = 13
    USER_VAR = 14
    FORMAT_DESCRIPTION = 15
    XID = 16
    TABLE_MAP = 19
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    INCIDENT = 26
    HEARTBEAT = 27
    IGNORABLE = 28
    ROWS_QUERY = 29
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PREVIOUS_GTIDS = 35
    TRANSACTION_CONTEXT = 36
    VIEW_CHANGE = 37
    XA_PREPARE = 38
    PARTIAL_UPDATE_ROWS = 39
    TRANSACTION_PAYLOAD = 40
    HEARTBEAT_V2 = 41
    GTID_TAGGED = 42
    MARIADB_ANNOTATE_ROWS = 160
    MARIADB_BINLOG_CHECKPOINT = 161
    MARIADB_GTID = 162
    MARIADB_GTID_LIST = 163
    MARIADB_START_ENCRYPTION = 164
    MARIADB_QUERY_COMPRESSED = 165
    MARIADB_WRITE_ROWS_COMPRESSED_V1 = 166
    MARIADB_UPDATE_ROWS_COMPRESSED_V1 = 167
    MARIADB_DELETE_ROWS_COMPRESSED_V1 = 168
    MARIADB_WRITE_ROWS_COMPRESSED = 169
    MARIADB_UPDATE_ROWS_COMPRESSED = 170
    MARIADB_DELETE_ROWS_COMPRESSED = 171


@dataclass(frozen=True, slots=True)
class Header:
    """What every event begins with. ``type`` is a number, because servers know more types than we name."""

    time_s: int
    type: int
    server_id: int
    size: int
    next_position: int
    flags: int


def header(event: bytes | memoryview) -> Header:
    """The header of an event; Refused when there is not even that."""
    if len(event) < HEADER_BYTES:
        raise Refused("an event of the binlog is shorter than its header")
    return Header(*_HEADER.unpack_from(event))


def checksum_ok(event: bytes | memoryview) -> bool:
    """Whether the last four bytes are the CRC32 of the others."""
    end = len(event) - CHECKSUM_BYTES
    if end < HEADER_BYTES:
        return False
    body = memoryview(event)[:end]
    told: int = _CHECKSUM.unpack_from(event, end)[0]
    if event[4] != EventType.FORMAT_DESCRIPTION or not event[_CHECKSUM_FLAG_AT] & _IN_USE:
        return zlib.crc32(body) == told
    # The first event of a file says whether the file is in use; that bit is not part of its checksum.
    plain = bytearray(body)
    plain[_CHECKSUM_FLAG_AT] &= ~_IN_USE
    return zlib.crc32(plain) == told


def inflated(data: bytes | memoryview) -> bytes:
    """What MariaDB compressed: a byte with the method and the size of the length, the length, a zlib stream."""
    cursor = Cursor(bytes(data))
    head = cursor.number(1)
    if not head & 0x80 or (head >> 4) & 7:
        raise Refused("an event of the binlog is compressed in an unknown way")
    size = int.from_bytes(cursor.take(head & 7))
    if size > MAX_EVENT_BYTES:
        raise Refused("an event of the binlog unpacks to more than a server sends")
    unpacker = zlib.decompressobj()
    try:
        # One byte more than told, so that a longer stream is noticed and never unpacked whole.
        found = unpacker.decompress(cursor.rest(), size + 1)
    except zlib.error as error:
        raise Refused("an event of the binlog cannot be unpacked") from error
    if len(found) != size or not unpacker.eof:
        raise Refused("an event of the binlog unpacks to another size than it says")
    return found


class Cursor:
    """Reads little-endian numbers and counted strings from bytes, in order."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    @property
    def is_at_end(self) -> bool:
        """Nothing is left."""
        return self.at >= len(self.data)

    def take(self, count: int) -> bytes:
        """The next *count* bytes."""
        end = self.at + count
        if end > len(self.data):
            raise Refused("an event of the binlog is cut off")
        found = self.data[self.at : end]
        self.at = end
        return found

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(max(len(self.data) - self.at, 0))

    def number(self, size: int) -> int:
        """A number of *size* bytes."""
        return int.from_bytes(self.take(size), "little")

    def packed(self) -> int:
        """A number that says itself how long it is."""
        first = self.number(1)
        if first < 0xFB:
            return first
        if first not in (0xFC, 0xFD, 0xFE):
            raise Refused("a number in an event of the binlog is malformed")
        return self.number({0xFC: 2, 0xFD: 3, 0xFE: 8}[first])

    def counted(self) -> bytes:
        """A string after its packed length."""
        return self.take(self.packed())

    def name(self) -> str:
        """A name after its length byte and before a zero byte."""
        found = self.take(self.number(1))
        self.take(1)
        return text_of(found)


def text_of(name: bytes) -> str:
    """A name; the servers write them in UTF-8."""
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise Refused("a name in an event of the binlog is not UTF-8") from error
