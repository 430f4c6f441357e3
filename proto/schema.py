"""Columns, kinds and key of a table, with a fingerprint both ends compute alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from proto.errors import Refused
from proto.values import Kind

MAX_COLUMNS: Final = 1600
MAX_NAME_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Column:
    """One column as every side sees it."""

    name: str
    kind: Kind
    source_type: str = ""
    """How the source calls the type, e.g. ``numeric(12,2)`` or ``public.mood``; informs, decides nothing."""
    nullable: bool = True


@dataclass(frozen=True)
class TableSchema:
    """A table's shape. ``name`` is the catalogued name, unique in its stream and the same on every side."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Key columns in order; empty only for a table declared append-only."""

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        missing = [name for name in self.key if name not in names]
        too_long = [name for name in (self.name, *names) if not 0 < len(name.encode()) <= MAX_NAME_BYTES]
        if missing:
            raise Refused(f"key columns {missing} are not columns of the table", where=self.name)
        if len(set(names)) != len(names) or not 0 < len(names) <= MAX_COLUMNS:
            raise Refused(f"needs 1 to {MAX_COLUMNS} columns with different names", where=self.name[:80])
        if too_long:
            raise Refused(f"a name is empty or over {MAX_NAME_BYTES} bytes", where=self.name[:80])

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The kind of each column, in order."""
        return tuple(column.kind for column in self.columns)

    @cached_property
    def key_indexes(self) -> tuple[int, ...]:
        """The place of each key column among the columns, in key order."""
        names = [column.name for column in self.columns]
        return tuple(names.index(name) for name in self.key)

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that differ whenever name, columns, kinds or key differ."""
        parts = [self.name, *(f"{c.name}\x1f{c.kind}" for c in self.columns), "\x1e", *self.key]
        return hashlib.sha256("\x1d".join(parts).encode()).digest()[:16]
