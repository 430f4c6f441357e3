"""How a captured table's columns become a schema, and which changes of its structure need a decision.

A shape is built from the catalogue when a source opens, and from the stream's own description of a relation
whenever that differs: the stream describes a table as it was when the change was made, the catalogue as it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from agent.sources.postgresql.catalog import Catalog, ColumnFacts, TableFacts, TypeFacts, quoted
from agent.sources.postgresql.pgoutput import Relation, TablePlan
from agent.sources.settings import TableSettings
from proto.errors import SchemaHold
from proto.schema import Column, TableSchema
from proto.values import Kind

AFRESH: Final = "copy the table afresh: exchange-agent snapshot TABLE"
_NUMERIC, _VARCHAR = 1700, 1043


@dataclass(frozen=True, slots=True)
class Part:
    """One captured column: its place in the schema is its place in the shape."""

    name: str
    modifier: int
    type: TypeFacts

    @property
    def selected(self) -> str:
        """The expression that gives in a query the very bytes that the stream gives."""
        as_text = self.type.kind is Kind.OTHER and not self.type.sends_text
        return f"{quoted(self.name)}::text" if as_text else quoted(self.name)


@dataclass(frozen=True)
class Shape:
    """A captured table as it is streamed."""

    settings: TableSettings
    facts: TableFacts
    schema: TableSchema
    parts: tuple[Part, ...]

    @property
    def is_followed(self) -> bool:
        """Whether updates and deletes name their row by the columns of our key."""
        return set(self.schema.key) <= set(self.facts.identity_columns)

    @property
    def asked(self) -> dict[int, int]:
        """The columns whose bytes only the server can turn into text, with their types."""
        return {at: part.type.base for at, part in enumerate(self.parts) if part.type.needs_asking}


class Shapes:
    """The shapes of one session, by catalogued name; its :meth:`plan` answers the collector."""

    def __init__(
        self, catalog: Catalog, tables: Sequence[TableSettings], is_held: Callable[[str], bool]
    ) -> None:
        self._catalog = catalog
        self._tables = {settings.place: settings for settings in tables}
        self._is_held = is_held
        self.now: dict[str, Shape] = {}
        self._planned: dict[bytes, Shape] = {}
        self._streamed: set[str] = set()
        self._dismissed: set[int] = set()
        self._refused: set[str] = set()

    def read(self, settings: TableSettings) -> Shape:
        """The table's shape as the catalogue has it now; raises SchemaHold if it cannot be captured."""
        facts = self._catalog.tables([settings.place]).get(settings.place)
        name = settings.catalogued
        if facts is None:
            raise SchemaHold(
                name, f"table {settings.table} does not exist", fix="create it or take it off the list"
            )
        if facts.relkind not in ("r", "p"):
            raise SchemaHold(name, f"{settings.table} is not a table", fix="list the tables it reads from")
        if not facts.is_logged:
            what = f"{settings.table} is unlogged: its changes are not in the server's log"
            raise SchemaHold(name, what, fix=f"ALTER TABLE {facts.quoted} SET LOGGED; then {AFRESH}")
        columns = {column.name: column for column in facts.columns if not column.generated}
        key = self._key(settings, facts.primary_key)
        chosen = self._chosen(settings, key, list(columns))
        found = [(columns[each].name, columns[each].type_oid, columns[each].modifier) for each in chosen]
        return self._shape(settings, facts, key, found)

    def open(self, settings: TableSettings) -> Shape:
        """Begin, or begin again, with the table as the catalogue has it."""
        shape = self.read(settings)
        if (before := self.now.get(settings.catalogued)) is not None:
            self._dismissed.add(before.facts.relid)
        self._streamed.discard(settings.catalogued)
        self._refused.discard(settings.catalogued)
        self._dismissed.discard(shape.facts.relid)
        self.now[settings.catalogued] = shape
        return shape

    def plan(self, relation: Relation, leaves_out: Callable[[str], bool]) -> TablePlan | None:
        """How to read the changes of *relation*; None when it is not captured, held, or left out for now."""
        settings = self._tables.get((relation.namespace, relation.name)) or self._renamed(relation)
        if settings is None or relation.relid in self._dismissed:
            return None
        name = settings.catalogued
        if self._is_held(name) or name in self._refused or leaves_out(name):
            return None
        try:
            shape = self._follow(settings, relation)
        except SchemaHold:
            self._refused.add(name)
            raise
        self.now[name] = self._planned[shape.schema.fingerprint] = shape
        self._streamed.add(name)
        names = [column.name for column in relation.columns]
        texts = frozenset(at for at, part in enumerate(shape.parts) if part.type.kind is Kind.OTHER)
        return TablePlan(shape.schema, tuple(names.index(part.name) for part in shape.parts), texts)

    def of(self, schema: TableSchema) -> Shape:
        """The shape that a delta of this schema was planned with; a batch may span a change of structure."""
        return self._planned[schema.fingerprint]

    def _renamed(self, relation: Relation) -> TableSettings | None:
        """The settings of the table that now appears under a name nobody captures."""
        found = (shape.settings for shape in self.now.values() if shape.facts.relid == relation.relid)
        return next(found, None)

    def _follow(self, settings: TableSettings, relation: Relation) -> Shape:
        """The shape of *relation*, if the rows we have are still right with it."""
        before = self.now.get(settings.catalogued)
        facts = self._catalog.tables([settings.place]).get(settings.place)
        known = facts or (before.facts if before else None)
        if known is None or (relation.namespace, relation.name) != settings.place:
            raise SchemaHold(settings.catalogued, f"{settings.table} was renamed or dropped", fix=AFRESH)
        if before is not None and before.facts.relid != relation.relid:
            self._dismissed |= {before.facts.relid, relation.relid}
            raise SchemaHold(settings.catalogued, f"another table took the name {settings.table}", fix=AFRESH)
        key = self._key(settings, _key_then(relation, before, known))
        described = {column.name: column for column in relation.columns}
        chosen = self._chosen(settings, key, list(described))
        found = [(each, described[each].type_oid, described[each].type_modifier) for each in chosen]
        shape = self._shape(settings, known, key, found)
        check_identity(shape, [column.name for column in relation.columns if column.is_key])
        self._compatible(before, shape)
        return shape

    def _chosen(self, settings: TableSettings, key: Sequence[str], there: Sequence[str]) -> list[str]:
        """The captured columns, the key's always among them."""
        wanted = list(there) if settings.columns is None else [*settings.columns]
        wanted += [name for name in key if name not in wanted]
        missing = [name for name in wanted if name not in there]
        if missing:
            raise SchemaHold(
                settings.catalogued,
                f"column {missing[0]} is not there, or is generated and not in the log",
                fix=f"bring it back or take it off the list, then {AFRESH}",
            )
        return wanted

    def _key(self, settings: TableSettings, primary: tuple[str, ...]) -> tuple[str, ...]:
        if settings.key is not None:
            return settings.key
        if primary or settings.append_only:
            return primary
        raise SchemaHold(
            settings.catalogued,
            "the table has no primary key",
            fix="add one, or name a unique index's columns as 'key', or declare the table append_only",
        )

    def _shape(
        self,
        settings: TableSettings,
        facts: TableFacts,
        key: tuple[str, ...],
        found: Sequence[tuple[str, int, int]],
    ) -> Shape:
        now = {column.name: column for column in facts.columns}
        types = self._catalog.types([type_oid for _, type_oid, _ in found])
        parts: list[Part] = []
        for name, type_oid, modifier in found:
            if type_oid not in types or types[type_oid].breaks:
                raise SchemaHold(
                    settings.catalogued,
                    f"the type of column {name} is gone or cannot be sent by the server",
                    fix="list the other columns",
                )
            parts.append(Part(name, modifier, types[type_oid]))
        columns = tuple(_column(part, now.get(part.name)) for part in parts)
        schema = TableSchema(settings.catalogued, columns, key)
        return Shape(settings, facts, schema, tuple(parts))

    def _compatible(self, before: Shape | None, shape: Shape) -> None:
        """Refuse what changed the rows we have without a word in the log.

        Before its first change was seen, the catalogue may be ahead of the stream, and what the stream says counts.
        """
        name = shape.schema.name
        if before is None or name not in self._streamed:
            return
        if before.schema.key != shape.schema.key:
            raise SchemaHold(name, f"its key is now ({', '.join(shape.schema.key)})", fix=AFRESH)
        after = {part.name: part for part in shape.parts}
        for part in before.parts:
            if part.name not in after:
                raise SchemaHold(name, f"column {part.name} was dropped or renamed", fix=AFRESH)
            if not same_values(part, after[part.name]):
                raise SchemaHold(name, f"column {part.name} changed its type", fix=AFRESH)
        self._added({part.name for part in before.parts}, shape)

    def _added(self, before: set[str], shape: Shape) -> None:
        facts = {column.name: column for column in shape.facts.columns}
        for part in shape.parts:
            column = facts.get(part.name)
            if part.name not in before and (column is None or column.fills_old_rows or column.not_null):
                raise SchemaHold(
                    shape.schema.name,
                    f"column {part.name} was added with a value for rows that were there before",
                    fix=AFRESH,
                )


def check_identity(shape: Shape, identity: Collection[str]) -> None:
    """Raise SchemaHold unless updates and deletes name their row by the columns of our key."""
    if not set(shape.schema.key) <= set(identity):
        raise SchemaHold(
            shape.schema.name,
            "its replica identity does not contain its key, so updates and deletes cannot be followed",
            fix=f"{identity_fix(shape.facts, shape.schema.key)}; then {AFRESH}",
        )


def same_values(before: Part, after: Part) -> bool:
    """Whether a change of a column's type left every value as it was."""
    if before.type.base != after.type.base:
        return False
    if after.modifier in (before.modifier, -1):
        return True
    if before.type.base == _VARCHAR:
        return -1 < before.modifier <= after.modifier
    if before.type.base == _NUMERIC and before.modifier != -1:
        scale = 0xFFFF
        same_scale = (before.modifier - 4) & scale == (after.modifier - 4) & scale
        return same_scale and before.modifier <= after.modifier
    return False


def identity_fix(facts: TableFacts, key: Sequence[str]) -> str:
    """The statement that makes updates and deletes carry the key."""
    serving = [each for each in facts.indexes if set(each.columns) == set(key) and each.is_immediate]
    if any(each.is_primary for each in serving):
        return f"ALTER TABLE {facts.quoted} REPLICA IDENTITY DEFAULT"
    index = next((each.name for each in serving), None)
    if index is None and tuple(key) == facts.primary_key:
        return f"ALTER TABLE {facts.quoted} REPLICA IDENTITY FULL"
    if index is None:
        columns = ", ".join(quoted(name) for name in key)
        return f"ALTER TABLE {facts.quoted} ADD PRIMARY KEY ({columns})"
    return f"ALTER TABLE {facts.quoted} REPLICA IDENTITY USING INDEX {quoted(index)}"


def _key_then(relation: Relation, before: Shape | None, now: TableFacts) -> tuple[str, ...]:
    """The primary key when the change was made, which the catalogue may have left behind."""
    if relation.identity != "d":
        return before.schema.key if before is not None else now.primary_key
    told = tuple(column.name for column in relation.columns if column.is_key)
    ordered = [now.primary_key, *([before.schema.key] if before is not None else [])]
    return next((key for key in ordered if set(key) == set(told)), told)


def _column(part: Part, now: ColumnFacts | None) -> Column:
    source_type = now.source_type if now else part.type.name
    return Column(part.name, part.type.kind, source_type, not (now and now.not_null))
