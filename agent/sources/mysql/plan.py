"""How a table of the source becomes a table of ours: which column of the binlog feeds which of ours, and how."""

from __future__ import annotations

from dataclasses import dataclass

from proto.schema import TableSchema


@dataclass(frozen=True, slots=True)
class PlanColumn:
    """Where a column of ours comes from, and what a row does not say about it; the kind stands in the schema."""

    at: int
    """Its place among the table map's columns."""
    unsigned: bool = False
    charset: str = ""
    """The servers' name of its character set, e.g. ``gbk``; ``""`` or ``binary`` where there is none."""
    members: tuple[str, ...] = ()
    """Of an ENUM or SET, in order."""
    native: str = ""
    """The catalogue's DATA_TYPE in lower case; only uuid, inet4 and inet6 need it: a row shows them as strings."""
    zero_dates_are_null: bool = False
    """By the department's choice; else a date without a year, month or day cannot be held."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A captured table: ``columns`` are in the order of the schema's."""

    schema: TableSchema
    columns: tuple[PlanColumn, ...]
