"""Deliveries kept as they came: parts that wait for the last one of their transaction, and what an import has not had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.sql.elements import ColumnElement

from agent.exchange.tables import Tables
from proto import codec
from proto.batch import Batch


@dataclass(frozen=True, slots=True)
class Kept:
    """One delivery in the inbox."""

    generation: int
    seq: int
    header: bytes = field(repr=False)
    payload: bytes = field(repr=False)

    @property
    def batch(self) -> Batch:
        """What it says; checked when it came."""
        return codec.decode(self.header, self.payload)

    @property
    def continues(self) -> bool:
        """Whether its source transaction ends in a later one."""
        return codec.read_header(self.header).continues


class Inbox:
    """The kept deliveries of all grants."""

    def __init__(self, tables: Tables) -> None:
        self._table = tables.inbox

    def keep(self, connection: Connection, grant: str, kept: Kept) -> int:
        """Add one; returns its size."""
        values = {"grant_id": grant, "generation": kept.generation, "seq": kept.seq}
        connection.execute(insert(self._table).values(**values, header=kept.header, payload=kept.payload))
        return len(kept.header) + len(kept.payload)

    def after(self, connection: Connection, grant: str, generation: int, seq: int) -> Iterator[Kept]:
        """Those of one generation after *seq*, one by one, so that memory holds a single one."""
        while (found := self.next(connection, grant, generation, seq)) is not None:
            if found.generation != generation:
                return
            yield found
            seq = found.seq

    def next(self, connection: Connection, grant: str, generation: int, seq: int) -> Kept | None:
        """The first after this place, also of a later generation."""
        here = self._table.c
        later = (here.generation > generation) | ((here.generation == generation) & (here.seq > seq))
        statement = (
            select(here.generation, here.seq, here.header, here.payload)
            .where(here.grant_id == grant, later)
            .order_by(here.generation, here.seq)
            .limit(1)
        )
        row = connection.execute(statement).one_or_none()
        return Kept(row.generation, row.seq, bytes(row.header), bytes(row.payload)) if row else None

    def forget(self, connection: Connection, grant: str, upto: tuple[int, int] | None = None) -> int:
        """Drop those of one grant, all or up to generation and number; returns how many bytes are left."""
        here = self._table.c
        gone: list[ColumnElement[bool]] = [here.grant_id == grant]
        if upto is not None:
            generation, seq = upto
            gone.append(
                (here.generation < generation) | ((here.generation == generation) & (here.seq <= seq))
            )
        connection.execute(delete(self._table).where(*gone))
        size = func.coalesce(func.sum(func.length(here.header) + func.length(here.payload)), 0)
        return int(connection.execute(select(size).where(here.grant_id == grant)).scalar_one())
