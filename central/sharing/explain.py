"""Why this node can or cannot have this resource now: one page, and one sentence that says whose move it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select

from central.catalogue.entry import DELIVERED, Entry, Item, Mode, ShareType
from central.catalogue.published import Published, newest_release, published
from central.ledger.tableholds import held_table
from central.people import Turn
from central.people.office import department_of
from central.sharing.changes import AUTHORITY, PROVIDER, RESTRICTION, SECURITY, grant_form
from central.sharing.compliance import needs_double_consent
from central.sharing.grants import has_ended
from central.sharing.lists import sees_all
from central.sharing.permits import permit, read_terms
from central.sharing.requests import document_of
from central.sharing.restrictions import Restricted
from central.sharing.states import OPEN, RequestState
from central.sharing.steps import Step, steps_of
from central.sharing.terms import Line
from central.store.grants import GRANTS
from central.store.sharing import REQUESTS
from proto.errors import NotAdmitted, Refused
from proto.process import Section

MOST_REQUESTS: Final = 20
_HOLDERS: Final = {
    PROVIDER: "the provider's resource administrator or the authority",
    AUTHORITY: "the authority",
    SECURITY: "the security administrator",
}


class Explain(Section):
    """``share.explain``."""

    consumer: Line
    resource: Line
    item: str = ""
    """Column or name of one information item."""
    mode: str = ""
    """Of the grant asked about; any when empty."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The page's last line."""

    can: bool
    because: str
    whose_move: str
    command: str = ""

    @property
    def sentence(self) -> str:
        """In words."""
        start = "can" if self.can else "cannot"
        step = f" ({self.command})" if self.command else ""
        return f"{start}, because {self.because}; {self.whose_move}{step}"


@dataclass(frozen=True, slots=True)
class Known:
    """Everything the verdict is reached from."""

    wanted: Explain
    found: Published | None
    item: Item | None
    grants: Sequence[Row[Any]]
    requests: Sequence[Row[Any]]
    waiting: Sequence[Step]
    refusal: str
    """Why the newest grant lets nothing through now."""
    last_day: str
    """Of the newest grant."""
    held: str
    """That the platform holds the table of the newest grant, if so."""


def explain(turn: Turn, wanted: Explain, restricted: Restricted) -> dict[str, Any]:
    """The page. Departments see their own side's; those with a watching role see all."""
    department = department_of(turn.connection, wanted.consumer)
    found = _found(turn, wanted.resource)
    provider = found.entry.provider if found else ""
    if not sees_all(turn.actor) and turn.actor.department not in (department, provider):
        raise NotAdmitted("this is between other departments", where=wanted.resource[:80])
    known = _known(turn, wanted, found)
    newest = known.grants[0] if known.grants else None
    verdict = _verdict(known)
    return {
        "consumer": wanted.consumer,
        "department": department,
        "resource": wanted.resource,
        "item": wanted.item,
        "entry": _entry_form(found, known.item) if found else None,
        "newest_release": newest_release(turn.connection),
        "requests": [_request_form(turn, row) for row in known.requests],
        "grant": grant_form(newest) if newest else None,
        "earlier_grants": [row.grant_id for row in known.grants[1:]],
        "may_change": _may_change(newest, provider),
        "restrictions": list(restricted(turn.connection, department)),
        "can": verdict.can,
        "because": verdict.because,
        "whose_move": verdict.whose_move,
        "command": verdict.command,
        "sentence": f"{wanted.consumer} {verdict.sentence}",
    }


def _found(turn: Turn, resource: str) -> Published | None:
    try:
        return published(turn.connection, resource)
    except Refused:
        return None


def _known(turn: Turn, wanted: Explain, found: Published | None) -> Known:
    here = (GRANTS.c.consumer == wanted.consumer, GRANTS.c.resource == wanted.resource)
    query = select(GRANTS).where(*here, *([GRANTS.c.mode == wanted.mode] if wanted.mode else []))
    grants = list(turn.connection.execute(query.order_by(GRANTS.c.created_us.desc())).all())
    # What can be used now comes before what has ended, however new that is.
    grants.sort(key=lambda row: has_ended(row, turn.now_us))
    asked = (REQUESTS.c.consumer == wanted.consumer, REQUESTS.c.resource == wanted.resource)
    newest = select(REQUESTS).where(*asked).order_by(REQUESTS.c.n.desc()).limit(MOST_REQUESTS)
    requests = turn.connection.execute(newest).all()
    waiting: list[Step] = []
    if requests and requests[0].state in OPEN:
        waiting = [step for step in steps_of(turn.connection, requests[0].request) if step.is_open]
    refusal = permit(turn.connection, grants[0].grant_id).refusal(turn.now_us) if grants else ""
    last = str(turn.profile.calendar.day_of(grants[0].valid_to_us - 1)) if grants else ""
    table = held_table(turn.connection, grants[0].stream, grants[0].table_name) if grants else None
    held = table.notice if table else ""
    return Known(wanted, found, _item(wanted, found), grants, requests, waiting, refusal, last, held)


def _item(wanted: Explain, found: Published | None) -> Item | None:
    if not wanted.item or found is None:
        return None
    for item in found.entry.items:
        if wanted.item in (item.column, item.name):
            return item
    raise Refused("the resource has no such item", where=wanted.item[:80])


def _verdict(known: Known) -> Verdict:
    wanted = known.wanted
    if known.found is None:
        because = f"{wanted.resource} is not in the sharing catalogue, so it has no reader but its owner"
        return Verdict(False, because, "its provider registers it and the authority publishes a release")
    if known.grants and (not known.refusal or known.grants[0].state == "suspended"):
        return _granted(known)
    if known.waiting:
        return _waits(known)
    if known.requests and known.requests[0].state == RequestState.REFUSED:
        return Verdict(
            False,
            f"request {known.requests[0].request} was refused: {known.requests[0].sentence}",
            "who disagrees turns to the authority, or the asking department asks anew",
        )
    if known.grants:
        return _ended(known)
    return _not_asked(known, known.found.entry)


def _granted(known: Known) -> Verdict:
    row = known.grants[0]
    if known.refusal and row.held_by == RESTRICTION:
        because = f"grant {row.grant_id} is suspended: {row.sentence}"
        return Verdict(False, because, "it goes on by itself when the department is on time again")
    if known.refusal:
        return Verdict(
            False,
            f"grant {row.grant_id} is suspended: {row.sentence}",
            f"{_HOLDERS.get(row.held_by, _HOLDERS[AUTHORITY])} resumes it",
            f"exchange-central grant resume {row.grant_id}",
        )
    items = grant_form(row)["terms"]["items"]
    if known.item is not None and known.item.column not in items:
        because = f"grant {row.grant_id} does not hold the item {known.item.column}"
        return Verdict(False, because, "the consumer asks for it, or the provider widens the grant")
    because = f"grant {row.grant_id} ({row.mode}) is {row.state}, version {row.version}"
    because += f", but {known.held}" if known.held else ""
    return Verdict(True, because, f"the consumer may use it until {known.last_day}{_by_whom(row)}")


def _by_whom(row: Row[Any]) -> str:
    """Who asks at the platform is enforced there; what is delivered is in the consumer's own hands."""
    if row.mode in DELIVERED:
        return ", in its own exchange database"
    return f"; these may ask: {', '.join(read_terms(row.terms).users)}"


def _waits(known: Known) -> Verdict:
    request = known.requests[0].request
    whose = " and ".join(step.party for step in known.waiting)
    late = any(step.escalated_us for step in known.waiting)
    move = "overdue, so the authority may decide as well" if late else "it is their move"
    return Verdict(
        False,
        f"request {request} waits for {whose}",
        move,
        f"exchange-central share show {request}",
    )


def _ended(known: Known) -> Verdict:
    row = known.grants[0]
    because = f"grant {row.grant_id}: {known.refusal}"
    return Verdict(False, because, "the consumer's resource administrator asks anew", _ask(known))


def _not_asked(known: Known, entry: Entry) -> Verdict:
    kind = known.item.share_type if known.item else entry.share_type
    if known.wanted.mode and known.wanted.mode not in entry.modes:
        because = f"it is offered for {', '.join(entry.modes)}, not for {known.wanted.mode}"
        return Verdict(False, because, "the consumer asks for another mode, or its provider offers this one")
    if known.wanted.mode == Mode.CUSTOM and not entry.sources:
        because = "a customised product names the resources it is made of, and this one names none"
        return Verdict(False, because, "its provider lists them as the entry's sources")
    if kind is ShareType.NOT_SHARED:
        because = "it is not shared (Article 5)"
        return Verdict(False, because, "only the authority can direct it, where a law demands it")
    because = "nobody has asked for it" if not known.requests else "the last request was withdrawn"
    return Verdict(False, because, "the consumer's department asks", _ask(known))


def _ask(known: Known) -> str:
    return f"exchange-central share request {known.wanted.consumer} {known.wanted.resource}"


def _entry_form(found: Published, item_asked: Item | None) -> dict[str, Any]:
    entry = found.entry
    return {
        "code": entry.code,
        "name": entry.name,
        "provider": entry.provider,
        "provider_name": entry.provider_name,
        "version": found.version,
        "release": found.release,
        "share_type": entry.share_type,
        "condition": entry.condition,
        "modes": list(entry.modes),
        "sources": list(entry.sources),
        "needs_double_consent": needs_double_consent(entry),
        "items": [
            {"column": item.column, "name": item.name, "share_type": item.share_type}
            for item in entry.items
            if item_asked is None or item is item_asked
        ],
    }


def _request_form(turn: Turn, row: Row[Any]) -> dict[str, Any]:
    steps = [step.shown(turn.profile, turn.now_us) for step in steps_of(turn.connection, row.request)]
    asked = document_of(row).asked.model_dump(mode="json")
    said = {"request": row.request, "state": row.state, "kind": row.kind, "sentence": row.sentence}
    return {**said, "asked": asked, "steps": steps}


def _may_change(row: Row[Any] | None, provider: str) -> list[str]:
    """Who may narrow, suspend or end it."""
    if row is None:
        return []
    return [
        f"the resource administrator of the provider {provider}, with a legal basis",
        f"the {AUTHORITY}",
        f"the {SECURITY} administrator, in an incident",
        f"the resource administrator of {row.department}, who may give it back or renew it",
    ]
