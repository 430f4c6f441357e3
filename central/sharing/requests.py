"""A request's way: drafted, approved by its own department, checked, consented to, granted. Each method one decision."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field
from sqlalchemy import Connection, Row, insert, select, update

from central.catalogue.entry import LegalBasis
from central.catalogue.published import Published, published
from central.people import Role, Turn
from central.people.office import department_of
from central.sharing.asked import Asked, Conditions, days_of, terms_of
from central.sharing.compliance import (
    Wanted,
    comply,
    comply_directed,
    demand_somebody,
    is_conditional,
    needs_double_consent,
)
from central.sharing.grants import Prolonged, Right, make_grant, prolong
from central.sharing.numbers import next_number, place
from central.sharing.restrictions import Restricted
from central.sharing.states import NEXT_OF_REQUEST, OPEN, RequestState, demand_move
from central.sharing.steps import (
    ANY_DEPARTMENT,
    Answer,
    Party,
    StepKind,
    answer_step,
    my_step,
    open_step,
    steps_of,
    void_steps,
)
from central.sharing.terms import Line
from central.store.grants import GRANTS
from central.store.sharing import REQUESTS
from proto.errors import Refused
from proto.process import Section

ORDINARY: Final = "ordinary"
DIRECTED: Final = "directed"
RENEWAL: Final = "renewal"


class Document(Section):
    """What a request keeps: what is asked, and, of a renewal, the conditions that go on."""

    asked: Asked
    base: Conditions | None = None
    renews: str = ""
    """The grant that goes on."""


class Draft(Section):
    """``share.draft``."""

    consumer: Line
    """The node that is to have it."""
    resource: Line
    asked: Asked
    submit: bool = True
    """Send it off at once, when the actor is the department's resource administrator."""


class Named(Section):
    """A request by its number."""

    request: Line


class Withdraw(Named):
    """``share.withdraw``."""

    reason: Line


class Route(Named):
    """``share.route``: the authority names the resource that really has it."""

    resource: Line
    items: tuple[Line, ...] | None = Field(None, min_length=1)
    """In the words of that resource; None = the same."""
    opinion: str = ""


class Direct(Section):
    """``share.direct``."""

    consumer: Line
    resource: Line
    asked: Asked
    conditions: Conditions = Conditions()
    basis: LegalBasis
    """The law that demands it be given to this recipient."""


def draft(turn: Turn, wanted: Draft, restricted: Restricted) -> dict[str, Any]:
    """Write a request down, checked; and send it off when its author may."""
    department = consumer_department(turn.connection, wanted.consumer)
    turn.actor.demand_department(department, "asking for this node")
    who = Wanted(wanted.consumer, department, wanted.resource)
    found, asked = comply(turn.connection, who, wanted.asked, turn.profile, turn.now_us)
    demand_somebody(turn.connection, department, asked)
    row = add_request(turn, ORDINARY, who, found, Document(asked=asked))
    if wanted.submit and Role.RESOURCE_ADMIN in turn.actor.roles:
        return submit(turn, Named(request=row.request), restricted)
    return told(turn, row.request)


def submit(turn: Turn, wanted: Named, restricted: Restricted) -> dict[str, Any]:
    """The asking department approves: from here on the platform's clocks run."""
    row = request_row(turn.connection, wanted.request, lock=True)
    turn.actor.demand(Role.RESOURCE_ADMIN, what="approving a request")
    turn.actor.demand_department(row.department, "approving this request")
    step = my_step(turn, steps_of(turn.connection, row.request), frozenset({StepKind.APPROVE}))
    answer_step(turn, step, Answer.AGREED)
    move(turn, row, RequestState.SUBMITTED, "request_submitted")
    return check_and_open(turn, row.request, restricted)


def check_and_open(turn: Turn, request: str, restricted: Restricted) -> dict[str, Any]:
    """The machine's check of a submitted request: granted at once, or waiting for those who must consent."""
    row = request_row(turn.connection, request, lock=True)
    who, document = Wanted(row.consumer, row.department, row.resource), document_of(row)
    found, asked = comply(turn.connection, who, document.asked, turn.profile, turn.now_us)
    if needs_double_consent(found.entry) and (said := restricted(turn.connection, row.department)):
        raise Refused("the department is restricted: " + "; ".join(said), where=row.resource)
    parties = parties_of(turn, found, asked, row)
    if not parties:
        return settle_granted(turn, row, found, document.model_copy(update={"asked": asked}), [])
    for party in parties:
        open_step(turn, request, party)
    move(turn, row, RequestState.WAITING, "request_waits", parties=", ".join(map(_named, parties)))
    return told(turn, request)


def settle_granted(
    turn: Turn, row: Row[Any], found: Published, document: Document, agreed: list[Conditions]
) -> dict[str, Any]:
    """Every consent is there: make the grant, or prolong the one that is renewed."""
    conditions = [*([document.base] if document.base else []), *agreed]
    terms = terms_of(document.asked, conditions, is_directed=row.kind == DIRECTED)
    begins, ends = days_of(document.asked, conditions, turn.profile, turn.now_us)
    if row.kind == RENEWAL:
        grant = prolong(turn, row.renews, Prolonged(terms, ends), found)
    else:
        right = Right(row.request, row.consumer, row.department, row.mode, terms, begins, ends)
        grant = make_grant(turn, right, found)
    move(turn, row, RequestState.GRANTED, "request_granted", grant=grant)
    turn.connection.execute(update(REQUESTS).where(REQUESTS.c.request == row.request).values(granted=grant))
    return told(turn, row.request)


def withdraw(turn: Turn, wanted: Withdraw) -> dict[str, Any]:
    """The asking department does not want it any more."""
    row = request_row(turn.connection, wanted.request, lock=True)
    turn.actor.demand_department(row.department, "withdrawing this request")
    if turn.actor.person != row.created_by:
        turn.actor.demand(Role.RESOURCE_ADMIN, what="withdrawing another's request")
    move(turn, row, RequestState.WITHDRAWN, "request_withdrawn", reason=wanted.reason)
    void_steps(turn, row.request)
    say(turn, row.request, wanted.reason)
    return told(turn, row.request)


def route(turn: Turn, wanted: Route, restricted: Restricted) -> dict[str, Any]:
    """The authority finds another who holds it: the need goes on there, with its items in that resource's words."""
    row = request_row(turn.connection, wanted.request, lock=True)
    step = my_step(turn, steps_of(turn.connection, row.request), frozenset({StepKind.ROUTE}))
    found = published(turn.connection, wanted.resource)
    document = document_of(row)
    items = wanted.items or document.asked.items
    changed = document.model_copy(update={"asked": document.asked.model_copy(update={"items": items})})
    answer_step(turn, step, Answer.ROUTED)
    place_at = {
        "resource": wanted.resource,
        "entry_version": found.version,
        "release": found.release,
        "provider": found.entry.provider,
        "document": changed.model_dump_json(),
    }
    turn.connection.execute(update(REQUESTS).where(REQUESTS.c.request == row.request).values(place_at))
    move(
        turn, row, RequestState.SUBMITTED, "request_routed", resource=wanted.resource, opinion=wanted.opinion
    )
    return check_and_open(turn, row.request, restricted)


def direct(turn: Turn, wanted: Direct) -> dict[str, Any]:
    """The authority grants what law demands be given to one recipient (Art. 5 ¶5), whatever the item's share type."""
    turn.actor.demand(Role.AUTHORITY, what="directing a statutory grant")
    who = Wanted(wanted.consumer, consumer_department(turn.connection, wanted.consumer), wanted.resource)
    asked = wanted.asked.model_copy(update={"basis": wanted.basis})
    found, asked = comply_directed(turn.connection, who, asked, turn.profile, turn.now_us)
    demand_somebody(turn.connection, who.department, asked)
    row = add_request(turn, DIRECTED, who, found, Document(asked=asked), RequestState.SUBMITTED)
    return settle_granted(turn, row, found, document_of(row), [wanted.conditions])


def add_request(
    turn: Turn,
    kind: str,
    who: Wanted,
    found: Published,
    document: Document,
    state: RequestState = RequestState.DRAFTED,
) -> Row[Any]:
    """A new request, waiting for its own department unless it begins further on."""
    request = next_number(turn, "R")
    row = {
        "request": request,
        "n": place(request),
        "state": state,
        "kind": kind,
        "consumer": who.consumer,
        "department": who.department,
        "resource": who.resource,
        "entry_version": found.version,
        "release": found.release,
        "provider": found.entry.provider,
        "mode": document.asked.mode,
        "document": document.model_dump_json(),
        "created_by": turn.actor.person,
        "created_us": turn.now_us,
        "changed_us": turn.now_us,
        "renews": document.renews,
    }
    turn.connection.execute(insert(REQUESTS), row)
    facts: dict[str, str | int] = {
        "consumer": who.consumer,
        "resource": who.resource,
        "kind": kind,
        "release": found.release,
    }
    turn.record("request_drafted", request=request, document=document.model_dump_json(), **facts)
    if state is RequestState.DRAFTED:
        days = turn.profile.sharing.department_approval_days
        open_step(turn, request, Party(StepKind.APPROVE, Role.RESOURCE_ADMIN, who.department, days))
    return request_row(turn.connection, request)


def parties_of(turn: Turn, found: Published, asked: Asked, row: Row[Any]) -> list[Party]:
    """Who must consent, in no order: nobody for what is shared without conditions."""
    clocks, entry = turn.profile.sharing, found.entry
    if needs_double_consent(entry):
        sources = {published(turn.connection, code).entry.provider for code in entry.sources}
        providers = sorted((sources | {entry.provider}) - {row.department})
        admin, days = Role.RESOURCE_ADMIN, clocks.consent_days
        authority = Party(StepKind.CONSENT, Role.AUTHORITY, ANY_DEPARTMENT, clocks.authority_consent_days)
        return [*(Party(StepKind.CONSENT, admin, each, days) for each in providers), authority]
    if not is_conditional(entry, asked):
        return []
    shared = select(GRANTS.c.grant_id).where(GRANTS.c.resource == entry.code).limit(1)
    known = turn.connection.execute(shared).one_or_none() is not None
    days = clocks.provider_answer_shared_days if known else clocks.provider_answer_days
    return [Party(StepKind.ANSWER, Role.RESOURCE_ADMIN, entry.provider, days)]


def request_row(connection: Connection, request: str, *, lock: bool = False) -> Row[Any]:
    """One request. Raises Refused when there is none."""
    query = select(REQUESTS).where(REQUESTS.c.request == request)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise Refused("no such request", where=request[:40], fix="exchange-central share requests lists them")
    return row


def document_of(row: Row[Any]) -> Document:
    """What the request asks."""
    return Document.model_validate_json(row.document)


def move(turn: Turn, row: Row[Any], to: RequestState, event: str, **facts: str | int) -> None:
    """Put the request into another state, on record; raises Refused where the table has no such way."""
    now = turn.connection.execute(
        select(REQUESTS.c.state).where(REQUESTS.c.request == row.request)
    ).scalar_one()
    demand_move(RequestState(now), to, NEXT_OF_REQUEST, row.request)
    values = {"state": to, "changed_us": turn.now_us}
    turn.connection.execute(update(REQUESTS).where(REQUESTS.c.request == row.request).values(values))
    turn.record(event, request=row.request, **facts)


def told(turn: Turn, request: str) -> dict[str, Any]:
    """What whoever acted on a request hears: where it is now, and whom it waits for."""
    row = request_row(turn.connection, request)
    waiting = [step for step in steps_of(turn.connection, request) if step.is_open]
    return {
        "request": row.request,
        "state": row.state,
        "consumer": row.consumer,
        "resource": row.resource,
        "mode": row.mode,
        "grant": row.granted,
        "sentence": row.sentence,
        "waits_for": [step.shown(turn.profile, turn.now_us) for step in waiting],
        "is_open": row.state in OPEN,
    }


def consumer_department(connection: Connection, consumer: str) -> str:
    """The department in which the consuming node stands. Raises Refused when nobody placed it."""
    if department := department_of(connection, consumer):
        return department
    raise Refused(
        "nobody said in which department this node stands",
        where=consumer[:40],
        fix=f"exchange-central department place {consumer[:40]} CODE",
    )


def say(turn: Turn, request: str, sentence: str) -> None:
    here = REQUESTS.c.request == request
    turn.connection.execute(update(REQUESTS).where(here).values(sentence=sentence))


def _named(party: Party) -> str:
    return f"{party.role} {party.department}".strip()
