"""Batches as bytes: encoded once at capture, the same bytes in the outbox, on the wire and in the ledger.

A batch is a protobuf header that describes itself, and a payload: the frames of its deltas one after another,
compressed. Decoding trusts nothing: sizes, counts, names and the decompressed size are bounded before memory is
spent, and a batch that breaks a bound is refused whole with BatchCorrupt (faults G6, G7).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from proto import frames
from proto.batch import Batch, Delta, Frames, Head, Partial, SealedBatch, chain
from proto.errors import BatchCorrupt, ExchangeError
from proto.schema import Column, TableSchema
from proto.v1 import batch_pb2
from proto.values import Kind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT: Final = 1
MAX_HEADER_BYTES: Final = 4 * 1024 * 1024
MAX_PAYLOAD_BYTES: Final = 256 * 1024 * 1024
MAX_RAW_BYTES: Final = 1024 * 1024 * 1024
MAX_RATIO: Final = 100
"""Decompressed to compressed; only looked at above RATIO_FREE_BYTES. The encoder keeps to it too."""
RATIO_FREE_BYTES: Final = 1024 * 1024
MAX_DELTAS: Final = 10_000
_WINDOW_LOG: Final = 23


def encode(batch: Batch, level: int = 1) -> tuple[bytes, bytes]:
    """Header and payload of *batch*. Raises BatchCorrupt if it is larger than any receiver would take."""
    sections = [section for section in _sections(batch) if section]
    size = sum(map(len, sections))
    if size > MAX_RAW_BYTES:
        raise BatchCorrupt(f"{size} bytes of rows, more than {MAX_RAW_BYTES}", where=batch.position)
    header = _describe(batch, size)
    payload = _zstd(sections, size, level)
    if len(payload) >= size or _ratio_too_high(size, len(payload)):
        header.compression, payload = batch_pb2.COMPRESSION_NONE, b"".join(sections)
    else:
        header.compression = batch_pb2.COMPRESSION_ZSTD
    header.payload_sha256 = hashlib.sha256(payload).digest()
    encoded = header.SerializeToString(deterministic=True)
    if len(encoded) > MAX_HEADER_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        raise BatchCorrupt(f"header {len(encoded)} or payload {len(payload)} bytes over the limit")
    return encoded, payload


def seal(stream: str, epoch: int, previous: Head, encoded: tuple[bytes, bytes], rows: int = 0) -> SealedBatch:
    """Give an encoded batch its number and its digest, right after *previous*."""
    header, payload = encoded
    seq = previous.seq + 1
    digest = chain(previous.digest, stream, epoch, seq, header)
    return SealedBatch(stream, epoch, seq, digest, header, payload, rows)


def verify(batch: SealedBatch, previous: Head) -> None:
    """Raise BatchCorrupt unless *batch* is whole, undamaged and the next one after *previous*."""
    where = f"{batch.stream} {batch.seq}"
    if batch.seq != previous.seq + 1:
        raise BatchCorrupt(f"number {batch.seq} does not follow {previous.seq}", where=where)
    header = read_header(batch.header)
    if hashlib.sha256(batch.payload).digest() != header.payload_sha256:
        raise BatchCorrupt("the payload does not match its checksum", where=where)
    if chain(previous.digest, batch.stream, batch.epoch, batch.seq, batch.header) != batch.digest:
        raise BatchCorrupt("the digest does not follow from the one before", where=where)


def read_header(header: bytes) -> batch_pb2.BatchHeader:
    """Parse and bound a header. Raises BatchCorrupt."""
    if len(header) > MAX_HEADER_BYTES:
        raise BatchCorrupt(f"header of {len(header)} bytes, more than {MAX_HEADER_BYTES}")
    try:
        parsed = batch_pb2.BatchHeader.FromString(header)
    except DecodeError as error:
        raise BatchCorrupt("the header is not a batch header") from error
    if parsed.format != FORMAT:
        raise BatchCorrupt(f"format {parsed.format} is not known here", fix="upgrade the older side")
    if parsed.raw_bytes > MAX_RAW_BYTES or len(parsed.deltas) > MAX_DELTAS:
        raise BatchCorrupt(f"claims {parsed.raw_bytes} bytes and {len(parsed.deltas)} deltas, over the limit")
    return parsed


def decode(header: bytes, payload: bytes) -> Batch:
    """The batch of *header* and *payload*, every frame checked. Raises BatchCorrupt."""
    parsed = read_header(header)
    raw = _Raw(parsed, payload)
    try:
        schemas = [_schema(message) for message in parsed.schemas]
        deltas = [_delta(message, schemas[message.schema], raw) for message in parsed.deltas]
    except BatchCorrupt:
        raise
    except (ExchangeError, ValueError, IndexError) as error:
        raise BatchCorrupt(f"the batch contradicts itself: {error}") from error
    raw.finish()
    return Batch(
        position=parsed.position,
        deltas=tuple(deltas),
        first_commit_us=parsed.first_commit_us,
        last_commit_us=parsed.last_commit_us,
        transactions=parsed.transactions,
        continues=parsed.continues,
    )


def row_count(header: batch_pb2.BatchHeader) -> int:
    """How many rows a batch touches, from its header alone."""
    return sum(
        d.insert_count + d.upsert_count + d.delete_count + sum(p.count for p in d.partials)
        for d in header.deltas
    )


def schemas_of(header: batch_pb2.BatchHeader) -> list[TableSchema]:
    """The tables a batch speaks of. Raises BatchCorrupt."""
    try:
        return [_schema(message) for message in header.schemas]
    except (ExchangeError, ValueError) as error:
        raise BatchCorrupt(f"the batch contradicts itself: {error}") from error


def pack_schema(schema: TableSchema) -> bytes:
    """*schema* by itself, as bytes."""
    return _schema_message(schema).SerializeToString(deterministic=True)


def read_schema(packed: bytes) -> TableSchema:
    """The inverse of :func:`pack_schema`. Raises BatchCorrupt."""
    try:
        return _schema(batch_pb2.TableSchema.FromString(packed))
    except (DecodeError, ExchangeError, ValueError) as error:
        raise BatchCorrupt("the table's shape cannot be read") from error


def _sections(batch: Batch) -> Iterator[bytes]:
    for delta in batch.deltas:
        yield delta.inserts.data
        yield delta.upserts.data
        yield delta.deletes.data
        for partial in delta.partials:
            yield partial.frames.data


def _describe(batch: Batch, raw_bytes: int) -> batch_pb2.BatchHeader:
    header = batch_pb2.BatchHeader(
        format=FORMAT,
        position=batch.position,
        first_commit_us=batch.first_commit_us,
        last_commit_us=batch.last_commit_us,
        transactions=batch.transactions,
        continues=batch.continues,
        raw_bytes=raw_bytes,
    )
    places: dict[TableSchema, int] = {}
    for delta in batch.deltas:
        place = places.setdefault(delta.schema, len(places))
        if place == len(header.schemas):
            header.schemas.append(_schema_message(delta.schema))
        header.deltas.append(_delta_message(delta, place))
    return header


def _schema_message(schema: TableSchema) -> batch_pb2.TableSchema:
    columns = [
        batch_pb2.ColumnSchema(name=c.name, kind=c.kind, source_type=c.source_type, not_null=not c.nullable)
        for c in schema.columns
    ]
    return batch_pb2.TableSchema(name=schema.name, columns=columns, key=schema.key)


def _delta_message(delta: Delta, place: int) -> batch_pb2.DeltaSections:
    partials = [
        batch_pb2.PartialSection(columns=p.columns, count=p.frames.count, bytes=len(p.frames.data))
        for p in delta.partials
    ]
    return batch_pb2.DeltaSections(
        schema=place,
        insert_count=delta.inserts.count,
        insert_bytes=len(delta.inserts.data),
        upsert_count=delta.upserts.count,
        upsert_bytes=len(delta.upserts.data),
        delete_count=delta.deletes.count,
        delete_bytes=len(delta.deletes.data),
        partials=partials,
        truncated=delta.truncated,
    )


def _schema(message: batch_pb2.TableSchema) -> TableSchema:
    columns = tuple(Column(c.name, Kind(c.kind), c.source_type, not c.not_null) for c in message.columns)
    return TableSchema(message.name, columns, tuple(message.key))


def _zstd(sections: Sequence[bytes], size: int, level: int) -> bytes:
    """One frame of all sections, none of which is copied first."""
    compressor = zstd.ZstdCompressor(level)
    compressor.set_pledged_input_size(size)
    return b"".join([*map(compressor.compress, sections), compressor.flush()])


class _Raw:
    """The decompressed payload, section by section: nothing is decompressed beyond what the header claims."""

    def __init__(self, header: batch_pb2.BatchHeader, payload: bytes) -> None:
        self._left = header.raw_bytes
        self._rest = payload
        self._zstd: zstd.ZstdDecompressor | None = None
        if header.compression == batch_pb2.COMPRESSION_ZSTD:
            if _ratio_too_high(header.raw_bytes, len(payload)):
                raise BatchCorrupt(
                    f"{len(payload)} bytes claim to hold {header.raw_bytes}, over {MAX_RATIO} to 1"
                )
            self._zstd = zstd.ZstdDecompressor(
                options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
            )
        elif header.compression != batch_pb2.COMPRESSION_NONE:
            raise BatchCorrupt(f"compression {header.compression} is not known here")

    def take(self, size: int) -> bytes:
        """The next *size* bytes."""
        if size > self._left:
            raise BatchCorrupt("a section reaches past the end")
        found = self._next(size)
        if len(found) != size:
            raise BatchCorrupt(f"{self._left} bytes of rows are missing")
        self._left -= size
        return found

    def finish(self) -> None:
        """Raise BatchCorrupt unless everything was taken."""
        if self._left:
            raise BatchCorrupt(f"{self._left} bytes belong to no section")
        frame = self._zstd
        # Asking for one byte more lets the frame end, and shows a liar.
        more = self._rest if frame is None else b"" if frame.eof else self._next(1)
        if more or (frame is not None and (not frame.eof or frame.unused_data)):
            raise BatchCorrupt("the payload is not exactly one piece of the stated size")

    def _next(self, size: int) -> bytes:
        if self._zstd is None:
            found, self._rest = self._rest[:size], self._rest[size:]
            return found
        rest, self._rest = self._rest, b""
        try:
            # The size bounds the output whatever the frame itself claims.
            return self._zstd.decompress(rest, max_length=size)
        except (zstd.ZstdError, EOFError) as error:
            raise BatchCorrupt("the payload is not valid zstd") from error


def _ratio_too_high(raw: int, compressed: int) -> bool:
    return raw > RATIO_FREE_BYTES and raw > compressed * MAX_RATIO


def _delta(message: batch_pb2.DeltaSections, schema: TableSchema, raw: _Raw) -> Delta:
    width, key = len(schema.columns), len(schema.key)
    inserts = _section(raw, message.insert_bytes, message.insert_count, width)
    upserts = _section(raw, message.upsert_bytes, message.upsert_count, width)
    deletes = _section(raw, message.delete_bytes, message.delete_count, key)
    if not key and (upserts or deletes or message.partials):
        raise BatchCorrupt("an append-only table has changes other than inserts", where=schema.name)
    partials = []
    for part in message.partials:
        columns = tuple(part.columns)
        if len(set(columns)) != len(columns) or any(column >= width for column in columns):
            raise BatchCorrupt("a partial update names columns that are not there", where=schema.name)
        section = _section(raw, part.bytes, part.count, key + len(columns))
        partials.append(Partial(columns, section))
    return Delta(schema, inserts, upserts, deletes, tuple(partials), message.truncated)


def _section(raw: _Raw, size: int, count: int, columns: int) -> Frames:
    data = raw.take(size) if size else b""
    if (data or count) and frames.check(data, columns) != count:
        raise BatchCorrupt(f"a section does not hold the {count} rows it claims")
    return Frames(data, count)
