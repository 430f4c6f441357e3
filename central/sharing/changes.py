"""What people do to a grant: other terms, a pause, an end, another year. Who may, and on what ground."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from sqlalchemy import Row

from central.catalogue.entry import LegalBasis
from central.catalogue.published import published
from central.people import Role, Turn
from central.sharing.asked import Asked, Conditions, is_narrower, terms_of
from central.sharing.compliance import Wanted, comply, comply_directed, demand_fit
from central.sharing.grants import change_grant, grant_row, has_ended, running_state
from central.sharing.requests import (
    DIRECTED,
    RENEWAL,
    Document,
    Named,
    add_request,
    document_of,
    request_row,
    submit,
)
from central.sharing.restrictions import Restricted
from central.sharing.states import NEXT_OF_GRANT, GrantState, demand_move
from central.sharing.terms import Line, Terms
from proto.errors import NotAdmitted, Refused
from proto.process import Section

PROVIDER: Final = "provider"
AUTHORITY: Final = "authority"
SECURITY: Final = "security"
CONSUMER: Final = "consumer"
RESTRICTION: Final = "restriction"
"""Nobody: it goes on by itself when the department is on time again (Art. 28)."""


class Reasoned(Section):
    """A grant, and why."""

    grant: Line
    reason: Line
    basis: LegalBasis | None = None
    """The law: a provider that takes something away must name it (Art. 22)."""


class Change(Reasoned):
    """``grant.change``: these conditions take the place of those before."""

    conditions: Conditions


class Renew(Section):
    """``share.renew``."""

    grant: Line
    until: date


def suspend(turn: Turn, wanted: Reasoned) -> dict[str, Any]:
    """Nothing flows until it is resumed; its last day comes nevertheless."""
    row = grant_row(turn.connection, wanted.grant, lock=True)
    party = _party(turn, row, wanted, frozenset({PROVIDER, AUTHORITY, SECURITY}))
    _demand_running(turn, row)
    held = {"state": GrantState.SUSPENDED, "held_by": party, "sentence": _said(wanted)}
    change_grant(turn, row, "grant_suspended", _said(wanted), **held)
    return shown(turn, wanted.grant)


def resume(turn: Turn, wanted: Reasoned) -> dict[str, Any]:
    """Whoever suspended it lets it go on; the authority also what a provider suspended."""
    row = grant_row(turn.connection, wanted.grant, lock=True)
    if row.state != GrantState.SUSPENDED:
        raise Refused(f"the grant is {row.state}, not suspended", where=row.grant_id)
    party = _who(turn, row)
    if row.held_by not in party and not (row.held_by == PROVIDER and AUTHORITY in party):
        raise NotAdmitted(f"it was suspended by the {row.held_by}", where=row.grant_id)
    to = running_state(row, turn)
    change_grant(turn, row, "grant_resumed", wanted.reason, state=to, held_by="", sentence="", warned_days=0)
    return shown(turn, wanted.grant)


def revoke(turn: Turn, wanted: Reasoned) -> dict[str, Any]:
    """It ends now and for good; its history stays. The consumer may give its own grant back."""
    row = grant_row(turn.connection, wanted.grant, lock=True)
    _party(turn, row, wanted, frozenset({PROVIDER, AUTHORITY, SECURITY, CONSUMER}))
    demand_move(GrantState(row.state), GrantState.REVOKED, NEXT_OF_GRANT, row.grant_id)
    change_grant(turn, row, "grant_revoked", _said(wanted), state=GrantState.REVOKED, sentence=_said(wanted))
    return shown(turn, wanted.grant)


def change(turn: Turn, wanted: Change) -> dict[str, Any]:
    """Other conditions, never more than was asked for; narrower ones by a provider need the law."""
    row = grant_row(turn.connection, wanted.grant, lock=True)
    _demand_running(turn, row)
    before = Terms.model_validate_json(row.terms)
    asked = _asked_of(turn, row, before)
    terms = terms_of(asked, [wanted.conditions], is_directed=before.is_directed)
    if wanted.conditions.at_end is None:
        terms = terms.model_copy(update={"at_end": before.at_end})
    until = wanted.conditions.until
    ends = turn.profile.calendar.end_of(min(until, asked.until)) if until else row.valid_to_us
    loses = is_narrower(before, terms) or ends < row.valid_to_us
    parties = frozenset({PROVIDER, AUTHORITY}) if not before.is_directed else frozenset({AUTHORITY})
    _party(turn, row, wanted, parties, needs_law=loses)
    entry = published(turn.connection, row.resource).entry
    demand_fit(turn.connection, entry, terms)
    new = {"terms": terms.model_dump_json(), "valid_to_us": ends}
    change_grant(turn, row, "grant_narrowed" if loses else "grant_widened", _said(wanted), **new)
    return shown(turn, wanted.grant)


def renew(turn: Turn, wanted: Renew, restricted: Restricted) -> dict[str, Any]:
    """A short request that reuses the terms: the same parties consent, and the same grant goes on."""
    row = grant_row(turn.connection, wanted.grant)
    turn.actor.demand(Role.RESOURCE_ADMIN, what="renewing a grant")
    turn.actor.demand_department(row.department, "renewing this grant")
    if has_ended(row, turn.now_us) or row.state == GrantState.SUSPENDED:
        raise Refused(f"the grant is {row.state} and cannot be renewed", where=row.grant_id, fix="ask anew")
    terms = Terms.model_validate_json(row.terms)
    if terms.is_directed:
        raise Refused("a directed grant is prolonged by the authority", where=row.grant_id)
    base = Conditions(masks=terms.masks, limits=terms.limits, at_end=terms.at_end)
    document = Document(asked=_from_terms(terms, row.mode, wanted.until), base=base, renews=row.grant_id)
    who = Wanted(row.consumer, row.department, row.resource)
    found, _ = comply(turn.connection, who, document.asked, turn.profile, turn.now_us)
    made = add_request(turn, RENEWAL, who, found, document)
    return submit(turn, Named(request=made.request), restricted)


def shown(turn: Turn, grant: str) -> dict[str, Any]:
    """A grant for JSON; its secret never leaves central."""
    return grant_form(grant_row(turn.connection, grant))


def grant_form(row: Row[Any]) -> dict[str, Any]:
    """One row of the table, for JSON."""
    names: tuple[str, ...]
    names = ("version", "state", "consumer", "department", "resource", "entry_version", "release", "mode")
    names += ("valid_from_us", "valid_to_us", "created_us", "changed_us", "request", "sentence", "held_by")
    terms = Terms.model_validate_json(row.terms).model_dump(mode="json")
    return {"grant": row.grant_id, **{name: getattr(row, name) for name in names}, "terms": terms}


def _who(turn: Turn, row: Row[Any]) -> frozenset[str]:
    """As what the actor may speak about this grant."""
    roles = turn.actor.roles
    admin = Role.RESOURCE_ADMIN in roles
    speaks = {
        PROVIDER: admin and turn.actor.department == row.provider,
        AUTHORITY: Role.AUTHORITY in roles,
        SECURITY: Role.SECURITY_ADMIN in roles,
        CONSUMER: admin and turn.actor.department == row.department,
    }
    return frozenset(party for party, does in speaks.items() if does)


def _party(
    turn: Turn, row: Row[Any], wanted: Reasoned, may: frozenset[str], *, needs_law: bool = True
) -> str:
    """As what the actor decides. Raises NotAdmitted for others, Refused for a provider without the law."""
    speaks = _who(turn, row) & may
    if not speaks:
        raise NotAdmitted(f"this is for: {', '.join(sorted(may))}", where=row.grant_id)
    if speaks == {PROVIDER} and needs_law and wanted.basis is None:
        fix = "name title, number and article of the law (Article 22)"
        raise Refused("a provider takes nothing away without a legal basis", where=row.grant_id, fix=fix)
    return next(party for party in (AUTHORITY, SECURITY, PROVIDER, CONSUMER) if party in speaks)


def _demand_running(turn: Turn, row: Row[Any]) -> None:
    if has_ended(row, turn.now_us):
        raise Refused(f"the grant has ended ({row.state})", where=row.grant_id, fix="ask anew")


def _said(wanted: Reasoned) -> str:
    basis = wanted.basis
    cited = f"{basis.title}（{basis.document_no}）{basis.article}: " if basis else ""
    return cited + wanted.reason


def _asked_of(turn: Turn, row: Row[Any], terms: Terms) -> Asked:
    """The most that may be granted: what was asked for, under the catalogue that is in force now."""
    last = turn.profile.calendar.day_of(row.valid_to_us - 1)
    if not row.request:
        return _from_terms(terms, row.mode, last)
    request = request_row(turn.connection, row.request)
    asked = document_of(request).asked.model_copy(update={"until": last, "since": None})
    who = Wanted(row.consumer, row.department, row.resource)
    check = comply_directed if request.kind == DIRECTED else comply
    return check(turn.connection, who, asked, turn.profile, turn.now_us)[1]


def _from_terms(terms: Terms, mode: str, until: date) -> Asked:
    shared = {
        "business": terms.business,
        "users": terms.users,
        "items": terms.items,
        "purpose": terms.purpose,
        "basis": terms.basis,
        "rows": terms.rows,
    }
    return Asked.model_validate({**shared, "mode": mode, "until": until, "at_end": terms.at_end})
