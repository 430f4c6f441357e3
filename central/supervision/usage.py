"""Who uses what was shared (Art. 36): per grant its purpose, volume, last use, next report; what nobody uses is named."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from central.policy.supervision import SupervisionPolicy
from central.sharing.states import LIVE
from central.sharing.terms import Terms
from central.store.deliveries import DELIVERIES, PULLS
from central.store.grants import GRANTS
from central.store.office import DEPARTMENTS
from central.store.sharing import QUERY_USE
from central.store.supervision import FEEDBACK

DAY_US: Final = 86_400_000_000


def usage(
    connection: Connection, which: ColumnElement[bool], policy: SupervisionPolicy, page: tuple[int, str, int]
) -> list[dict[str, Any]]:
    """The grants that *which* chooses, by name; *page* is now, after which grant, and how many."""
    now_us, after, count = page
    query = _query(which).where(GRANTS.c.grant_id > after).order_by(GRANTS.c.grant_id).limit(count)
    return [_line(row, policy, now_us) for row in connection.execute(query).all()]


def _query(which: ColumnElement[bool]) -> Select[Any]:
    chosen = select(GRANTS.c.grant_id).where(which)
    asked = (
        select(
            QUERY_USE.c.grant_id,
            func.sum(QUERY_USE.c.rows).label("rows"),
            func.sum(QUERY_USE.c.queries).label("queries"),
            func.max(QUERY_USE.c.hour_us).label("last_us"),
        )
        .where(QUERY_USE.c.grant_id.in_(chosen))
        .group_by(QUERY_USE.c.grant_id)
        .subquery()
    )
    due = (
        select(FEEDBACK.c.grant_id, func.min(FEEDBACK.c.due_us).label("due_us"))
        .where(FEEDBACK.c.submitted_us.is_(None), FEEDBACK.c.grant_id.in_(chosen))
        .group_by(FEEDBACK.c.grant_id)
        .subquery()
    )
    grant = GRANTS.c.grant_id
    return (
        select(
            GRANTS,
            DEPARTMENTS.c.name.label("department_name"),
            func.coalesce(DELIVERIES.c.rows, 0).label("delivered"),
            func.coalesce(DELIVERIES.c.delivered_us, 0).label("delivered_us"),
            func.coalesce(DELIVERIES.c.acked_us, 0).label("acked_us"),
            func.coalesce(PULLS.c.seen_us, 0).label("called_us"),
            func.coalesce(asked.c.rows, 0).label("asked_rows"),
            func.coalesce(asked.c.queries, 0).label("queries"),
            func.coalesce(asked.c.last_us, 0).label("asked_us"),
            func.coalesce(due.c.due_us, 0).label("feedback_us"),
        )
        .select_from(GRANTS)
        .join(DEPARTMENTS, DEPARTMENTS.c.department == GRANTS.c.department, isouter=True)
        .join(DELIVERIES, DELIVERIES.c.grant_id == grant, isouter=True)
        .join(PULLS, PULLS.c.consumer == GRANTS.c.consumer, isouter=True)
        .join(asked, asked.c.grant_id == grant, isouter=True)
        .join(due, due.c.grant_id == grant, isouter=True)
        .where(which)
    )


def _line(row: Row[Any], policy: SupervisionPolicy, now_us: int) -> dict[str, Any]:
    # Whoever has its copy and still calls uses it, also while the provider's data rests.
    calls = row.called_us if row.delivered_us else 0
    used_us = max(row.delivered_us, row.acked_us, row.asked_us, calls)
    since_us = max(used_us, row.valid_from_us)
    is_unused = row.state in LIVE and now_us - since_us > policy.unused_after_days * DAY_US
    return {
        "grant": row.grant_id,
        "resource": row.resource,
        "consumer": row.consumer,
        "department": row.department,
        "department_name": row.department_name or "",
        "mode": row.mode,
        "state": row.state,
        "purpose": Terms.model_validate_json(row.terms).purpose,
        "rows": row.delivered + row.asked_rows,
        "queries": row.queries,
        "last_use_us": used_us,
        "valid_to_us": row.valid_to_us,
        "next_feedback_us": row.feedback_us,
        "feedback_overdue": bool(row.feedback_us) and row.feedback_us < now_us,
        "unused": is_unused,
        "close_with": f"exchange-central grant revoke {row.grant_id}" if is_unused else "",
    }
