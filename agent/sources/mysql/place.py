"""A position in a server's binary log: whose log, which transactions, and where in its files they end.

The transactions decide where to go on. File, offset and the file's birth tell one history from another that numbers
its transactions alike, as after RESET MASTER, and one place from an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.sources.mysql.gtids import DomainGtids, ServerGtids
from proto.batch import Position
from proto.errors import Diverged

MARIADB = "mariadb-"


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the log's files; later files have higher numbers."""

    file: str
    offset: int

    @property
    def order(self) -> tuple[int, int]:
        """What to compare places of one server by."""
        number = self.file.rpartition(".")[2]
        return (int(number) if number.isdigit() else 0, self.offset)

    def reaches(self, other: Spot) -> bool:
        """Whether *other* is not after this one."""
        return self.order >= other.order


@dataclass(frozen=True, slots=True)
class Place:
    """``mysql/<server>/<transactions>/<file>/<offset>/<birth of the file>/<time>``: everything in it has been read."""

    server: str
    """``mariadb-<server_id>`` or MySQL's server_uuid."""
    gtids: str
    spot: Spot
    born_s: int
    """When the file began, in seconds since 1970; 0 = unknown."""
    at_s: int = 0
    """When the last transaction's last statement was run, which every replica's log repeats; 0 = unknown."""

    @classmethod
    def parse(cls, position: Position) -> Place:
        """Read a position; Diverged if another kind of source wrote it."""
        try:
            kind, server, gtids, file, offset, born, *rest = position.split("/")
            place = cls(server, gtids, Spot(file, int(offset)), int(born), *map(int, rest[:1]))
            place.read_gtids()
        except ValueError:
            kind = ""
        if kind != "mysql":
            raise Diverged(f"the stored position {position!r} was not written by a MySQL source")
        return place

    @property
    def is_mariadb(self) -> bool:
        """Which of the two families numbered the transactions."""
        return self.server.startswith(MARIADB)

    def read_gtids(self) -> DomainGtids | ServerGtids:
        """The transactions as a set."""
        return DomainGtids.parse(self.gtids) if self.is_mariadb else ServerGtids.parse(self.gtids)

    def at(self, gtids: str, spot: Spot, born_s: int, at_s: int = 0) -> Place:
        """Another place in the same log."""
        return replace(self, gtids=gtids, spot=spot, born_s=born_s, at_s=at_s)

    def __str__(self) -> Position:
        return (
            f"mysql/{self.server}/{self.gtids}/{self.spot.file}/{self.spot.offset}/{self.born_s}/{self.at_s}"
        )
