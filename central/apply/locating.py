"""Which rows of a batch the platform's tables refuse: by number and digest of the key, never by value (SD11.3).

Asked once, when a table comes to be held: parts of the batch are tried, each in a transaction that is rolled back. A section is
halved until its first bad row is found, so that a hundred thousand rows take some seventeen tries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from proto import frames
from proto.batch import NO_FRAMES, Delta, Frames
from proto.errors import ExchangeError, Refused, TableHold

MOST: Final = 5
"""So many are named; a person who mends them looks at the others as well."""
_SECTIONS: Final = ("deletes", "upserts", "inserts")
Attempt = Callable[[Delta], None]
"""Applies a delta where it would be applied, and leaves nothing of it; raises what refuses it."""


@dataclass(frozen=True, slots=True)
class Location:
    """One bad row."""

    table: str
    section: str
    row: int
    """Its number within the section, from 1."""
    of: int
    key: str
    """The beginning of the digest of its key, in hexadecimal; "" when it has none that can be read."""

    def __str__(self) -> str:
        key = f" (key {self.key}…)" if self.key else ""
        return f"{self.table} row {self.row} of {self.of} {self.section}{key}"


def locate_in(deltas: Sequence[Delta], attempt: Callable[[Sequence[Delta], Delta], None]) -> list[Location]:
    """The first bad rows of one table's *deltas*, each tried after those before it; none where nobody can say."""
    try:
        for at, delta in enumerate(deltas):
            if found := locate(delta, partial(attempt, deltas[:at])):
                return found
    except ExchangeError:
        # That the table is held matters more than where exactly it is bad.
        return []
    return []


def locate(delta: Delta, attempt: Attempt) -> list[Location]:
    """The first bad rows of *delta*; none where the trouble is not one of single rows."""
    tried = replace(delta, deletes=NO_FRAMES, upserts=NO_FRAMES, inserts=NO_FRAMES)
    if not _passes(tried, attempt):
        return []
    for section in _SECTIONS:
        rows = frames.split(getattr(delta, section).data)
        whole = _with(tried, section, getattr(delta, section))
        if not _passes(whole, attempt):
            return _in_section(tried, section, rows, attempt)
        tried = whole
    return []


def _in_section(tried: Delta, section: str, rows: Sequence[bytes], attempt: Attempt) -> list[Location]:
    def passes(some: Sequence[int]) -> bool:
        data = b"".join(rows[number] for number in some)
        return _passes(_with(tried, section, Frames(data, len(some))), attempt)

    found: list[Location] = []
    left = list(range(len(rows)))
    while left and len(found) < MOST and not passes(left):
        # Everything before *good* passes together; something before *bad* does not.
        good, bad = 0, len(left)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if passes(left[:middle]) else (good, middle)
        number = left.pop(bad - 1)
        found.append(
            Location(tried.schema.name, section, number + 1, len(rows), _digest(tried, section, rows[number]))
        )
    return found


def _with(delta: Delta, section: str, rows: Frames) -> Delta:
    changed: dict[str, Any] = {section: rows}
    return replace(delta, **changed)


def _passes(delta: Delta, attempt: Attempt) -> bool:
    try:
        attempt(delta)
    except (TableHold, Refused):
        return False
    return True


def _digest(delta: Delta, section: str, row: bytes) -> str:
    if not delta.schema.key:
        return ""
    try:
        key = row if section == "deletes" else frames.keys(row, delta.schema.key_indexes)[0]
    except ExchangeError:
        return ""
    return hashlib.sha256(key).hexdigest()[:8]
