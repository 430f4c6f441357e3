"""What the log says in words: the statement of a QUERY event, and the id of a transaction that begins."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from agent.sources.mysql.charsets import charset_of, decoder
from agent.sources.mysql.events import HEADER_BYTES, Cursor, EventType, inflated
from proto.errors import Refused

_STANDALONE: Final = 0x01
_PREPARED: Final = 0x40
_COMPLETED: Final = 0x80
_HAS_ORIGINAL: Final = 1 << 55
_MARIADB: Final = struct.Struct("<QIB")
# The variables that may stand before the client's character set, with their sizes; None = a counted string.
_VARIABLES: Final[dict[int, int | None]] = {0: 4, 1: 8, 2: None, 3: 4, 6: None}
_CHARSET: Final = 4
_UTF8MB4: Final = 45


@dataclass(frozen=True, slots=True)
class Beginning:
    """The event that begins a transaction."""

    gtid: str
    stands_alone: bool = False
    """One statement follows, and it ends there."""
    is_prepared: bool = False
    """The first half of a two-phase transaction; the second half is another transaction."""
    is_completed: bool = False
    """The second half: it brings no rows, only what becomes of them."""
    at_us: int = 0
    """When it was committed, where the server says so precisely; microseconds since 1970."""


def read_mariadb_gtid(event: bytes, server_id: int) -> Beginning:
    """MariaDB's GTID event."""
    if len(event) < HEADER_BYTES + _MARIADB.size:
        raise Refused("a transaction's id in the binlog is cut off")
    number, domain, flags = _MARIADB.unpack_from(event, HEADER_BYTES)
    return Beginning(
        f"{domain}-{server_id}-{number}",
        bool(flags & _STANDALONE),
        bool(flags & _PREPARED),
        bool(flags & _COMPLETED),
    )


def read_mysql_gtid(event: bytes) -> Beginning:
    """MySQL's GTID event; versions from 8.0 on say the time of the commit."""
    cursor = Cursor(event, HEADER_BYTES + 1)
    raw = cursor.take(16).hex()
    server = "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))
    number = cursor.number(8)
    if len(event) < cursor.at + 1 + 16 + 7:
        return Beginning(f"{server}:{number}")
    cursor.take(1 + 16)
    at_us = cursor.number(7) & (_HAS_ORIGINAL - 1)
    return Beginning(f"{server}:{number}", at_us=at_us)


def read_statement(event: bytes) -> tuple[str, str]:
    """The default database and the text of a QUERY event."""
    cursor = Cursor(event, HEADER_BYTES + 8)
    database_bytes = cursor.number(1)
    cursor.take(2)
    variables = Cursor(cursor.take(cursor.number(2)))
    database = cursor.take(database_bytes).decode()
    cursor.take(1)
    text = cursor.rest()
    if event[4] == EventType.MARIADB_QUERY_COMPRESSED:
        text = inflated(text)
    return database, _decoded(text, _client_charset(variables))


def _client_charset(variables: Cursor) -> str:
    """The character set a statement is written in."""
    while not variables.is_at_end:
        code = variables.number(1)
        if code == _CHARSET:
            return charset_of(variables.number(2))
        if code not in _VARIABLES:
            break
        size = _VARIABLES[code]
        variables.take(variables.number(1) + (code == 2) if size is None else size)
    return charset_of(_UTF8MB4)


def _decoded(text: bytes, charset: str) -> str:
    """Its names at least are right; a string in it may hold bytes of any kind."""
    try:
        return decoder(charset)(text).decode()
    except (UnicodeDecodeError, Refused):
        return text.decode("utf-8", "surrogateescape")
