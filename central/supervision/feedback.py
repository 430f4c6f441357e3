"""What use was made of what was shared (Art. 36): due by the calendar, written by the consumer, read by who shared it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from central.catalogue.published import provider_of
from central.people import Role, Turn
from central.policy.supervision import SupervisionPolicy
from central.sharing.states import GrantState
from central.store.grants import GRANTS
from central.store.supervision import FEEDBACK
from proto.errors import Refused

DAY_US: Final = 86_400_000_000
RUNNING: Final = (GrantState.ACTIVE, GrantState.EXPIRING)


def make_due(connection: Connection, policy: SupervisionPolicy, now_us: int) -> int:
    """Give every active grant its next date; returns how many were new. The first is counted from the grant's beginning."""
    latest = (
        select(FEEDBACK.c.grant_id, func.max(FEEDBACK.c.n).label("n"))
        .group_by(FEEDBACK.c.grant_id)
        .subquery()
    )
    last = (FEEDBACK.c.grant_id == latest.c.grant_id) & (FEEDBACK.c.n == latest.c.n)
    known = {row.grant_id: row for row in connection.execute(select(FEEDBACK).join(latest, last)).all()}
    active = connection.execute(
        select(GRANTS.c.grant_id, GRANTS.c.valid_from_us).where(GRANTS.c.state.in_(RUNNING))
    )
    rows = []
    for grant in active.all():
        before = known.get(grant.grant_id)
        if before is not None and before.due_us > now_us:
            continue
        since = before.due_us if before is not None else grant.valid_from_us
        due = since + policy.feedback_every_days * DAY_US
        rows.append(
            {"grant_id": grant.grant_id, "n": before.n + 1 if before is not None else 1, "due_us": due}
        )
    if rows:
        connection.execute(insert(FEEDBACK), rows)
    return len(rows)


def newly_overdue(connection: Connection, now_us: int) -> list[tuple[str, int]]:
    """Grant and number of the reports that became overdue since the last look."""
    f = FEEDBACK.c
    late = (f.submitted_us.is_(None), f.due_us < now_us, f.told_us.is_(None))
    found = [(row.grant_id, row.n) for row in connection.execute(select(f.grant_id, f.n).where(*late)).all()]
    if found:
        connection.execute(update(FEEDBACK).where(*late).values(told_us=now_us))
    return found


def submit(turn: Turn, grant: str, text: str, figures: Mapping[str, int]) -> int:
    """The consumer's report for the oldest date that is open; returns its number. Raises Refused, NotAdmitted."""
    turn.actor.demand(Role.RESOURCE_ADMIN, what="feedback")
    owner = turn.connection.execute(
        select(GRANTS.c.department).where(GRANTS.c.grant_id == grant)
    ).scalar_one_or_none()
    if owner is None:
        raise Refused("no such grant", where=grant[:40], fix="exchange-central grant list")
    turn.actor.demand_department(owner, "feedback on a grant")
    here = (FEEDBACK.c.grant_id == grant, FEEDBACK.c.submitted_us.is_(None))
    n = turn.connection.execute(select(func.min(FEEDBACK.c.n)).where(*here)).scalar_one_or_none()
    if n is None:
        raise Refused("nothing is due for this grant", where=grant, fix="exchange-central report use GRANT")
    said = {
        "submitted_us": turn.now_us,
        "who": turn.actor.person,
        "text": text,
        "figures": json.dumps(dict(figures)),
    }
    turn.connection.execute(
        update(FEEDBACK).where(FEEDBACK.c.grant_id == grant, FEEDBACK.c.n == n).values(said)
    )
    turn.record("feedback_submitted", grant=grant, n=n)
    return int(n)


def mark_read(turn: Turn, grant: str, n: int) -> None:
    """The authority, or the provider of what was granted, has read a report."""
    by_authority = bool(turn.actor.roles & {Role.AUTHORITY})
    if not by_authority:
        turn.actor.demand(Role.RESOURCE_ADMIN, what="reading feedback")
        resource = turn.connection.execute(
            select(GRANTS.c.resource).where(GRANTS.c.grant_id == grant)
        ).scalar_one_or_none()
        turn.actor.demand_department(provider_of(turn.connection, resource or ""), "this feedback")
    column = "read_by_authority_us" if by_authority else "read_by_provider_us"
    here = (FEEDBACK.c.grant_id == grant, FEEDBACK.c.n == n, FEEDBACK.c.submitted_us.is_not(None))
    if not turn.connection.execute(update(FEEDBACK).where(*here).values({column: turn.now_us})).rowcount:
        raise Refused("there is no such report", where=f"{grant} {n}")
    turn.record("feedback_read", grant=grant, n=n)


def reports(connection: Connection, grant: str) -> list[dict[str, Any]]:
    """Every date of one grant and what was said."""
    rows = connection.execute(select(FEEDBACK).where(FEEDBACK.c.grant_id == grant).order_by(FEEDBACK.c.n))
    return [_report(row) for row in rows.all()]


def overdue(connection: Connection, now_us: int, department: str = "") -> list[dict[str, Any]]:
    """What should have been reported, oldest first; of one consumer or of all."""
    query = (
        select(FEEDBACK, GRANTS.c.department, GRANTS.c.resource)
        .join(GRANTS, GRANTS.c.grant_id == FEEDBACK.c.grant_id)
        .where(FEEDBACK.c.submitted_us.is_(None), FEEDBACK.c.due_us < now_us)
        .order_by(FEEDBACK.c.due_us)
    )
    if department:
        query = query.where(GRANTS.c.department == department)
    rows = connection.execute(query).all()
    return [{**_report(row), "department": row.department, "resource": row.resource} for row in rows]


def _report(row: Row[Any]) -> dict[str, Any]:
    return {
        "grant": row.grant_id,
        "n": row.n,
        "due_us": row.due_us,
        "submitted_us": row.submitted_us or 0,
        "who": row.who,
        "text": row.text,
        "figures": json.loads(row.figures),
        "read_by_authority": row.read_by_authority_us is not None,
        "read_by_provider": row.read_by_provider_us is not None,
    }
