"""How far each grant has come: one row, moved together with the record of what moved it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from central.store.deliveries import DELIVERIES
from proto.batch import CHAIN_START
from proto.errors import ExchangeError, Transient
from proto.states import State

_WHICH = DELIVERIES.c.grant_id == bindparam("which")
_READ: Final = select(DELIVERIES).where(_WHICH)
_CHANGE: Final = update(DELIVERIES).where(_WHICH)
_MOVE: Final = _CHANGE.where(
    DELIVERIES.c.generation == bindparam("old_generation"),
    DELIVERIES.c.seq == bindparam("old_seq"),
    DELIVERIES.c.source_seq == bindparam("old_source_seq"),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a grant's delivery is doing, for people."""

    state: str = State.IDLE
    code: str = ""
    sentence: str = ""
    fix: str = ""

    @classmethod
    def of(cls, error: ExchangeError) -> Standing:
        """As an error says it."""
        return cls(str(getattr(error, "state", State.BACKING_OFF)), error.code, error.what, error.fix)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a grant stands in its provider's ledger, and in its first copy."""

    source_seq: int = 0
    """Everything up to this batch was delivered, or was nothing for this grant."""
    source_digest: bytes = CHAIN_START
    copying: bool = True
    """As the consumer was last told."""
    copy_key: bytes | None = b""
    """The next page comes after this key; None = every page was sent."""
    copy_needs: int = 0
    """The copy is complete once the ledger was followed up to here."""
    rows_copied: int = 0
    is_open: bool = False
    """Part of a source commit was delivered, its end was not."""

    @property
    def values(self) -> dict[str, Any]:
        """By column."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Cursor:
    """One row of central_deliveries."""

    grant: str
    consumer: str
    generation: int
    seq: int
    digest: bytes
    place: Place
    rows_expected: int
    fingerprint: bytes
    """Of the view and table that this generation shows."""
    reason: str
    """Why the generation was begun."""
    acked_seq: int
    day: int
    day_rows: int
    standing: Standing
    hold: Standing | None
    """The consumer cannot take more."""


def read(connection: Connection, grant: str) -> Cursor | None:
    """Where *grant* stands; None when nothing was ever delivered under it."""
    row = connection.execute(_READ, {"which": grant}).one_or_none()
    return _cursor(row) if row else None


def make(connection: Connection, grant: str, consumer: str) -> None:
    """The row of a grant that was never delivered."""
    empty = {"digest": CHAIN_START, "source_digest": CHAIN_START, "fingerprint": b""}
    connection.execute(insert(DELIVERIES), {"grant_id": grant, "consumer": consumer, **empty})


def move(connection: Connection, before: Cursor, values: dict[str, Any]) -> None:
    """Set *values* if the cursor is where *before* says. Raises Transient when somebody moved it."""
    where = {
        "which": before.grant,
        "old_generation": before.generation,
        "old_seq": before.seq,
        "old_source_seq": before.place.source_seq,
    }
    if connection.execute(_MOVE.values(**values), where).rowcount != 1:
        raise Transient("the grant was moved on by somebody else", where=before.grant)


def change(connection: Connection, grant: str, **values: Any) -> None:
    """Set what does not depend on where the cursor is."""
    connection.execute(_CHANGE.values(**values), {"which": grant})


def _cursor(row: Row[Any]) -> Cursor:
    return Cursor(
        grant=row.grant_id,
        consumer=row.consumer,
        generation=row.generation,
        seq=row.seq,
        digest=bytes(row.digest),
        place=place_of(row),
        rows_expected=row.rows_expected,
        fingerprint=bytes(row.fingerprint),
        reason=row.reason,
        acked_seq=row.acked_seq,
        day=row.day,
        day_rows=row.day_rows,
        standing=Standing(row.state, row.code, row.sentence, row.fix),
        hold=Standing(row.hold_state, row.hold_code, row.hold_sentence, row.hold_fix)
        if row.hold_state
        else None,
    )


def place_of(row: Row[Any]) -> Place:
    """The place that a row of central_deliveries or central_sent speaks of."""
    return Place(
        source_seq=row.source_seq,
        source_digest=bytes(row.source_digest),
        copying=row.copying,
        copy_key=None if row.copy_key is None else bytes(row.copy_key),
        copy_needs=row.copy_needs,
        rows_copied=row.rows_copied,
        is_open=row.is_open,
    )
