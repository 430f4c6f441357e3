"""The captured tables on one connection: what each looks like now, and which of them are held for what reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from agent.sources.polling.connection import Database, DataTrouble, TableTrouble
from agent.sources.polling.reader import Reader
from agent.sources.polling.settings import PollingSettings
from agent.sources.polling.shapes import Shape, read_shape
from agent.sources.source import Mirror
from proto.errors import BadRow, SchemaHold, TableHold
from proto.schema import TableSchema

AFRESH = "exchange-agent snapshot"


class Tables:
    """Readers by table; one bad table never stops the others."""

    def __init__(self, database: Database, settings: PollingSettings, mirror: Mirror) -> None:
        self._database = database
        self._mirror = mirror
        self._settings = {table.catalogued: table for table in settings.tables}
        self._look_every_s = settings.look_every_s
        self._shapes: dict[str, tuple[Shape, float]] = {}
        self._held: set[str] = set()
        self._news: list[Exception] = []
        self._grown: set[str] = set()

    def reader(self, name: str) -> Reader:
        """A reader of the table as it is; its structure is looked at again now and then. Raises SchemaHold."""
        known = self._shapes.get(name)
        if known is None or time.monotonic() >= known[1]:
            self._look(name, known[0].schema if known else self._mirror.schema(name))
        return Reader(self._database, self._shapes[name][0], self._settings[name].parts)

    def resume(self, name: str) -> None:
        """Take the table as it is now."""
        self._look(name, None)
        self._held.discard(name)

    def watches(self, name: str) -> bool:
        """Whether changes of it are told: it is not held, and its first copy has begun."""
        return name not in self._held and self._mirror.schema(name) is not None

    def is_held(self, name: str) -> bool:
        """Whether it is left out."""
        return name in self._held

    def take_news(self) -> list[Exception]:
        """The holds since the last call."""
        news, self._news = self._news, []
        return news

    def has_grown(self, name: str) -> bool:
        """Whether it has new columns since the last call, so that rows changed that no watermark tells of."""
        grown = name in self._grown
        self._grown.discard(name)
        return grown

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Hold the table for what is wrong with it alone."""
        try:
            yield
        except TableHold as hold:
            self._hold(hold)
        except TableTrouble as trouble:
            self._hold(self._explained(name, trouble))
        except DataTrouble as trouble:
            what = f"the database cannot give one of its rows ({trouble.code})"
            self._hold(BadRow(name, what, fix="mend the row, or say how it is written: kinds or charsets"))

    def close(self) -> None:
        """Hang up."""
        self._database.close()

    def _look(self, name: str, before: TableSchema | None) -> None:
        shape = read_shape(self._database, self._settings[name])
        if before is not None:
            _refuse_changed(before, shape.schema)
            if before.fingerprint != shape.schema.fingerprint:
                self._grown.add(name)
        self._shapes[name] = (shape, time.monotonic() + self._look_every_s)

    def _hold(self, hold: TableHold) -> None:
        self._held.add(hold.table)
        self._shapes.pop(hold.table, None)
        self._news.append(hold)

    def _explained(self, name: str, trouble: TableTrouble) -> TableHold:
        table = self._settings[name].table
        try:
            read_shape(self._database, self._settings[name])
        except TableHold as hold:
            return hold
        what = f"it cannot be read ({trouble.code}): its structure or our rights changed"
        return SchemaHold(name, what, fix=f"GRANT SELECT ON {table}, then {AFRESH} {name}")


def _refuse_changed(before: TableSchema, now: TableSchema) -> None:
    kinds = {column.name: column.kind for column in now.columns}
    changed = [column.name for column in before.columns if kinds.get(column.name) != column.kind]
    if changed:
        what = f"column {changed[0]} is gone or holds something else now"
    elif before.key != now.key:
        what = "its key is another one now"
    else:
        return
    fix = f"tell the table's readers, then {AFRESH} {now.name}"
    raise SchemaHold(now.name, what, fix=fix)
