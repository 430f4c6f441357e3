"""How a column of central's bookkeeping is written down: texts, numbers, keys."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, MetaData, Text, text

SCHEMA: Final = "exchange_central"
METADATA: Final = MetaData(schema=SCHEMA)


def words(name: str, default: str | None = None) -> Column[str]:
    """A text that is always there."""
    return Column(name, Text, nullable=False, server_default=default)


def number(name: str, default: int | None = None) -> Column[int]:
    """A whole number that is always there."""
    start = None if default is None else text(str(default))
    return Column(name, BigInteger, nullable=False, server_default=start)


def maybe(name: str) -> Column[int | None]:
    """A whole number, or nothing yet."""
    return Column(name, BigInteger)


def key(name: str, *, is_number: bool = False) -> Column[Any]:
    """A part of the primary key."""
    return Column(name, BigInteger if is_number else Text, primary_key=True, autoincrement=False)
