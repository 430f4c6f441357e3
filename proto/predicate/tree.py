"""The expression itself, and how large one may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from proto.errors import Refused
from proto.schema import MAX_NAME_BYTES

OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=")

MAX_DEPTH: Final = 32
MAX_NODES: Final = 4096
"""Comparisons, connections and literals of lists, all counted."""
MAX_LIST: Final = 1000
MAX_LITERAL_BYTES: Final = 1024
MAX_BYTES: Final = 128 * 1024
"""Of all names and literals together."""

_SMALLER: Final = "narrow the rows with fewer or shorter conditions"


@dataclass(frozen=True, slots=True)
class Compare:
    """A column against a literal; *value* is the text form of the column's kind."""

    column: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class In:
    """A column is one of the literals."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartsWith:
    """A text column begins with *prefix*, as region codes of one city do."""

    column: str
    prefix: str


@dataclass(frozen=True, slots=True)
class IsNull:
    """A column has no value; the one condition that is never unknown."""

    column: str


@dataclass(frozen=True, slots=True)
class And:
    """All of at least two parts."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of at least two parts."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; of unknown it is unknown."""

    part: Predicate


Predicate = Compare | In | StartsWith | IsNull | And | Or | Not


def columns(predicate: Predicate) -> frozenset[str]:
    """The columns that decide."""
    return frozenset(node.column for node, _ in nodes(predicate) if not isinstance(node, And | Or | Not))


def nodes(predicate: Predicate) -> Iterator[tuple[Predicate, int]]:
    """Every node with its depth. Raises Refused at the first one that is too deep, so that nothing overflows."""
    waiting = [(predicate, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise Refused(f"conditions are nested more than {MAX_DEPTH} deep", where="rows", fix=_SMALLER)
        yield node, depth
        if isinstance(node, And | Or):
            waiting += [(part, depth + 1) for part in node.parts]
        elif isinstance(node, Not):
            waiting.append((node.part, depth + 1))


def check(predicate: Predicate) -> None:
    """Raise Refused unless the expression is well made and within its limits."""
    count = size = 0
    for node, _ in nodes(predicate):
        _check_node(node)
        count += 1
        if isinstance(node, And | Or | Not):
            continue
        values = literals(node)
        count += len(values) if isinstance(node, In) else 0
        size += _length(node.column) + sum(map(_length, values))
        if count > MAX_NODES or size > MAX_BYTES:
            most = f"{MAX_NODES} conditions and literals or {MAX_BYTES} bytes"
            raise Refused(f"the row filter has more than {most}", where="rows", fix=_SMALLER)


def literals(node: Compare | In | StartsWith | IsNull) -> tuple[str, ...]:
    """The literals of a condition."""
    match node:
        case Compare():
            return (node.value,)
        case In():
            return node.values
        case StartsWith():
            return (node.prefix,)
        case IsNull():
            return ()


def _check_node(node: Predicate) -> None:
    if isinstance(node, Not):
        return
    if isinstance(node, And | Or):
        if len(node.parts) < 2:
            raise Refused(f"'{type(node).__name__.lower()}' connects fewer than two conditions", where="rows")
        return
    if not 0 < _length(node.column) <= MAX_NAME_BYTES:
        raise Refused(f"a column's name is empty or over {MAX_NAME_BYTES} bytes", where="rows")
    if isinstance(node, Compare) and node.op not in OPERATORS:
        raise Refused("the operator is unknown", where=node.column, fix=f"use one of {' '.join(OPERATORS)}")
    if isinstance(node, In) and not 0 < len(node.values) <= MAX_LIST:
        raise Refused(
            f"a list has {len(node.values)} literals", where=node.column, fix=f"give 1 to {MAX_LIST}"
        )
    if any(_length(value) > MAX_LITERAL_BYTES for value in literals(node)):
        raise Refused(f"a literal is longer than {MAX_LITERAL_BYTES} bytes", where=node.column, fix=_SMALLER)


def _length(text: str) -> int:
    """Its bytes; half a character, which no column holds, is refused."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Refused("a name or a literal holds half a character", where="rows") from None
