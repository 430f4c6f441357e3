"""A row is one frame of bytes: the pure functions on frames.

A frame is an int16 number of columns and then, for each column, an int32 length (−1 = NULL) and its bytes,
all big-endian: exactly a tuple of PostgreSQL's binary COPY. Many rows are one frame after another. Hostile
bytes raise FrameCorrupt with the byte they break at; nothing is read past the end. The functions here are
the fallback and the oracle; when the package was built with a compiler, the same names come from ``_frames``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final

from proto.errors import FrameCorrupt
from proto.schema import TableSchema
from proto.values import Kind, Plain, from_plain, to_plain

Span = tuple[int, int]
"""Where a column lies in the bytes, its length word included."""

MAX_FIELDS: Final = 32767
_COUNT: Final = struct.Struct(">h")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)


def corrupt(at: int, what: str) -> FrameCorrupt:
    """The error for bytes that break at byte *at*."""
    return FrameCorrupt(what, where=f"byte {at}")


def pack(fields: Sequence[bytes | None]) -> bytes:
    """One frame that holds *fields*."""
    if len(fields) > MAX_FIELDS:
        raise corrupt(0, "a frame has too many columns")
    parts = [_COUNT.pack(len(fields))]
    for field in fields:
        if field is None:
            parts.append(_NULL)
        else:
            parts += (_LENGTH.pack(len(field)), field)
    return b"".join(parts)


def fields(frame: bytes) -> list[bytes | None]:
    """The fields of exactly one frame."""
    spans, end = walk(frame, 0)
    if end != len(frame):
        raise corrupt(end, "bytes follow the frame")
    return [_field(frame, span) for span in spans]


def split(data: bytes) -> list[bytes]:
    """Each frame of *data* by itself."""
    return [data[start:end] for start, _, end in _frames(data)]


def check(data: bytes, columns: int) -> int:
    """How many frames *data* is; raises FrameCorrupt unless it is whole frames of exactly *columns* columns."""
    count = 0
    for start, spans, _ in _frames(data):
        if len(spans) != columns:
            raise corrupt(start, f"a frame has {len(spans)} columns instead of {columns}")
        count += 1
    return count


def choose(data: bytes, columns: Sequence[int]) -> bytes:
    """The same rows with only the chosen *columns*, in the order given."""
    head = _COUNT.pack(len(columns))
    parts: list[bytes] = []
    for start, spans, _ in _frames(data):
        parts.append(head)
        parts += _chosen(data, start, spans, columns)
    return b"".join(parts)


def keys(data: bytes, key: Sequence[int]) -> list[bytes]:
    """The key frame of each row."""
    head = _COUNT.pack(len(key))
    return [b"".join((head, *_chosen(data, start, spans, key))) for start, spans, _ in _frames(data)]


def without(data: bytes, key: Sequence[int], gone: AbstractSet[bytes]) -> tuple[bytes, int]:
    """The rows whose key frame is not in *gone*, and how many are left."""
    frames = split(data)
    kept = [frame for frame, name in zip(frames, keys(data, key), strict=True) if name not in gone]
    return b"".join(kept), len(kept)


def rows(data: bytes, kinds: Sequence[Kind]) -> list[tuple[Plain, ...]]:
    """The rows as plain Python values.

    BOOL is 0 or 1, INT* int, FLOAT* float, BYTES bytes, NULL None, everything else the text of
    :func:`proto.values.to_text`.
    """
    found: list[tuple[Plain, ...]] = []
    for start, spans, _ in _frames(data):
        if len(spans) != len(kinds):
            raise corrupt(start, f"a frame has {len(spans)} columns instead of {len(kinds)}")
        found.append(tuple(_plain(kind, data, span) for kind, span in zip(kinds, spans, strict=True)))
    return found


def pack_rows(rows: Sequence[Sequence[Plain]], kinds: Sequence[Kind]) -> bytes:
    """The frames of rows of plain values: the exact inverse of :func:`rows`."""
    parts: list[bytes] = []
    for row in rows:
        if len(row) != len(kinds):
            raise corrupt(0, f"a row has {len(row)} values instead of {len(kinds)}")
        values = zip(kinds, row, strict=True)
        parts.append(pack([None if value is None else from_plain(kind, value) for kind, value in values]))
    return b"".join(parts)


def merge_partial(
    frame: bytes, schema: TableSchema, partial_columns: Sequence[int], partial_frame: bytes
) -> bytes:
    """The full *frame* after a partial update: see :class:`proto.batch.Partial` for its layout."""
    present = fields(partial_frame)[len(schema.key) :]
    merged = fields(frame)
    if len(present) != len(partial_columns) or len(merged) != len(schema.columns):
        raise corrupt(0, "a partial update does not fit its table")
    for column, field in zip(partial_columns, present, strict=True):
        if not 0 <= column < len(merged):
            raise corrupt(0, f"a frame has no column {column}")
        merged[column] = field
    return pack(merged)


def _frames(data: bytes) -> Iterator[tuple[int, list[Span], int]]:
    """Each frame's start, columns and end."""
    at = 0
    while at < len(data):
        start = at
        spans, at = walk(data, start)
        yield start, spans, at


def walk(data: bytes, at: int) -> tuple[list[Span], int]:
    """The columns of the frame at *at*, and where it ends."""
    size = len(data)
    if size - at < 2:
        raise corrupt(at, "a frame's number of columns is cut off")
    (count,) = _COUNT.unpack_from(data, at)
    if count < 0:
        raise corrupt(at, "a frame's number of columns is negative")
    at += 2
    spans: list[Span] = []
    for _ in range(count):
        if size - at < 4:
            raise corrupt(at, "a length is cut off")
        (length,) = _LENGTH.unpack_from(data, at)
        if length < -1 or length > size - at - 4:
            raise corrupt(at, "a length is negative or runs past the end")
        end = at + 4 + max(length, 0)
        spans.append((at, end))
        at = end
    return spans, at


def _chosen(data: bytes, start: int, spans: Sequence[Span], columns: Sequence[int]) -> Iterator[bytes]:
    for column in columns:
        if not 0 <= column < len(spans):
            raise corrupt(start, f"a frame has no column {column}")
        at, end = spans[column]
        yield data[at:end]


def _field(data: bytes, span: Span) -> bytes | None:
    start, end = span
    # Only the sign decides: −1 is the one negative length that walk lets through.
    return None if data[start] >= 0x80 else data[start + 4 : end]


def _plain(kind: Kind, data: bytes, span: Span) -> Plain:
    field = _field(data, span)
    return None if field is None else to_plain(kind, field)


ACCELERATED: bool = False
"""True when the functions above were replaced by compiled ones."""

if not TYPE_CHECKING:
    try:
        from proto._frames import check, choose, fields, keys, pack, pack_rows, rows, split, without  # noqa: F401
    except ImportError:
        pass
    else:
        ACCELERATED = True
