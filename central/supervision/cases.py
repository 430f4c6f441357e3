"""Disputes and corrections (Art. 20, 25): a case goes from who raised it to who must answer, and to the authority if they differ.

A case freezes nothing that was granted (SD25.3). Values never stand in a case: a comparison's mismatches are keyed digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from central import audit
from central.people import Role, Turn
from central.people.verb import DECISIONS
from central.store.supervision import CASE_EVENTS, CASES
from proto.errors import Refused


class Kind(StrEnum):
    """What a case is about."""

    CATALOGUE = "catalogue"
    APPLICATION = "application"
    QUALITY = "quality"
    RESPONSE = "response"
    COMPARISON = "comparison"
    OTHER = "other"


class CaseState(StrEnum):
    """Where a case is."""

    RAISED = "raised"
    TRANSFERRED = "transferred"
    ACCEPTED = "accepted"
    ANSWERED = "answered"
    DISPUTED = "disputed"
    AGREED = "agreed"
    RULED = "ruled"
    CORRECTED = "corrected"
    CLOSED = "closed"


NEXT: Final[Mapping[CaseState, frozenset[CaseState]]] = {
    CaseState.RAISED: frozenset({CaseState.ACCEPTED, CaseState.TRANSFERRED, CaseState.CLOSED}),
    CaseState.TRANSFERRED: frozenset({CaseState.ACCEPTED, CaseState.TRANSFERRED}),
    CaseState.ACCEPTED: frozenset({CaseState.ANSWERED}),
    CaseState.ANSWERED: frozenset({CaseState.AGREED, CaseState.DISPUTED}),
    CaseState.DISPUTED: frozenset({CaseState.RULED}),
    CaseState.AGREED: frozenset({CaseState.CORRECTED, CaseState.CLOSED}),
    CaseState.RULED: frozenset({CaseState.CORRECTED, CaseState.CLOSED}),
    CaseState.CORRECTED: frozenset({CaseState.CLOSED}),
    CaseState.CLOSED: frozenset(),
}


class Side(StrEnum):
    """Whose move it is."""

    RAISER = "raiser"
    HANDLER = "handler"
    AUTHORITY = "authority"
    NOBODY = "nobody"


MOVE: Final[Mapping[CaseState, Side]] = {
    CaseState.RAISED: Side.HANDLER,
    CaseState.TRANSFERRED: Side.HANDLER,
    CaseState.ACCEPTED: Side.HANDLER,
    CaseState.ANSWERED: Side.RAISER,
    CaseState.DISPUTED: Side.AUTHORITY,
    CaseState.AGREED: Side.HANDLER,
    CaseState.RULED: Side.HANDLER,
    CaseState.CORRECTED: Side.RAISER,
    CaseState.CLOSED: Side.NOBODY,
}


@dataclass(frozen=True, slots=True)
class Opening:
    """What a case begins with."""

    kind: Kind
    resource: str
    handler: str
    """The department that has to answer: the provider of the resource."""
    text: str
    grant: str = ""
    evidence: str = ""
    """Digests, batch numbers, records of the log; never a value."""


@dataclass(frozen=True, slots=True)
class Step:
    """One move of a case."""

    to: CaseState
    text: str
    handler: str = ""
    """Of a transfer: the department that has to answer from now on."""
    facts: Mapping[str, str | int | bool] | None = None


def open_case(turn: Turn, opening: Opening) -> int:
    """Open one for the actor's department; returns its number."""
    turn.actor.demand(Role.RESOURCE_ADMIN, Role.AUTHORITY, what="raising a case")
    connection = turn.connection
    # One number at a time.
    audit.tip(connection, DECISIONS)
    number = int(connection.execute(select(func.coalesce(func.max(CASES.c.number), 0))).scalar_one()) + 1
    due = turn.profile.calendar.due(turn.now_us, turn.profile.supervision.case_step_days)
    row = {
        "number": number,
        "kind": str(opening.kind),
        "resource": opening.resource,
        "grant_id": opening.grant,
        "raiser": turn.actor.department,
        "handler": opening.handler,
        "state": str(CaseState.RAISED),
        "opened_us": turn.now_us,
        "changed_us": turn.now_us,
        "due_us": due.at_us,
        "evidence": opening.evidence,
    }
    connection.execute(insert(CASES), row)
    _note(turn, number, Step(CaseState.RAISED, opening.text), "")
    return number


def move(turn: Turn, number: int, step: Step) -> CaseState:
    """Take a case one step further, if it is the actor's move. Raises Refused, NotAdmitted."""
    row = _locked(turn.connection, number)
    before = CaseState(row.state)
    if step.to not in NEXT[before]:
        ways = ", ".join(sorted(NEXT[before])) or "nothing: it is closed"
        raise Refused(
            f"a case that is {before} cannot become {step.to}",
            where=f"case {number}",
            fix=f"possible: {ways}",
        )
    _demand_side(turn, row, _mover(before, step.to))
    due = turn.profile.calendar.due(turn.now_us, turn.profile.supervision.case_step_days)
    changed = {"state": str(step.to), "changed_us": turn.now_us, "due_us": due.at_us, "escalated_us": None}
    if step.handler:
        changed["handler"] = step.handler
    turn.connection.execute(update(CASES).where(CASES.c.number == number).values(changed))
    _note(turn, number, step, str(before))
    return step.to


def escalate(connection: Connection, now_us: int) -> list[int]:
    """Cases whose step is overdue and that nobody was told of yet: from now on the authority's list has them."""
    late = (CASES.c.due_us < now_us, CASES.c.escalated_us.is_(None), CASES.c.state != str(CaseState.CLOSED))
    numbers = list(
        connection.scalars(select(CASES.c.number).where(*late).order_by(CASES.c.number).with_for_update())
    )
    if numbers:
        here = CASES.c.number.in_(numbers)
        connection.execute(update(CASES).where(here).values(escalated_us=now_us))
    return numbers


def cases_of(connection: Connection, department: str, after: int, count: int) -> list[dict[str, Any]]:
    """A page of the cases a department raised or must answer; of all departments with ""."""
    query = select(CASES).where(CASES.c.number > after).order_by(CASES.c.number).limit(count)
    if department:
        query = query.where((CASES.c.raiser == department) | (CASES.c.handler == department))
    return [_case(row) for row in connection.execute(query).all()]


def case(connection: Connection, number: int) -> dict[str, Any]:
    """One case with everything that was said; raises Refused."""
    row = _found(connection.execute(select(CASES).where(CASES.c.number == number)).one_or_none(), number)
    here = select(CASE_EVENTS).where(CASE_EVENTS.c.number == number).order_by(CASE_EVENTS.c.n)
    said = [
        {
            "at_us": each.at_us,
            "who": each.who,
            "department": each.department,
            "state": each.state,
            "text": each.text,
        }
        for each in connection.execute(here).all()
    ]
    return {**_case(row), "said": said}


def open_cases(connection: Connection, department: str) -> int:
    """How many cases a department has still to do with as the one that answers."""
    query = select(func.count()).where(CASES.c.handler == department, CASES.c.state != str(CaseState.CLOSED))
    return int(connection.execute(query).scalar_one())


def _mover(before: CaseState, to: CaseState) -> Side:
    # Only who raised it may take it back; closing is theirs as well.
    return Side.RAISER if to is CaseState.CLOSED else MOVE[before]


def _demand_side(turn: Turn, row: Row[Any], side: Side) -> None:
    if side is Side.AUTHORITY:
        turn.actor.demand(Role.AUTHORITY, what="ruling a case")
        return
    if turn.actor.roles & {Role.AUTHORITY}:
        return
    turn.actor.demand(Role.RESOURCE_ADMIN, what="moving a case")
    turn.actor.demand_department(
        row.raiser if side is Side.RAISER else row.handler, f"this step of case {row.number}"
    )


def _note(turn: Turn, number: int, step: Step, before: str) -> None:
    last = select(func.coalesce(func.max(CASE_EVENTS.c.n), 0)).where(CASE_EVENTS.c.number == number)
    n = turn.connection.execute(last).scalar_one() + 1
    who = {"who": turn.actor.person, "department": turn.actor.department}
    row = {"number": number, "n": n, "at_us": turn.now_us, **who, "state": str(step.to), "text": step.text}
    turn.connection.execute(insert(CASE_EVENTS), row)
    facts = dict(step.facts or {})
    turn.record(f"case_{step.to}", case=number, before=before, text=step.text, handler=step.handler, **facts)


def _locked(connection: Connection, number: int) -> Row[Any]:
    query = select(CASES).where(CASES.c.number == number).with_for_update()
    return _found(connection.execute(query).one_or_none(), number)


def _found(row: Row[Any] | None, number: int) -> Row[Any]:
    if row is None:
        raise Refused("no such case", where=f"case {number}", fix="exchange-central case list")
    return row


def _case(row: Row[Any]) -> dict[str, Any]:
    state = CaseState(row.state)
    return {
        "case": row.number,
        "kind": row.kind,
        "resource": row.resource,
        "grant": row.grant_id,
        "raiser": row.raiser,
        "handler": row.handler,
        "state": row.state,
        "whose_move": str(MOVE[state]),
        "opened_us": row.opened_us,
        "due_us": row.due_us if state is not CaseState.CLOSED else 0,
        "escalated": row.escalated_us is not None,
        "evidence": row.evidence,
    }
