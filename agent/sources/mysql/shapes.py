"""How a captured table's columns become a schema, and which changes of its structure need a decision.

A shape is built from the catalogue when a source opens, and from the log's own description of a table whenever that
differs: the log describes a table as it was when the change was made, the catalogue as it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.sources.mysql.catalog import Catalog, ColumnFacts, TableFacts
from agent.sources.mysql.charsets import decoder
from agent.sources.mysql.ddl import Change, Effect
from agent.sources.mysql.place import Spot
from agent.sources.mysql.plan import Plan, PlanColumn
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.tablemap import MapColumn, TableMap
from agent.sources.mysql.types import Type, from_map, same_values
from agent.sources.settings import TableSettings
from proto.errors import Refused, SchemaHold
from proto.schema import Column, TableSchema
from proto.values import Kind

AFRESH: Final = "copy the table afresh: exchange-agent snapshot TABLE"
METADATA: Final = "SET GLOBAL binlog_row_metadata = FULL, and binlog_row_metadata = FULL in my.cnf"
_REFUSED_WHEN_TOO_NARROW: Final = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "bigint", "varchar", "text", "varbinary", "blob"}
)
"""Types a server in strict mode does not narrow below a value it holds; others it rounds."""
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """One captured column: its place in the schema is its place in the shape."""

    name: str
    type: Type
    collation: str = ""


@dataclass(frozen=True)
class Shape:
    """A captured table as it is streamed."""

    settings: TableSettings
    facts: TableFacts
    schema: TableSchema
    parts: tuple[Part, ...]

    def matches(self, facts: TableFacts) -> bool:
        """Whether the table as the catalogue has it still is what is streamed."""
        now = facts.by_name
        return facts.is_table and all(
            part.name in now and agrees(now[part.name].type, part.type) for part in self.parts
        )


class Shapes:
    """The shapes of one session, by catalogued name; its :meth:`plan` answers the collector."""

    def __init__(self, catalog: Catalog, settings: MysqlSettings, is_held: Callable[[str], bool]) -> None:
        self._catalog = catalog
        self._settings = settings
        self._tables = {self._folded(settings.place(table)): table for table in settings.tables}
        self._is_held = is_held
        self.now: dict[str, Shape] = {}
        self._streamed: set[str] = set()
        self._settles: dict[str, Spot] = {}

    def read(self, settings: TableSettings) -> Shape:
        """The table's shape as the catalogue has it now; raises SchemaHold if it cannot be captured."""
        name, facts = settings.catalogued, self.facts(settings)
        if facts is None:
            fix = "create it or take it off the list; if it is there: GRANT SELECT on it to the account"
            raise SchemaHold(name, f"table {settings.table} does not exist, or may not be seen", fix=fix)
        if not facts.is_table:
            raise SchemaHold(
                name, f"{settings.table} is not an ordinary table", fix="list the tables it reads from"
            )
        there = {column.name: column for column in facts.columns if not column.generated}
        key = self._key(settings, facts.primary_key, facts)
        parts: list[Part] = []
        for each in self._chosen(settings, key, list(there)):
            column = there[each]
            if column.type is None:
                what = f"the type {column.source_type} of column {each} is not supported"
                raise SchemaHold(name, what, fix="list the other columns")
            _check_charset(name, each, column.type)
            parts.append(Part(each, column.type, column.collation))
        return _shape(settings, facts, key, parts)

    def facts(self, settings: TableSettings) -> TableFacts | None:
        """What the catalogue says of a captured table now."""
        return self._catalog.table(self._settings.place(settings))

    def open(self, settings: TableSettings, settles: Spot | None = None) -> Shape:
        """Begin, or begin again, with the table as the catalogue has it.

        What the log tells of it before *settles* is older than that, and none of our business.
        """
        shape = self.read(settings)
        self._streamed.discard(settings.catalogued)
        if settles is not None:
            self._settles[settings.catalogued] = settles
        self.now[settings.catalogued] = shape
        return shape

    def passed(self, spot: Spot) -> bool:
        """The stream has come to *spot*; says whether a table begins to count with it."""
        if not self._settles:
            return False
        settled = [name for name, settles in self._settles.items() if spot.reaches(settles)]
        for name in settled:
            del self._settles[name]
        return bool(settled)

    def plan(self, described: TableMap) -> Plan | None:
        """How to read the changes of a table; None when it is not captured, held, or not of our business yet."""
        settings = self._tables.get(self._folded((described.schema, described.table)))
        if settings is None:
            return None
        name = settings.catalogued
        if self._is_held(name) or name in self._settles:
            return None
        shape = self._follow(settings, described)
        self.now[name] = shape
        self._streamed.add(name)
        names = [column.name for column in described.columns]
        places = [names.index(part.name) for part in shape.parts]
        nulls = self._settings.zero_dates == "null"
        columns = [
            _plan_column(part, at, zero_dates_are_null=nulls)
            for part, at in zip(shape.parts, places, strict=True)
        ]
        return Plan(shape.schema, tuple(columns))

    def changed(self, changes: Iterable[Change]) -> Iterator[SchemaHold | TableSettings]:
        """What a statement does to our tables: holds, and the tables it emptied."""
        for change in changes:
            for settings in self.followed(change.table):
                if change.effect is Effect.TRUNCATED:
                    yield settings
                elif (hold := self._verdict(settings, change)) is not None:
                    yield hold

    def followed(self, table: Place) -> Iterator[TableSettings]:
        """The table under this name, if it is captured and its changes count now."""
        for settings in self._concerned(table):
            name = settings.catalogued
            if name in self.now and not self._is_held(name) and name not in self._settles:
                yield settings

    def mentioned(self, statement: str) -> Iterator[TableSettings]:
        """The tables whose name occurs in a statement that was not understood."""
        text = statement.lower()
        return (
            settings
            for place, named in self._tables.items()
            if place[1].lower() in text
            for settings in self.followed(place)
            if settings is named
        )

    def _concerned(self, table: Place) -> list[TableSettings]:
        schema, name = self._folded(table)
        return [
            settings
            for place, settings in self._tables.items()
            if (not schema and not name) or place == (schema, name) or (place[0] == schema and not name)
        ]

    def _verdict(self, settings: TableSettings, change: Change) -> SchemaHold | None:
        name = settings.catalogued
        if change.effect is not Effect.ALTERED:
            return SchemaHold(name, f"the table was {change.effect.value}", fix=AFRESH)
        shape = self.now[name]
        captured = {part.name.lower(): part for part in shape.parts}
        for gone in change.dropped & captured.keys():
            return SchemaHold(name, f"column {gone} was dropped or renamed", fix=AFRESH)
        if name not in self._streamed:
            # The catalogue may have been read after this statement, so there is nothing to compare with.
            for each in change.modified & captured.keys():
                if captured[each].type.shown not in _REFUSED_WHEN_TOO_NARROW:
                    return SchemaHold(name, f"column {each} changed its type", fix=AFRESH)
        return self._compared(settings, shape, change.added)

    def _compared(self, settings: TableSettings, shape: Shape, added: frozenset[str]) -> SchemaHold | None:
        """Compare with what the catalogue says; it may be ahead, so nothing is learnt from it but holds."""
        try:
            now = self.read(settings)
            if settings.catalogued in self._streamed:
                self._compatible(shape, now)
            self._added({part.name for part in now.parts if part.name.lower() in added}, now)
        except SchemaHold as hold:
            return hold
        return None

    def _follow(self, settings: TableSettings, described: TableMap) -> Shape:
        """The shape of a table in the log, if the rows we have are still right with it."""
        name = settings.catalogued
        if not all(column.name for column in described.columns):
            raise SchemaHold(name, "the log does not name its columns", fix=f"{METADATA}; then {AFRESH}")
        before, facts = self.now.get(name), self.facts(settings)
        known = facts or (before.facts if before else None)
        if known is None:
            raise SchemaHold(name, f"{settings.table} was renamed or dropped", fix=AFRESH)
        there = {column.name: column for column in described.columns}
        primary = tuple(described.columns[at].name for at in described.primary_key or ())
        key = self._key(settings, primary, known)
        generated = {column.name for column in known.columns if column.generated}
        usable = [each for each in there if each not in generated]
        now = known.by_name
        parts = [_part(name, there[each], now.get(each)) for each in self._chosen(settings, key, usable)]
        shape = _shape(settings, known, key, parts)
        if before is not None and name in self._streamed:
            self._compatible(before, shape)
            self._added({part.name for part in parts} - {part.name for part in before.parts}, shape)
        return shape

    def _chosen(self, settings: TableSettings, key: Sequence[str], there: Sequence[str]) -> list[str]:
        """The captured columns, the key's always among them."""
        wanted = list(there) if settings.columns is None else [*settings.columns]
        wanted += [name for name in key if name not in wanted]
        for name in wanted:
            if name not in there:
                raise SchemaHold(
                    settings.catalogued,
                    f"column {name} is not there, or is generated",
                    fix=f"bring it back or take it off the list, then {AFRESH}",
                )
        return wanted

    def _key(self, settings: TableSettings, primary: tuple[str, ...], facts: TableFacts) -> tuple[str, ...]:
        name = settings.catalogued
        if settings.key is not None:
            _check_unique(name, settings.key, facts)
            return settings.key
        if primary or settings.append_only:
            return primary
        fix = "add one, or name a unique index's columns as 'key', or declare the table append_only"
        raise SchemaHold(name, "the table has no primary key", fix=fix)

    def _compatible(self, before: Shape, shape: Shape) -> None:
        """Refuse what changed the rows we have without a word in the log."""
        name = shape.schema.name
        if before.schema.key != shape.schema.key:
            raise SchemaHold(name, f"its key is now ({', '.join(shape.schema.key)})", fix=AFRESH)
        after = {part.name: part for part in shape.parts}
        for part in before.parts:
            if part.name not in after:
                raise SchemaHold(name, f"column {part.name} was dropped or renamed", fix=AFRESH)
            if not same_values(part.type, after[part.name].type):
                raise SchemaHold(name, f"column {part.name} changed its type", fix=AFRESH)

    def _added(self, names: Iterable[str], shape: Shape) -> None:
        facts = shape.facts.by_name
        for name in names:
            column = facts.get(name)
            if column is None or column.fills_old_rows:
                what = f"column {name} was added with a value for rows that were there before"
                raise SchemaHold(shape.schema.name, what, fix=AFRESH)

    def _folded(self, place: Place) -> Place:
        schema, name = place
        return (schema.lower(), name.lower()) if self._catalog.folds_names else place


def agrees(catalogued: Type | None, shown: Type) -> bool:
    """Whether the type the log shows can be the one the catalogue tells."""
    if catalogued is None:
        return False
    a, b = catalogued.as_shown, shown.as_shown
    if not (a.members and b.members):
        # One of the two does not tell them.
        a, b = replace(a, members=()), replace(b, members=())
    return a == b


def _check_charset(table: str, column: str, each: Type) -> None:
    """Refuse at once what no row could be read with."""
    if each.kind is not Kind.TEXT:
        return
    try:
        decoder(each.charset)
    except Refused as error:
        fix = f"list the other columns, or convert column {column} to utf8mb4"
        raise SchemaHold(table, f"column {column}: {error.what}", fix=fix) from error


def _check_unique(name: str, key: Sequence[str], facts: TableFacts) -> None:
    """A chosen key must be one: a unique index of whole columns that are never NULL."""
    columns = facts.by_name
    serving = any(index.whole and set(index.columns) == set(key) for index in facts.indexes)
    if not serving or any(columns[each].nullable for each in key):
        listed = ", ".join(key)
        fix = f"ALTER TABLE {facts.quoted} ADD UNIQUE ({listed}), with columns that are NOT NULL; or choose another key"
        raise SchemaHold(name, f"no unique index of columns without NULL is ({listed})", fix=fix)


def _part(table: str, column: MapColumn, facts: ColumnFacts | None) -> Part:
    shown = from_map(column)
    if shown is None:
        what = f"the type of column {column.name} is not supported"
        raise SchemaHold(table, what, fix="list the other columns")
    if facts is not None and facts.type is not None and agrees(facts.type, shown):
        # The catalogue knows more, e.g. that sixteen bytes are a uuid; the log knows how members are written.
        told = facts.type if facts.type.members else replace(facts.type, members=shown.members)
        return Part(column.name, told, facts.collation)
    return Part(column.name, shown, facts.collation if facts else "")


def _shape(settings: TableSettings, facts: TableFacts, key: tuple[str, ...], parts: Sequence[Part]) -> Shape:
    now = facts.by_name
    columns = tuple(_column(part, now.get(part.name)) for part in parts)
    return Shape(settings, facts, TableSchema(settings.catalogued, columns, key), tuple(parts))


def _column(part: Part, now: ColumnFacts | None) -> Column:
    same = now is not None and agrees(now.type, part.type)
    source_type = now.source_type if now and same else part.type.shown
    return Column(part.name, part.type.kind, source_type, not (now and not now.nullable))


def _plan_column(part: Part, at: int, *, zero_dates_are_null: bool) -> PlanColumn:
    each = part.type
    return PlanColumn(at, each.unsigned, each.charset, each.members, each.native, zero_dates_are_null)
