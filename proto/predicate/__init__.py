"""Which rows of a table another department may see: a typed expression over columns, never SQL.

It means what it would mean in SQL: a comparison with NULL is unknown, so is ``not`` of it, and only a row for
which the whole is true passes. Text is compared by code point as it is stored, padding included.
"""

from proto.predicate.binding import Op, Step, bind, check_steps, order
from proto.predicate.form import from_json, to_json
from proto.predicate.text import parse, to_text
from proto.predicate.tree import (
    MAX_BYTES,
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
    check,
    columns,
)

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_LIST",
    "MAX_LITERAL_BYTES",
    "MAX_NODES",
    "OPERATORS",
    "And",
    "Compare",
    "In",
    "IsNull",
    "Not",
    "Op",
    "Or",
    "Predicate",
    "StartsWith",
    "Step",
    "bind",
    "check",
    "check_steps",
    "columns",
    "from_json",
    "order",
    "parse",
    "to_json",
    "to_text",
]
