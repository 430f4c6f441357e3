"""What waits of a held table goes into it, from the ledger, whole source transactions at a time.

How far that has come moves with the rows. Other tables go on between two transactions of it; when the table shows its
stream as far as they do, it is let go.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from sqlalchemy import Connection, Engine, bindparam, update

from central.apply import holding, lease
from central.apply.locating import Location, locate_in
from central.apply.tables import Fingerprints, Tables, deltas_of
from central.ledger import Damaged, Ledger, Span, tableholds
from central.ledger.tableholds import HeldTable
from central.store import writing
from central.store.tables import APPLIED
from proto import codec
from proto.batch import Delta, Head, SealedBatch
from proto.errors import BadRow, ExchangeError, Refused, TableHold, Transient

SHARE: Final = 4
"""It looks at so many times the bytes that one transaction applies, so that it catches up with a busy stream."""
_COUNT: Final = (
    update(APPLIED)
    .where(APPLIED.c.stream == bindparam("which"))
    .values(rows=APPLIED.c.rows + bindparam("more_rows"))
)


@dataclass(slots=True)
class _Run:
    """What one transaction has replayed so far."""

    held: HeldTable | None = None
    whole: Head = field(default_factory=Head)
    """The end of the last source transaction that went in whole."""
    at: SealedBatch | None = None
    """The batch under way."""
    rows: int = 0
    bytes: int = 0
    shapes: Fingerprints = field(default_factory=dict)


class Replay:
    """Of one stream; for its applier alone."""

    def __init__(self, engine: Engine, stream: str, tables: Tables, limits: tuple[Span, int]) -> None:
        self._engine = engine
        self._stream = stream
        self._tables = tables
        self._limit, self._reading_bytes = limits
        self._ledger = Ledger()

    def step(self, token: int) -> None:
        """One transaction for the table that was asked for first. Raises LeaseLost, and Transient."""
        run = _Run()
        try:
            self._go(token, run)
        except (TableHold, Damaged) as error:
            self._stop(token, run, error)

    def _go(self, token: int, run: _Run, last_seq: int | None = None) -> None:
        with writing(self._engine, durable=False) as connection:
            applied = lease.hold(connection, self._stream, token).head
            held = run.held = _asked(connection, self._stream)
            if held is None:
                return
            run.whole = held.after
            self._put(connection, held, run, last_seq or applied.seq)
            connection.execute(_COUNT, {"which": self._stream, "more_rows": run.rows})
            if run.whole.seq == applied.seq:
                holding.let_go(connection, held, holding.RETRIED)
            else:
                tableholds.write(connection, replace(held, after=run.whole))
        self._tables.committed(run.shapes)

    def _put(self, connection: Connection, held: HeldTable, run: _Run, last_seq: int) -> None:
        room = self._reading_bytes
        for sealed in self._ledger.walk(connection, self._stream, held.after, last_seq, room):
            run.at = sealed
            run.bytes += len(sealed.header) + len(sealed.payload)
            for delta in _deltas(sealed, held.table):
                self._tables.put(connection, delta, run.shapes)
                run.rows += delta.rows
            if not codec.read_header(sealed.header).continues:
                run.whole = sealed.head
                if run.rows >= self._limit.rows or run.bytes >= self._limit.bytes * SHARE:
                    return

    def _stop(self, token: int, run: _Run, error: ExchangeError) -> None:
        """Keep what lies before the batch that cannot be applied, and say why the table stays held."""
        if run.held is None:
            raise error
        if run.whole.seq > run.held.after.seq:
            try:
                self._go(token, _Run(), run.whole.seq)
            except (TableHold, Damaged) as other:
                # A moment ago it went in: whatever this is, it is looked at again.
                raise Transient(f"replayed in part: {other.what}", where=self._stream) from other
        is_bad = isinstance(error, BadRow)
        is_first = run.at is not None and run.at.seq == run.whole.seq + 1
        rows = self._rows(token, run.at, run.held.table) if run.at and is_first and is_bad else []
        with writing(self._engine) as connection:
            lease.hold(connection, self._stream, token)
            held = tableholds.held_table(connection, self._stream, run.held.table)
            if held is None:
                return
            if isinstance(error, TableHold) and run.at is not None:
                holding.hold_table(connection, held.after, holding.Trouble(error, run.at, rows))
            else:
                holding.leave_out(connection, held, error.what)

    def _rows(self, token: int, sealed: SealedBatch, table: str) -> list[Location]:
        return locate_in(_deltas(sealed, table), partial(self._tables.attempt, token))


def _asked(connection: Connection, stream: str) -> HeldTable | None:
    return next((each for each in tableholds.held_tables(connection, stream).values() if each.is_asked), None)


def _deltas(sealed: SealedBatch, table: str) -> list[Delta]:
    """What a batch brings to *table*; the payload of one that brings nothing is not looked at."""
    try:
        if not any(schema.name == table for schema in codec.read_header(sealed.header).schemas):
            return []
        return deltas_of(codec.decode(sealed.header, sealed.payload), table)
    except Refused as error:
        raise Damaged(f"batch {sealed.seq}: {error.what}", where=sealed.stream) from error
