"""Opening a stream: who the server is, what it logs, where we go on, and that nobody else reads in our name.

A session lives from ``open`` to the first error of its connections; it is made whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from agent.sources.holds import Holds
from agent.sources.mysql import server
from agent.sources.mysql.binlog import Collector
from agent.sources.mysql.catalog import Catalog
from agent.sources.mysql.connection import Connection
from agent.sources.mysql.copy import Copies
from agent.sources.mysql.ddl import changes
from agent.sources.mysql.failover import follow
from agent.sources.mysql.place import Place
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.shapes import AFRESH, Shapes
from agent.sources.mysql.stream import Stream
from agent.sources.mysql.tablemap import read_table_map
from agent.sources.mysql.wire import Dump
from agent.sources.settings import TableSettings
from agent.sources.wakeup import Wakeup
from proto.batch import Position
from proto.errors import ExchangeError, Refused, SchemaHold, TableHold, Transient


@dataclass(frozen=True, slots=True)
class Session:
    """What exists while a stream is open."""

    connection: Connection
    wire: Dump
    stream: Stream
    collector: Collector
    shapes: Shapes
    copies: Copies

    def close(self) -> None:
        """Hang up."""
        self.copies.close()
        self.wire.close()
        self.connection.close()


class Hearing:
    """What the log says in words, told to the tables it concerns."""

    def __init__(
        self, settings: MysqlSettings, shapes: Shapes, collector: Collector, hold: Callable[[TableHold], None]
    ) -> None:
        self._settings = settings
        self._shapes = shapes
        self._collector = collector
        self._hold = hold

    def statement(self, text: str, database: str) -> None:
        """A change of structure, a table emptied, or nothing of ours."""
        try:
            found = changes(text, database)
        except Refused:
            for settings in self._shapes.mentioned(text):
                what = "a statement that names the table was not understood"
                self._hold(SchemaHold(settings.catalogued, what, fix=AFRESH))
            return
        for effect in list(self._shapes.changed(found)):
            if isinstance(effect, TableSettings):
                self._empty(effect)
            else:
                self._hold(effect)

    def doubtful(self, maps: Sequence[bytes], why: str) -> None:
        """Nobody can tell which of these tables' rows count."""
        tables = dict.fromkeys((found.schema, found.table) for found in map(read_table_map, maps))
        for table in tables:
            for settings in self._shapes.followed(table):
                self._hold(SchemaHold(settings.catalogued, why, fix=AFRESH))

    def _empty(self, settings: TableSettings) -> None:
        schema = self._shapes.now[settings.catalogued].schema
        self._collector.truncate(*self._settings.place(settings), schema)


class Opening:
    """Makes a session at a position."""

    def __init__(
        self, settings: MysqlSettings, wakeup: Wakeup, holds: Holds, hold: Callable[[TableHold], None]
    ) -> None:
        self._settings = settings
        self._wakeup = wakeup
        self._holds = holds
        self._hold = hold

    def at(self, position: Position) -> Session:
        """Open strictly after *position*, or a new stream when it is empty."""
        settings = self._settings
        with ExitStack() as undo:
            connection = Connection(settings)
            undo.callback(connection.close)
            try:
                place = self._place(connection, position)
                server.claim(connection, settings.replica_id, self._wakeup.pause)
                wire = Dump(settings, self._wakeup, is_mariadb=connection.is_mariadb)
                undo.callback(wire.close)
                shapes = self._shapes(connection)
                wire.start(settings.replica_id, place.read_gtids())
            except ExchangeError as error:
                raise server.may_not_read_log(error, settings.address.user) from error
            collector = Collector(shapes.plan, self._hold)
            hearing = Hearing(settings, shapes, collector, self._hold)
            stream = Stream(wire, collector, place, hearing, settings.look_every_s)
            copies = Copies(settings, shapes, self._wakeup)
            undo.pop_all()
        return Session(connection, wire, stream, collector, shapes, copies)

    def _place(self, connection: Connection, position: Position) -> Place:
        """Where to begin; raises Gap or Diverged rather than begin with a hole."""
        settings = self._settings
        place = Place.parse(position) if position else None
        server.check_log(connection)
        if place is not None:
            if server.server_name(connection) != place.server:
                return follow(settings, place, connection, self._wakeup)
            server.check_continuity(settings, place, connection, self._wakeup)
            return place
        gtids, spot = server.now(connection)
        born_s = server.birth(settings, spot.file, self._wakeup, is_mariadb=connection.is_mariadb)
        return Place(server.server_name(connection), gtids, spot, born_s)

    def _shapes(self, connection: Connection) -> Shapes:
        """The tables that can be captured; the others are held."""
        shapes = Shapes(Catalog(connection), self._settings, self._holds.tables.__contains__)
        held: list[SchemaHold] = []
        for table in self._settings.tables:
            try:
                shapes.open(table)
            except SchemaHold as hold:
                held.append(hold)
        if not shapes.now:
            # Nothing to stream: it begins by itself once one of them can be captured.
            first = held[0]
            what = f"none of the tables can be captured; {first.table}: {first.what}"
            raise Transient(what, where=self._settings.name, fix=first.fix)
        for each in held:
            self._holds.add(each)
        return shapes


def settings_of(settings: MysqlSettings, name: str) -> TableSettings:
    """The settings of a catalogued table."""
    return next(table for table in settings.tables if table.catalogued == name)
