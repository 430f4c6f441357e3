"""What people look up: requests and grants page by page, what waits for them, who is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

from pydantic import Field
from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, or_, select

from central.catalogue.contracts import announced, followed
from central.catalogue.drifting import open_changes
from central.catalogue.entry import DELIVERED
from central.catalogue.reported import deletes_of
from central.people import Actor, Role, Turn
from central.sharing.changes import grant_form
from central.sharing.grants import grant_row
from central.sharing.heard import consumers_leg
from central.sharing.permits import permit
from central.sharing.requests import Named, document_of, request_row
from central.sharing.states import FLOWING, LIVE, GrantState, RequestState
from central.sharing.steps import ANY_DEPARTMENT, step_of, steps_of
from central.sharing.terms import Line
from central.store.catalogue import ENTRIES, RELEASED
from central.store.grants import GRANT_HISTORY, GRANTS
from central.store.office import DEPARTMENT_NODES, DEPARTMENTS, PERSON_ROLES, PERSONS
from central.store.sharing import REQUESTS, STEPS
from central.store.supervision import FEEDBACK
from proto.errors import NotAdmitted
from proto.process import Section

MOST_ON_A_PAGE: Final = 200
SEES_ALL: Final = frozenset({Role.AUTHORITY, Role.SECURITY_ADMIN, Role.AUDIT_ADMIN, Role.TESTER})
_DAY_US: Final = 86_400_000_000


class Page(Section):
    """One page; ``after`` is the ``next`` of the page before it."""

    after: str = ""
    most: int = Field(50, ge=1, le=MOST_ON_A_PAGE)


class Requests(Page):
    """``share.requests``."""

    state: RequestState | None = None
    department: str = ""
    """Who asks."""
    provider: str = ""
    resource: str = ""


class Grants(Page):
    """``grant.list``."""

    state: GrantState | None = None
    consumer: str = ""
    department: str = ""
    resource: str = ""
    mode: str = ""
    ends_within_days: int | None = Field(None, ge=0)


class Inbox(Page):
    """``share.inbox``."""

    only: Literal["all", "overdue"] = "all"


class OneGrant(Section):
    """A grant by its number."""

    grant: Line


class Nothing(Section):
    """No arguments."""


def requests(turn: Turn, wanted: Requests) -> dict[str, Any]:
    """Newest first: one's own department's and those that ask for its data; those with a watching role see all."""
    table = REQUESTS.c
    query = select(REQUESTS).order_by(table.n.desc()).limit(wanted.most + 1)
    filters = _equal(
        (table.state, wanted.state),
        (table.department, wanted.department),
        (table.provider, wanted.provider),
        (table.resource, wanted.resource),
    )
    if wanted.after:
        filters.append(table.n < request_row(turn.connection, wanted.after).n)
    if not sees_all(turn.actor):
        mine = turn.actor.department
        filters.append(or_(table.department == mine, table.provider == mine))
    rows = turn.connection.execute(query.where(and_(True, *filters))).all()
    names = _names(turn, {row.resource for row in rows})
    page = [_request_line(row, names) for row in rows[: wanted.most]]
    return {"requests": page, "next": page[-1]["request"] if len(rows) > wanted.most else ""}


def request(turn: Turn, wanted: Named) -> dict[str, Any]:
    """One request whole: what is asked, who answered what, whom it waits for."""
    row = request_row(turn.connection, wanted.request)
    steps = steps_of(turn.connection, row.request)
    if not _may_see(turn, {row.department, row.provider, *(step.department for step in steps)}):
        raise NotAdmitted("the request is between other departments", where=row.request)
    names = _names(turn, {row.resource})
    document = document_of(row).model_dump(mode="json")
    shown = [step.shown(turn.profile, turn.now_us) for step in steps]
    return {**_request_line(row, names), "document": document, "steps": shown}


def inbox(turn: Turn, wanted: Inbox) -> dict[str, Any]:
    """What waits for the actor, the most urgent first, with the working days that are left."""
    rows = turn.connection.execute(_waiting(turn, wanted)).all()
    names = _names(turn, {row.resource for row in rows})
    page = []
    for row in rows[: wanted.most]:
        shown = step_of(row).shown(turn.profile, turn.now_us)
        about = {"consumer": row.consumer, "resource": row.resource, "name": names.get(row.resource, "")}
        page.append({**shown, **about, "mode": row.mode, "request_kind": row.request_kind})
    following = f"{page[-1]['due_us']}/{page[-1]['request']}" if len(rows) > wanted.most else ""
    about = {"ending": _ending(turn), "vacant": _vacant_for(turn), "changed": _changed(turn)}
    about["coming"] = _coming(turn)
    return {"waiting": page, "next": following, **about}


def grants(turn: Turn, wanted: Grants) -> dict[str, Any]:
    """Newest first; who sees which is as with requests."""
    table = GRANTS.c
    filters = _equal(
        (table.state, wanted.state),
        (table.consumer, wanted.consumer),
        (table.department, wanted.department),
        (table.resource, wanted.resource),
        (table.mode, wanted.mode),
    )
    if wanted.ends_within_days is not None:
        filters.append(table.state.in_(FLOWING))
        filters.append(table.valid_to_us <= turn.now_us + wanted.ends_within_days * _DAY_US)
    if wanted.after:
        last = grant_row(turn.connection, wanted.after)
        earlier = and_(table.created_us == last.created_us, table.grant_id < last.grant_id)
        filters.append(or_(table.created_us < last.created_us, earlier))
    if not sees_all(turn.actor):
        mine = turn.actor.department
        filters.append(or_(table.department == mine, table.provider == mine))
    query = select(GRANTS).where(and_(True, *filters))
    query = query.order_by(table.created_us.desc(), table.grant_id.desc()).limit(wanted.most + 1)
    rows = turn.connection.execute(query).all()
    names = _names(turn, {row.resource for row in rows})
    shown = rows[: wanted.most]
    coming = coming_of(turn, shown)
    page = [
        {**grant_form(row), "name": names.get(row.resource, ""), "coming": coming.get(row.grant_id)}
        for row in shown
    ]
    return {"grants": page, "next": page[-1]["grant"] if len(rows) > wanted.most else ""}


def grant(turn: Turn, wanted: OneGrant) -> dict[str, Any]:
    """One grant whole; never its secret."""
    row = _seen(turn, wanted.grant)
    names = _names(turn, {row.resource})
    here = (FEEDBACK.c.grant_id == row.grant_id, FEEDBACK.c.submitted_us.is_(None))
    due_us = turn.connection.execute(select(func.min(FEEDBACK.c.due_us)).where(*here)).scalar_one()
    said = {"name": names.get(row.resource, ""), "feedback_due_us": due_us or 0}
    said["received"] = (
        consumers_leg(turn.connection, row) if row.mode in DELIVERED and row.state in FLOWING else None
    )
    said["deletes"] = deletes_of(turn.connection, row.stream, row.table_name)
    about = {
        "refusal": permit(turn.connection, row.grant_id).refusal(turn.now_us),
        "changed": open_changes(turn.connection, {row.resource}).get(row.resource),
        "coming": coming_of(turn, [row]).get(row.grant_id),
    }
    return {**grant_form(row), **said, **about}


def history(turn: Turn, wanted: OneGrant) -> dict[str, Any]:
    """Every version there was, for ever: who had access last year, and who changed it."""
    row = _seen(turn, wanted.grant)
    query = select(GRANT_HISTORY).where(GRANT_HISTORY.c.grant_id == row.grant_id).order_by(GRANT_HISTORY.c.n)
    lines = [dict(line._mapping) for line in turn.connection.execute(query).all()]
    return {"grant": row.grant_id, "history": lines}


def vacancies(turn: Turn, wanted: Nothing) -> dict[str, Any]:
    """Departments that take part in sharing and have no resource administrator now (Art. 29)."""
    del wanted
    return {"departments": vacant(turn)}


def vacant(turn: Turn) -> list[dict[str, Any]]:
    """The same, with what waits there: who leaves leaves their tasks to the role, and an empty role shows at once."""
    code = DEPARTMENTS.c.department
    holds = exists().where(
        PERSONS.c.department == code,
        PERSONS.c.left_us.is_(None),
        PERSON_ROLES.c.person == PERSONS.c.person,
        PERSON_ROLES.c.role == Role.RESOURCE_ADMIN,
    )
    takes_part = or_(
        exists().where(ENTRIES.c.provider == code),
        exists().where(DEPARTMENT_NODES.c.department == code),
        exists().where(STEPS.c.department == code, STEPS.c.answered_us.is_(None)),
    )
    empty = turn.connection.execute(select(DEPARTMENTS).where(~holds, takes_part).order_by(code)).all()
    waiting = select(STEPS.c.request).where(STEPS.c.answered_us.is_(None))
    return [
        {
            "department": row.department,
            "name": row.name,
            "waiting": list(turn.connection.scalars(waiting.where(STEPS.c.department == row.department))),
        }
        for row in empty
    ]


def sees_all(actor: Actor) -> bool:
    """Whether the actor looks over all departments."""
    return bool(actor.roles & SEES_ALL)


def _may_see(turn: Turn, departments: Iterable[str]) -> bool:
    return sees_all(turn.actor) or turn.actor.department in set(departments)


def _seen(turn: Turn, number: str) -> Row[Any]:
    row = grant_row(turn.connection, number)
    if not _may_see(turn, {row.department, row.provider}):
        raise NotAdmitted("the grant is between other departments", where=row.grant_id)
    return row


def _waiting(turn: Turn, wanted: Inbox) -> Select[Any]:
    roles = sorted(turn.actor.roles)
    mine = and_(STEPS.c.role.in_(roles), STEPS.c.department.in_([ANY_DEPARTMENT, turn.actor.department]))
    if Role.AUTHORITY in turn.actor.roles:
        mine = or_(mine, STEPS.c.escalated_us.is_not(None))
    about = (REQUESTS.c.consumer, REQUESTS.c.resource, REQUESTS.c.mode, REQUESTS.c.kind.label("request_kind"))
    query = select(STEPS, *about).join(REQUESTS, REQUESTS.c.request == STEPS.c.request)
    query = query.where(STEPS.c.answered_us.is_(None), mine)
    if wanted.only == "overdue":
        late = or_(STEPS.c.escalated_us.is_not(None), STEPS.c.due_us <= turn.now_us)
        query = query.where(late)
    if wanted.after:
        due, _, number = wanted.after.partition("/")
        at = int(due) if due.isdigit() else 0
        query = query.where(or_(STEPS.c.due_us > at, and_(STEPS.c.due_us == at, STEPS.c.request > number)))
    return query.order_by(STEPS.c.due_us, STEPS.c.request).limit(wanted.most + 1)


def _ending(turn: Turn) -> list[dict[str, Any]]:
    """The grants of one's department that end soon: a renewal is its own move."""
    if Role.RESOURCE_ADMIN not in turn.actor.roles:
        return []
    table = GRANTS.c
    query = select(GRANTS).where(
        table.department == turn.actor.department, table.state == GrantState.EXPIRING
    )
    rows = turn.connection.execute(query.order_by(table.valid_to_us).limit(MOST_ON_A_PAGE)).all()
    return [
        {
            "grant": row.grant_id,
            "consumer": row.consumer,
            "resource": row.resource,
            "valid_to_us": row.valid_to_us,
            "days_left": max(0, (row.valid_to_us - turn.now_us) // _DAY_US),
        }
        for row in rows
    ]


def _changed(turn: Turn) -> list[dict[str, Any]]:
    """What the department receives and is otherwise at its provider than the catalogue says (Art. 17)."""
    rows = _received_rows(turn)
    changed = open_changes(turn.connection, {row.resource for row in rows})
    return [{**_short(row), **changed[row.resource]} for row in rows if row.resource in changed]


def _coming(turn: Turn) -> list[dict[str, Any]]:
    """What the department receives and will be another version, with the day (SD17.2)."""
    rows = _received_rows(turn)
    coming = coming_of(turn, rows)
    return [{**_short(row), **coming[row.grant_id]} for row in rows if row.grant_id in coming]


def coming_of(turn: Turn, rows: Sequence[Row[Any]]) -> dict[str, dict[str, Any]]:
    """By grant: which version of its resource it follows, and which one from when on, where that is announced."""
    codes = announced(turn.connection, {row.resource for row in rows}, turn.now_us)
    found = {}
    for row in rows:
        at = (
            followed(turn.connection, row.resource, row.release, turn.now_us)
            if row.resource in codes
            else None
        )
        if at is not None and at.coming is not None and row.state in LIVE:
            found[row.grant_id] = {"contract": at.version, **asdict(at.coming)}
    return found


def _received_rows(turn: Turn) -> Sequence[Row[Any]]:
    table = GRANTS.c
    query = select(GRANTS).where(table.department == turn.actor.department, table.state.in_(LIVE))
    return turn.connection.execute(query.order_by(table.grant_id)).all()


def _short(row: Row[Any]) -> dict[str, Any]:
    return {"grant_id": row.grant_id, "resource": row.resource, "consumer": row.consumer}


def _vacant_for(turn: Turn) -> list[dict[str, Any]]:
    return vacant(turn) if Role.AUTHORITY in turn.actor.roles else []


def _equal(*pairs: tuple[ColumnElement[Any], Any]) -> list[ColumnElement[bool]]:
    return [column == value for column, value in pairs if value]


def _names(turn: Turn, codes: set[str]) -> dict[str, str]:
    """What the resources in force are called."""
    if not codes:
        return {}
    query = (
        select(ENTRIES.c.code, ENTRIES.c.name)
        .join(RELEASED, and_(ENTRIES.c.code == RELEASED.c.code, ENTRIES.c.version == RELEASED.c.version))
        .where(RELEASED.c.until_release.is_(None))
        # Said of both, so that both indexes are entered there.
        .where(RELEASED.c.code.in_(sorted(codes)), ENTRIES.c.code.in_(sorted(codes)))
    )
    return {row.code: row.name for row in turn.connection.execute(query).all()}


def _request_line(row: Row[Any], names: dict[str, str]) -> dict[str, Any]:
    fields: tuple[str, ...]
    fields = ("request", "state", "kind", "consumer", "department", "resource", "provider", "mode")
    fields += ("created_by", "created_us", "changed_us", "renews", "sentence")
    return {
        **{name: getattr(row, name) for name in fields},
        "grant": row.granted,
        "name": names.get(row.resource, ""),
    }
