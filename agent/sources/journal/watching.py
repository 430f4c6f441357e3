"""The tables under watch: what they look like, and whether their triggers are still the right ones.

A trigger that was missing for a moment is a gap nobody can see afterwards, so its table is held until it is copied
afresh. So is a table whose structure changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.sources.journal.dialects import Watched
from agent.sources.journal.notes import Journal
from agent.sources.journal.settings import JournalSettings
from agent.sources.polling.connection import DataTrouble, TableTrouble
from agent.sources.polling.reader import Reader
from agent.sources.polling.settings import PollingTable
from agent.sources.polling.shapes import Shape, read_shape
from proto.errors import BadRow, Refused, SchemaHold, TableHold


@dataclass
class Watching:
    """The captured tables by catalogued name; a held one is not among them."""

    journal: Journal
    settings: JournalSettings
    readers: dict[str, Reader] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    fresh: list[TableHold] = field(default_factory=list)
    """Holds that nobody was told yet."""

    def verify(self) -> None:
        """Look at every table that is not held; hold the ones that changed or are not watched."""
        installed = self._installed()
        for table in self.settings.reading.tables:
            if table.catalogued not in self.held:
                try:
                    self._look(table, installed)
                except TableHold as hold:
                    self.hold(hold)

    def hold(self, hold: TableHold) -> None:
        """Leave a table out from now on."""
        self.held.add(hold.table)
        self.readers.pop(hold.table, None)
        self.fresh.append(hold)

    def resume(self, name: str) -> None:
        """Take a held table in again as it is now; its fresh copy follows."""
        self.held.discard(name)
        self.readers.pop(name, None)
        self.verify()

    def told(self) -> list[Exception]:
        """The holds since the last call."""
        fresh, self.fresh = self.fresh, []
        return list(fresh)

    def by_place(self) -> dict[str, Reader]:
        """The readers by what the journal calls their tables."""
        places = {table.catalogued: place_of(table) for table in self.settings.reading.tables}
        return {places[name]: reader for name, reader in self.readers.items()}

    def trouble(self, name: str, trouble: TableTrouble | DataTrouble) -> None:
        """A table cannot be read as it should."""
        if isinstance(trouble, DataTrouble):
            fix = "mend the row at the source, then copy the table afresh"
            self.hold(BadRow(name, f"a value cannot be read ({trouble.code})", fix=fix))
        else:
            fix = "see that the table is there and GRANT SELECT on it, then copy it afresh"
            self.hold(SchemaHold(name, f"the table cannot be read ({trouble.code})", fix=fix))

    def _installed(self) -> set[str]:
        found = self.journal.database.query(self.journal.dialect.installed(self.journal.place))
        return {str(row[0]) for row in found}

    def _look(self, table: PollingTable, installed: set[str]) -> None:
        shape = read_shape(self.journal.database, table)
        name = table.catalogued
        before = self.readers.get(name)
        afresh = f"exchange-agent snapshot {name} --source {self.settings.name}"
        if before is not None and before.shape.schema.fingerprint != shape.schema.fingerprint:
            raise SchemaHold(name, "its structure changed", fix=f"install its triggers again, then: {afresh}")
        if missing := self.missing(table, shape, installed):
            fix = f"exchange-agent journal install {self.settings.name}; then: {afresh}"
            raise SchemaHold(name, f"its trigger {missing[0]} is not there, or not the right one", fix=fix)
        if before is None:
            self.readers[name] = Reader(self.journal.database, shape, table.parts)

    def missing(self, table: PollingTable, shape: Shape, installed: set[str]) -> list[str]:
        """The triggers that should be there and are not."""
        try:
            wanted = self.journal.dialect.triggers(self.journal.place, watched(table, shape))
        except Refused as refused:
            raise SchemaHold(table.catalogued, refused.what, fix=refused.fix) from refused
        return [trigger.name for trigger in wanted if trigger.name not in installed]


def watched(table: PollingTable, shape: Shape) -> Watched:
    """The table as its triggers need to know it."""
    schema, name = table.parts
    return Watched(schema, name, tuple((one.column.name, one.column.kind) for one in shape.key))


def place_of(table: PollingTable) -> str:
    """What the journal calls a table."""
    return Watched(*table.parts, ()).place
