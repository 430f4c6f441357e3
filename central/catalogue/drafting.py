"""The registrar's part: drafts, edits, submission. A secret resource goes no further than the attempt (V20)."""

from __future__ import annotations

from typing import Any, Final

from central.catalogue.arguments import Submit, Write
from central.catalogue.entry import Entry
from central.catalogue.gathering import facts_of
from central.catalogue.keeping import Kept, Move, add_version, find, kept, move, rewrite
from central.catalogue.repeats import same_standard
from central.catalogue.rules import Finding, Needs, Rule, Severity, look, rules_needing
from central.catalogue.states import EDITABLE, ON_ITS_WAY, WHOSE_MOVE, EntryState
from central.people import Role, Turn
from proto.errors import Refused

MOST_SAID: Final = 20
AT_ONCE: Final = frozenset({"V03", "V04", "V20"})
"""Rules that even a draft must keep: whose it is, and that it may be here at all."""
OFFICES: Final = "V21"


def draft(turn: Turn, told: Write) -> dict[str, Any]:
    """A new entry, or a new version of one that is published; what is in force stays so."""
    before = find(turn.connection, told.entry.code, lock=True)
    if before is not None and before.state in ON_ITS_WAY:
        fix = f"it is the move of {WHOSE_MOVE[before.state]}"
        raise Refused(f"version {before.version} is on its way: {before.state}", where=before.code, fix=fix)
    if before is not None and before.state is EntryState.WITHDRAWN:
        raise Refused("this code has ended", where=before.code, fix="register it under another code")
    version = before.version + 1 if before else 1
    entry = numbered(told.entry, version)
    demand_own(turn, entry, version)
    step = Move("change" if before else "draft", Role.REGISTRAR, EntryState.DRAFT, told.opinion)
    made = add_version(turn, entry, before, step)
    return _answer(turn, made)


def edit(turn: Turn, told: Write) -> dict[str, Any]:
    """Another text for a draft, or for what was returned."""
    before = kept(turn.connection, told.entry.code, lock=True)
    if before.state not in EDITABLE:
        fix = "exchange-central catalogue draft FILE makes a new version of it"
        raise Refused(f"a version that is {before.state} is not edited", where=before.code, fix=fix)
    turn.actor.demand_department(before.entry.provider, "editing")
    entry = numbered(told.entry, before.version)
    demand_own(turn, entry, before.version)
    rewrite(turn, before, entry, Role.REGISTRAR, told.opinion)
    return _answer(turn, kept(turn.connection, before.code))


def submit(turn: Turn, told: Submit) -> dict[str, Any]:
    """Hand it to the auditor. Refused with every field that breaks a rule."""
    before = kept(turn.connection, told.code, lock=True)
    turn.actor.demand_department(before.entry.provider, "submitting")
    rules = [rule for rule in rules_needing(Needs.TEXT, Needs.CATALOGUE) if rule.number != OFFICES]
    refuse_faults(turn, before, rules)
    others = same_standard(turn.connection, before.entry)
    if others and not told.reason.strip():
        said = "; ".join(f"{each['standard']}: {each['code']} {each['name']}" for each in others[:MOST_SAID])
        fix = "use theirs (share request), or say with --reason why it does not do"
        raise Refused(f"others provide the same items already (Art. 18): {said}", where=told.code, fix=fix)
    opinion = " / ".join(filter(None, (told.opinion, told.reason)))
    move(
        turn,
        before,
        Move("submit", Role.REGISTRAR, EntryState.SUBMITTED, opinion),
        registrar=turn.actor.person,
    )
    return said_of(turn, told.code)


def numbered(entry: Entry, version: int) -> Entry:
    """The entry with its interface document of this version, unless it says another."""
    if entry.interface.document_version:
        return entry
    interface = entry.interface.model_copy(update={"document_version": version})
    return entry.model_copy(update={"interface": interface})


def demand_own(turn: Turn, entry: Entry, version: int) -> None:
    """Raise Refused unless the entry is the department's own and may be on this platform."""
    turn.actor.demand_department(entry.provider, "registering")
    refuse_faults(
        turn,
        Kept(entry, version, EntryState.DRAFT),
        [rule for rule in rules_needing(Needs.TEXT, Needs.CATALOGUE) if rule.number in AT_ONCE],
    )


def refuse_faults(turn: Turn, of: Kept, rules: list[Rule], *, data: bool = False) -> None:
    """Raise Refused naming every field that breaks one of *rules* as an error."""
    [facts] = facts_of(turn, [of], data=data)
    found = [each for each in look(facts, rules) if each.severity is Severity.ERROR]
    if found:
        said = "; ".join(f"{each.rule} {each.field}: {each.what}" for each in found[:MOST_SAID])
        more = f"; and {len(found) - MOST_SAID} more" if len(found) > MOST_SAID else ""
        raise Refused(said + more, where=of.code, fix=found[0].fix)


def said_of(turn: Turn, code: str, version: int = 0) -> dict[str, Any]:
    """Where an entry is now, and whose move it is."""
    now = kept(turn.connection, code, version)
    return {"code": now.code, "version": now.version, "state": str(now.state), "next": WHOSE_MOVE[now.state]}


def _answer(turn: Turn, made: Kept) -> dict[str, Any]:
    [facts] = facts_of(turn, [made], data=False)
    found: list[Finding] = list(look(facts, rules_needing(Needs.TEXT, Needs.CATALOGUE)))
    others = same_standard(turn.connection, made.entry)
    return {
        **said_of(turn, made.code),
        "findings": [each.plain for each in found],
        "repeats": others[:MOST_SAID],
    }
