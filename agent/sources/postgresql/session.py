"""Opening a stream: who the server is, what it publishes, where we go on.

A session lives from ``open`` to the first error of its connections; it is made whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from agent.sources.holds import Holds as Holds  # noqa: PLC0414 - the room knows it by this address
from agent.sources.postgresql.catalog import Catalog
from agent.sources.postgresql.connection import Connection, connect, translated
from agent.sources.postgresql.copy import Copies
from agent.sources.postgresql.marks import Mark, marks_of, missed
from agent.sources.postgresql.pages import Snapshot
from agent.sources.postgresql.pgoutput import Collector
from agent.sources.postgresql.place import Place
from agent.sources.postgresql.publication import (
    Publication,
    Wanted,
    publish,
    read_publication,
    wanted_publications,
)
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.shapes import AFRESH, Shape, Shapes, check_identity
from agent.sources.postgresql.slot import check_continuity, drop_slot, make_slot, read_slot, unless_fenced
from agent.sources.postgresql.stream import Stream
from agent.sources.postgresql.text import Texts
from agent.sources.postgresql.watch import Watch
from agent.sources.postgresql.wire import Wakeup, Walsender
from agent.sources.settings import TableSettings
from proto.batch import Position
from proto.errors import Credential, SchemaHold, Transient

_OPEN: Final = "SELECT transactionid::text FROM pg_locks WHERE locktype = 'transactionid' AND granted"


@dataclass(frozen=True, slots=True)
class Session:
    """What exists while a stream is open."""

    place: Place
    connection: Connection
    wire: Walsender
    stream: Stream
    collector: Collector
    shapes: Shapes
    texts: Texts
    copies: Copies
    watch: Watch
    publications: frozenset[str]
    """What this session asked the server for; another one needs another session."""
    marks: dict[str, Mark]
    """What was true of each table when its rows were last right."""

    def admit(self, settings: PostgresqlSettings, name: str) -> None:
        """Stream a table as it is now. Raises SchemaHold unless all its changes will come from here on."""
        shape = self.shapes.open(settings_of(settings.tables, name))
        check_identity(shape, shape.facts.identity_columns)
        # Publishing a table whose identity lacks its key would make the department's own updates fail.
        tables = [each for each in self.shapes.now.values() if each.is_followed]
        wanted = wanted_publications(settings.publication_name, tables, self.connection.info.server_version)
        mine = next(each for each in wanted if shape in each.shapes)
        if mine.lacks(shape, read_publication(self.connection, mine.name)) and settings.manage_publication:
            publish(self.connection, (mine,))
        if why := mine.lacks(shape, read_publication(self.connection, mine.name)):
            raise SchemaHold(name, f"the table {why}", fix=f"{mine.alter_sql}; then {AFRESH}")
        if mine.name not in self.publications:
            raise Transient(f"opening again for publication {mine.name}", where=settings.name)
        self.watch.admit(shape, wanted)
        self.marks.update(marks_of(self.connection, (shape,), self.watch.entries))

    def snapshot(self) -> Snapshot:
        """Which transactions others see as finished now."""
        with translated("a snapshot"):
            row = self.connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        return Snapshot.parse(row[0] if row else "0:0:")

    def close(self) -> None:
        """Hang up."""
        self.copies.close()
        self.wire.close()
        self.connection.close()


class Opening:
    """Makes a session at a position."""

    def __init__(
        self, settings: PostgresqlSettings, wakeup: Wakeup, holds: Holds, recalled: Mapping[str, Mark]
    ) -> None:
        self._recalled = recalled
        self._marks: dict[str, Mark] = {}
        self._settings = settings
        self._dsn = settings.dsn.get_secret_value()
        self._wakeup = wakeup
        self._holds = holds

    def at(self, position: Position) -> Session:
        """Open strictly after *position*, or a new stream when it is empty."""
        name = self._settings.name
        with ExitStack() as undo:
            connection = connect(self._dsn, name)
            undo.callback(connection.close)
            wire = Walsender(self._dsn, name, self._wakeup)
            undo.callback(wire.close)
            shapes = Shapes(Catalog(connection, name), self._settings.tables, self._holds.tables.__contains__)
            copies = Copies(self._settings, shapes, self._wakeup, open_now(connection) if position else ())
            undo.callback(copies.close)
            identity = wire.identify()
            if position:
                place = Place.parse(position)
                slot = read_slot(connection, self._settings.slot_name)
                check_continuity(place, identity, slot, connection.info.dbname, wire)
            wanted = self._publish(connection, self._shapes(shapes), is_new=not position)
            if not position:
                forget = partial(drop_slot, connection, self._settings.slot_name)
                unless_fenced(forget, self._wakeup.pause)
                lsn = make_slot(connection, self._settings.slot_name, self._settings.slot_timeout_s)
                place = Place(identity.system, identity.timeline, lsn)
            collector = Collector(lambda found: shapes.plan(found, copies.keyless.leaves_out))
            begin = partial(
                wire.start, self._settings.slot_name, place.lsn, ",".join(each.name for each in wanted)
            )
            unless_fenced(begin, self._wakeup.pause)
            watch = Watch(connection, wanted, self._settings.look_every_s)
            marks = {n: replace(mark, entry=watch.entries.get(n, 0)) for n, mark in self._marks.items()}
            undo.pop_all()
        return Session(
            Place(identity.system, identity.timeline, place.lsn),
            connection,
            wire,
            Stream(wire, collector, copies.keyless, place.lsn, self._settings.look_every_s),
            collector,
            shapes,
            Texts(connection, name),
            copies,
            watch,
            frozenset(each.name for each in wanted),
            marks,
        )

    def _shapes(self, shapes: Shapes) -> list[Shape]:
        """The tables that can be captured; the others are held."""
        found: list[Shape] = []
        held: list[SchemaHold] = []
        for settings in self._settings.tables:
            try:
                shape = shapes.open(settings)
                check_identity(shape, shape.facts.identity_columns)
                found.append(shape)
            except SchemaHold as hold:
                held.append(hold)
        if not found:
            # Nothing to publish, so nothing to stream: it begins by itself once one of them can be captured.
            first = held[0]
            what = f"none of the tables can be captured; {first.table}: {first.what}"
            raise Transient(what, where=self._settings.name, fix=first.fix)
        for each in held:
            self._holds.add(each)
        return found

    def _publish(
        self, connection: Connection, shapes: Iterable[Shape], *, is_new: bool
    ) -> tuple[Wanted, ...]:
        """See to it that the tables are published; hold those whose changes passed by unpublished."""
        wanted = wanted_publications(self._settings.publication_name, shapes, connection.info.server_version)
        before = {each.name: read_publication(connection, each.name) for each in wanted}
        # As it was before we touch the publication: putting a table back into it ourselves would hide that it was out.
        entries = {
            shape.schema.name: entry.oid
            for each in wanted
            for shape in each.shapes
            if (there := before[each.name]) and (entry := there.entry(shape.facts.relid))
        }
        self._marks = marks_of(connection, (shape for each in wanted for shape in each.shapes), entries)
        if self._settings.manage_publication:
            publish(connection, wanted)
        for each in wanted:
            self._look(each, before[each.name], may_begin=is_new and self._settings.manage_publication)
            for shape in () if is_new else each.shapes:
                self._compare(shape)
        return wanted

    def _compare(self, shape: Shape) -> None:
        name = shape.schema.name
        if name not in self._recalled or name in self._holds.tables:
            return
        if hold := missed(self._recalled[name], self._marks[name], shape):
            self._holds.add(hold)

    def _look(self, wanted: Wanted, publication: Publication | None, *, may_begin: bool) -> None:
        if may_begin:
            return
        if publication is None and not self._settings.manage_publication:
            raise Credential(
                f"publication {wanted.name} does not exist", where=self._settings.name, fix=wanted.create_sql
            )
        for shape in wanted.shapes:
            if why := wanted.lacks(shape, publication):
                mend = "" if self._settings.manage_publication else f"{wanted.alter_sql}; then "
                self._holds.add(SchemaHold(shape.schema.name, f"the table {why}", fix=f"{mend}{AFRESH}"))


def open_now(connection: Connection) -> frozenset[int]:
    """The transactions that others do not see as finished yet.

    By their locks: a snapshot does not name those that are younger than the last one that ended.
    """
    with translated("the open transactions"):
        rows = connection.execute(_OPEN).fetchall()
    return frozenset(int(row[0]) for row in rows)


def settings_of(tables: Iterable[TableSettings], name: str) -> TableSettings:
    """The settings of a catalogued table."""
    return next(settings for settings in tables if settings.catalogued == name)
