"""What the log does not tell: a table that leaves its publication, a partition that comes or goes with its rows.

Nothing arrives when that happens, so the catalogue is looked at now and then and compared with what it was when the
stream was opened. What happens while no stream is open is found by its mark (:mod:`marks`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final

from agent.sources.postgresql.connection import Connection, translated
from agent.sources.postgresql.marks import moved, partitions_of
from agent.sources.postgresql.publication import Wanted, read_publication
from agent.sources.postgresql.shapes import AFRESH, Shape
from proto.errors import SchemaHold

_NAMES: Final = """
SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%s::oid[])
"""


class Watch:
    """The catalogue as it was, against the catalogue as it is."""

    def __init__(self, connection: Connection, wanted: Iterable[Wanted], every_s: float) -> None:
        self._connection = connection
        self._wanted = tuple(wanted)
        self._every_s = every_s
        self.entries = self._published()
        """The number of each table's entry in its publication, as last seen."""
        self._partitions = {shape.schema.name: partitions_of(connection, shape) for shape in self._shapes()}
        self._told: set[str] = set()
        self._look_at_s = time.monotonic() + every_s

    def admit(self, shape: Shape, wanted: Iterable[Wanted]) -> None:
        """A table begins again, and what it is now is what it is compared with; *wanted* holds it and all others."""
        self._wanted = tuple(wanted)
        name = shape.schema.name
        self.entries[name] = self._published()[name]
        self._partitions[name] = partitions_of(self._connection, shape)
        self._told.discard(name)

    def look(self) -> list[SchemaHold]:
        """Tables whose rows or changes went unseen since the last look; empty when it is too early to look again."""
        if time.monotonic() < self._look_at_s:
            return []
        self._look_at_s = time.monotonic() + self._every_s
        entries = self._published()
        gone = [name for name, entry in self.entries.items() if entries.get(name) != entry]
        self.entries = entries
        left = [
            SchemaHold(name, "the table was taken out of its publication, or put back", fix=AFRESH)
            for name in gone
        ]
        renamed = [
            SchemaHold(name, "the table was renamed or dropped", fix=AFRESH)
            for name in self._renamed()
            if name not in gone
        ]
        return [*left, *renamed, *(hold for shape in self._shapes() for hold in self._moved(shape))]

    def _shapes(self) -> Iterator[Shape]:
        return (shape for wanted in self._wanted for shape in wanted.shapes)

    def _published(self) -> dict[str, int]:
        """The number of each table's entry in its publication; a table that comes back gets another one."""
        found: dict[str, int] = {}
        for wanted in self._wanted:
            publication = read_publication(self._connection, wanted.name)
            for shape in wanted.shapes:
                if publication is not None and not wanted.lacks(shape, publication):
                    entry = publication.entry(shape.facts.relid)
                    found[shape.schema.name] = entry.oid if entry else 0
        return found

    def _renamed(self) -> list[str]:
        """Tables that are no longer what their name says; told once."""
        shapes = {shape.facts.relid: shape for shape in self._shapes() if shape.schema.name not in self._told}
        with translated("the tables' names"):
            rows = self._connection.execute(_NAMES, (list(shapes),)).fetchall()
        there = {relid: (namespace, name) for relid, namespace, name in rows}
        found = [
            shape.schema.name for relid, shape in shapes.items() if there.get(relid) != shape.settings.place
        ]
        self._told.update(found)
        return found

    def _moved(self, shape: Shape) -> Iterator[SchemaHold]:
        name = shape.schema.name
        before, now = self._partitions[name], partitions_of(self._connection, shape)
        self._partitions[name] = now
        if what := moved(before, now):
            yield SchemaHold(name, what, fix=AFRESH)
