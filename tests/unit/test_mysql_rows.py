"""Rows as literals: the compiled function says what the plain one says, and nothing in a value is more than a value."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.errors import FrameCorrupt, Refused
from proto.frames import pack
from proto.values import Kind, from_text
from replica import mysql_rows
from replica.mysql_values import Unholdable
from tests.support.tables import frame, frames, schema_of

DATA = {
    Kind.BOOL: st.binary(min_size=1, max_size=1),
    Kind.INT16: st.binary(min_size=2, max_size=2),
    Kind.INT32: st.binary(min_size=4, max_size=4),
    Kind.INT64: st.binary(min_size=8, max_size=8),
    Kind.FLOAT32: st.binary(min_size=4, max_size=4),
    Kind.FLOAT64: st.binary(min_size=8, max_size=8),
    Kind.TEXT: st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
    Kind.JSON: st.binary(max_size=6),
    Kind.OTHER: st.sampled_from([b"", b"'", b"\\", b"\0", "中'文".encode()]),
    Kind.BYTES: st.binary(max_size=30),
    Kind.DATE: st.integers(-800_000, 3_000_000).map(lambda day: day.to_bytes(4, signed=True)),
    Kind.TIMESTAMP: st.integers(-(2**56), 2**58).map(lambda stamp: stamp.to_bytes(8, signed=True)),
    Kind.TIMESTAMPTZ: st.integers(-(2**62), 2**62).map(lambda stamp: stamp.to_bytes(8, signed=True)),
    Kind.TIME: st.integers(0, 86_400_000_000).map(lambda moment: moment.to_bytes(8)),
    Kind.UUID: st.binary(min_size=16, max_size=16),
    Kind.DECIMAL: st.decimals(allow_nan=False, places=3).map(lambda n: from_text(Kind.DECIMAL, str(n))),
    Kind.JSONB: st.binary(max_size=3).map(lambda data: b"\x01" + data),
    Kind.INTERVAL: st.just(from_text(Kind.INTERVAL, "1 day")),
}
KINDS = list(DATA)
some_rows = st.lists(st.tuples(*(st.none() | st.none() | DATA[kind] for kind in KINDS)), max_size=4)


@pytest.fixture(scope="module")
def plain() -> Iterator[object]:
    """The room as it is where there was no compiler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "replica._mysql_rows", None)
        module = importlib.reload(mysql_rows)
        some = module.some
        assert not module.ACCELERATED
    importlib.reload(mysql_rows)
    yield some


def outcome(some, data, kinds, *limits):
    """What it returns or raises."""
    try:
        return some(data, kinds, *limits)
    except (Refused, Unholdable) as error:
        return type(error), str(error), getattr(error, "column", None)


@settings(max_examples=300, deadline=None)
@given(rows=some_rows, most_bytes=st.integers(1, 2000), most_rows=st.integers(1, 5))
def test_compiled_and_plain_say_the_same(plain, rows, most_bytes, most_rows):
    """Values, limits and errors."""
    data = b"".join(pack(row) for row in rows)

    assert mysql_rows.ACCELERATED
    assert outcome(mysql_rows.some, data, KINDS, 0, most_bytes, most_rows) == outcome(
        plain, data, KINDS, 0, most_bytes, most_rows
    )


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.binary(max_size=12))
def test_bytes_of_the_wrong_length_are_refused_alike(plain, kind, data):
    """Whatever they are."""
    row = pack([data])

    assert outcome(mysql_rows.some, row, [kind], 0, 100, 1) == outcome(plain, row, [kind], 0, 100, 1)


@pytest.mark.parametrize("most_rows", [1, 3, 100])
@pytest.mark.parametrize("most_bytes", [1, 40, 10_000])
def test_pieces_are_all_the_rows_within_the_limits(most_bytes, most_rows):
    """A row larger than the limit comes alone."""
    schema = schema_of("t", {"id": Kind.INT32, "名": Kind.TEXT})
    data = frames(schema, *((str(n), f"第{n}行" * (n % 5)) for n in range(50))).data

    found = list(mysql_rows.pieces(data, schema.kinds, most_bytes, most_rows))

    expected = [f"({n},'{f'第{n}行' * (n % 5)}')" for n in range(50)]
    assert b",".join(rows for rows, _ in found).decode() == ",".join(expected)
    assert all(count <= most_rows and (count == 1 or len(rows) <= most_bytes) for rows, count in found)
    assert sum(count for _, count in found) == 50


def test_values_cannot_leave_their_quotes():
    """Quotes, backslashes and NUL are written so that they mean themselves."""
    kinds = (Kind.TEXT, Kind.BYTES)
    rows, _, _ = mysql_rows.some(frame(kinds, ("'; DROP\\", "\\x00275c")), kinds, 0, 100, 1)

    assert rows == rb"('\'; DROP\\',_binary'\0\'\\')"


@pytest.mark.parametrize("data", [b"\0", pack([None])[:-1], pack([b"12345"])[:-2], pack([None, None])])
def test_what_is_no_frame_is_corrupt(data):
    """Nothing is read past the end."""
    with pytest.raises(FrameCorrupt):
        list(mysql_rows.pieces(data, (Kind.INT32,), 100, 1))
