"""What may leave the department: what its own settings list *and* the platform's catalogue knows (SD21.1).

Pure functions. The catalogue can only take away: nothing leaves because it stands there. An item that is not shared never
leaves, whatever the settings say, unless a statutory grant is directed at somebody (SD05.2, SD05.4).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from agent.sources.settings import TableSettings
from proto.catalogue import NodeCatalogue, NodeEntry
from proto.errors import Halt, SchemaHold
from proto.schema import TableSchema
from proto.states import State

NOT_SHARED: Final = "not_shared"
_Table = TypeVar("_Table", bound=TableSettings)


class NotCatalogued(SchemaHold):
    """The catalogue does not let the table, or a column of it, leave."""

    code = "NOT_CATALOGUED"


class NothingCatalogued(Halt):
    """The catalogue lets no table of the source leave; another release ends it."""

    code = "NOT_CATALOGUED"
    state = State.SCHEMA_HOLD


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be in the rows of one table."""

    entry: str
    """Its code; several where several resources are made of the table."""
    known: tuple[str, ...]
    """The columns that the catalogue has items for."""
    key: tuple[str, ...]
    closed: frozenset[str]
    """Those of them that do not leave."""
    binds: bool
    """Whether a column without an item stays here."""

    def stranger(self, columns: Iterable[str]) -> str:
        """Why rows of these columns may not leave; "" when they may."""
        columns = tuple(columns)
        if closed := [name for name in columns if name in self.closed]:
            return f"column {', '.join(closed)} is not shared (entry {self.entry})"
        if self.binds and (unknown := [name for name in columns if name not in self.known]):
            return _no_item(self.entry, unknown)
        return ""


@dataclass(frozen=True, slots=True)
class Bound(Generic[_Table]):
    """The tables of one source as they may leave."""

    tables: tuple[_Table, ...]
    """Narrowed to what may leave; those that may not leave at all are missing."""
    reasons: Mapping[str, str]
    """Why a table does not leave, by catalogued name."""
    rules: Mapping[str, Rule] = field(default_factory=dict)
    """Of the tables that the catalogue has an entry for, by catalogued name."""
    kept: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The columns that are asked for and stay here, by catalogued name of their table."""
    source: str = ""
    placed: frozenset[str] = frozenset()
    """Tables that do not leave because a closed column's newest value is in every position."""

    @property
    def mark(self) -> str:
        """Differs whenever rows of another shape may leave."""
        rules = [
            (name, sorted(rule.closed), sorted(rule.known) if rule.binds else None)
            for name, rule in sorted(self.rules.items())
        ]
        return hashlib.sha256(repr((sorted(self.reasons), rules)).encode()).hexdigest()

    def closes(self, schema: TableSchema) -> bool:
        """Whether rows of this shape may not leave."""
        rule = self.rules.get(schema.name)
        return schema.name in self.reasons or bool(
            rule and rule.stranger(each.name for each in schema.columns)
        )

    @property
    def sentence(self) -> str:
        """What stays here of what the settings ask for; "" if nothing does."""
        columns = [f"{table}.{name}" for table, names in self.kept.items() for name in names]
        return ", ".join([*self.reasons, *columns])

    def hold(self, table: str) -> NotCatalogued | None:
        """Why *table* does not leave at all; None when it does."""
        return _hold(self.source, table, self.reasons[table]) if table in self.reasons else None

    def demand_any(self) -> None:
        """Raise NothingCatalogued when no table may leave: then there is nothing to read."""
        if not self.tables:
            what = f"nothing of it may leave: {'; '.join(self.reasons.values())}"
            raise NothingCatalogued(what, where=self.source, fix=_fix(self.source))

    def refusal(self, schema: TableSchema) -> NotCatalogued | None:
        """Why rows of this shape may not leave: the source itself adds the columns of a key to what is asked of it."""
        rule = self.rules.get(schema.name)
        why = rule.stranger(column.name for column in schema.columns) if rule else ""
        return _hold(self.source, schema.name, why) if why else None


def bind(source: str, tables: Sequence[_Table], catalogue: NodeCatalogue | None) -> Bound[_Table]:
    """*tables* of *source* under *catalogue*; everything leaves while the platform has no release yet."""
    if catalogue is None or not catalogue.release:
        return Bound(tuple(tables), {}, source=source)
    entries: dict[str, list[NodeEntry]] = defaultdict(list)
    for each in catalogue.entries:
        if each.source == source:
            entries[each.table].append(each)
    found: list[_Table] = []
    reasons: dict[str, str] = {}
    rules: dict[str, Rule] = {}
    kept: dict[str, tuple[str, ...]] = {}
    placed: set[str] = set()
    for table in tables:
        name = table.catalogued
        if name not in entries:
            if catalogue.binds:
                reasons[name] = f"the sharing catalogue has no entry for table {name}"
            else:
                found.append(table)
            continue
        rules[name] = rule = _rule(entries[name], catalogue.binds)
        if table.listed is None and not rule.binds and not rule.closed:
            found.append(table)
            continue
        allowed = _allowed(table, rule)
        if isinstance(allowed, str):
            reasons[name] = allowed
            placed |= {name} if rule.closed.intersection(table.placed) else set()
        else:
            found.append(table if allowed == table.listed else table.narrowed(allowed))
            kept[name] = tuple(each for each in table.listed or rule.known if each in rule.closed)
    shown = {name: each for name, each in kept.items() if each}
    return Bound(tuple(found), reasons, rules, shown, source, frozenset(placed))


def _rule(entries: Sequence[NodeEntry], binds: bool) -> Rule:
    """Several resources may be made of one table: what one of them does not share is not shared, unless it is directed."""
    columns = [each for entry in entries for each in entry.columns]
    closed = {each.column for each in columns if each.share_type == NOT_SHARED}
    return Rule(
        ", ".join(entry.code for entry in entries),
        tuple(dict.fromkeys(each.column for each in columns)),
        tuple(dict.fromkeys(each.column for each in columns if each.is_key)),
        frozenset(closed - {each.column for each in columns if each.directed}),
        binds,
    )


def _allowed(table: TableSettings, rule: Rule) -> tuple[str, ...] | str:
    """The columns that leave, or why the table does not."""
    listed = table.listed
    if rule.binds and (strange := [each for each in listed or () if each not in rule.known]):
        return _no_item(rule.entry, strange)
    if hidden := [each for each in table.key or rule.key if each in rule.closed]:
        return f"column {', '.join(hidden)} is not shared (entry {rule.entry}), but it is the key"
    if shown := [each for each in table.placed if each in rule.closed]:
        said = f"column {shown[0]} is not shared (entry {rule.entry})"
        return f"{said}, but as the watermark its newest value is in every position"
    allowed = tuple(each for each in listed or rule.known if each not in rule.closed)
    return allowed or f"no item of entry {rule.entry} that is asked for is shared"


def _no_item(entry: str, columns: Sequence[str]) -> str:
    return f"entry {entry} of the sharing catalogue has no item for column {', '.join(columns)}"


def _hold(source: str, table: str, what: str) -> NotCatalogued:
    return NotCatalogued(table, what, where=source, fix=_fix(source))


def _fix(source: str) -> str:
    return (
        "have it registered and released at the platform (exchange-central catalogue propose, draft), or take it out of "
        f"source {source} in the settings; it leaves by itself once it may, copied afresh"
    )
