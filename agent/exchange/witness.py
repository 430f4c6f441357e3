"""This department as a witness of the platform's log: it keeps signed checkpoints, each of which must follow the last.

Of every day the first one is kept, and the newest. A platform that removes or rewrites records must contradict them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, RowMapping, delete, insert, select, update

from agent.exchange.place import READS, translated
from agent.exchange.store import place_of
from agent.exchange.tables import tables
from proto.errors import Diverged
from proto.log import Checkpoint, Signed, demand_follows
from proto.v1 import node_pb2

KEPT: Final = "kept"
BEFORE: Final = "before"
"""Of a log that people gave up: the platform began another one."""
CONTRADICTS: Final = "contradicts"
MOST_CONTRADICTIONS: Final = 100
DAY_US: Final = 86_400_000_000
FIX: Final = (
    "ask the platform what happened to its log; 'exchange-agent log checkpoints' writes down what is held, "
    "'exchange-agent log accept' begins anew"
)


class Witness:
    """The checkpoints in the exchange database. Every public method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._place = engine, place_of(engine)
        self._table = tables(self._place.schema, self._place.prefix).witnessed

    def newest(self) -> int:
        """The number of the newest one; 0 = none is held. Raises Transient."""
        with self._open(READS) as connection:
            found = self._newest(connection, 1)
        return int(found[0]["n"]) if found else 0

    def take(self, found: Sequence[node_pb2.SignedCheckpoint], authorities: bytes) -> None:
        """Keep *found*. Raises SignatureWrong; Diverged when they do not follow, and keeps the first that does not."""
        signed = list(_signed(found))
        with self._open({}) as connection:
            kept = self._newest(connection, 1)
            held = Checkpoint.read(bytes(kept[0]["content"])) if kept else None
            wrong: Diverged | None = None
            for number, each in enumerate(signed, 1):
                checkpoint = each.open(authorities)
                try:
                    if held is not None:
                        demand_follows(held, checkpoint)
                except Diverged as error:
                    wrong = Diverged(error.what, where="the platform's log", fix=FIX)
                    self._keep(connection, each, checkpoint, CONTRADICTS)
                    break
                if held is None or number == len(signed) or _day(checkpoint) != _day(held):
                    self._keep(connection, each, checkpoint, KEPT)
                held = checkpoint
            self._thin(connection)
        if wrong is not None:
            raise wrong

    def held(self) -> list[Signed]:
        """All of them, oldest first, with those of logs that were given up."""
        wanted = self._table.c.state.in_((KEPT, BEFORE))
        with self._open(READS) as connection:
            rows = connection.execute(select(self._table).where(wanted).order_by(self._table.c.at_us))
            return [Signed(bytes(row.content), bytes(row.signature), row.certificate) for row in rows]

    def accept(self, why: str) -> int:
        """Begin anew with the platform's next checkpoint; what is held stays as evidence. Returns how many there are."""
        c = self._table.c
        with self._open({}) as connection:
            gone = connection.execute(
                update(self._table).where(c.state == KEPT).values(state=BEFORE, why=why)
            )
        return gone.rowcount

    @contextmanager
    def _open(self, options: dict[str, bool]) -> Iterator[Connection]:
        with (
            translated(self._place, "the platform's log"),
            self._engine.connect() as plain,
            (connection := plain.execution_options(**options)).begin(),
        ):
            yield connection

    def _newest(self, connection: Connection, most: int) -> Sequence[RowMapping]:
        c = self._table.c
        found = select(self._table).where(c.state == KEPT).order_by(c.n.desc()).limit(most)
        return connection.execute(found).mappings().all()

    def _keep(self, connection: Connection, signed: Signed, checkpoint: Checkpoint, state: str) -> None:
        c = self._table.c
        known = select(c.n).where(c.n == checkpoint.n, c.digest == checkpoint.digest.hex())
        if connection.execute(known).first() is not None:
            return
        if state == CONTRADICTS:
            others = connection.execute(select(c.n).where(c.state == CONTRADICTS).limit(MOST_CONTRADICTIONS))
            if len(others.all()) == MOST_CONTRADICTIONS:
                return
        connection.execute(
            insert(self._table).values(
                n=checkpoint.n,
                digest=checkpoint.digest.hex(),
                at_us=checkpoint.at_us,
                state=state,
                content=signed.content,
                signature=signed.signature,
                certificate=signed.certificate,
                why="",
            )
        )

    def _thin(self, connection: Connection) -> None:
        """What was the newest before goes, unless it was the first of its day."""
        c = self._table.c
        newest = self._newest(connection, 3)
        if len(newest) == 3 and newest[1]["at_us"] // DAY_US == newest[2]["at_us"] // DAY_US:
            connection.execute(delete(self._table).where(c.n == newest[1]["n"], c.state == KEPT))


def _signed(found: Iterable[node_pb2.SignedCheckpoint]) -> Iterator[Signed]:
    certificate = ""
    for each in found:
        certificate = each.certificate or certificate
        yield Signed(each.content, each.signature, certificate)


def _day(checkpoint: Checkpoint) -> int:
    return checkpoint.at_us // DAY_US
