"""What people look at: the catalogue in force, what is on its way, one entry with its history, who is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select, update

from central.catalogue.arguments import Drafts, Nothing, One, Page
from central.catalogue.differences import differences
from central.catalogue.gathering import offices_of
from central.catalogue.keeping import IS_NEWEST, Kept, history, kept
from central.catalogue.reported import UNSEEN, deletes_of
from central.catalogue.rules import Offices
from central.catalogue.states import ON_ITS_WAY, WHOSE_MOVE
from central.people import Role, Turn
from central.store.catalogue import ENTRIES, NOTICES, RELEASED
from central.store.office import DEPARTMENTS
from proto.errors import NotAdmitted

SEES_ALL = frozenset({Role.AUTHORITY, Role.TESTER, Role.AUDIT_ADMIN})


def list_entries(turn: Turn, told: Page) -> dict[str, Any]:
    """The catalogue in force, a page in order of codes."""
    r = RELEASED.c
    query = (
        select(*_shown(), r.since_release)
        .join(RELEASED, (ENTRIES.c.code == r.code) & (ENTRIES.c.version == r.version))
        # Said of both, so that both indexes are entered at that place.
        .where(r.until_release.is_(None), r.code > told.after, ENTRIES.c.code > told.after, *_filters(told))
        .order_by(r.code)
    )
    return _page(turn, query, told)


def drafts(turn: Turn, told: Drafts) -> dict[str, Any]:
    """The newest version of each entry, published or not: the department's own, or all for the authority."""
    c = ENTRIES.c
    conditions = [c.newest == IS_NEWEST, c.code > told.after, *_filters(told)]
    if told.state is not None:
        conditions.append(c.state == str(told.state))
    if not turn.actor.roles & SEES_ALL:
        conditions.append(c.provider == turn.actor.department)
    return _page(turn, select(*_shown()).where(*conditions).order_by(c.code), told)


def show(turn: Turn, told: One) -> dict[str, Any]:
    """One version; where the authority adjusted it, the provider's text stands beside."""
    found = kept(turn.connection, told.code, told.version)
    demand_sight(turn, found)
    said = {
        "code": found.code,
        "version": found.version,
        "state": str(found.state),
        "next": WHOSE_MOVE[found.state],
        "share_type": str(found.entry.share_type),
        "registrar": found.registrar,
        "auditor": found.auditor,
        "changed_us": found.changed_us,
        "effective_us": found.effective_us,
        "dictionary": found.dictionary,
        "verification": found.verification or None,
        "registration_no": found.registration_no,
        "deletes": _deletes(turn, found),
        "entry": found.entry.model_dump(mode="json"),
    }
    if found.provider_text is None:
        return said
    sides = [
        {"field": each.field, "provider": each.before, "authority": each.after}
        for each in differences(found.provider_text, found.entry)
    ]
    return {**said, "adjusted_by": found.adjusted_by, "adjusted": sides}


def _deletes(turn: Turn, found: Kept) -> str:
    """How deletes at the source are seen, where that is less than with every other change (SD12.6)."""
    binding = found.entry.binding
    said = deletes_of(turn.connection, binding.stream, binding.table) if binding else ""
    return said or ("" if found.entry.deletes_rows else UNSEEN)


def show_history(turn: Turn, told: One) -> list[dict[str, Any]]:
    """Every transition of an entry: who, when, in which role, why, what changed."""
    demand_sight(turn, kept(turn.connection, told.code))
    return history(turn.connection, told.code)


def departments(turn: Turn, _told: Nothing) -> list[dict[str, Any]]:
    """Every department: who holds its offices, what waits there, and what keeps it from publishing."""
    c, d = ENTRIES.c, DEPARTMENTS.c
    names = turn.connection.execute(select(d.department, d.name).order_by(d.department)).all()
    waiting = select(c.provider, func.count()).where(
        c.newest == IS_NEWEST, c.state.in_([str(state) for state in ON_ITS_WAY])
    )
    counts = {row[0]: row[1] for row in turn.connection.execute(waiting.group_by(c.provider))}
    found = offices_of(turn.connection, [row.department for row in names])
    return [
        _department(row, found.get(row.department, Offices()), counts.get(row.department, 0)) for row in names
    ]


def notices(turn: Turn, _told: Nothing) -> list[dict[str, Any]]:
    """What the actor's department is to know, newest first."""
    c = NOTICES.c
    query = select(NOTICES).where(c.department == turn.actor.department).order_by(c.n.desc()).limit(200)
    return [dict(row._mapping) for row in turn.connection.execute(query)]


def read_notices(turn: Turn, _told: Nothing) -> dict[str, int]:
    """Note that the department has read its notices."""
    c = NOTICES.c
    seen = update(NOTICES).where(c.department == turn.actor.department, c.seen_us.is_(None))
    return {"read": turn.connection.execute(seen.values(seen_us=turn.now_us)).rowcount}


def demand_sight(turn: Turn, found: Kept) -> None:
    """Raise NotAdmitted when the actor may not see a version that is on its way."""
    own = turn.actor.department == found.entry.provider
    if found.state in ON_ITS_WAY and not own and not turn.actor.roles & SEES_ALL:
        raise NotAdmitted("it is not published yet", where=found.code, fix="catalogue list shows what is")


def _shown() -> list[ColumnElement[Any]]:
    c = ENTRIES.c
    names = (
        "code",
        "version",
        "state",
        "provider",
        "name",
        "share_type",
        "stream",
        "table_name",
        "changed_us",
    )
    return [c[name] for name in names]


def _filters(told: Page) -> list[ColumnElement[bool]]:
    c, conditions = ENTRIES.c, []
    if told.provider:
        conditions.append(c.provider == told.provider)
    if told.share_type is not None:
        conditions.append(c.share_type == str(told.share_type))
    if told.text:
        # By an index that holds the names: the rows themselves are wide, and all of them would be read. An offset of
        # nothing keeps it apart, or PostgreSQL 18 sees that both are one table; in order, so that a full page ends it.
        named = ENTRIES.alias("named").c
        part = named.name.contains(told.text, autoescape=True)
        begins = named.code.startswith(told.text, autoescape=True)
        here = select(named.code, named.version).where(named.code > told.after, part | begins)
        found = here.order_by(named.code, named.version).offset(0).subquery("found").c
        conditions += [c.code == found.code, c.version == found.version]
    return conditions


def _page(turn: Turn, query: Select[Any], told: Page) -> dict[str, Any]:
    rows: Sequence[Row[Any]] = turn.connection.execute(query.limit(told.limit)).all()
    d = DEPARTMENTS.c
    wanted = {row.provider for row in rows}
    named = select(d.department, d.name).where(d.department.in_(wanted))
    names = {row[0]: row[1] for row in turn.connection.execute(named)}
    entries = [{**row._mapping, "provider_name": names.get(row.provider, "")} for row in rows]
    return {"entries": entries, "after": rows[-1].code if len(rows) == told.limit else ""}


def _department(row: Any, held: Offices, waiting: int) -> dict[str, Any]:
    missing = [
        word
        for word, people in (
            ("registrar", held.registrars),
            ("auditor", held.auditors),
            ("resource administrator", held.administrators),
        )
        if not people
    ]
    if not missing and len(held.registrars | held.auditors) < 2:
        missing = ["a second person: its only registrar is its only auditor"]
    return {
        "department": row.department,
        "name": row.name,
        "registrars": sorted(held.registrars),
        "auditors": sorted(held.auditors),
        "administrators": sorted(held.administrators),
        "waiting": waiting,
        "missing": missing,
        "can_publish": bool(held.auditors) and len(held.registrars | held.auditors) > 1,
    }
