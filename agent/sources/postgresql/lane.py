"""One captured relation: how pgoutput describes it, how its rows are read and handed on to be collapsed.

Values come in PostgreSQL's binary form and are copied as they are; values that come as text are converted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from agent.sources.collapse import Absent, Field, Pending
from proto.batch import Delta
from proto.errors import BadRow, Refused, SchemaHold
from proto.schema import TableSchema
from proto.values import Kind, from_text

HEADER_BYTES: Final = 25
"""Of an XLogData message: 'w', two positions and a time."""

RELID: Final = struct.Struct(">I")
_COUNT: Final = struct.Struct(">h")
LENGTH: Final = struct.Struct(">i")
_COLUMN: Final = struct.Struct(">Ii")
_NULL, _UNCHANGED, _TEXT, _BINARY = b"nutb"
_KEY, _OLD, _NEW = b"KON"


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A published column as the server describes it."""

    name: str
    type_oid: int
    type_modifier: int
    is_key: bool
    """Part of the replica identity; with identity FULL every column is."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A published table as the server describes it; the root's, when partitions are published as one."""

    relid: int
    namespace: str
    name: str
    identity: str
    """d = primary key, n = nothing, f = full, i = an index."""
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class TablePlan:
    """How a relation's columns become a table's."""

    schema: TableSchema
    picks: tuple[int, ...]
    """For each column of the schema, its place among the relation's columns."""
    texts: frozenset[int] = frozenset()
    """Schema columns of kind OTHER whose binary form is their text (enums); others must be sent as text."""


class Lane:
    """A captured relation: reads its changes and collapses them."""

    def __init__(self, relation: Relation, plan: TablePlan, closed: list[Delta]) -> None:
        self.relation = relation
        self.picks = plan.picks
        self.copied = tuple(
            column.kind is not Kind.OTHER or at in plan.texts for at, column in enumerate(plan.schema.columns)
        )
        """For each column of the schema: its binary form is the canonical one."""
        self._identity = tuple(relation.columns[at].is_key for at in plan.picks)
        self.whole_identity = all(self._identity)
        """An old row comes with all its columns."""
        self.pending = Pending(plan.schema, closed, self.whole_identity)
        if not all(self._identity[at] for at in plan.schema.key_indexes):
            raise SchemaHold(
                plan.schema.name,
                "the replica identity does not contain the key, so deletes and key changes cannot be followed",
                fix=f'ALTER TABLE "{relation.namespace}"."{relation.name}" REPLICA IDENTITY FULL',
            )

    def take_in(self, message: bytes) -> None:
        """One insert, update or delete."""
        operation = message[HEADER_BYTES]
        at = HEADER_BYTES + 5
        before: list[Field] | None = None
        if message[at] in (_KEY, _OLD):
            before, at = self._row(message, at)
        if operation == ord("D") and before is not None:
            self.pending.delete(before)
            return
        if message[at] != _NEW:
            raise Refused("a change carries no row")
        row, _ = self._row(message, at)
        if operation == ord("I"):
            self.pending.insert(row)
        else:
            self.pending.update(before, row)

    def _row(self, message: bytes, at: int) -> tuple[list[Field], int]:
        """The schema's columns of the tuple at *at*, and where it ends."""
        only_key = message[at] == _KEY
        raw, end = _columns(message, at + 1)
        row: list[Field] = []
        for number, pick in enumerate(self.picks):
            form, value = raw[pick]
            if form == _UNCHANGED or (only_key and not self._identity[number]):
                row.append(Absent.UNCHANGED)
            else:
                row.append(self._value(number, form, value))
        return row, end

    def _value(self, number: int, form: int, value: bytes | None) -> bytes | None:
        if value is None:
            return None
        column = self.pending.schema.columns[number]
        where = f"{self.pending.schema.name}.{column.name}"
        if form == _BINARY:
            if not self.copied[number]:
                raise SchemaHold(
                    self.pending.schema.name,
                    f"{column.source_type or 'its type'} must be sent as text",
                    where=where,
                )
            return value
        try:
            return from_text(column.kind, value.decode())
        except (Refused, UnicodeDecodeError) as error:
            raise BadRow(
                self.pending.schema.name, "the server's text for a value is not understood", where=where
            ) from error


def read_relation(body: bytes) -> Relation:
    """A relation from the body of its description, which starts at the relation's number."""
    (relid,) = RELID.unpack_from(body)
    namespace, at = string_at(body, 4)
    name, at = string_at(body, at)
    identity = chr(body[at])
    (count,) = _COUNT.unpack_from(body, at + 1)
    at += 3
    columns: list[RelationColumn] = []
    for _ in range(count):
        flags = body[at]
        column, at = string_at(body, at + 1)
        type_oid, type_modifier = _COLUMN.unpack_from(body, at)
        at += _COLUMN.size
        columns.append(RelationColumn(column, type_oid, type_modifier, bool(flags & 1)))
    return Relation(relid, namespace or "pg_catalog", name, identity, tuple(columns))


def _columns(message: bytes, at: int) -> tuple[list[tuple[int, bytes | None]], int]:
    """Form and bytes of each column of a tuple, and where it ends."""
    (count,) = _COUNT.unpack_from(message, at)
    at += 2
    found: list[tuple[int, bytes | None]] = []
    for _ in range(count):
        form = message[at]
        at += 1
        if form in (_NULL, _UNCHANGED):
            found.append((form, None))
            continue
        (length,) = LENGTH.unpack_from(message, at)
        end = at + 4 + length
        if form not in (_TEXT, _BINARY) or length < 0 or end > len(message):
            raise Refused("a row of the log stream is cut off or has an unknown form")
        found.append((form, message[at + 4 : end]))
        at = end
    return found, at


def string_at(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(0, at)
    return message[at:end].decode(), end + 1
