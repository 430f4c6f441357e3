"""The expression fitted to a table: steps in postfix order, literals in canonical binary form.

Values are compared as PostgreSQL does: decimals exactly, whatever their scale; NaN equal to itself and greater
than every number; −0 equal to 0; text and uuid by their bytes, which for UTF-8 is by code point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final

from proto.decimals import check_decimal, decimal_text
from proto.errors import Refused
from proto.floats import number
from proto.predicate.tree import (
    And,
    Compare,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    StartsWith,
    check,
    literals,
)
from proto.schema import Column, TableSchema
from proto.values import FLOATS, Kind, from_text

Ordered = Any
"""What stands for a value when it is compared with another one of its kind: an integer, bytes, or a pair."""


class Op(IntEnum):
    """What a step does; the compiled version knows the same numbers."""

    EQ = 0
    NE = 1
    LT = 2
    LE = 3
    GT = 4
    GE = 5
    IN = 6
    STARTS = 7
    NULL = 8
    AND = 9
    OR = 10
    NOT = 11


@dataclass(frozen=True, slots=True)
class Step:
    """Puts the truth of one condition on the stack, or connects the last *parts* that are there."""

    op: Op
    column: int = 0
    kind: Kind = Kind.TEXT
    literals: tuple[bytes, ...] = ()
    """Of a list: sorted, each value once."""
    parts: int = 0


_OPS: Final = {"=": Op.EQ, "!=": Op.NE, "<": Op.LT, "<=": Op.LE, ">": Op.GT, ">=": Op.GE}
_SIZES: Final = {
    Kind.BOOL: 1,
    Kind.INT16: 2,
    Kind.INT32: 4,
    Kind.INT64: 8,
    Kind.DATE: 4,
    Kind.TIME: 8,
    Kind.TIMESTAMP: 8,
    Kind.TIMESTAMPTZ: 8,
}
COMPARED: Final = frozenset({*_SIZES, *FLOATS, Kind.DECIMAL, Kind.TEXT, Kind.UUID})
_EXAMPLES: Final = {
    Kind.BOOL: "true",
    Kind.DECIMAL: "12.50",
    Kind.DATE: "2000-01-31",
    Kind.TIME: "08:30:00",
    Kind.TIMESTAMP: "2000-01-31 08:30:00",
    Kind.TIMESTAMPTZ: "2000-01-31 08:30:00+00",
    Kind.UUID: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
}


def bind(predicate: Predicate, schema: TableSchema) -> tuple[Step, ...]:
    """The steps that decide about a full frame of the table.

    Raises Refused naming the column that is not there, cannot be compared, or has a literal that does not fit.
    """
    check(predicate)
    places = {column.name: (at, column) for at, column in enumerate(schema.columns)}
    steps: list[Step] = []
    _add(steps, predicate, places)
    return tuple(steps)


def check_steps(steps: Sequence[Step], width: int) -> None:
    """Raise ValueError unless the steps look at columns below *width* and leave one truth, or there are none."""
    depth = 0
    for step in steps:
        if step.op >= Op.AND:
            wrong = not 0 < step.parts <= depth or (step.op is Op.NOT and step.parts != 1)
            depth -= step.parts
        else:
            wrong = not 0 <= step.column < width or (step.op is not Op.NULL and not step.literals)
        depth += 1
        if wrong:
            raise ValueError(f"a step {step.op.name} does not go with those before it or with the frame")
        for literal in step.literals:
            order(step.kind, literal)
    if depth != (1 if steps else 0):
        raise ValueError("steps leave more than one truth")


def order(kind: Kind, data: bytes) -> Ordered:
    """What stands for the value in comparisons. Raises Refused when the bytes cannot be a value of the kind."""
    if kind is Kind.TEXT:
        return data
    if kind in FLOATS:
        value = number(FLOATS[kind], data)
        return (True, 0.0) if math.isnan(value) else (False, value)
    if kind is Kind.DECIMAL:
        check_decimal(data)
        text = decimal_text(data)
        return (True, 0.0) if text == "NaN" else (False, Decimal(text))
    if kind is Kind.UUID:
        if len(data) != 16:
            raise Refused(f"a value for {kind} has {len(data)} bytes")
        return data
    if len(data) != _SIZES[kind] or (kind is Kind.BOOL and data[0] > 1):
        raise Refused(f"a value for {kind} is malformed")
    return int.from_bytes(data, signed=True)


def _add(steps: list[Step], node: Predicate, places: Mapping[str, tuple[int, Column]]) -> None:
    if isinstance(node, And | Or):
        for part in node.parts:
            _add(steps, part, places)
        steps.append(Step(Op.AND if isinstance(node, And) else Op.OR, parts=len(node.parts)))
    elif isinstance(node, Not):
        _add(steps, node.part, places)
        steps.append(Step(Op.NOT, parts=1))
    elif node.column not in places:
        raise Refused("the table has no such column to filter by", where=node.column)
    else:
        steps.append(_condition(node, *places[node.column]))


def _condition(node: Compare | In | StartsWith | IsNull, at: int, column: Column) -> Step:
    if isinstance(node, IsNull):
        return Step(Op.NULL, at, column.kind)
    if isinstance(node, StartsWith):
        if column.kind is not Kind.TEXT:
            raise Refused(f"{column.kind} is no text, so nothing starts it", where=column.name)
        return Step(Op.STARTS, at, column.kind, (_literal(column, node.prefix),))
    if column.kind not in COMPARED:
        raise Refused(
            f"{column.kind} is not compared",
            where=column.name,
            fix="filter by another column, or by 'is null'",
        )
    if column.kind is Kind.BOOL and isinstance(node, Compare) and node.op not in ("=", "!="):
        raise Refused("true and false have no order", where=column.name, fix="use = or !=")
    values = [_literal(column, value) for value in literals(node)]
    if isinstance(node, Compare):
        return Step(_OPS[node.op], at, column.kind, tuple(values))
    once = {order(column.kind, value): value for value in values}
    return Step(Op.IN, at, column.kind, tuple(once[key] for key in sorted(once)))


def _literal(column: Column, text: str) -> bytes:
    try:
        return from_text(column.kind, text)
    except Refused as error:
        example = _EXAMPLES.get(column.kind)
        raise Refused(
            f"a literal does not fit: {error.what}",
            where=column.name,
            fix=f"write it like '{example}'" if example else "",
        ) from None
