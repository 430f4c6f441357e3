"""The steps of a request: each waits for a role of a department, and each has its clock in working days."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from central.people import Actor, Role, Turn
from central.policy import Profile
from central.store.sharing import STEPS
from proto.errors import NotAdmitted

ANY_DEPARTMENT: Final = ""
"""Of a step for the authority, whoever of its people takes it."""


class StepKind(StrEnum):
    """What has to be decided."""

    APPROVE = "approve"
    """The asking department's own administrator sends the request off."""
    ANSWER = "answer"
    """The provider agrees, or refuses by law, or does not hold it."""
    CONSENT = "consent"
    """The same, one of several parties (Art. 28)."""
    ROUTE = "route"
    """The authority finds who holds it."""


class Answer(StrEnum):
    """How a step ended."""

    AGREED = "agreed"
    REFUSED = "refused"
    NOT_HELD = "not_held"
    ROUTED = "routed"
    VOID = "void"
    """The request ended before this party answered."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who has to decide, and how many working days there are."""

    kind: StepKind
    role: Role
    department: str
    days: int


@dataclass(frozen=True, slots=True)
class Step:
    """One decision, made or waited for."""

    request: str
    n: int
    kind: StepKind
    role: Role
    department: str
    since_us: int
    due_us: int
    calendar: str
    """What the clock does not know; "" when nothing."""
    escalated_us: int
    answered_us: int
    answer: str
    who: str
    document: dict[str, Any]

    @property
    def is_open(self) -> bool:
        """Whether somebody has to decide it yet."""
        return not self.answered_us

    @property
    def party(self) -> str:
        """Whose move it is, for people."""
        return f"the {self.role} of {self.department}" if self.department else f"the {self.role}"

    def shown(self, profile: Profile, now_us: int) -> dict[str, Any]:
        """For JSON, with the days that are left."""
        left = {"days_left": profile.calendar.left(now_us, self.due_us)} if self.is_open else {}
        return {
            "request": self.request,
            "step": self.n,
            "kind": self.kind,
            "role": self.role,
            "department": self.department,
            "since_us": self.since_us,
            "due_us": self.due_us,
            "calendar": self.calendar,
            "escalated_us": self.escalated_us,
            "answered_us": self.answered_us,
            "answer": self.answer,
            "who": self.who,
            "said": self.document,
            **left,
        }


def open_step(turn: Turn, request: str, party: Party) -> None:
    """Let *request* wait for *party* from now on."""
    due = turn.profile.calendar.due(turn.now_us, party.days)
    last = select(func.coalesce(func.max(STEPS.c.n), 0)).where(STEPS.c.request == request)
    row = {
        "request": request,
        "n": turn.connection.execute(last).scalar_one() + 1,
        "kind": party.kind,
        "role": party.role,
        "department": party.department,
        "since_us": turn.now_us,
        "due_us": due.at_us,
        "calendar": due.note,
    }
    turn.connection.execute(insert(STEPS), row)


def steps_of(connection: Connection, request: str) -> list[Step]:
    """All steps of *request*, in order."""
    rows = connection.execute(select(STEPS).where(STEPS.c.request == request).order_by(STEPS.c.n)).all()
    return [step_of(row) for row in rows]


def waiting_in(connection: Connection, department: str) -> list[Step]:
    """What waits for anybody of *department*, the most urgent first."""
    query = select(STEPS).where(STEPS.c.department == department, STEPS.c.answered_us.is_(None))
    return [step_of(row) for row in connection.execute(query.order_by(STEPS.c.due_us)).all()]


def my_step(turn: Turn, steps: Sequence[Step], kinds: frozenset[StepKind]) -> Step:
    """The open step that the actor may decide: their own, or as the authority one that is overdue elsewhere.

    Raises NotAdmitted when it is somebody else's move.
    """
    waiting = [step for step in steps if step.is_open and step.kind in kinds]
    if not waiting:
        raise NotAdmitted(
            "nothing of this kind waits for anybody", where=steps[0].request if steps else "request"
        )
    own = [step for step in waiting if is_for(step, turn.actor)]
    instead = [step for step in waiting if step.escalated_us and Role.AUTHORITY in turn.actor.roles]
    if not (own or instead):
        whose = " and ".join(step.party for step in waiting)
        raise NotAdmitted(f"this waits for {whose}", where=waiting[0].request)
    step = (own or instead)[0]
    others = {each.who for each in steps if each.kind is StepKind.CONSENT}
    if step.kind is StepKind.CONSENT and not step.escalated_us and turn.actor.person in others:
        raise NotAdmitted(
            "consents of two parties are given by two people", where=step.request, fix="ask a colleague"
        )
    return step


def is_for(step: Step, actor: Actor) -> bool:
    """Whether it is *actor*'s to decide."""
    return step.role in actor.roles and step.department in (ANY_DEPARTMENT, actor.department)


def answer_step(turn: Turn, step: Step, answer: Answer, document: str = "{}") -> None:
    """The step is decided."""
    facts = {"answered_us": turn.now_us, "answer": answer, "who": turn.actor.person, "document": document}
    here = (STEPS.c.request == step.request, STEPS.c.n == step.n)
    turn.connection.execute(update(STEPS).where(*here).values(facts))


def void_steps(turn: Turn, request: str) -> None:
    """Whoever has not answered *request* need not any more."""
    waiting = (STEPS.c.request == request, STEPS.c.answered_us.is_(None))
    turn.connection.execute(update(STEPS).where(*waiting).values(answered_us=turn.now_us, answer=Answer.VOID))


def step_of(row: Row[Any]) -> Step:
    """A step as it lies in the table."""
    return Step(
        request=row.request,
        n=row.n,
        kind=StepKind(row.kind),
        role=Role(row.role),
        department=row.department,
        since_us=row.since_us,
        due_us=row.due_us,
        calendar=row.calendar,
        escalated_us=row.escalated_us or 0,
        answered_us=row.answered_us or 0,
        answer=row.answer,
        who=row.who,
        document=json.loads(row.document),
    )
