"""Batches as bytes: what goes in comes out, and nothing hostile gets in."""

from __future__ import annotations

import dataclasses
import hashlib
import resource
import struct
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto import codec, frames
from proto.batch import Batch, Delta, Frames, Head, Partial, SealedBatch
from proto.errors import BatchCorrupt, Refused
from proto.schema import Column, TableSchema
from proto.v1 import batch_pb2
from proto.values import Kind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
FIELDS = st.one_of(st.none(), st.binary(max_size=40))


def packed(rows: list[list[bytes | None]]) -> Frames:
    return Frames(b"".join(frames.pack(row) for row in rows), len(rows))


@st.composite
def schemas(draw: st.DrawFn) -> TableSchema:
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    columns = tuple(
        Column(name, draw(st.sampled_from(Kind)), draw(NAMES), draw(st.booleans())) for name in names
    )
    key = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    return TableSchema(draw(NAMES), columns, tuple(key))


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    schema = draw(schemas())
    width, key = len(schema.columns), len(schema.key)

    def rows(columns: int) -> Frames:
        return packed(draw(st.lists(st.lists(FIELDS, min_size=columns, max_size=columns), max_size=3)))

    present = tuple(draw(st.lists(st.integers(0, width - 1), unique=True)))
    partials = draw(st.sampled_from([(), (Partial(present, rows(key + len(present))),)]))
    return Delta(schema, rows(width), rows(width), rows(key), partials, draw(st.booleans()))


@given(st.lists(deltas(), max_size=4), st.text(max_size=30), st.booleans(), st.integers(0, 2**40))
def test_a_batch_comes_back_as_it_went(parts: list[Delta], position: str, continues: bool, when: int) -> None:
    """Any schema, any bytes, Chinese names and NULLs included."""
    batch = Batch(position, tuple(parts), when, when + 1, 7, continues)

    assert codec.decode(*codec.encode(batch)) == batch
    assert codec.row_count(codec.read_header(codec.encode(batch)[0])) == batch.rows


PERSON = TableSchema("人口", (Column("编号", Kind.INT64), Column("姓名", Kind.TEXT)), ("编号",))


def people(count: int) -> Batch:
    rows: list[list[bytes | None]] = [[struct.pack(">q", n), f"张{n}".encode()] for n in range(count)]
    return Batch("pg/1/1/0/1", (Delta(PERSON, inserts=packed(rows)),))


START = Head()


def sealed(count: int = 10, previous: Head = START) -> SealedBatch:
    return codec.seal("hr/main", 1, previous, codec.encode(people(count)))


def test_a_chain_verifies_link_by_link() -> None:
    """Each batch follows from the one before, and from no other."""
    first = sealed()
    second = sealed(20, first.head)

    codec.verify(first, START)
    codec.verify(second, first.head)
    with pytest.raises(BatchCorrupt, match="does not follow"):
        codec.verify(second, START)
    with pytest.raises(BatchCorrupt, match="digest"):
        codec.verify(second, dataclasses.replace(first.head, digest=bytes(32)))


def damage(batch: SealedBatch, part: str, damaged: bytes) -> SealedBatch:
    parts: dict[str, Any] = {part: damaged}
    return dataclasses.replace(batch, **parts)


@pytest.mark.parametrize("part", ["header", "payload", "digest"])
def test_any_flipped_bit_is_found(part: str) -> None:
    """Damage anywhere is BatchCorrupt, never another batch."""
    batch = sealed()
    original = getattr(batch, part)
    for place in range(0, len(original) * 8, 3):
        damaged = bytearray(original)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(BatchCorrupt):
            codec.verify(damage(batch, part, bytes(damaged)), START)


def lying_header(**claims: object) -> bytes:
    header = batch_pb2.BatchHeader.FromString(codec.encode(people(3))[0])
    for name, value in claims.items():
        setattr(header, name, value)
    return header.SerializeToString()


def test_a_bomb_is_refused_before_it_fills_memory() -> None:
    """1 GiB of zeros in 32 KB: whatever it claims, memory stays flat (fault G7)."""
    bomb = zstd.compress(bytes(1024 * 1024 * 1024), 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for claim in (1024 * 1024 * 1024, 1000, 0):
        with pytest.raises(BatchCorrupt):
            codec.decode(lying_header(raw_bytes=claim), bomb)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert grown_kib < 64 * 1024


def test_what_compresses_too_well_travels_plain() -> None:
    """The encoder keeps to the ratio its receivers enforce."""
    batch = Batch("p", (Delta(PERSON, inserts=packed([[bytes(8), bytes(4 * 1024 * 1024)]])),))
    header, payload = codec.encode(batch)

    assert codec.read_header(header).compression == batch_pb2.COMPRESSION_NONE
    assert codec.decode(header, payload) == batch


@pytest.mark.parametrize(
    "claims",
    [{"format": 9}, {"compression": 7}, {"raw_bytes": codec.MAX_RAW_BYTES + 1}, {"raw_bytes": 5}],
    ids=str,
)
def test_a_header_that_lies_is_refused(claims: dict[str, object]) -> None:
    """Each claim is held against what is there."""
    with pytest.raises(BatchCorrupt):
        codec.decode(lying_header(**claims), codec.encode(people(3))[1])


def test_huge_names_are_refused() -> None:
    """A name of 100 MB never becomes a schema."""
    header = batch_pb2.BatchHeader.FromString(codec.encode(people(3))[0])
    header.schemas[0].name = "名" * (codec.MAX_HEADER_BYTES // 3 + 1)
    with pytest.raises(BatchCorrupt, match="header of"):
        codec.decode(header.SerializeToString(), codec.encode(people(3))[1])
    header.schemas[0].name = "名" * 100
    with pytest.raises(BatchCorrupt, match="contradicts"):
        codec.decode(header.SerializeToString(), codec.encode(people(3))[1])


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_noise_is_refused_with_a_code(header: bytes, payload: bytes) -> None:
    """Random bytes end in a Refused, nothing else, unless they are a batch."""
    digest = hashlib.sha256(payload).digest()
    batch = SealedBatch("a/b", 1, 1, digest, header, payload)
    with pytest.raises(Refused):
        codec.verify(batch, START)


def test_a_payload_must_hold_every_section_and_nothing_more() -> None:
    """Compressed or not, too short or too long: refused, however the sections are divided."""
    batch = Batch("p", (people(400).deltas[0], people(300).deltas[0]))
    header = batch_pb2.BatchHeader.FromString(codec.encode(batch)[0])
    rows = [delta.inserts.data for delta in batch.deltas]
    for raw in (rows[0], rows[0][:-1], b"".join(rows)[:-1], b"".join(rows) + b"x"):
        for payload, compression in (
            (raw, batch_pb2.COMPRESSION_NONE),
            (zstd.compress(raw), batch_pb2.COMPRESSION_ZSTD),
            (zstd.compress(b"".join(rows)) + b"x", batch_pb2.COMPRESSION_ZSTD),
            (zstd.compress(b"".join(rows))[:-1], batch_pb2.COMPRESSION_ZSTD),
        ):
            header.compression = compression
            with pytest.raises(BatchCorrupt):
                codec.decode(header.SerializeToString(), payload)


def test_sections_must_add_up() -> None:
    """Counts and sizes that do not match the frames are refused."""
    header, payload = codec.encode(people(3))
    for name, value in (("insert_count", 4), ("insert_bytes", 5), ("delete_count", 1), ("schema", 3)):
        parsed = batch_pb2.BatchHeader.FromString(header)
        setattr(parsed.deltas[0], name, value)
        with pytest.raises(BatchCorrupt):
            codec.decode(parsed.SerializeToString(), payload)
