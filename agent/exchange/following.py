"""Whether a delivery is the next one of its grant, and where the cursor stands after it."""

from __future__ import annotations

from dataclasses import replace

from agent.exchange.checkpoints import now_us
from agent.exchange.receptions import Parcel, Reception, flowing
from proto.batch import CHAIN_START
from proto.delivery import chain
from proto.errors import Diverged, ExchangeError, Halt, Refused, TableHold


def is_news(row: Reception, parcel: Parcel) -> bool:
    """Whether a delivery is to be looked at at all."""
    place = parcel.place
    if not row.accepts or place.generation < row.generation:
        return False
    if place.generation > row.generation:
        return True
    if row.held:
        return False
    if place.seq == row.seq and parcel.digest != row.digest:
        # An older one cannot be compared any more, and changes nothing.
        return True
    return place.seq > row.seq


def demand_next(row: Reception, parcel: Parcel, fresh: bool) -> None:
    """Raise Diverged unless the delivery is the next one of its chain."""
    place, wanted = parcel.place, 1 if fresh else row.seq + 1
    if place.seq == row.seq and not fresh:
        raise Diverged(f"delivery {place.seq} is another one now than it was", where=row.grant_id)
    if place.seq != wanted:
        raise Diverged(f"delivery {place.seq} came where {wanted} was due", where=row.grant_id)
    previous = CHAIN_START if fresh else row.digest
    if chain(previous, place, parcel.header) != parcel.digest:
        raise Diverged(f"delivery {place.seq} does not follow from the one before", where=row.grant_id)


def moved_by(row: Reception, parcel: Parcel, rows: int) -> Reception:
    """The cursor after *parcel*."""
    moved = replace(
        row,
        seq=parcel.place.seq,
        digest=parcel.digest,
        receipt=parcel.receipt,
        source_seq=max(row.source_seq, parcel.source_seq),
        rows=row.rows + rows,
        size_bytes=row.size_bytes + len(parcel.header) + len(parcel.payload),
        last_commit_us=max(row.last_commit_us, parcel.commit_us),
        received_us=now_us(),
        rows_copied=parcel.rows_copied,
        rows_expected=parcel.rows_expected,
        copying=parcel.copying,
    )
    return flowing(moved)


def is_of_the_grant(error: Exception) -> bool:
    """Whether *error* holds one grant; anything else is the trouble of all: the database, the disk, another process."""
    if isinstance(error, ExchangeError):
        # What one statement cannot carry is a plain Halt.
        return isinstance(error, Refused | TableHold | Diverged) or type(error) is Halt
    # Whatever one grant meets must not stop the others, nor capture.
    return True
