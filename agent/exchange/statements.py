"""What this node said of its reads and central has not heard yet: it outlives the process, in order."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, delete, insert, select

from agent.exchange.place import READS, translated
from agent.exchange.store import place_of
from agent.exchange.tables import tables

AT_ONCE = 500


class Statements:
    """Keeps them, by number. Each method is one transaction; raises Transient and Halt."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._place = engine, place_of(engine)
        self._table = tables(self._place.schema, self._place.prefix).statements

    def recall(self) -> Sequence[tuple[int, bytes]]:
        """All of them, oldest first."""
        c = self._table.c
        with (
            translated(self._place, "statements"),
            self._engine.connect().execution_options(**READS) as connection,
        ):
            rows = connection.execute(select(c.n, c.content).order_by(c.n)).all()
        return [(row.n, bytes(row.content)) for row in rows]

    def keep(self, statements: Sequence[tuple[int, bytes]], first: int) -> None:
        """Write down these in the place of what had their numbers, and forget every one before *first*."""
        c = self._table.c
        rows = [{"n": n, "content": content} for n, content in statements]
        with translated(self._place, "statements"), self._engine.begin() as connection:
            connection.execute(delete(self._table).where(c.n < first))
            for start in range(0, len(rows), AT_ONCE):
                some = rows[start : start + AT_ONCE]
                connection.execute(delete(self._table).where(c.n.in_([row["n"] for row in some])))
                connection.execute(insert(self._table), some)
