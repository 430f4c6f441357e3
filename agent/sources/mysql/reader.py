"""What reads one column: from the bytes of the binlog to the canonical form of :mod:`proto.values`.

A reader is a pure function. For most of them the hot loop has a ``way`` of its own that gives the same bytes; the
others it calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from agent.sources.mysql.plan import PlanColumn
from agent.sources.mysql.tablemap import MapColumn
from proto.errors import SchemaHold
from proto.values import Kind

Read = Callable[[bytes], bytes | None]


class Way(IntEnum):
    """How the hot loop reads a column; the numbers are the ones in ``_binlog``."""

    CALL = 0
    """The Python function is called."""
    INTEGER = 1
    """``first``: bytes of the canonical form; ``second``: 1 if unsigned."""
    BOOL = 2
    NUMBER = 3
    """An integer as a decimal; ``second``: 1 if unsigned."""
    FLOAT = 4
    DECIMAL = 5
    """``first``: precision; ``second``: scale."""
    UTF8 = 6
    """``first``: the most bytes of a character."""
    TABLE = 7
    """``charset`` has a table."""
    BYTES = 8
    PADDED = 9
    """``first``: the length, filled with zeros."""
    DATE = 10
    DATETIME = 11
    """``first``: digits after the second's point; so in the next two."""
    TIMESTAMP = 12
    INTERVAL = 13
    YEAR = 14


class Unreadable(ValueError):
    """A value that its kind cannot hold or that is damaged; says why, never what."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How one column is read."""

    read: Read
    way: Way = Way.CALL
    first: int = 0
    second: int = 0
    charset: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column of the binlog and what it is to become."""

    table: str
    name: str
    kind: Kind
    column: MapColumn
    plan: PlanColumn

    def refusal(self) -> SchemaHold:
        """There is no such way."""
        return SchemaHold(
            self.table,
            f"a {self.plan.native or self.column.type.name} cannot be read as {self.kind}",
            where=f"{self.table}.{self.name}",
            fix="leave the column out, or copy the table afresh",
        )
