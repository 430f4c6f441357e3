"""Something on the platform that refuses rows for as long as it stands: a cause that a person can mend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from central.ledger.tableholds import HeldTable, write
from central.store import now_us, writing
from central.store.names import room_of
from proto.batch import Head
from proto.schema import TableSchema
from replica.opening import open_replica
from tests.support.stores import Store

BAD: Final = "坏"
"""What a row is usually refused for, in its column *column*."""


def hold_by_hand(store: Store, stream: str, table: str) -> HeldTable:
    """The platform holds *table* after batch 7."""
    said = ("QUARANTINE", "QUARANTINE", "batch 8: 坏行", "mend it")
    with writing(store.engine) as connection:
        held = HeldTable(stream, table, *said, now_us(connection), 8, b"8", Head(0, 7, b"7"))
        write(connection, held)
    return held


@dataclass
class Fence:
    """Of one table of one stream."""

    store: Store
    stream: str
    schema: TableSchema
    column: str
    bad: str = BAD
    stands: bool = False

    def up(self) -> None:
        """From now on rows with *bad* in them cannot be written; the table is made if it is not there."""
        if self.stands:
            return
        with writing(self.store.engine) as connection:
            open_replica(self.store.engine, room_of(self.stream)).prepare(connection, self.schema)
        self._run(*(self._triggers() if self.store.is_sqlite else [self._check()]))
        self.stands = True

    def down(self) -> None:
        """The cause is mended."""
        if not self.stands:
            return
        if self.store.is_sqlite:
            self._run(*(f'DROP TRIGGER IF EXISTS "{self._name}.{event}"' for event in ("INSERT", "UPDATE")))
        else:
            self._run(f"ALTER TABLE {self._table} DROP CONSTRAINT IF EXISTS fence")
        self.stands = False

    def _triggers(self) -> list[str]:
        refused = f"WHEN NEW.\"{self.column}\" = '{self.bad}' BEGIN SELECT RAISE(ABORT, 'fenced'); END"
        return [
            f'CREATE TRIGGER "{self._name}.{event}" BEFORE {event} ON {self._table} {refused}'
            for event in ("INSERT", "UPDATE")
        ]

    def _check(self) -> str:
        condition = f"CHECK (\"{self.column}\" <> '{self.bad}') NOT VALID"
        return f"ALTER TABLE {self._table} ADD CONSTRAINT fence {condition}"

    @property
    def _name(self) -> str:
        return f"{room_of(self.stream)}.{self.schema.name}"

    @property
    def _table(self) -> str:
        room = room_of(self.stream)
        return f'"{self._name}"' if self.store.is_sqlite else f'"{room}"."{self.schema.name}"'

    def _run(self, *statements: str) -> None:
        with writing(self.store.engine) as connection:
            for statement in statements:
                connection.execute(text(statement))
