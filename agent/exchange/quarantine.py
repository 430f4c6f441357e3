"""Changes of held tables, in order, and the append-only record of what people decided about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from agent.exchange.checkpoints import Mark, now_us
from agent.exchange.tables import Tables
from agent.exchange.tablestates import TableStatus
from proto import codec
from proto.batch import Batch, Delta, Position
from proto.errors import BatchCorrupt, Refused
from proto.schema import TableSchema

LISTED: Final = 1000


class Status(StrEnum):
    """What became of an entry."""

    HELD = "held"
    SKIPPED = "skipped"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Entry:
    """Changes of one table that wait, and why."""

    id: int
    table: str
    code: str
    what: str
    fix: str
    rows: int
    since_us: int
    position: Position


class Quarantine:
    """The quarantine of one stream."""

    def __init__(self, tables: Tables, stream: str) -> None:
        self._table = tables.quarantine
        self._audit = tables.audit
        self._stream = stream

    def add(self, connection: Connection, mark: Mark, status: TableStatus, held: Batch) -> None:
        """Keep *held*, which has changes of this one table only."""
        header, payload = codec.encode(held)
        connection.execute(
            insert(self._table).values(
                stream=self._stream,
                id=mark.next_quarantine_id(),
                name=status.name,
                status=Status.HELD,
                code=status.code,
                what=status.sentence,
                fix=status.fix,
                rows=held.rows,
                since_us=now_us(),
                position=held.position,
                continues=held.continues,
                header=header,
                payload=payload,
            )
        )

    def entries(self, connection: Connection) -> list[Entry]:
        """What is held, oldest first; at most LISTED."""
        here = self._table.c
        columns = (
            here.id,
            here.name,
            here.code,
            here.what,
            here.fix,
            here.rows,
            here.since_us,
            here.position,
        )
        statement = select(*columns).where(self._held).order_by(here.id).limit(LISTED)
        return [Entry(*row) for row in connection.execute(statement)]

    def rows(self, connection: Connection, entry: int) -> tuple[Delta, ...]:
        """The changes of one entry, also of one that was skipped. Raises Refused if there is none."""
        statement = select(self._table).where(self._mine, self._table.c.id == entry)
        row = connection.execute(statement).mappings().one_or_none()
        if row is None:
            raise Refused(
                f"there is no entry {entry}", where=self._stream, fix="exchange-agent quarantine list"
            )
        return _batch(row).deltas

    def oldest(self, connection: Connection, table: str) -> list[tuple[int, Batch]]:
        """The oldest held source transaction of *table*: one entry, or the parts of a large one."""
        parts: list[tuple[int, Batch]] = []
        after = 0
        while not parts or parts[-1][1].continues:
            part = self._next(connection, table, after)
            if part is None:
                break
            after = part[0]
            parts.append(part)
        return parts

    def waits(self, connection: Connection, table: str) -> bool:
        """Whether anything of *table* is held."""
        return self._next(connection, table, 0) is not None

    def forget(self, connection: Connection, entry: int) -> None:
        """Drop an entry whose changes went their normal way."""
        connection.execute(delete(self._table).where(self._mine, self._table.c.id == entry))

    def skip(self, connection: Connection, table: str, entry: int) -> None:
        """Leave one entry out of every later retry. Raises Refused if it is not held."""
        here = self._table.c
        statement = update(self._table).where(self._held, here.id == entry, here.name == table)
        if connection.execute(statement.values(status=Status.SKIPPED)).rowcount != 1:
            raise Refused(
                f"entry {entry} of table {table} is not held",
                where=self._stream,
                fix="exchange-agent quarantine list",
            )

    def supersede(self, connection: Connection, table: str) -> int:
        """Leave all entries of *table* out: a fresh copy brings what they say. Returns how many."""
        statement = update(self._table).where(self._held, self._table.c.name == table)
        return connection.execute(statement.values(status=Status.SUPERSEDED)).rowcount

    def take_out(self, connection: Connection, closes: Callable[[TableSchema], bool]) -> int:
        """Forget every entry with rows of a shape that *closes* names, whatever became of it. Returns how many."""
        here = self._table.c
        rows = connection.execute(select(here.id, here.header).where(self._mine).order_by(here.id)).all()
        gone = [row.id for row in rows if _speaks_of(bytes(row.header), closes)]
        for entry in gone:
            self.forget(connection, entry)
        return len(gone)

    def record(
        self,
        connection: Connection,
        mark: Mark,
        event: str,
        who: str,
        table: str,
        facts: Mapping[str, str | int],
    ) -> None:
        """Append to the audit: who decided what; never a row value."""
        connection.execute(
            insert(self._audit).values(
                stream=self._stream,
                id=mark.next_audit_id(),
                at_us=now_us(),
                event=event,
                who=who,
                name=table,
                facts=json.dumps(facts, sort_keys=True, ensure_ascii=False),
            )
        )

    def _next(self, connection: Connection, table: str, after: int) -> tuple[int, Batch] | None:
        here = self._table.c
        statement = (
            select(self._table)
            .where(self._held, here.name == table, here.id > after)
            .order_by(here.id)
            .limit(1)
        )
        row = connection.execute(statement).mappings().one_or_none()
        return (row["id"], _batch(row)) if row else None

    @property
    def _mine(self) -> ColumnElement[bool]:
        return self._table.c.stream == self._stream

    @property
    def _held(self) -> ColumnElement[bool]:
        return (self._table.c.stream == self._stream) & (self._table.c.status == Status.HELD)


def _speaks_of(header: bytes, closes: Callable[[TableSchema], bool]) -> bool:
    try:
        return any(map(closes, codec.schemas_of(codec.read_header(header))))
    except BatchCorrupt:
        # Damaged: what it holds nobody can tell, and a retry would refuse it.
        return True


def _batch(row: RowMapping) -> Batch:
    return codec.decode(bytes(row["header"]), bytes(row["payload"]))
