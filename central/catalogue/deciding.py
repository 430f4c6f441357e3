"""The auditor's and the authority's part: audit, verification, publication, adjustment, suspension, withdrawal.

Whoever registered a version cannot audit it, whatever roles they have (Art. 15).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from sqlalchemy import select, update

from central.catalogue.arguments import Adjust, Decide, DecideWhy, Filed, Publish, Verify
from central.catalogue.drafting import refuse_faults, said_of
from central.catalogue.entry import Entry
from central.catalogue.gathering import facts_of
from central.catalogue.keeping import (
    Kept,
    Move,
    add_version,
    kept,
    move,
    notify,
    of_row,
    set_values,
    tell_consumers,
    text_of,
    writers,
)
from central.catalogue.published import newest_release
from central.catalogue.rules import Needs, rules_needing
from central.catalogue.rules.text import needs_verification
from central.catalogue.states import PUBLIC, EntryState
from central.people import Role, Turn
from central.store.catalogue import ENTRIES, RELEASED
from proto.catalogue import canonical
from proto.errors import NotAdmitted, Refused

_ITEM: Final = re.compile(r"items\[(.+)\]\.(\w+)")


def hand_back(turn: Turn, told: DecideWhy) -> dict[str, Any]:
    """Return it to the registrar, with the reason."""
    before = kept(turn.connection, told.code, lock=True)
    turn.actor.demand_department(before.entry.provider, "returning")
    step = Move("return", Role.AUDITOR, EntryState.RETURNED, told.opinion)
    move(turn, before, step, auditor=turn.actor.person)
    return said_of(turn, told.code)


def audit(turn: Turn, told: Decide) -> dict[str, Any]:
    """Approve it; what is not to be shared then waits for the authority."""
    before = kept(turn.connection, told.code, lock=True)
    _demand_other_person(turn, before)
    step = Move("audit", Role.AUDITOR, EntryState.AUDITED, told.opinion)
    move(turn, before, step, auditor=turn.actor.person)
    now = kept(turn.connection, told.code)
    [facts] = facts_of(turn, [now], data=False)
    if needs_verification(facts):
        waiting = Move("await_verification", Role.AUDITOR, EntryState.AWAITING_VERIFICATION)
        move(turn, now, waiting)
    return said_of(turn, told.code)


def verify(turn: Turn, told: Verify) -> dict[str, Any]:
    """The authority's word on the legal ground; a return carries its reason."""
    before = kept(turn.connection, told.code, lock=True)
    said = {"by": turn.actor.person, "at_us": turn.now_us, "result": told.result, "opinion": told.opinion}
    step = Move("verify", Role.AUTHORITY, EntryState(told.result), told.opinion)
    move(turn, before, step, verification=canonical(said).decode())
    return said_of(turn, told.code)


def publish(turn: Turn, told: Publish) -> dict[str, Any]:
    """Into the department's 资源目录: every rule kept, the offices filled, the interface answering (Art. 14, 15, 19)."""
    before = kept(turn.connection, told.code, lock=True)
    _demand_other_person(turn, before)
    rules = [rule for rule in rules_needing(*Needs) if rule.needs is not Needs.DATA or rule.number == "V16"]
    refuse_faults(turn, before, rules, data=True)
    older = _public(turn, told.code, before.version)
    if older is not None and older.state is EntryState.WITHDRAWN:
        raise Refused("the resource was withdrawn", where=told.code, fix="register it under another code")
    effective = _start_of(turn, told.effective_on)
    move(
        turn,
        before,
        Move("publish", Role.AUDITOR, EntryState.PUBLISHED, told.opinion),
        effective_us=effective,
    )
    if older is not None and older.state is not EntryState.CHANGED:
        said = f"version {before.version} is published"
        move(turn, older, Move("replace", Role.AUDITOR, EntryState.CHANGED, said))
        when = told.effective_on or "the next release"
        tell_consumers(
            turn,
            before.code,
            "changed",
            f"version {before.version} of {before.entry.name} takes effect with {when}",
        )
    return said_of(turn, told.code)


def adjust(turn: Turn, told: Adjust) -> dict[str, Any]:
    """The authority's text as a version of its own; the provider's stays beside it, and the provider is told."""
    before = _demand_public(turn, told.code)
    if before.state not in (EntryState.PUBLISHED, EntryState.RELEASED):
        raise Refused(f"a version that is {before.state} is not adjusted", where=told.code)
    newest = kept(turn.connection, told.code)
    if newest.version != before.version:
        what = f"the provider is working on version {newest.version}"
        raise Refused(what, where=told.code, fix="return that one with the reason, or wait for it")
    entry = _next_contract(changed(before.entry, told.changes), before.version)
    step = Move("adjust", Role.AUTHORITY, EntryState.PUBLISHED, told.opinion)
    values = _of_adjustment(turn, before)
    made = add_version(turn, entry, before, step, **values)
    refuse_faults(turn, made, list(rules_needing(Needs.TEXT, Needs.CATALOGUE)))
    move(turn, before, Move("replace", Role.AUTHORITY, EntryState.CHANGED, told.opinion))
    fields = ", ".join(told.changes)
    said = f"the authority adjusted {fields} of {entry.name}: {told.opinion}"
    notify(turn, entry.provider, "adjusted", told.code, said)
    return said_of(turn, told.code)


def suspend(turn: Turn, told: DecideWhy) -> dict[str, Any]:
    """No longer in force, at once; until it is resumed and released again."""
    return _end(turn, told, EntryState.SUSPENDED, "suspend")


def withdraw(turn: Turn, told: DecideWhy) -> dict[str, Any]:
    """No longer in force, at once and for good; whoever receives it is told."""
    return _end(turn, told, EntryState.WITHDRAWN, "withdraw")


def resume(turn: Turn, told: Decide) -> dict[str, Any]:
    """Let a suspended entry be taken up by the next release."""
    before = _demand_public(turn, told.code)
    move(turn, before, Move("resume", Role.AUTHORITY, EntryState.PUBLISHED, told.opinion))
    return said_of(turn, told.code, before.version)


def filed(turn: Turn, told: Filed) -> dict[str, Any]:
    """Note the number under which the province registered it (Art. 9)."""
    before = _demand_public(turn, told.code)
    step = Move("filed", Role.AUTHORITY, before.state, told.registration_no)
    set_values(turn, before, step, registration_no=told.registration_no)
    return said_of(turn, told.code, before.version)


def changed(entry: Entry, changes: dict[str, Any]) -> Entry:
    """*entry* with other values; raises Refused naming the field that cannot be."""
    said = entry.model_dump(mode="json")
    for field, value in changes.items():
        if found := _ITEM.fullmatch(field):
            item = next((each for each in said["items"] if each["column"] == found[1]), None)
            if item is None:
                raise Refused("there is no such item", where=field)
            item[found[2]] = value
        else:
            said[field] = value
    if (said["code"], said["provider"]) != (entry.code, entry.provider):
        raise Refused("code and provider of an entry do not change", where=entry.code)
    try:
        return Entry.model_validate(said)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise Refused(fault["msg"], where=".".join(map(str, fault["loc"]))) from error


def _next_contract(entry: Entry, version: int) -> Entry:
    """The interface document follows the contract, where it did before."""
    if entry.interface.document_version != version:
        return entry
    interface = entry.interface.model_copy(update={"document_version": version + 1})
    return entry.model_copy(update={"interface": interface})


def _end(turn: Turn, told: DecideWhy, to: EntryState, act: str) -> dict[str, Any]:
    before = _demand_public(turn, told.code)
    role = Role.AUTHORITY if Role.AUTHORITY in turn.actor.roles else Role.AUDITOR
    if role is Role.AUDITOR:
        turn.actor.demand_department(before.entry.provider, act)
    move(turn, before, Move(act, role, to, told.opinion))
    # At once, not with the next release: that one will say so.
    c = RELEASED.c
    gone = update(RELEASED).where(c.code == told.code, c.until_release.is_(None))
    turn.connection.execute(gone.values(until_release=newest_release(turn.connection) + 1))
    tell_consumers(turn, before.code, str(to), f"{before.entry.name} is {to}: {told.opinion}")
    if before.entry.provider != turn.actor.department:
        notify(turn, before.entry.provider, str(to), told.code, told.opinion)
    return said_of(turn, told.code, before.version)


def _demand_other_person(turn: Turn, before: Kept) -> None:
    turn.actor.demand_department(before.entry.provider, "auditing")
    if turn.actor.person in writers(turn.connection, before):
        raise NotAdmitted(
            "whoever registered a version cannot audit it (Art. 15)",
            where=f"{before.code} v{before.version}",
            fix="ask another auditor of the department",
        )


def _public(turn: Turn, code: str, below: int = 0) -> Kept | None:
    c = ENTRIES.c
    query = select(ENTRIES).where(c.code == code, c.state.in_([str(state) for state in PUBLIC]))
    query = query.where(c.version < below) if below else query
    row = turn.connection.execute(query.order_by(c.version.desc()).limit(1).with_for_update()).one_or_none()
    return of_row(row) if row is not None else None


def _demand_public(turn: Turn, code: str) -> Kept:
    found = _public(turn, code)
    if found is None:
        raise Refused("nothing of it is published", where=code, fix=f"exchange-central catalogue show {code}")
    return found


def _of_adjustment(turn: Turn, before: Kept) -> dict[str, Any]:
    own = before.provider_text or before.entry
    return {
        "registrar": before.registrar,
        "auditor": before.auditor,
        "provider_document": text_of(own),
        "adjusted_by": turn.actor.person,
        "verification": canonical(before.verification).decode() if before.verification else "",
        "registration_no": before.registration_no,
    }


def _start_of(turn: Turn, day: str) -> int | None:
    if not day:
        return None
    zone = ZoneInfo(turn.profile.calendar.timezone)
    try:
        start = datetime.fromisoformat(day).replace(tzinfo=zone)
    except ValueError as error:
        raise Refused("is no day", where=day) from error
    return int(start.timestamp() * 1_000_000)
