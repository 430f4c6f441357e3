"""MySQL's binary JSON: written by hand, small and large, and read back as the text the server prints."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.mysql.binaryjson import double_text, json_text
from agent.sources.mysql.reader import Unreadable
from proto.errors import Refused
from tests.support import binlog_model as model

Json = Any
INLINE = {5: 2, 6: 2, 4: 2}


def written(value: Json, large: bool = False) -> bytes:
    """A document: its type and its value."""
    kind, data = typed(value, large)
    return bytes([kind]) + data


def typed(value: Json, large: bool) -> tuple[int, bytes]:
    """A value with its type."""
    if value is None or isinstance(value, bool):
        return 4, bytes([0 if value is None else 2 - value])
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, float):
        return 11, struct.pack("<d", value)
    if isinstance(value, str):
        return 12, counted(value.encode())
    if isinstance(value, list):
        return 2 + large, container([], value, large)
    return 0 + large, container(list(value), list(value.values()), large)


def integer(value: int) -> tuple[int, bytes]:
    """The smallest type that holds a number."""
    for kind, size in ((5, 2), (7, 4), (9, 8)):
        if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1:
            return kind, value.to_bytes(size, "little", signed=True)
    return 10, value.to_bytes(8, "little")


def counted(data: bytes) -> bytes:
    """Bytes after their length, seven bits at a time."""
    size, head = len(data), bytearray()
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*head, size]) + data


def container(names: Sequence[str], values: Sequence[Json], large: bool) -> bytes:
    """An array, or an object if there are names."""
    width = 4 if large else 2
    texts = [name.encode() for name in names]
    at = 2 * width + len(texts) * (width + 2) + len(values) * (width + 1)
    head, tail = b"", b"".join(texts)
    for text in texts:
        head += at.to_bytes(width, "little") + len(text).to_bytes(2, "little")
        at += len(text)
    for value in values:
        kind, data = typed(value, large)
        if kind == 4 or (kind in (5, 6, 7, 8) and len(data) <= width):
            head += bytes([kind]) + data.ljust(width, b"\0")
        else:
            head += bytes([kind]) + at.to_bytes(width, "little")
            tail += data
            at += len(data)
    size = 2 * width + len(head) + len(tail)
    return len(values).to_bytes(width, "little") + size.to_bytes(width, "little") + head + tail


WORD = st.text(max_size=8) | st.sampled_from(["键", '"\\\n\x01', "é😀"])
LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    WORD,
    st.floats(allow_nan=False, allow_infinity=False),
)
DOCUMENT = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORD, inner, max_size=4), max_leaves=12
)


@settings(max_examples=300, deadline=None)
@given(value=DOCUMENT, large=st.booleans())
def test_a_document_is_read_back(value: Json, large: bool) -> None:
    """Any value, in small and in large containers."""
    text = json_text(written(value, large)).decode()
    assert json.loads(text) == value
    assert json.dumps(json.loads(text)) == json.dumps(value)


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_hostile_documents_are_read_or_refused(data: st.DataObject) -> None:
    """Cut or changed: never a crash, never endless."""
    damaged = bytearray(written(data.draw(DOCUMENT), data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Unreadable, Refused):
        json_text(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))


def test_a_document_that_refers_to_itself_is_refused() -> None:
    """Two entries for one inner array, forty deep, would be more work than a day is long."""
    deep = 40
    levels = b"".join(struct.pack("<HHBHBH", 2, 10 * (deep - at) + 4, 2, 10, 2, 10) for at in range(deep))
    with pytest.raises(Unreadable, match="refers to itself"):
        json_text(b"\2" + levels + struct.pack("<HH", 0, 4))
    assert json_text(b"\2" + levels[-10:] + struct.pack("<HH", 0, 4)) == b"[[], []]"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "null"),
        (b"\5\xff\xff", "-1"),
        (b"\6\xff\xff", "65535"),
        (b"\x08\xff\xff\xff\xff", "4294967295"),
        (written({"b": 1, "键": [True, None, "文\n"]}), '{"b": 1, "键": [true, null, "文\\n"]}'),
        (b"\x0f\xf6" + counted(b"\x05\x02" + model.decimal(5, 2)("-123.40")), "-123.40"),
        (b"\x0f\x0a" + counted(((2015 * 13 + 1) << 46 | 15 << 41).to_bytes(8, "little")), '"2015-01-15"'),
        (
            b"\x0f\x0c"
            + counted(
                ((2015 * 13 + 1) << 46 | (15 << 17 | 23 << 12 | 24 << 6 | 25) << 24 | 12).to_bytes(
                    8, "little"
                )
            ),
            '"2015-01-15 23:24:25.000012"',
        ),
        (
            b"\x0f\x0b" + counted((-((100 << 12 | 2) << 24)).to_bytes(8, "little", signed=True)),
            '"-100:00:02.000000"',
        ),
        (b"\x0f\xfc" + counted(b"\xd6\xd0"), '"base64:type252:1tA="'),
        (written("户" * 100), f'"{"户" * 100}"'),
    ],
)
def test_a_document_is_printed_as_the_server_prints_it(raw: bytes, text: str) -> None:
    """Separators, escapes, and the types JSON does not have."""
    assert json_text(raw).decode() == text


@pytest.mark.parametrize(
    "raw", [b"\x0d", b"\4\7", b"\2\1\0", b"\x0c\xff\xff\xff\xff\xff", b"\x0c\1\xff", b"\x0b\0"]
)
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    """With a reason."""
    with pytest.raises(Unreadable, match="JSON document"):
        json_text(raw)


@settings(max_examples=300, deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_has_its_shortest_digits(value: float) -> None:
    """It reads back as the same number and shows that it is none of the integers."""
    text = double_text(value)
    assert float(text) == value and math.copysign(1, float(text)) == math.copysign(1, value)
    assert "." in text or "e" in text
    assert Decimal(text) == Decimal(repr(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e14, "100000000000000.0"),
        (1e15, "1e15"),
        (1e-15, "0.000000000000001"),
        (1e-16, "1e-16"),
        (-2.5, "-2.5"),
    ],
)
def test_a_number_gets_an_exponent_where_the_server_writes_one(value: float, text: str) -> None:
    """From sixteen digits before the point on, or fifteen zeros after it."""
    assert double_text(value) == text
