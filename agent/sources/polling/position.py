"""How far each table is: its watermark, and where a comparison stands. Everything a restart needs, and nothing else.

What was sent before is not remembered here: the mirror is.
"""

from __future__ import annotations

import base64
import json
from dataclasses import astuple, dataclass, field
from typing import Final

from proto.batch import Position
from proto.errors import Diverged

_START: Final = "poll1:"
RESTING, SOURCE, MIRROR = "", "s", "m"


@dataclass(slots=True)
class Progress:
    """One table."""

    watermark: str = ""
    """The newest that was read, as text; empty before the first."""
    phase: str = RESTING
    """What a comparison walks now: the source's pages, then the mirror's."""
    after: str = ""
    """The last key it has seen, in base64."""
    matched: int = 0
    """How many of the source's rows the mirror had."""
    began_s: int = 0
    compared_s: int = 0
    """When the last whole comparison began, seconds since 1970."""

    @property
    def after_key(self) -> bytes:
        """The last key a comparison has seen."""
        return base64.b64decode(self.after)

    def walked_to(self, key: bytes) -> None:
        """A comparison has seen everything up to *key*."""
        self.after = base64.b64encode(key).decode()


@dataclass(slots=True)
class Place:
    """All tables of one source."""

    number: int = 0
    """Rises with each batch, so that no two positions are the same."""
    tables: dict[str, Progress] = field(default_factory=dict)

    def __str__(self) -> Position:
        tables = {name: list(astuple(progress)) for name, progress in self.tables.items()}
        return _START + json.dumps([self.number, tables], ensure_ascii=False, separators=(",", ":"))

    def of(self, table: str) -> Progress:
        """The table's progress; a new one for a table that is new."""
        return self.tables.setdefault(table, Progress())

    @classmethod
    def parse(cls, position: Position) -> Place:
        """Raises Diverged for a position of another way of listening."""
        if not position:
            return cls()
        try:
            if not position.startswith(_START):
                raise ValueError("another source's")
            number, tables = json.loads(position.removeprefix(_START))
            return cls(int(number), {name: Progress(*facts) for name, facts in tables.items()})
        except (ValueError, TypeError) as error:
            raise Diverged(
                "the position was not made by polling",
                where=position[:40],
                fix="begin anew: exchange-agent snapshot --all",
            ) from error
