"""Many drafts at once: every fault with the row it stands in; without a fault, or not at all."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import func, insert, select, update

from central.catalogue.arguments import Import, ImportRow
from central.catalogue.differences import differences
from central.catalogue.drafting import numbered
from central.catalogue.entry import Entry
from central.catalogue.gathering import facts_of
from central.catalogue.keeping import IS_NEWEST, Kept, Move, history_row, of_row, row_of, write_items
from central.catalogue.rules import Needs, Severity, look, rules_needing
from central.catalogue.states import EDITABLE, ON_ITS_WAY, EntryState
from central.people import Role, Turn
from central.store.catalogue import ENTRIES, HISTORY
from proto.errors import Refused

NOT_OURS = frozenset({"V21", "V19"})
"""Who holds office is not the sheet's fault, and a related code may stand further down in the same sheet."""


def take_rows(turn: Turn, told: Import) -> dict[str, Any]:
    """Register every row as a draft, or with *dry_run* only say what is wrong; all of these rows or none."""
    known = _newest(turn, [row.entry.code for row in told.rows])
    placed = [(row, known.get(row.entry.code)) for row in told.rows]
    faults = [fault for row, before in placed for fault in _whose(turn, row, before)]
    faults += _broken_rules(turn, told, known)
    work = [
        (row, before)
        for row, before in placed
        if before is None or differences(before.entry, _entry(row, before))
    ]
    counts = {"rows": len(told.rows), "new": sum(before is None for _, before in work), "changed": 0}
    counts["changed"] = len(work) - counts["new"]
    if told.dry_run or faults:
        if faults and not told.dry_run:
            first = faults[0]
            what = f"{len(faults)} faults, nothing was taken; row {first['row']}: {first['what']}"
            raise Refused(what, where=first["field"], fix="catalogue import --dry-run names them all")
        return {**counts, "faults": faults}
    _write(turn, work)
    return {**counts, "faults": []}


def _newest(turn: Turn, codes: list[str]) -> dict[str, Kept]:
    query = select(ENTRIES).where(ENTRIES.c.newest == IS_NEWEST, ENTRIES.c.code.in_(codes))
    return {row.code: of_row(row) for row in turn.connection.execute(query).all()}


def _entry(row: ImportRow, before: Kept | None) -> Entry:
    if before is None:
        return numbered(row.entry, 1)
    return numbered(row.entry, before.version + (before.state not in EDITABLE))


def _whose(turn: Turn, row: ImportRow, before: Kept | None) -> list[dict[str, Any]]:
    """Faults of right, not of content."""
    found = []
    if row.entry.provider != turn.actor.department:
        found.append(_fault(row.row, "V04", "provider", "another department's entry"))
    if before is not None and before.state in ON_ITS_WAY - EDITABLE:
        found.append(
            _fault(row.row, "V03", "code", f"version {before.version} is on its way: {before.state}")
        )
    if before is not None and before.state is EntryState.WITHDRAWN:
        found.append(_fault(row.row, "V03", "code", "this code has ended"))
    return found


def _broken_rules(turn: Turn, told: Import, known: dict[str, Kept]) -> list[dict[str, Any]]:
    rules = [rule for rule in rules_needing(Needs.TEXT, Needs.CATALOGUE) if rule.number not in NOT_OURS]
    made = [
        Kept(
            entry := _entry(row, known.get(row.entry.code)),
            entry.interface.document_version,
            EntryState.DRAFT,
        )
        for row in told.rows
    ]
    return [
        _fault(row.row, each.rule, each.field, each.what)
        for row, facts in zip(told.rows, facts_of(turn, made, data=False), strict=True)
        for each in look(facts, rules)
        if each.severity is Severity.ERROR
    ]


def _fault(row: int, rule: str, field: str, what: str) -> dict[str, Any]:
    return {"row": row, "rule": rule, "field": field, "what": what}


def _write(turn: Turn, work: list[tuple[ImportRow, Kept | None]]) -> None:
    if not work:
        return
    codes = [row.entry.code for row, _ in work]
    h = HISTORY.c
    last = select(h.code, func.max(h.n)).where(h.code.in_(codes)).group_by(h.code)
    numbers = {row[0]: row[1] for row in turn.connection.execute(last)}
    rows, history, sums = [], [], hashlib.sha256()
    rewritten = [before for _, before in work if before is not None and before.state in EDITABLE]
    for row, before in work:
        entry = _entry(row, before)
        again = before is not None and before.state in EDITABLE
        version = 1 if before is None else before.version + (not again)
        state = before.state if before is not None and again else EntryState.DRAFT
        changes = differences(before.entry, entry) if before is not None else ()
        step = Move("import", Role.REGISTRAR, state, "", changes)
        place = (entry.code, numbers.get(entry.code, 0) + 1, version)
        rows.append(row_of(entry, turn, {"version": version, "state": str(state)}))
        history.append(history_row(turn, place, before.state if before else "", step))
        sums.update(rows[-1]["document"].encode())
    for before in rewritten:
        c = ENTRIES.c
        gone = ENTRIES.delete().where(c.code == before.code, c.version == before.version)
        turn.connection.execute(gone)
    turn.connection.execute(update(ENTRIES).where(ENTRIES.c.code.in_(codes)).values(newest=0))
    turn.connection.execute(insert(ENTRIES), rows)
    turn.connection.execute(insert(HISTORY), history)
    write_items(turn.connection, [_entry(row, before) for row, before in work])
    facts = {"first": codes[0], "last": codes[-1], "digest": sums.hexdigest()}
    turn.record("catalogue_imported", entries=len(work), **facts)
