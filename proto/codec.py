"""Batches as bytes: encoded once at capture, the same bytes in the outbox, on the wire and in the ledger.

A batch is a protobuf header that describes itself, and a payload: the frames of its deltas one after another,
compressed. Decoding trusts nothing: sizes, counts, names and the decompressed size are bounded before memory is
spent, and a batch that breaks a bound is refused whole with BatchCorrupt (faults G6, G7).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
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
    raw = b"".join(_sections(batch))
    if len(raw) > MAX_RAW_BYTES:
        raise BatchCorrupt(f"{len(raw)} bytes of rows, more than {MAX_RAW_BYTES}", where=batch.position)
    header = _describe(batch, len(raw))
    payload = zstd.compress(raw, level)
    if len(payload) >= len(raw) or _ratio_too_high(len(raw), len(payload)):
        header.compression, payload = batch_pb2.COMPRESSION_NONE, raw
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
    raw = memoryview(_decompress(parsed, payload))
    try:
        schemas = [_schema(message) for message in parsed.schemas]
        deltas, end = _deltas(parsed, schemas, raw)
    except BatchCorrupt:
        raise
    except (ExchangeError, ValueError, IndexError) as error:
        raise BatchCorrupt(f"the batch contradicts itself: {error}") from error
    if end != len(raw):
        raise BatchCorrupt(f"{len(raw) - end} bytes belong to no section")
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


def _decompress(header: batch_pb2.BatchHeader, payload: bytes) -> bytes:
    if header.compression == batch_pb2.COMPRESSION_NONE:
        raw = payload
    elif header.compression == batch_pb2.COMPRESSION_ZSTD:
        if _ratio_too_high(header.raw_bytes, len(payload)):
            raise BatchCorrupt(
                f"{len(payload)} bytes claim to hold {header.raw_bytes}, over {MAX_RATIO} to 1"
            )
        raw = _bounded_zstd(payload, header.raw_bytes)
    else:
        raise BatchCorrupt(f"compression {header.compression} is not known here")
    if len(raw) != header.raw_bytes:
        raise BatchCorrupt(f"{len(raw)} bytes of rows instead of {header.raw_bytes}")
    return raw


def _bounded_zstd(payload: bytes, expected: int) -> bytes:
    # max_length bounds the output whatever size the frame itself claims; one byte more shows a liar.
    decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
    try:
        raw = decompressor.decompress(payload, max_length=expected + 1)
    except zstd.ZstdError as error:
        raise BatchCorrupt("the payload is not valid zstd") from error
    if not decompressor.eof or decompressor.unused_data:
        raise BatchCorrupt("the payload is not exactly one zstd frame of the stated size")
    return raw


def _ratio_too_high(raw: int, compressed: int) -> bool:
    return raw > RATIO_FREE_BYTES and raw > compressed * MAX_RATIO


def _deltas(
    header: batch_pb2.BatchHeader, schemas: list[TableSchema], raw: memoryview
) -> tuple[list[Delta], int]:
    place = 0
    deltas = []
    for message in header.deltas:
        delta, place = _delta(message, schemas[message.schema], raw, place)
        deltas.append(delta)
    return deltas, place


def _delta(
    message: batch_pb2.DeltaSections, schema: TableSchema, raw: memoryview, place: int
) -> tuple[Delta, int]:
    width, key = len(schema.columns), len(schema.key)
    inserts, place = _section(raw, place, message.insert_bytes, message.insert_count, width)
    upserts, place = _section(raw, place, message.upsert_bytes, message.upsert_count, width)
    deletes, place = _section(raw, place, message.delete_bytes, message.delete_count, key)
    if not key and (upserts or deletes or message.partials):
        raise BatchCorrupt("an append-only table has changes other than inserts", where=schema.name)
    partials = []
    for part in message.partials:
        columns = tuple(part.columns)
        if len(set(columns)) != len(columns) or any(column >= width for column in columns):
            raise BatchCorrupt("a partial update names columns that are not there", where=schema.name)
        section, place = _section(raw, place, part.bytes, part.count, key + len(columns))
        partials.append(Partial(columns, section))
    return Delta(schema, inserts, upserts, deletes, tuple(partials), message.truncated), place


def _section(raw: memoryview, place: int, size: int, count: int, columns: int) -> tuple[Frames, int]:
    end = place + size
    if end > len(raw):
        raise BatchCorrupt("a section reaches past the end")
    data = bytes(raw[place:end])
    if (data or count) and frames.check(data, columns) != count:
        raise BatchCorrupt(f"a section does not hold the {count} rows it claims")
    return Frames(data, count), end
