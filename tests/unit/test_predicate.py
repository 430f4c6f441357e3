"""The row filter of a grant: what people type, what is stored, what is refused, and what it means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import frames, sieve
from proto.errors import Refused
from proto.predicate import (
    MAX_DEPTH,
    MAX_LIST,
    MAX_LITERAL_BYTES,
    MAX_NODES,
    OPERATORS,
    And,
    Compare,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    StartsWith,
    bind,
    check,
    columns,
    from_json,
    order,
    parse,
    to_json,
    to_text,
)
from proto.schema import Column, TableSchema
from proto.values import Kind, from_text
from tests.support.filters import OTHERS, TEXTS, meaning
from tests.support.oracle import python_sieve

REGION = Compare("region", "=", "370100")
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ANY: st.SearchStrategy[Predicate] = st.recursive(
    st.one_of(
        st.builds(Compare, NAMES, st.sampled_from(OPERATORS), VALUES),
        st.builds(In, NAMES, st.lists(VALUES, min_size=1, max_size=3).map(tuple)),
        st.builds(StartsWith, NAMES, VALUES),
        st.builds(IsNull, NAMES),
    ),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(predicate=ANY)
def test_every_expression_comes_back(predicate: Predicate) -> None:
    """From its text and from its JSON, whatever stands in its names and literals."""
    assert parse(to_text(predicate)) == predicate
    assert from_json(to_json(predicate)) == predicate


@settings(deadline=None)
@given(text=st.text(st.sampled_from("ab 'in(),=<>!\"3.-列（startswh noulr"), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never anything but an expression or a Refused with a place."""
    try:
        assert parse(to_text(parse(text))) == parse(text)
    except Refused as error:
        assert error.where


@pytest.mark.parametrize(
    ("text", "predicate"),
    [
        ("region = '370100'", REGION),
        ("REGION='1' AND b<>2", And((Compare("REGION", "=", "1"), Compare("b", "!=", "2")))),
        ("地区 starts with '3701'", StartsWith("地区", "3701")),
        ('"a ""b""" IS NULL', IsNull('a "b"')),
        ("a is not null", Not(IsNull("a"))),
        ("a not in ('注销','死亡')", Not(In("a", ("注销", "死亡")))),
        ("not a starts with 'x'", Not(StartsWith("a", "x"))),
        ("a not starts with 'x'", Not(StartsWith("a", "x"))),
        ("name = 'O''Brien'", Compare("name", "=", "O'Brien")),
        ("a >= -1.5e3 or b = TRUE", Or((Compare("a", ">=", "-1.5e3"), Compare("b", "=", "true")))),
        (
            "a = 1 or b = 2 and not c = 3",
            Or((Compare("a", "=", "1"), And((Compare("b", "=", "2"), Not(Compare("c", "=", "3")))))),
        ),
        (
            "(a = 1 or b = 2)\n\tand c = 3",
            And((Or((Compare("a", "=", "1"), Compare("b", "=", "2"))), Compare("c", "=", "3"))),
        ),
        ("\"and\" = 'x'", Compare("and", "=", "x")),
    ],
)
def test_what_people_type(text: str, predicate: Predicate) -> None:
    """``and`` binds closer than ``or``, ``not`` closest; keywords in any case."""
    assert parse(text) == predicate


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("", 1, "a column's name"),
        ("地区 == '1'", 5, "a text in single quotes, a number"),
        ("a = ", 5, "a text in single quotes"),
        ("a = 'x", 7, "a closing '"),
        ('"a = 1', 7, 'a closing "'),
        ("a = null", 5, "is null"),
        ("a = b", 5, "a text in single quotes"),
        ("a = 1x", 5, "a number that ends before a letter"),
        ("a", 2, "a comparison"),
        ("a in ()", 7, "a text in single quotes"),
        ("a in ('1' '2')", 11, "',' or ')'"),
        ("a is 3", 6, "'null' or 'not null'"),
        ("a starts 'x'", 10, "'with'"),
        ("a starts with 3", 15, "a text in single quotes"),
        ("a not = 3", 7, "'in' or 'starts with'"),
        ("(a = 1", 7, "or ')'"),
        ("a = 1 b = 2", 7, "'and', 'or' or the end"),
        ("a = 1 and", 10, "a column's name"),
        ("and = 1", 1, "a column's name"),
        ("（a = 1）", 1, "half-width"),
        ("a = ‘x’", 5, "half-width"),
        ("a = 1; drop table x", 6, "no meaning"),
        ("a = 1 -- x", 7, "a number that ends"),
        ("(" * 500 + "a = 1", 65, "no more than"),
        ("not " * 500 + "a = 1", 257, "no more than"),
    ],
)
def test_a_wrong_text_is_refused_at_its_character(text: str, at: int, expected: str) -> None:
    """Counted from 1, with what was expected there."""
    with pytest.raises(Refused) as error:
        parse(text)
    assert error.value.where == f"character {at}"
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("form", "where"),
    [
        (None, "rows"),
        ([], "rows"),
        ({}, "rows"),
        ({"op": "like", "column": "a", "value": "x"}, "rows"),
        ({"op": ["="], "column": "a", "value": "x"}, "rows"),
        ({"op": "=", "column": "a", "value": "x", "sql": "1"}, "rows"),
        ({"op": "=", "column": "a"}, "rows"),
        ({"op": "=", "column": "a", "value": 1}, "rows.value"),
        ({"op": "=", "column": 1, "value": "1"}, "rows.column"),
        ({"op": "=", "column": "", "value": "1"}, "rows"),
        ({"op": "in", "column": "a", "values": "ab"}, "rows.values"),
        ({"op": "in", "column": "a", "values": [None]}, "rows.values[0]"),
        ({"op": "in", "column": "a", "values": []}, "a"),
        ({"op": "and", "parts": [{"op": "is null", "column": "a"}]}, "rows"),
        (
            {"op": "not", "part": {"op": "or", "parts": [{"op": "is null", "column": "a"}, 3]}},
            "rows.part.parts[1]",
        ),
        ({"op": "=", "column": "a", "value": "\ud800"}, "rows"),
    ],
)
def test_json_is_strict(form: Any, where: str) -> None:
    """Nothing missing, nothing unknown, nothing of another type; the place is named."""
    with pytest.raises(Refused) as error:
        from_json(form)
    assert error.value.where == where


def nested(depth: int) -> Any:
    """A form as deep as that."""
    form: dict[str, Any] = {"op": "is null", "column": "a"}
    for _ in range(depth - 1):
        form = {"op": "not", "part": form}
    return form


def test_everything_has_a_limit() -> None:
    """At the limit it works, one more is refused; a tree made in Python is no way around."""
    assert parse(to_text(from_json(nested(MAX_DEPTH)))) == from_json(nested(MAX_DEPTH))
    deep: Predicate = IsNull("a")
    for _ in range(5000):
        deep = Not(deep)
    check(In("a", ("x" * MAX_LITERAL_BYTES,) * 100))
    check(Or((REGION,) * (MAX_NODES - 1)))
    for wrong in (
        lambda: from_json(nested(MAX_DEPTH + 1)),
        lambda: from_json(nested(900)),
        lambda: check(deep),
        lambda: columns(deep),
        lambda: check(In("a", ("x" * MAX_LITERAL_BYTES,) * 129)),
        lambda: check(Or((REGION,) * MAX_NODES)),
        lambda: check(Or((In("a", ("1",) * MAX_LIST),) * 5)),
        lambda: check(In("a", ("1",) * (MAX_LIST + 1))),
        lambda: check(Compare("a", "=", "字" * 342)),
        lambda: check(IsNull("字" * 86)),
        lambda: check(Compare("a", "like", "x")),
        lambda: parse(" " * 2_000_000),
    ):
        with pytest.raises(Refused):
            wrong()


def test_the_columns_that_decide() -> None:
    """Each once, wherever it stands."""
    assert columns(parse("a = 1 and (not b is null or c in (1, 2) or a starts with 'x')")) == {"a", "b", "c"}


def table(kind: Kind) -> TableSchema:
    """One column of the kind, beside the key."""
    return TableSchema("t", (Column("id", Kind.INT32), Column("值", kind)), ("id",))


def passes(text: str, kind: Kind, value: str | None) -> bool:
    """Whether a row with the value is seen, in both versions."""
    field = None if value is None else from_text(kind, value)
    return seen(text, table(kind), frames.pack([b"\0\0\0\1", field]))


def seen(text: str, schema: TableSchema, row: bytes) -> bool:
    """Whether the row is seen, in both versions."""
    steps = bind(parse(text), schema)
    fast, slow = (version.Sieve(2, steps, [(0, None)], ()).divide(row) for version in (sieve, python_sieve()))
    assert fast == slow
    return bool(fast[1])


@pytest.mark.parametrize("kind", list(TEXTS))
def test_every_pair_of_values_is_compared_as_postgresql_would(kind: Kind) -> None:
    """Equality of each kind, and order where there is one."""
    for left in TEXTS[kind]:
        for right in TEXTS[kind]:
            ours, theirs = meaning(kind, left), meaning(kind, right)
            literal = "'" + right.replace("'", "''") + "'"
            assert passes(f"值 = {literal}", kind, left) is (ours == theirs)
            assert passes(f"值 != {literal}", kind, left) is (ours != theirs)
            assert passes(f"值 in ({literal}, {literal})", kind, left) is (ours == theirs)
            if kind is not Kind.BOOL:
                assert passes(f"值 < {literal}", kind, left) is (ours < theirs)
                assert passes(f"值 <= {literal}", kind, left) is (ours <= theirs)
                assert passes(f"值 > {literal}", kind, left) is (ours > theirs)
                assert passes(f"值 >= {literal}", kind, left) is (ours >= theirs)
            order(kind, from_text(kind, left))


@pytest.mark.parametrize("kind", list(TEXTS))
def test_null_never_passes_a_comparison(kind: Kind) -> None:
    """Neither it nor its opposite; ``is null`` alone is sure."""
    literal = "'" + TEXTS[kind][0] + "'"
    for text in (f"值 = {literal}", f"值 != {literal}", f"值 in ({literal})"):
        assert not passes(text, kind, None)
        assert not passes(f"not ({text})", kind, None)
        assert passes(f"{text} or 值 is null", kind, None)
        assert not passes(f"{text} and 值 is null", kind, None)
        assert not passes(f"not ({text} and 值 is null)", kind, None)
        assert passes(f"not ({text} and 值 is not null)", kind, None)
    assert not passes("值 is not null", kind, None)


TRUE, UNKNOWN, FALSE = "甲 = '1'", "乙 = '1'", "甲 = '2'"


@pytest.mark.parametrize(
    ("text", "is_seen", "opposite"),
    [
        (f"{TRUE} and {TRUE}", True, False),
        (f"{TRUE} and {UNKNOWN}", False, False),
        (f"{UNKNOWN} and {UNKNOWN}", False, False),
        (f"{FALSE} and {UNKNOWN}", False, True),
        (f"{FALSE} and {TRUE}", False, True),
        (f"{FALSE} or {FALSE}", False, True),
        (f"{FALSE} or {UNKNOWN}", False, False),
        (f"{UNKNOWN} or {UNKNOWN}", False, False),
        (f"{TRUE} or {UNKNOWN}", True, False),
        (f"{FALSE} or {TRUE}", True, False),
        (UNKNOWN, False, False),
    ],
)
def test_the_tables_of_truth(text: str, is_seen: bool, opposite: bool) -> None:
    """SQL's, whichever side stands first."""
    schema = TableSchema("t", (Column("甲", Kind.TEXT), Column("乙", Kind.TEXT)), ())
    for part, expected in ((text, is_seen), (f"not ({text})", opposite), (f"not (not ({text}))", is_seen)):
        assert seen(part, schema, frames.pack([b"1", None])) is expected


@pytest.mark.parametrize("text", ["甲 starts with '3\0\0\0\1x'", "甲 = '3\0\0\0\1x'", "乙 starts with 'xy'"])
def test_nothing_behind_a_value_is_read_as_part_of_it(text: str) -> None:
    """Neither the next column nor what lies behind the last one."""
    schema = TableSchema("t", (Column("甲", Kind.TEXT), Column("乙", Kind.TEXT)), ())
    assert not seen(text, schema, frames.pack([b"3", b"x"]))
    assert seen(
        "甲 starts with '3' and 乙 starts with 'x' and 乙 starts with ''", schema, frames.pack([b"3", b"x"])
    )


@pytest.mark.parametrize(
    ("kind", "text", "hint"),
    [
        (Kind.INT32, "没有 = 1", "no such column"),
        (Kind.INT32, "没有 is null", "no such column"),
        (Kind.INT32, "值 = '一'", "malformed"),
        (Kind.INT16, "值 = 40000", "out of range"),
        (Kind.INT32, "值 starts with '1'", "is no text"),
        (Kind.DATE, "值 > '2000-02-30'", "2000-01-31"),
        (Kind.TIMESTAMP, "值 > '2000-01-01'", "2000-01-31 08:30:00"),
        (Kind.TIMESTAMPTZ, "值 > '2000-01-01 00:00:00'", "08:30:00+00"),
        (Kind.BOOL, "值 > true", "use = or !="),
        (Kind.BOOL, "值 = 'yes'", "neither true nor false"),
        (Kind.UUID, "值 in ('1')", "f81d4fae"),
        *((kind, "值 = '1'", "is not compared") for kind in OTHERS),
        *((kind, "值 in ('1')", "is not compared") for kind in OTHERS),
    ],
)
def test_what_does_not_go_with_the_table_is_refused(kind: Kind, text: str, hint: str) -> None:
    """The column is named, and what to write instead."""
    with pytest.raises(Refused) as error:
        bind(parse(text), table(kind))
    assert hint in str(error.value)
    assert error.value.where in ("值", "没有")


@pytest.mark.parametrize("kind", list(OTHERS))
def test_what_is_not_compared_may_still_be_null(kind: Kind) -> None:
    """That needs no order."""
    assert passes("值 is null", kind, None)
    assert passes("值 is not null", kind, OTHERS[kind][0])
