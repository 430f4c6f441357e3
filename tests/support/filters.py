"""Random tables, rows and row filters, and what a filter means, said once more in plain Python."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from hypothesis import strategies as st

from proto import frames
from proto.predicate import OPERATORS, And, Compare, In, IsNull, Not, Or, Predicate, StartsWith
from proto.schema import Column, TableSchema
from proto.values import Kind, from_text

TEXTS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.BOOL: ("t", "f"),
    Kind.INT16: ("-32768", "-1", "0", "1", "255", "256", "32767"),
    Kind.INT32: ("-2147483648", "-1", "0", "1", "65536", "2147483647"),
    Kind.INT64: ("-9223372036854775808", "-1", "0", "1", "4294967296", "9223372036854775807"),
    Kind.FLOAT32: ("0", "-0", "1", "1.5", "-1.5", "NaN", "Infinity", "-Infinity", "1e-45"),
    Kind.FLOAT64: ("0", "-0", "1", "1.5", "-1.5", "NaN", "Infinity", "-Infinity", "5e-324"),
    Kind.DECIMAL: (
        *("0", "0.00", "1", "1.0", "1.00", "-1", "-1.50", "9999", "10000", "10000.0001", "0.0001", "0.00010"),
        *("-0.0001", "12345678901234567890.123", "12345678901234567890.1230", "NaN", "Infinity", "-Infinity"),
    ),
    # U+FFFD comes before an emoji by code point and by UTF-8, but after it by UTF-16.
    Kind.TEXT: (
        "",
        "3701",
        "370100",
        "370102",
        "张",
        "张三",
        "张三丰",
        "𠮷😀",
        "😀",
        "\ufffd",
        "O'Brien",
        "a ",
        "a",
    ),
    Kind.DATE: ("2000-01-01", "1999-12-31", "0044-03-15 BC", "10000-01-01", "infinity", "-infinity"),
    Kind.TIME: ("00:00:00", "08:30:00", "08:30:00.000001", "24:00:00"),
    Kind.TIMESTAMP: (
        "2000-01-01 00:00:00",
        "1999-12-31 23:59:59.999999",
        "0044-03-15 12:00:00 BC",
        "infinity",
    ),
    Kind.TIMESTAMPTZ: ("2000-01-01 00:00:00+00", "1999-12-31 23:59:59.999999+00", "-infinity"),
    Kind.UUID: ("00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
}
"""Values of each kind that can be compared, the awkward ones among them."""
OTHERS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.JSON: ('{"甲": 1}',),
    Kind.JSONB: ('{"乙": 1}',),
    Kind.BYTES: ("\\x00ff",),
    Kind.INTERVAL: ("1 day",),
    Kind.OTHER: ("{甲,NULL}",),
}
_WORDS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Row = tuple[str | None, ...]
"""The texts of a row's values."""


def schemas() -> st.SearchStrategy[TableSchema]:
    """Tables whose first column is the key."""
    kinds = st.lists(st.sampled_from([*TEXTS, *OTHERS]), min_size=1, max_size=5)
    return kinds.map(
        lambda found: TableSchema(
            "人员",
            (Column("编号", Kind.INT32), *(Column(f"列{at}", kind) for at, kind in enumerate(found))),
            ("编号",),
        )
    )


def rows(schema: TableSchema) -> st.SearchStrategy[Row]:
    """Rows whose key is one of ten."""
    others = [st.none() | st.sampled_from((TEXTS | OTHERS)[column.kind]) for column in schema.columns[1:]]
    return st.tuples(st.integers(0, 9).map(str), *others)


def predicates(schema: TableSchema) -> st.SearchStrategy[Predicate]:
    """Filters that go with the table."""
    leaves = st.sampled_from(schema.columns).flatmap(conditions)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map(Not),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
        ),
        max_leaves=6,
    )


def conditions(column: Column) -> st.SearchStrategy[Predicate]:
    """Single conditions that go with the column."""
    name, kind = column.name, column.kind
    found: list[st.SearchStrategy[Predicate]] = [st.just(IsNull(name))]
    if kind in TEXTS:
        value = st.sampled_from(TEXTS[kind])
        op = st.sampled_from(OPERATORS[:2] if kind is Kind.BOOL else OPERATORS)
        found.append(st.builds(Compare, st.just(name), op, value))
        values = st.lists(value, min_size=1, max_size=4)
        found.append(values.map(lambda values: In(name, tuple(values))))
    if kind is Kind.TEXT:
        found.append(st.sampled_from(TEXTS[kind]).map(lambda prefix: StartsWith(name, prefix)))
    return st.one_of(found)


def frame(schema: TableSchema, row: Sequence[str | None], columns: Sequence[int] | None = None) -> bytes:
    """The frame of a row, or of some of its columns."""
    places = range(len(schema.columns)) if columns is None else columns
    return frames.pack([field(schema.kinds[at], row[at]) for at in places])


def field(kind: Kind, text: str | None) -> bytes | None:
    """The field of a text."""
    return None if text is None else from_text(kind, text)


def truth(node: Predicate, row: Mapping[str, tuple[Kind, str | None]]) -> bool | None:
    """What the filter says of a row; None is unknown."""
    match node:
        case And() | Or():
            decisive = isinstance(node, Or)
            parts = [truth(part, row) for part in node.parts]
            return decisive if decisive in parts else None if None in parts else not decisive
        case Not():
            inner = truth(node.part, row)
            return None if inner is None else not inner
        case IsNull():
            return row[node.column][1] is None
    kind, text = row[node.column]
    return None if text is None else _holds(node, kind, text)


def _holds(node: Compare | In | StartsWith, kind: Kind, text: str) -> bool:
    match node:
        case StartsWith():
            return text.startswith(node.prefix)
        case In():
            return any(meaning(kind, text) == meaning(kind, value) for value in node.values)
        case Compare():
            return _WORDS[node.op](meaning(kind, text), meaning(kind, node.value))


def passes(node: Predicate | None, schema: TableSchema, row: Row) -> bool:
    """Whether the row is seen."""
    values = {column.name: (column.kind, text) for column, text in zip(schema.columns, row, strict=True)}
    return node is None or truth(node, values) is True


def meaning(kind: Kind, text: str) -> Any:
    """Something that Python compares as PostgreSQL would."""
    if kind in (Kind.FLOAT32, Kind.FLOAT64, Kind.DECIMAL):
        rank = {"-Infinity": 0, "Infinity": 2, "NaN": 3}.get(text, 1)
        return rank, Fraction(text) if rank == 1 else 0
    if kind is Kind.BOOL:
        return text in ("t", "true", "1")
    if kind in (Kind.INT16, Kind.INT32, Kind.INT64):
        return int(text)
    if kind is Kind.TEXT:
        return list(map(ord, text))
    if kind in (Kind.TIME, Kind.UUID):
        return text
    return _moment(text)


def _moment(text: str) -> tuple[float, ...]:
    if text.endswith("infinity"):
        return (-math.inf if text.startswith("-") else math.inf,)
    date, _, clock = text.removesuffix(" BC").removesuffix("+00").partition(" ")
    year, month, day = map(int, date.split("-"))
    seconds = [float(part) for part in clock.split(":")] if clock else [0.0]
    return (-year if text.endswith(" BC") else year, month, day, *seconds)
