"""pgoutput's messages as a server would send them, written down a second time so that a test can compare."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import Enum

PG_EPOCH_US = 946_684_800_000_000


class Form(Enum):
    """What a tuple can say about a column besides a value."""

    UNCHANGED = b"u"


UNCHANGED = Form.UNCHANGED
Value = bytes | str | None | Form
"""Bytes go out as binary, text as text, None as NULL."""


def framed(body: bytes) -> bytes:
    """One XLogData message."""
    return b"w" + struct.pack(">QQq", 1, 2, 3) + body


def begin(final_lsn: int, commit_us: int = PG_EPOCH_US, xid: int = 7) -> bytes:
    """A transaction begins."""
    return framed(b"B" + struct.pack(">QqI", final_lsn, commit_us - PG_EPOCH_US, xid))


def commit(lsn: int, end_lsn: int, commit_us: int = PG_EPOCH_US) -> bytes:
    """A transaction ends."""
    return framed(b"C" + struct.pack(">BQQq", 0, lsn, end_lsn, commit_us - PG_EPOCH_US))


def relation(relid: int, name: str, columns: Sequence[tuple[str, bool]], identity: str = "d") -> bytes:
    """A table is described; each column says whether it is part of the identity."""
    body = b"R" + struct.pack(">I", relid) + b"public\0" + name.encode() + b"\0" + identity.encode()
    body += struct.pack(">h", len(columns))
    for column, is_key in columns:
        body += bytes([is_key]) + column.encode() + b"\0" + struct.pack(">Ii", 25, -1)
    return framed(body)


def row(values: Sequence[Value]) -> bytes:
    """One tuple."""
    parts = [struct.pack(">h", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, Form):
            parts.append(b"u")
        else:
            form, data = (b"t", value.encode()) if isinstance(value, str) else (b"b", value)
            parts.append(form + struct.pack(">i", len(data)) + data)
    return b"".join(parts)


def insert(relid: int, new: Sequence[Value]) -> bytes:
    """A row came."""
    return framed(b"I" + struct.pack(">I", relid) + b"N" + row(new))


def update(relid: int, new: Sequence[Value], old: Sequence[Value] | None = None, form: bytes = b"K") -> bytes:
    """A row changed; *form* is K for an old key, O for the whole old row."""
    before = b"" if old is None else form + row(old)
    return framed(b"U" + struct.pack(">I", relid) + before + b"N" + row(new))


def delete(relid: int, old: Sequence[Value], form: bytes = b"K") -> bytes:
    """A row went."""
    return framed(b"D" + struct.pack(">I", relid) + form + row(old))


def truncate(*relids: int) -> bytes:
    """Tables were emptied."""
    return framed(b"T" + struct.pack(">iB", len(relids), 0) + b"".join(struct.pack(">I", n) for n in relids))


def logical(lsn: int, prefix: str, content: bytes, transactional: bool = True) -> bytes:
    """Somebody wrote into the log."""
    head = struct.pack(">BQ", transactional, lsn) + prefix.encode() + b"\0"
    return framed(b"M" + head + struct.pack(">i", len(content)) + content)
