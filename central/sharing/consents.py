"""What a party answers: it agrees on conditions, or refuses with the law in hand, or says that it does not hold it."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field
from sqlalchemy import Row

from central.catalogue.entry import LegalBasis
from central.catalogue.published import Published
from central.people import Role, Turn
from central.sharing.asked import Conditions, terms_of
from central.sharing.compliance import Wanted, comply, demand_fit
from central.sharing.requests import (
    Document,
    Named,
    document_of,
    move,
    request_row,
    say,
    settle_granted,
    told,
)
from central.sharing.states import RequestState
from central.sharing.steps import (
    ANY_DEPARTMENT,
    Answer,
    Party,
    Step,
    StepKind,
    answer_step,
    my_step,
    open_step,
    steps_of,
    void_steps,
)
from central.sharing.terms import Line
from proto.errors import Refused

_ANSWERED: Final = frozenset({StepKind.ANSWER, StepKind.CONSENT})
_ROUTABLE: Final = _ANSWERED | {StepKind.ROUTE}


class Agree(Named):
    """``share.agree``."""

    conditions: Conditions = Field(default_factory=Conditions)
    opinion: str = ""


class Refusal(Named):
    """``share.refuse``: without the law's title, number and article it cannot be written down (Art. 22)."""

    basis: LegalBasis
    opinion: Line


class NotHeld(Named):
    """``share.not-held``."""

    opinion: Line


def agree(turn: Turn, wanted: Agree) -> dict[str, Any]:
    """One party agrees; when it was the last one, the grant is made in the same transaction."""
    row = request_row(turn.connection, wanted.request, lock=True)
    step = my_step(turn, steps_of(turn.connection, row.request), _ANSWERED)
    found, document = _checked(turn, row)
    said = _conditions(found, wanted.conditions)
    answer_step(turn, step, Answer.AGREED, said.model_dump_json())
    facts = {"party": step.party, "conditions": said.model_dump_json(), "opinion": wanted.opinion}
    turn.record("consent_given", request=row.request, instead=_instead(turn, step), **facts)
    steps = [each for each in _round(steps_of(turn.connection, row.request)) if each.kind in _ANSWERED]
    agreed = [Conditions.model_validate(each.document) for each in steps if each.answer == Answer.AGREED]
    base = [document.base] if document.base else []
    # Tried at once, so that whoever wrote a condition that fits no table hears it, and nobody else later.
    demand_fit(turn.connection, found.entry, terms_of(document.asked, [*base, *agreed]))
    if any(each.is_open for each in steps):
        return told(turn, row.request)
    return settle_granted(turn, row, found, document, agreed)


def refuse(turn: Turn, wanted: Refusal) -> dict[str, Any]:
    """One refusal ends the request, whoever else has agreed (Art. 28)."""
    row = request_row(turn.connection, wanted.request, lock=True)
    step = my_step(turn, steps_of(turn.connection, row.request), _ROUTABLE)
    answer_step(turn, step, Answer.REFUSED, wanted.model_dump_json(include={"basis", "opinion"}))
    basis = wanted.basis
    cited = f"{basis.title}（{basis.document_no}）{basis.article}"
    facts = {"party": step.party, "article": cited, "opinion": wanted.opinion}
    move(turn, row, RequestState.REFUSED, "request_refused", instead=_instead(turn, step), **facts)
    void_steps(turn, row.request)
    say(turn, row.request, f"{step.party} refused by {cited}: {wanted.opinion}")
    return told(turn, row.request)


def not_held(turn: Turn, wanted: NotHeld) -> dict[str, Any]:
    """The provider does not have it: the need is not closed but goes to the authority (Art. 22)."""
    row = request_row(turn.connection, wanted.request, lock=True)
    if document_of(row).renews:
        raise Refused("a renewal is of data that was delivered: it is held", where=row.request)
    step = my_step(turn, steps_of(turn.connection, row.request), _ANSWERED)
    if step.role is not Role.RESOURCE_ADMIN:
        raise Refused("the authority holds nothing itself", where=row.request, fix="agree or refuse")
    answer_step(turn, step, Answer.NOT_HELD, wanted.model_dump_json(include={"opinion"}))
    void_steps(turn, row.request)
    facts = {"party": step.party, "opinion": wanted.opinion}
    move(turn, row, RequestState.ROUTING, "request_not_held", **facts)
    days = turn.profile.sharing.authority_route_days
    open_step(turn, row.request, Party(StepKind.ROUTE, Role.AUTHORITY, ANY_DEPARTMENT, days))
    return told(turn, row.request)


def _checked(turn: Turn, row: Row[Any]) -> tuple[Published, Document]:
    """The catalogue may have changed since the request was sent off."""
    document = document_of(row)
    who = Wanted(row.consumer, row.department, row.resource)
    found, asked = comply(turn.connection, who, document.asked, turn.profile, turn.now_us)
    return found, document.model_copy(update={"asked": asked})


def _conditions(found: Published, given: Conditions) -> Conditions:
    """Conditions with columns where they name items."""
    if given.items is None:
        return given
    by_name = {item.name: item.column for item in found.entry.items}
    items = tuple(by_name.get(item, item) for item in given.items)
    return given.model_copy(update={"items": items})


def _round(steps: list[Step]) -> list[Step]:
    """The steps since the request was last sent to somebody: what an earlier provider said counts no more."""
    last = max((step.n for step in steps if step.kind is StepKind.ROUTE), default=0)
    return [step for step in steps if step.n > last]


def _instead(turn: Turn, step: Step) -> str:
    """In whose place the authority decides what went overdue; "" when the party itself does."""
    own = step.role in turn.actor.roles and step.department in (ANY_DEPARTMENT, turn.actor.department)
    return "" if own else step.party
