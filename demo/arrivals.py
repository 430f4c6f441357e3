"""What comes to the second department: looks at its own table, one after the other, and what differs between two."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

EVENTS: Final = 6
CAME, LEFT, CHANGED = "+", "−", "~"
Row = tuple[Any, ...]


@dataclass(slots=True)
class Arrivals:
    """Which rows were there at the last look, and what came, changed and went since the first."""

    rows: Mapping[Any, Row] = field(default_factory=dict)
    """By key."""
    came: int = 0
    changed: int = 0
    left: int = 0
    events: deque[tuple[str, Row]] = field(default_factory=lambda: deque(maxlen=EVENTS))
    """The newest of each kind, the newest last."""

    def look(self, rows: Mapping[Any, Row]) -> None:
        """Compare with the look before; the first one only counts as what is there."""
        before, self.rows = self.rows, rows
        if not before:
            self.events.extend((" ", row) for row in list(rows.values())[:EVENTS])
            return
        came = [(CAME, rows[key]) for key in rows.keys() - before.keys()]
        left = [(LEFT, before[key]) for key in before.keys() - rows.keys()]
        changed = [(CHANGED, rows[key]) for key in rows.keys() & before.keys() if rows[key] != before[key]]
        self.came, self.left, self.changed = (
            self.came + len(came),
            self.left + len(left),
            self.changed + len(changed),
        )
        for some in (came, changed, left):
            self.events.extend(sorted(some, key=str)[: EVENTS // 3])
