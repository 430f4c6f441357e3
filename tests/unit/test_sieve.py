"""The walk that filters, chooses and masks: the compiled one against the Python one, on rows and on noise."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import frames, sieve
from proto.errors import ExchangeError, FrameCorrupt, Refused
from proto.masks import Hide, Keep, Pseudonym, Year
from proto.predicate import Op, Predicate, Step, bind, parse
from proto.schema import Column, TableSchema
from proto.sieve import Pick
from proto.values import Kind
from tests.support import filters
from tests.support.oracle import python_sieve

PYTHON = python_sieve()
BOTH = (PYTHON, sieve)
KEY = b"k" * 16
TABLE = TableSchema("t", (Column("a", Kind.TEXT), Column("b", Kind.INT32)), ("a",))


@pytest.fixture(params=BOTH, ids=["python", "compiled"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Each version in turn."""
    found: ModuleType = request.param
    return found


def divided(
    version: ModuleType,
    width: int,
    steps: Sequence[Step],
    passing: Sequence[Pick],
    left: Sequence[Pick],
    data: bytes,
) -> Any:
    """The result, or the error in words."""
    try:
        return version.Sieve(width, steps, passing, left).divide(data)
    except ExchangeError as error:
        return type(error).__name__, str(error)


def test_the_compiled_version_is_here() -> None:
    """Without it every comparison below would compare Python with itself."""
    assert sieve.ACCELERATED
    assert sieve.Sieve is not PYTHON.Sieve


def masking(kind: Kind) -> st.SearchStrategy[Callable[[bytes], bytes | None] | None]:
    """No mask, or one that goes with the kind."""
    fitting = []
    for mask in (Keep(1, 2), Hide(), Year(), Pseudonym()):
        try:
            mask.kind_after(kind)
        except Refused:
            continue
        fitting.append(mask.ready(kind, KEY))
    return st.none() | st.sampled_from(fitting)


def picks(schema: TableSchema) -> st.SearchStrategy[list[Pick]]:
    """Some columns in any order, masked or not."""
    places = st.lists(st.integers(0, len(schema.columns) - 1), unique=True, max_size=6)
    return places.flatmap(
        lambda found: st.tuples(*(st.tuples(st.just(at), masking(schema.kinds[at])) for at in found)).map(
            list
        )
    )


@settings(deadline=None, max_examples=300)
@given(data=st.data(), schema=filters.schemas())
def test_rows_that_pass_are_those_the_filter_means(data: st.DataObject, schema: TableSchema) -> None:
    """Both versions divide any rows of any table as plain Python would, and hand on the same bytes."""
    predicate: Predicate | None = data.draw(st.none() | filters.predicates(schema))
    rows = data.draw(st.lists(filters.rows(schema), max_size=8))
    passing, left = data.draw(picks(schema)), data.draw(picks(schema))
    steps = () if predicate is None else bind(predicate, schema)
    packed = b"".join(filters.frame(schema, row) for row in rows)
    seen = [row for row in rows if filters.passes(predicate, schema, row)]
    unseen = [row for row in rows if not filters.passes(predicate, schema, row)]
    expected = b"".join(handed_on(schema, row, passing) for row in seen)
    expected_left = b"".join(handed_on(schema, row, left) for row in unseen)
    for version in BOTH:
        found = version.Sieve(len(schema.columns), steps, passing, left).divide(packed)
        assert found == (expected, len(seen), expected_left, len(unseen))


def handed_on(schema: TableSchema, row: filters.Row, chosen: list[Pick]) -> bytes:
    """The frame that should come of a row."""
    found: list[bytes | None] = []
    for at, mask in chosen:
        field = filters.field(schema.kinds[at], row[at])
        found.append(field if field is None or mask is None else mask(field))
    return frames.pack(found)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Frames in which some bytes are others, or the end is missing."""
    rows = draw(
        st.lists(st.tuples(st.none() | st.binary(max_size=5), st.none() | st.binary(min_size=4, max_size=4)))
    )
    found = bytearray(b"".join(map(frames.pack, rows)))
    places = st.lists(st.integers(0, max(len(found) - 1, 0)), max_size=2) if found else st.just([])
    for at in draw(places):
        found[at] = draw(st.sampled_from([0, 1, 2, 4, 0x7F, 0x80, 0xFF]))
    return bytes(found[: draw(st.integers(0, len(found)))] if draw(st.booleans()) else found)


@settings(deadline=None, max_examples=1000)
@given(noise=damaged() | st.binary(max_size=60))
def test_both_versions_say_the_same_of_any_bytes(noise: bytes) -> None:
    """Same result or same error, which is FrameCorrupt."""
    steps = bind(parse("a = 'x' or b > 3"), TABLE)
    passing, left = [(1, None), (0, Keep(1, 1).ready(Kind.TEXT, KEY))], [(0, None)]
    slow, fast = (divided(version, 2, steps, passing, left, noise) for version in BOTH)
    assert slow == fast
    assert len(slow) == 4 or slow[0] == "FrameCorrupt"


GROUPS = st.lists(st.sampled_from([0, 1, 10, 120, 9000, 9999, 10_000]), max_size=4)
SIGNS = st.sampled_from([0, 0, 0x4000, 0xC000, 0xD000, 0xF000, 1])
DECIMALS = st.builds(
    lambda head, groups: struct.pack(f">HhHH{len(groups)}H", len(groups) + head[3], *head[:3], *groups),
    st.tuples(
        st.integers(-3, 3) | st.sampled_from([-4096, -4097]),
        SIGNS,
        st.integers(0, 33) | st.just(16_384),
        st.sampled_from([0, 0, 0, 1]),
    ),
    GROUPS,
)


@pytest.mark.parametrize("kind", list(filters.TEXTS))
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_value_that_is_none_of_its_kind_is_refused_alike(kind: Kind, data: st.DataObject) -> None:
    """A filter never decides about bytes that mean nothing; the place is named."""
    schema = TableSchema("t", (Column("a", kind),), ())
    column = schema.columns[0]
    predicate = data.draw(filters.conditions(column))
    field = data.draw(st.binary(max_size=17) | (DECIMALS if kind is Kind.DECIMAL else st.nothing()))
    steps, packed = bind(predicate, schema), frames.pack([field])
    slow, fast = (divided(version, 1, steps, [(0, None)], [], packed) for version in BOTH)
    assert slow == fast


@pytest.mark.parametrize(
    ("data", "at"),
    [
        ("00", 0),
        ("0001 ffffffff", 0),
        ("0002 ffffffff 00000003 000000", 6),
        ("0002 ffffffff 00000004 00000001 0002 ffffffff 7fffffff", 20),
        ("0002 00000002 e5bc 00000004 00000001", 2),
    ],
)
def test_the_error_says_where(module: ModuleType, data: str, at: int) -> None:
    """A frame cut off, one of another width, an integer of three bytes, a text cut in a character."""
    keep = Keep(1, 1).ready(Kind.TEXT, KEY)
    with pytest.raises(FrameCorrupt) as error:
        module.Sieve(2, bind(parse("b < 3"), TABLE), [(0, keep)], ()).divide(bytes.fromhex(data))
    assert error.value.where == f"byte {at}"


def test_a_mask_may_make_a_row_longer(module: ModuleType) -> None:
    """Whatever the room that was there."""
    data = frames.pack([b"x", None]) * 5000
    passing, count, *_ = module.Sieve(
        2, (), [(0, lambda field: field * 10_000), (1, Hide().ready(Kind.TEXT, KEY))], ()
    ).divide(data)
    assert (passing, count) == (frames.pack([b"x" * 10_000, None]) * 5000, 5000)


def test_what_does_not_go_together_makes_no_sieve(module: ModuleType) -> None:
    """Columns that are not there and steps out of order never reach the bytes."""
    equal = Step(Op.EQ, 0, Kind.TEXT, (b"x",))
    for steps in (
        [Step(Op.AND, parts=2)],
        [equal, Step(Op.AND, parts=2)],
        [equal, Step(Op.OR, parts=0)],
        [equal, equal],
        [equal, equal, Step(Op.NOT, parts=2)],
        [Step(Op.EQ, 0, Kind.TEXT)],
        [Step(Op.NULL, 2)],
        [Step(Op.NULL, -1)],
    ):
        with pytest.raises(ValueError, match="step"):
            module.Sieve(2, steps, (), ())
    with pytest.raises(Refused):
        module.Sieve(2, [Step(Op.EQ, 0, Kind.INT64, (b"x",))], (), ())
    for place in (2, -1, 70_000):
        with pytest.raises(FrameCorrupt):
            module.Sieve(2, (), [(place, None)], ())
        with pytest.raises(FrameCorrupt):
            module.Sieve(2, (), (), [(place, None)])
