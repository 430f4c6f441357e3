"""Which rows went out, as digests of their keys: beside the record of the delivery, and kept as long as it is."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, LargeBinary, Table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from central.store.columns import METADATA, key, number, words

# n is the record's number in its chain. digests: 8 bytes for each row, one after another.
TRACES: Final = Table(
    "central_traces",
    METADATA,
    key("grant_id"),
    key("at_us", is_number=True),
    key("n", is_number=True),
    words("chain"),
    number("form"),
    number("rows"),
    number("traced"),
    Column("digests", LargeBinary, nullable=False),
)

# How the keys of a grant were written when they were digested: columns, kinds, masks.
KEY_FORMS: Final = Table(
    "central_key_forms",
    METADATA,
    key("grant_id"),
    key("form", is_number=True),
    words("document"),
)


class PlaceIn(FunctionElement[int]):
    """Where, from 1, the bytes of the second argument lie in the first; 0 = nowhere."""

    type = BigInteger()
    inherit_cache = True


@compiles(PlaceIn, "postgresql")
def _place_postgresql(element: PlaceIn, compiler: SQLCompiler, **options: Any) -> str:
    within, what = (compiler.process(clause, **options) for clause in element.clauses)
    return f"position({what} IN {within})"


@compiles(PlaceIn, "sqlite")
def _place_sqlite(element: PlaceIn, compiler: SQLCompiler, **options: Any) -> str:
    within, what = (compiler.process(clause, **options) for clause in element.clauses)
    return f"instr({within}, {what})"
