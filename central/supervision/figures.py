"""What the authority evaluates departments by (Art. 6): one query for each figure, whatever there is of each."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select

from central.policy.supervision import SupervisionPolicy
from central.sharing.states import LIVE
from central.sharing.steps import Answer, StepKind
from central.store.catalogue import ENTRIES, RELEASED
from central.store.deliveries import DELIVERIES
from central.store.grants import GRANTS
from central.store.office import DEPARTMENTS
from central.store.sharing import QUERY_USE, STEPS
from central.store.supervision import CASES, FEEDBACK
from central.supervision.cases import CaseState
from central.supervision.lateness import Kept, kept
from central.supervision.punctuality import page_of_bound
from central.supervision.spans import Span
from central.supervision.timeliness import Punctuality

Figure = dict[str, dict[str, int]]
"""Department to names and numbers."""
_ASKED: Final = (StepKind.ANSWER, StepKind.CONSENT)
_DECIDED: Final = (Answer.AGREED, Answer.REFUSED, Answer.NOT_HELD)


def figures(
    connection: Connection, policy: SupervisionPolicy, window: Span, department: str = ""
) -> list[dict[str, Any]]:
    """Every department, or the one: resources, on-time rate, answers, refusals, disputes, feedback, rows."""
    names = _names(connection, department)
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for figure in (
        _by(connection, _resources(), department),
        _by(connection, _answers(window), department),
        _by(connection, _disputes(window.end_us), department),
        _by(connection, _overdue(window.end_us), department),
        _by(connection, _delivered(GRANTS.c.provider, "rows_delivered", "grants_given"), department),
        _by(connection, _delivered(GRANTS.c.department, "rows_received", "grants_held"), department),
        _by(connection, _queried(window, GRANTS.c.provider, "rows_shown"), department),
        _by(connection, _queried(window, GRANTS.c.department, "rows_asked_for"), department),
    ):
        for name, numbers in figure.items():
            found[name].update(numbers)
    bases = _refusals(connection, window, department)
    promises = kept(connection, page_of_bound(connection, "", department, None), policy, window)
    known = sorted(names.keys() | found.keys() | promises.keys())
    return [_line(each, names, found[each], bases[each], promises.get(each)) for each in known if each]


def _line(
    department: str,
    names: Mapping[str, str],
    found: Mapping[str, int],
    bases: Counter[str],
    promise: Kept | None,
) -> dict[str, Any]:
    numbers = {name: int(found.get(name, 0) or 0) for name in _NUMBERS}
    states = promise.states if promise else {}
    return {
        "department": department,
        "name": names.get(department, ""),
        **numbers,
        "punctuality": {str(state): states.get(state, 0) for state in Punctuality},
        "on_time_rate": promise.rate if promise else None,
        "late_department_us": promise.late.department_us if promise else 0,
        "late_network_us": promise.late.network_us if promise else 0,
        "late_platform_us": promise.late.platform_us if promise else 0,
        "refused": sum(bases.values()),
        "refusal_bases": dict(bases.most_common()),
    }


_NUMBERS: Final = (
    *("resources", "answered_in_time", "answered_late", "waiting", "waiting_late"),
    *("disputes_to_answer", "disputes_overdue", "feedback_overdue"),
    *("grants_given", "grants_held", "rows_delivered", "rows_received", "rows_shown", "rows_asked_for"),
)


def _by(connection: Connection, query: Select[Any], department: str) -> Figure:
    """The query's first column is the department, called so; the others are numbers."""
    if department:
        query = query.where(next(iter(query.selected_columns)) == department)
    rows = connection.execute(query)
    return {row.department: {k: v for k, v in row._mapping.items() if k != "department"} for row in rows}


def _resources() -> Select[Any]:
    here = (ENTRIES.c.code == RELEASED.c.code) & (ENTRIES.c.version == RELEASED.c.version)
    whose = ENTRIES.c.provider
    query = select(whose.label("department"), func.count().label("resources")).join(RELEASED, here)
    return query.where(RELEASED.c.until_release.is_(None)).group_by(whose)


def _answers(window: Span) -> Select[Any]:
    """Steps of other departments' requests; one the request did without is nobody's."""
    s, now = STEPS.c, window.end_us
    decided = s.answer.in_(_DECIDED)
    columns = (
        _count("answered_in_time", and_(decided, s.answered_us <= s.due_us, s.escalated_us.is_(None))),
        _count("answered_late", and_(decided, or_(s.answered_us > s.due_us, s.escalated_us.is_not(None)))),
        _count("waiting", and_(s.answered_us.is_(None), s.due_us >= now, s.escalated_us.is_(None))),
        _count(
            "waiting_late", and_(s.answered_us.is_(None), or_(s.due_us < now, s.escalated_us.is_not(None)))
        ),
    )
    ours = (s.kind.in_(_ASKED), or_(s.answered_us.is_(None), s.answered_us > window.start_us))
    return select(s.department.label("department"), *columns).where(*ours).group_by(s.department)


def _disputes(now_us: int) -> Select[Any]:
    c = CASES.c
    columns = (func.count().label("disputes_to_answer"), _count("disputes_overdue", c.due_us < now_us))
    query = select(c.handler.label("department"), *columns)
    return query.where(c.state != str(CaseState.CLOSED)).group_by(c.handler)


def _overdue(now_us: int) -> Select[Any]:
    whose = GRANTS.c.department
    query = select(whose.label("department"), func.count().label("feedback_overdue"))
    query = query.join_from(FEEDBACK, GRANTS, GRANTS.c.grant_id == FEEDBACK.c.grant_id)
    return query.where(FEEDBACK.c.submitted_us.is_(None), FEEDBACK.c.due_us < now_us).group_by(whose)


def _delivered(whose: ColumnElement[str], rows: str, grants: str) -> Select[Any]:
    """Since the first delivery of each grant; and how many grants are live."""
    columns = (
        func.coalesce(func.sum(DELIVERIES.c.rows), 0).label(rows),
        _count(grants, GRANTS.c.state.in_(LIVE)),
    )
    query = select(whose.label("department"), *columns).select_from(GRANTS)
    return query.join(DELIVERIES, DELIVERIES.c.grant_id == GRANTS.c.grant_id, isouter=True).group_by(whose)


def _queried(window: Span, whose: ColumnElement[str], rows: str) -> Select[Any]:
    columns: tuple[ColumnElement[Any], ...] = (
        whose.label("department"),
        func.sum(QUERY_USE.c.rows).label(rows),
    )
    query = select(*columns).select_from(QUERY_USE).join(GRANTS, GRANTS.c.grant_id == QUERY_USE.c.grant_id)
    return query.where(QUERY_USE.c.hour_us >= window.start_us).group_by(whose)


def _count(name: str, which: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((which, 1), else_=0)).label(name)


def _refusals(connection: Connection, window: Span, department: str) -> dict[str, Counter[str]]:
    """How often each law was cited, by department."""
    s = STEPS.c
    query = select(s.department, s.document).where(
        s.answer == Answer.REFUSED, s.answered_us > window.start_us
    )
    if department:
        query = query.where(s.department == department)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in connection.execute(query):
        basis = json.loads(row.document).get("basis") or {}
        found[row.department][f"{basis.get('title', '')}{basis.get('article', '')}"] += 1
    return found


def _names(connection: Connection, department: str) -> dict[str, str]:
    query: Select[Any] = select(DEPARTMENTS.c.department, DEPARTMENTS.c.name)
    if department:
        query = query.where(DEPARTMENTS.c.department == department)
    rows: Iterable[Any] = connection.execute(query)
    return {row.department: row.name for row in rows}
