"""Everything of the binlog that is a string of bytes: text of a character set, bytes, members, JSON, places, addresses."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Callable
from typing import Final

from agent.sources.mysql.binaryjson import json_text
from agent.sources.mysql.charsets import TABLED, UTF8, decoder
from agent.sources.mysql.events import MAX_EVENT_BYTES
from agent.sources.mysql.reader import Read, Reader, Unreadable, Wanted, Way
from agent.sources.mysql.tablemap import ColumnType
from proto.errors import Refused, SchemaHold
from proto.values import Kind

_WORDS: Final = (Kind.TEXT, Kind.JSON, Kind.OTHER)
_NATIVE_BYTES: Final = {"uuid": 16, "inet4": 4, "inet6": 16}
_UTF8_BYTES: Final = {"ascii": 1, "utf8": 3, "utf8mb3": 3, "utf8mb4": 4}
_DEFLATE: Final = 8
_UNPACKED: Final = 0


def string(wanted: Wanted) -> Reader:
    """CHAR and BINARY, and what MariaDB writes like them: uuid, inet4 and inet6; zeros at the end are not logged."""
    size = _NATIVE_BYTES.get(wanted.plan.native, wanted.column.metadata)
    if wanted.plan.native in _NATIVE_BYTES:
        return _native(wanted, size)
    if wanted.kind is Kind.BYTES and wanted.column.type is ColumnType.STRING:
        return Reader(lambda raw: raw.ljust(size, b"\0"), Way.PADDED, size)
    return text(wanted)


def text(wanted: Wanted) -> Reader:
    """VARCHAR, TEXT, MariaDB's JSON; VARBINARY and BLOB."""
    if wanted.kind is Kind.BYTES:
        return Reader(lambda raw: raw, Way.BYTES)
    if wanted.kind not in _WORDS:
        raise wanted.refusal()
    charset = wanted.plan.charset
    try:
        read = _strict(decoder(charset))
    except Refused as error:
        where = f"{wanted.table}.{wanted.name}"
        fix = "leave the column out, or convert it to utf8mb4 and copy the table afresh"
        raise SchemaHold(wanted.table, error.what, where=where, fix=fix) from error
    if charset in UTF8:
        return Reader(read, Way.UTF8, _UTF8_BYTES[charset])
    return Reader(read, Way.TABLE, charset=charset) if charset in TABLED else Reader(read)


def compressed(wanted: Wanted) -> Reader:
    """The same, packed by MariaDB's COMPRESSED columns."""
    inner = text(wanted).read
    return Reader(lambda raw: inner(_unpacked(raw)))


def member(wanted: Wanted) -> Reader:
    """ENUM: the number of a member; 0 is the empty string an old server put in for a wrong one."""
    members = [b"", *(name.encode() for name in _members(wanted))]

    def read(raw: bytes) -> bytes:
        number = int.from_bytes(raw, "little")
        if number >= len(members):
            raise Unreadable("is a member that the column does not have")
        return members[number]

    return Reader(read)


def members(wanted: Wanted) -> Reader:
    """SET: a bit for each member; as text they stand in the column's order."""
    names = [name.encode() for name in _members(wanted)]

    def read(raw: bytes) -> bytes:
        chosen = int.from_bytes(raw, "little")
        if chosen >> len(names):
            raise Unreadable("is a member that the column does not have")
        return b",".join(name for at, name in enumerate(names) if chosen >> at & 1)

    return Reader(read)


def place(wanted: Wanted) -> Reader:
    """GEOMETRY and vectors: bytes as they are, or what the server's HEX() gives for them."""
    if wanted.kind is Kind.BYTES:
        return Reader(lambda raw: raw, Way.BYTES)
    if wanted.kind not in (Kind.TEXT, Kind.OTHER):
        raise wanted.refusal()
    return Reader(lambda raw: raw.hex().upper().encode())


def binary_json(wanted: Wanted) -> Reader:
    """MySQL's JSON: the text the server prints for it."""
    if wanted.kind is Kind.JSONB:
        return Reader(lambda raw: b"\x01" + json_text(raw))
    if wanted.kind not in _WORDS:
        raise wanted.refusal()
    return Reader(json_text)


def _native(wanted: Wanted, size: int) -> Reader:
    if wanted.column.metadata != size:
        raise wanted.refusal()
    if wanted.plan.native == "uuid" and wanted.kind is Kind.UUID:
        return Reader(lambda raw: raw.ljust(size, b"\0"), Way.PADDED, size)
    if wanted.plan.native == "uuid" or wanted.kind not in (Kind.TEXT, Kind.OTHER):
        raise wanted.refusal()
    shown: Callable[[bytes], str] = _inet4 if size == 4 else _inet6
    return Reader(lambda raw: shown(raw.ljust(size, b"\0")).encode())


def _inet4(raw: bytes) -> str:
    return str(ipaddress.IPv4Address(raw))


def _inet6(raw: bytes) -> str:
    # The server writes the last four bytes as an IPv4 address in the two ranges made for such.
    mapped = raw[:12] == bytes(10) + b"\xff\xff"
    compatible = raw[:12] == bytes(12) and raw[12:14] != bytes(2)
    if mapped or compatible:
        return ("::ffff:" if mapped else "::") + _inet4(raw[12:])
    return str(ipaddress.IPv6Address(raw))


def _strict(decode: Callable[[bytes], bytes]) -> Read:
    def read(raw: bytes) -> bytes:
        try:
            return decode(raw)
        except UnicodeDecodeError:
            raise Unreadable("is not valid in the column's character set") from None

    return read


def _members(wanted: Wanted) -> tuple[str, ...]:
    if wanted.kind not in (Kind.TEXT, Kind.OTHER):
        raise wanted.refusal()
    return wanted.plan.members


def _unpacked(raw: bytes) -> bytes:
    if not raw:
        return raw
    if raw[0] == _UNPACKED:
        return raw[1:]
    head = 1 + (raw[0] & 7)
    size = int.from_bytes(raw[1:head])
    if raw[0] >> 4 != _DEFLATE or size > MAX_EVENT_BYTES:
        raise Unreadable("is compressed in an unknown way")
    try:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS if raw[0] & 8 else zlib.MAX_WBITS)
        data = unpacker.decompress(raw[head:], size + 1)
    except zlib.error:
        raise Unreadable("cannot be unpacked") from None
    if len(data) != size or not unpacker.eof:
        raise Unreadable("unpacks to another size than it says")
    return data
