"""The node's part of the sharing catalogue as it was heard last: it stays in force while central is away."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, delete, insert, select

from agent.exchange.checkpoints import now_us
from agent.exchange.place import READS, translated
from agent.exchange.store import place_of
from agent.exchange.tables import tables


@dataclass(frozen=True, slots=True)
class Signed:
    """As it came over the wire, so that the signature can be verified whenever it is read."""

    document: bytes
    """Empty: central was heard, and signs no catalogue."""
    signature: bytes = b""
    certificate: bytes = b""
    kept_us: int = 0


class Catalogued:
    """Keeps it, one for each node. Each method is one transaction; any thread may call them."""

    def __init__(self, engine: Engine, node: str) -> None:
        self._engine, self._node, self._place = engine, node, place_of(engine)
        self._table = tables(self._place.schema, self._place.prefix).catalogue

    def read(self) -> Signed | None:
        """What was kept last; None when central was never heard. Raises Transient and Halt."""
        c = self._table.c
        query = select(c.document, c.signature, c.certificate, c.kept_us).where(c.node == self._node)
        with (
            translated(self._place, "catalogue"),
            self._engine.connect().execution_options(**READS) as connection,
        ):
            row = connection.execute(query).one_or_none()
        return Signed(bytes(row[0]), bytes(row[1]), bytes(row[2]), row[3]) if row else None

    def keep(self, part: Signed) -> None:
        """Put *part* in the place of what was kept."""
        row = {
            "node": self._node,
            "document": part.document,
            "signature": part.signature,
            "certificate": part.certificate,
            "kept_us": now_us(),
        }
        with translated(self._place, "catalogue"), self._engine.begin() as connection:
            connection.execute(delete(self._table).where(self._table.c.node == self._node))
            connection.execute(insert(self._table), row)
