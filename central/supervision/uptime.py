"""When the platform itself was not there: from a sign of life that somebody must give every few seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, Engine, insert, select, update

from central import audit
from central.store import now_us, writing
from central.store.supervision import ALIVE, MAINTENANCE, OUTAGES
from central.supervision.spans import Span
from central.supervision.timeliness import Excuses

PLATFORM: Final = "platform"
"""The audit chain of the platform's own outages; no stream can be called so."""
OUTAGE_US: Final = 15_000_000
"""A silence longer than this was an outage; shorter ones are restarts."""


def live(engine: Engine) -> Span | None:
    """Give the sign of life; returns the outage that it ended, which is on record from now on.

    Called at start and every few seconds by every central process of the platform.
    """
    with writing(engine) as connection:
        now = now_us(connection)
        before = connection.execute(select(ALIVE.c.at_us).with_for_update()).scalar_one_or_none()
        if before is None:
            connection.execute(insert(ALIVE), {"id": 1, "at_us": now})
            return None
        connection.execute(update(ALIVE).values(at_us=max(now, before)))
        if now - before <= OUTAGE_US:
            return None
        connection.execute(insert(OUTAGES), {"start_us": before, "end_us": now})
        audit.record(connection, PLATFORM, "outage", start_us=before, end_us=now)
        return Span(before, now)


def agree_maintenance(
    connection: Connection, department: str, span: Span, reason: str, hand: Mapping[str, str]
) -> int:
    """Agree with *department* that lateness in *span* does not count; returns its number. On record."""
    row: dict[str, audit.Fact] = {"department": department, "reason": reason}
    row |= {"start_us": span.start_us, "end_us": span.end_us}
    agreed = {"agreed_by": hand["who"], "agreed_us": now_us(connection)}
    key = connection.execute(insert(MAINTENANCE), {**row, **agreed}).inserted_primary_key
    audit.record(connection, PLATFORM, "maintenance_agreed", **row, **hand)
    return int(key[0]) if key else 0


def excuses(connection: Connection, department: str, since_us: int) -> Excuses:
    """What is never counted against *department* from *since_us* on."""
    found = all_excuses(connection, since_us, department)
    return found.get(department, found[""])


def all_excuses(connection: Connection, since_us: int, department: str = "") -> dict[str, Excuses]:
    """The same of every department that agreed maintenance, or of the one; under "" what holds for all others."""
    down = connection.execute(select(OUTAGES).where(OUTAGES.c.end_us > since_us)).all()
    platform = [Span(row.start_us, row.end_us) for row in down]
    query = select(MAINTENANCE).where(MAINTENANCE.c.end_us > since_us)
    if department:
        query = query.where(MAINTENANCE.c.department == department)
    agreed: dict[str, list[Span]] = {"": []}
    for row in connection.execute(query).all():
        agreed.setdefault(row.department, []).append(Span(row.start_us, row.end_us))
    return {name: Excuses(platform, spans) for name, spans in agreed.items()}
