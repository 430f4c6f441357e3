"""召回: what was delivered under a grant is to be removed by its consumer, and both ends of that are on record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from central import audit
from central.sharing.permits import permit
from central.store import now_us
from central.store.deliveries import RECALLS
from proto.errors import Refused

_OPEN: Final = (
    select(RECALLS)
    .where(
        RECALLS.c.consumer.in_(bindparam("some", expanding=True)),
        RECALLS.c.finished_us.is_(None),
    )
    .order_by(RECALLS.c.recall_id)
)
_OF: Final = select(RECALLS.c.recall_id, RECALLS.c.reason).where(RECALLS.c.grant_id == bindparam("which"))


@dataclass(frozen=True, slots=True)
class Recalling:
    """A recall that its consumer has not answered."""

    recall: str
    grant: str
    consumer: str
    reason: str


def chain_of(consumer: str) -> str:
    """The audit chain of what was delivered to *consumer*; no stream can be called so."""
    return f"delivery:{consumer}"


def recall(connection: Connection, grant: str, who: str, reason: str) -> str:
    """Ask the consumer of *grant* to remove what it got, and deliver nothing more; returns the recall's number.

    Raises Refused without a reason, or when the grant was recalled before.
    """
    found = permit(connection, grant)
    if not reason.strip():
        raise Refused("a recall needs a reason", where=grant, fix="say why: the consumer will read it")
    if was := recalled(connection, grant):
        raise Refused(f"the grant was recalled before, by {was}", where=grant)
    number = f"{grant}-recall"
    row = {"recall_id": number, "grant_id": grant, "consumer": found.consumer, "who": who, "reason": reason}
    connection.execute(insert(RECALLS), {**row, "asked_us": now_us(connection)})
    facts: dict[str, audit.Fact] = {"recall": number, "grant": grant, "who": who, "reason": reason}
    audit.record(connection, chain_of(found.consumer), "recall_asked", **facts)
    return number


def recalled(connection: Connection, grant: str) -> str:
    """The number of the recall of *grant*; "" when there is none."""
    row = connection.execute(_OF, {"which": grant}).one_or_none()
    return row.recall_id if row else ""


def open_recalls(connection: Connection, consumers: list[str]) -> list[Recalling]:
    """What these consumers have not answered yet."""
    rows = connection.execute(_OPEN, {"some": consumers})
    return [Recalling(row.recall_id, row.grant_id, row.consumer, row.reason) for row in rows]


def finish(connection: Connection, consumer: str, number: str, rows: int) -> None:
    """*consumer* removed *rows*; a repeat changes nothing. Raises Refused when it was not asked to."""
    row = connection.execute(
        select(RECALLS).where(RECALLS.c.recall_id == number, RECALLS.c.consumer == consumer).with_for_update()
    ).one_or_none()
    if row is None:
        raise Refused("this node was asked for no such recall", where=number[:80])
    if row.finished_us is not None:
        return
    done = {"finished_us": now_us(connection), "rows": rows}
    connection.execute(update(RECALLS).where(RECALLS.c.recall_id == number).values(done))
    facts: dict[str, audit.Fact] = {"recall": number, "grant": row.grant_id, "rows": rows}
    audit.record(connection, chain_of(consumer), "recalled", **facts)
