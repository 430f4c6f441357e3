"""Tables of the platform that are held: what their streams brought them waits, and the other tables go on.

Nothing is copied. The ledger has every batch; a row here says up to which one a table shows its stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, case, delete, func, insert, select, update

from central.store.tables import TABLE_HOLDS
from proto.batch import Head
from proto.states import State

_T: Final = TABLE_HOLDS.c
_STREAM: Final = _T.stream == bindparam("which")
_HERE: Final = (_STREAM, _T.table_name == bindparam("named"))
IS_HELD: Final = _T.state != State.RUNNING
_ONE: Final = select(TABLE_HOLDS).where(*_HERE)
_ALL: Final = select(TABLE_HOLDS).where(IS_HELD).order_by(_T.stream, _T.since_us, _T.table_name)
_MINE: Final = _ALL.where(_STREAM)
_CHANGE: Final = update(TABLE_HOLDS).where(*_HERE)
_FORGET: Final = delete(TABLE_HOLDS).where(*_HERE)
_NEEDED: Final = select(func.min(_T.after_seq)).where(_STREAM, IS_HELD, _T.left_out == 0)
ASKED: Final = select(func.max(_T.asked)).where(_STREAM, IS_HELD).scalar_subquery().label("asked")
"""As a part of whatever statement reads a cursor: NULL = no table is held; 1 = a retry is asked for."""


@dataclass(frozen=True, slots=True)
class HeldTable:
    """One table that is held, or was."""

    stream: str
    table: str
    state: str
    code: str
    sentence: str
    """With the places of bad rows: for those who run the platform."""
    fix: str
    since_us: int
    held_seq: int
    """The batch whose changes of it cannot be applied."""
    held_digest: bytes
    after: Head
    """The table shows its stream up to here, which is the end of a source transaction."""
    is_asked: bool = False
    """What waits is to be applied again."""
    left_out: bool = False
    """Some of what waits is gone, so that only a fresh copy mends it."""
    broken_seq: int = 0
    """Up to here changes were passed over: the ledger brings nobody from before this number to after it."""

    @property
    def is_held(self) -> bool:
        """Or it only was."""
        return self.state != State.RUNNING

    @property
    def notice(self) -> str:
        """For those who read the table: neither rows nor keys are spoken of."""
        since = f"{datetime.fromtimestamp(self.since_us / 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
        shows = f"it shows its provider's stream up to batch {self.after.seq}"
        return f"the platform holds table {self.table} since {since}: {shows}"


def held_tables(connection: Connection, stream: str) -> dict[str, HeldTable]:
    """Those of *stream* by name, the first held first."""
    return {row.table_name: held_from(row) for row in connection.execute(_MINE, {"which": stream})}


def all_held(connection: Connection) -> dict[str, list[HeldTable]]:
    """Those of every stream."""
    found: dict[str, list[HeldTable]] = {}
    for row in connection.execute(_ALL):
        found.setdefault(row.stream, []).append(held_from(row))
    return found


def held_at(connection: Connection, node: str | None) -> list[HeldTable]:
    """Those of one node's streams, or of all."""
    query = _ALL if node is None else _ALL.where(_T.stream.startswith(f"{node}/", autoescape=True))
    return [held_from(row) for row in connection.execute(query)]


def find(connection: Connection, stream: str, table: str) -> HeldTable | None:
    """What is known of *table*; None when it never was held, or nothing of that matters any more."""
    row = connection.execute(_ONE, {"which": stream, "named": table}).one_or_none()
    return held_from(row) if row else None


def held_table(connection: Connection, stream: str, table: str) -> HeldTable | None:
    """*table*, if it is held."""
    found = find(connection, stream, table)
    return found if found and found.is_held else None


def write(connection: Connection, held: HeldTable) -> None:
    """Store it, new or known."""
    values = {
        "state": str(held.state),
        "code": held.code,
        "sentence": held.sentence,
        "fix": held.fix,
        "since_us": held.since_us,
        "held_seq": held.held_seq,
        "held_digest": held.held_digest,
        "after_seq": held.after.seq,
        "after_digest": held.after.digest,
        "asked": int(held.is_asked),
        "left_out": int(held.left_out),
        "broken_seq": held.broken_seq,
    }
    place = {"which": held.stream, "named": held.table}
    if not connection.execute(_CHANGE.values(**values), place).rowcount:
        connection.execute(insert(TABLE_HOLDS), {"stream": held.stream, "table_name": held.table, **values})


def let_go(connection: Connection, held: HeldTable, broken_seq: int = 0) -> None:
    """The table is not held any more; up to *broken_seq* its changes were passed over."""
    broken = max(held.broken_seq, broken_seq)
    place = {"which": held.stream, "named": held.table}
    if not broken:
        connection.execute(_FORGET, place)
        return
    well = {"state": str(State.RUNNING), "code": "", "sentence": "", "fix": "", "asked": 0, "left_out": 0}
    connection.execute(_CHANGE.values(**well, broken_seq=broken), place)


def needed_after(connection: Connection, stream: str) -> int | None:
    """Batches after this number are still needed by a held table; None = no table is held."""
    needed: int | None = connection.execute(_NEEDED, {"which": stream}).scalar_one()
    return needed


def adopt(connection: Connection, stream: str, head: Head, words: tuple[str, str]) -> None:
    """The stream goes on after *head*, with another past: what waits is gone, as *words* (sentence, fix) say."""
    place = {"which": stream}
    at_most = {
        column.name: case((column > head.seq, head.seq), else_=column)
        for column in (_T.held_seq, _T.after_seq, _T.broken_seq)
    }
    digest = case((_T.after_seq > head.seq, head.digest), else_=_T.after_digest)
    back = update(TABLE_HOLDS).where(_STREAM).values(**at_most, after_digest=digest)
    connection.execute(back, place)
    sentence, fix = words
    gone = update(TABLE_HOLDS).where(_STREAM, IS_HELD)
    connection.execute(gone.values(left_out=1, asked=0, sentence=sentence, fix=fix), place)


def held_from(row: Row[Any]) -> HeldTable:
    """From its row in the database."""
    return HeldTable(
        stream=row.stream,
        table=row.table_name,
        state=row.state,
        code=row.code,
        sentence=row.sentence,
        fix=row.fix,
        since_us=row.since_us,
        held_seq=row.held_seq,
        held_digest=bytes(row.held_digest),
        after=Head(0, row.after_seq, bytes(row.after_digest)),
        is_asked=bool(row.asked),
        left_out=bool(row.left_out),
        broken_seq=row.broken_seq,
    )
