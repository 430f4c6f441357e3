"""A position in a PostgreSQL server's log: which cluster, which timeline, how far."""

from __future__ import annotations

from dataclasses import dataclass, replace

from proto.batch import Position
from proto.errors import Diverged


def parse_lsn(text: str) -> int:
    """The number behind ``16/B374D848``."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def format_lsn(lsn: int) -> str:
    """The server's way to write a place in its log."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


@dataclass(frozen=True, slots=True)
class Place:
    """``pg/<system identifier>/<timeline>/<LSN>``: everything committed before ``lsn`` has been read."""

    system: str
    timeline: int
    lsn: int

    @classmethod
    def parse(cls, position: Position) -> Place:
        """Read a position; Diverged if another kind of source wrote it."""
        kind, _, rest = position.partition("/")
        try:
            system, timeline, lsn = rest.split("/", 2)
            place = cls(system, int(timeline), parse_lsn(lsn))
        except ValueError:
            kind = ""
        if kind != "pg":
            raise Diverged(f"the stored position {position!r} was not written by a PostgreSQL source")
        return place

    def at(self, lsn: int) -> Place:
        """Another place in the same log."""
        return replace(self, lsn=lsn)

    def __str__(self) -> Position:
        return f"pg/{self.system}/{self.timeline}/{format_lsn(self.lsn)}"
