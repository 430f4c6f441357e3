"""Frames: round trips, hostile bytes, and the compiled functions against the Python ones."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import frames
from proto.errors import ExchangeError, FrameCorrupt
from proto.schema import Column, TableSchema
from proto.values import Kind
from tests.support.oracle import python_frames

PYTHON = python_frames()
FIELDS = st.lists(st.none() | st.binary(max_size=12), max_size=6)
PLAIN: dict[Kind, st.SearchStrategy[object]] = {
    Kind.BOOL: st.integers(0, 1),
    Kind.INT16: st.integers(-(2**15), 2**15 - 1),
    Kind.INT32: st.integers(-(2**31), 2**31 - 1),
    Kind.INT64: st.integers(-(2**63), 2**63 - 1),
    Kind.FLOAT32: st.floats(width=32, allow_nan=False),
    Kind.FLOAT64: st.floats(allow_nan=False),
    Kind.TEXT: st.text(),
    Kind.JSON: st.text(),
    Kind.JSONB: st.text(),
    Kind.OTHER: st.text(),
    Kind.BYTES: st.binary(),
    Kind.DECIMAL: st.decimals(0, 10**20, places=4).map(str),
    Kind.DATE: st.dates().map(str),
    Kind.TIME: st.times().map(
        lambda t: t.isoformat().rstrip("0").rstrip(".") if t.microsecond else t.isoformat()
    ),
    Kind.UUID: st.uuids().map(str),
}


@pytest.fixture(params=[PYTHON, frames], ids=["python", "compiled"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Each version in turn."""
    found: ModuleType = request.param
    return found


def outcome(work: Callable[[], object]) -> object:
    """The result, or the error in words."""
    try:
        return work()
    except ExchangeError as error:
        return type(error).__name__, str(error)


def test_the_compiled_version_is_here() -> None:
    """Without it every comparison below would compare Python with itself."""
    assert frames.ACCELERATED


def test_a_frame_is_a_tuple_of_binary_copy(module: ModuleType) -> None:
    """Number of columns, then length and bytes of each, −1 for NULL."""
    assert module.pack([b"ab", None, b""]) == bytes.fromhex("0003 00000002 6162 ffffffff 00000000")


@settings(deadline=None)
@given(rows=st.lists(FIELDS, max_size=5))
def test_frames_come_apart_as_they_were_packed(rows: list[list[bytes | None]]) -> None:
    """pack, split and fields are inverses, in both versions."""
    for module in (PYTHON, frames):
        packed = [module.pack(row) for row in rows]
        assert module.split(b"".join(packed)) == packed
        assert [module.fields(frame) for frame in packed] == rows


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(st.none() | st.binary(max_size=5), min_size=3, max_size=3), max_size=8),
    data=st.data(),
)
def test_columns_are_chosen_and_keys_are_left_out(
    rows: list[list[bytes | None]], data: st.DataObject
) -> None:
    """choose, keys and without mean the same as on lists of fields."""
    columns = data.draw(st.lists(st.integers(0, 2), max_size=4))
    gone = set(data.draw(st.lists(st.sampled_from([frames.pack([row[0]]) for row in rows]))) if rows else [])
    packed = b"".join(frames.pack(row) for row in rows)
    kept = [row for row in rows if frames.pack([row[0]]) not in gone]
    for module in (PYTHON, frames):
        assert module.check(packed, 3) == len(rows)
        assert module.choose(packed, columns) == b"".join(
            frames.pack([row[at] for at in columns]) for row in rows
        )
        assert module.keys(packed, (2, 0)) == [frames.pack([row[2], row[0]]) for row in rows]
        assert module.without(packed, (0,), gone) == (b"".join(map(frames.pack, kept)), len(kept))


@pytest.mark.parametrize(
    ("data", "at"),
    [
        ("00", 0),
        ("ffff", 0),
        ("0001 0000", 2),
        ("0001 fffffffe", 2),
        ("0001 80000000", 2),
        ("0001 7fffffff 00", 2),
        ("0001 00000002 00", 2),
        ("0001 ffffffff 0002 ffffffff ffffffff", 6),
        ("0001 ffffffff 00", 6),
        ("0001 ffffffff 7fff", 8),
        ("0000", 0),
    ],
)
def test_hostile_bytes_are_refused_with_their_place(module: ModuleType, data: str, at: int) -> None:
    """Nothing is read past the end, and the error says where it broke."""
    with pytest.raises(FrameCorrupt) as error:
        module.check(bytes.fromhex(data), 1)
    assert error.value.where == f"byte {at}"


def test_a_column_that_is_not_there_is_refused(module: ModuleType) -> None:
    """A grant or a key that does not fit the frame is never answered with other bytes."""
    frame = module.pack([b"a"])
    for work in (
        lambda: module.choose(frame, (1,)),
        lambda: module.keys(frame, (-1,)),
        lambda: module.without(frame, (70_000,), set()),
        lambda: module.fields(b""),
        lambda: module.fields(frame * 2),
        lambda: module.pack([None] * 32_768),
        lambda: module.rows(frame, (Kind.TEXT, Kind.TEXT)),
        lambda: module.pack_rows([("a",)], ()),
    ):
        with pytest.raises(FrameCorrupt):
            work()


@settings(deadline=None)
@given(noise=st.binary(max_size=60), columns=st.integers(0, 3))
def test_both_versions_say_the_same_of_any_bytes(noise: bytes, columns: int) -> None:
    """Same result or same error, for every function."""
    kinds = (Kind.INT32, Kind.TEXT, Kind.DATE)[:columns]
    chosen = range(columns)
    for name, arguments in (
        ("check", (columns,)),
        ("split", ()),
        ("fields", ()),
        ("choose", (chosen,)),
        ("keys", (chosen,)),
        ("without", (chosen, set())),
        ("rows", (kinds,)),
    ):
        slow, fast = getattr(PYTHON, name), getattr(frames, name)
        assert outcome(lambda: slow(noise, *arguments)) == outcome(lambda: fast(noise, *arguments))  # noqa: B023


@settings(deadline=None)
@given(data=st.data(), kinds=st.lists(st.sampled_from(sorted(PLAIN)), min_size=1, max_size=6))
def test_plain_rows_come_back(data: st.DataObject, kinds: list[Kind]) -> None:
    """rows and pack_rows are inverses, and both versions agree."""
    row = st.tuples(*(st.none() | PLAIN[kind] for kind in kinds))
    rows = data.draw(st.lists(row, max_size=4))
    packed = PYTHON.pack_rows(rows, kinds)
    assert frames.pack_rows(rows, kinds) == packed
    assert PYTHON.rows(packed, kinds) == rows
    assert frames.rows(packed, kinds) == rows


@pytest.mark.parametrize("kind", list(Kind))
@settings(deadline=None)
@given(field=st.binary(max_size=24))
def test_a_field_of_the_wrong_kind_is_refused_alike(kind: Kind, field: bytes) -> None:
    """Bytes that cannot be the kind raise the same error in both versions; those that can give the same value."""
    frame = frames.pack([field])
    slow, fast = (outcome(lambda: version.rows(frame, (kind,))) for version in (PYTHON, frames))  # noqa: B023
    assert repr(slow) == repr(fast)


YEAR_1, YEAR_10000 = -730_119, 2_921_940
DAY_US = 86_400_000_000
DAYS = (
    st.integers(YEAR_1 - 3, YEAR_1 + 3)
    | st.integers(YEAR_10000 - 3, YEAR_10000)
    | st.integers(-800_000, 3_000_000)
)
STAMPS = st.builds(
    lambda day, micros: struct.pack(">q", day * DAY_US + micros), DAYS, st.integers(0, DAY_US - 1)
)
GROUPS = st.lists(st.sampled_from([0, 1, 10, 120, 9999]) | st.integers(0, 10_001), max_size=14)
SIGNS = st.sampled_from([0, 0, 0x4000, 0xC000, 0xD000, 0xF000, 1])


@settings(deadline=None, max_examples=1000)
@given(
    days=DAYS.map(lambda day: struct.pack(">i", day)),
    stamp=STAMPS,
    groups=GROUPS,
    head=st.tuples(st.integers(-2, 13), SIGNS, st.integers(0, 45)),
    uuid=st.binary(min_size=16, max_size=16),
)
def test_everyday_texts_are_the_same(
    days: bytes, stamp: bytes, groups: list[int], head: tuple[int, int, int], uuid: bytes
) -> None:
    """Compiled short cuts end exactly where the general way must be taken."""
    decimal = struct.pack(f">HhHH{len(groups)}H", len(groups), *head, *groups)
    values = {
        Kind.DATE: days,
        Kind.TIMESTAMP: stamp,
        Kind.TIMESTAMPTZ: stamp,
        Kind.DECIMAL: decimal,
        Kind.UUID: uuid,
    }
    for kind, value in values.items():
        frame = frames.pack([value])
        slow, fast = (outcome(lambda: version.rows(frame, (kind,))) for version in (PYTHON, frames))  # noqa: B023
        assert slow == fast


def test_floats_keep_their_sign_and_their_specials(module: ModuleType) -> None:
    """−0, NaN and the infinities survive."""
    data = module.pack_rows([(-0.0,), (math.nan,), (-math.inf,)], (Kind.FLOAT64,))
    (zero,), (nan,), (infinity,) = module.rows(data, (Kind.FLOAT64,))
    assert math.copysign(1, zero) == -1
    assert math.isnan(nan)
    assert infinity == -math.inf
    assert data[6:14] == struct.pack(">d", -0.0)


def test_a_partial_update_changes_only_its_columns() -> None:
    """The old key leads; a new key is among the present columns."""
    schema = TableSchema("t", tuple(Column(name, Kind.TEXT) for name in "abc"), ("b",))
    full = frames.pack([b"1", b"key", b"3"])
    assert frames.merge_partial(full, schema, (2,), frames.pack([b"key", None])) == frames.pack(
        [b"1", b"key", None]
    )
    moved = frames.merge_partial(full, schema, (1, 2), frames.pack([b"key", b"new", b"4"]))
    assert moved == frames.pack([b"1", b"new", b"4"])
    with pytest.raises(FrameCorrupt):
        frames.merge_partial(full, schema, (0, 2), frames.pack([b"key", b"x"]))
    with pytest.raises(FrameCorrupt):
        frames.merge_partial(full, schema, (3,), frames.pack([b"key", b"x"]))
