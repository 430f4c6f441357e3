"""How a table comes to be held and is let go again: always together with its record in the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from sqlalchemy import Connection, Engine

from central import audit
from central.apply import lease
from central.apply.locating import Location
from central.ledger import tableholds
from central.ledger.tableholds import HeldTable
from central.store import now_us, reading, writing
from proto.batch import Head, SealedBatch
from proto.errors import SchemaHold, TableHold

RETRIED: Final = "retried"
COPIED: Final = "copied afresh"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What one batch brought to a table and could not be applied."""

    error: TableHold
    batch: SealedBatch
    rows: Sequence[Location]

    @property
    def sentence(self) -> str:
        """For those who run the platform."""
        where = f": {', '.join(map(str, self.rows))}" if self.rows else ""
        return f"batch {self.batch.seq}: {self.error.what}{where}"


def hold_table(connection: Connection, after: Head, trouble: Trouble) -> None:
    """From now on the table is left out; it shows its stream up to *after*.

    One that is held already and was to be emptied begins at that transaction: what waited before it counts for nothing.
    """
    error, batch = trouble.error, trouble.batch
    known = tableholds.find(connection, batch.stream, error.table)
    before = known if known is not None and known.is_held else None
    broken = known.broken_seq if known else 0
    if before is not None and before.after.seq < after.seq:
        broken = max(broken, after.seq)
    held = HeldTable(
        stream=batch.stream,
        table=error.table,
        state=str(error.state),
        code=error.code,
        sentence=trouble.sentence,
        fix=_fix(batch.stream, error),
        since_us=before.since_us if before else now_us(connection),
        held_seq=batch.seq,
        held_digest=batch.digest,
        after=after,
        broken_seq=broken,
    )
    tableholds.write(connection, held)
    facts: dict[str, audit.Fact] = {"table": held.table, "seq": batch.seq, "after_seq": after.seq}
    audit.record(connection, held.stream, "table_held", **facts, code=held.code, what=held.sentence)
    _log.warning("table_held", stream=held.stream, table=held.table, error=held.sentence)


def let_go(connection: Connection, held: HeldTable, why: str, broken_seq: int = 0) -> None:
    """The table follows its stream again; up to *broken_seq* its changes were passed over."""
    tableholds.let_go(connection, held, broken_seq)
    audit.record(connection, held.stream, "table_let_go", table=held.table, why=why)
    _log.info("table_let_go", stream=held.stream, table=held.table, why=why)


def leave_out(connection: Connection, held: HeldTable, what: str) -> None:
    """Some of what waits is gone: only a fresh copy mends the table."""
    sentence = f"{what}; it was held because of {held.sentence}"
    left = replace(held, left_out=True, is_asked=False, sentence=sentence, fix=copy_afresh(held.table))
    tableholds.write(connection, left)
    audit.record(connection, held.stream, "table_left_out", table=held.table, what=what)
    _log.warning("table_left_out", stream=held.stream, table=held.table, what=what)


def give_up_old(engine: Engine, before_us: int) -> int:
    """Tables held since before *before_us* no longer keep the ledger; returns how many. Each stream is a transaction."""
    with reading(engine) as connection:
        streams = [
            stream
            for stream, tables in tableholds.all_held(connection).items()
            if any(_is_old(each, before_us) for each in tables)
        ]
    given_up = 0
    for stream in streams:
        with writing(engine) as connection:
            lease.lock(connection, stream)
            for held in tableholds.held_tables(connection, stream).values():
                if _is_old(held, before_us):
                    leave_out(connection, held, "what waits is not kept any longer (ledger.held_days)")
                    given_up += 1
    return given_up


def _is_old(held: HeldTable, before_us: int) -> bool:
    return held.since_us < before_us and not held.left_out


def copy_afresh(table: str) -> str:
    """What always mends a table."""
    return f"at the node: exchange-agent snapshot {table}"


def _fix(stream: str, error: TableHold) -> str:
    retry = f"exchange-central stream retry {stream} {error.table}"
    if isinstance(error, SchemaHold):
        # Its own advice says the same.
        return f"{copy_afresh(error.table)}; or mend the cause, then {retry}"
    return f"{error.fix or 'mend the cause'}; then {retry}; or {copy_afresh(error.table)}"
