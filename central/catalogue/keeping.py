"""Every version of every entry, as it stands in central's tables. The only writer of them; in the caller's transaction.

A version is written while it is a draft or returned; from then on only its state moves, and each move is in the
history with who, when, in which role, why, and what changed (Art. 14).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from central.audit import Fact
from central.catalogue.differences import Difference, differences, name_key
from central.catalogue.entry import Entry
from central.catalogue.states import EntryState, demand_move
from central.people import Role, Turn
from central.store.catalogue import ENTRIES, HISTORY, ITEMS, NOTICES
from central.store.grants import GRANTS
from proto.catalogue import canonical
from proto.errors import Refused

IS_NEWEST: Final = 1
_LIVE_GRANTS: Final = ("active", "pending", "expiring")


@dataclass(frozen=True, slots=True)
class Kept:
    """One version of an entry."""

    entry: Entry
    """What binds: the authority's text where it adjusted the provider's."""
    version: int
    state: EntryState
    registrar: str = ""
    auditor: str = ""
    provider_text: Entry | None = None
    """What the provider wrote, where the authority adjusted it."""
    adjusted_by: str = ""
    verification: dict[str, Any] = field(default_factory=dict)
    registration_no: str = ""
    dictionary: str = ""
    created_us: int = 0
    changed_us: int = 0
    effective_us: int | None = None

    @property
    def code(self) -> str:
        """Its code."""
        return self.entry.code


@dataclass(frozen=True, slots=True)
class Move:
    """One transition, as people will read it."""

    act: str
    role: Role
    to: EntryState
    opinion: str = ""
    changes: Sequence[Difference] = ()


def kept(connection: Connection, code: str, version: int = 0, *, lock: bool = False) -> Kept:
    """The version asked for, or the newest; raises Refused. With *lock* nobody else moves it meanwhile."""
    found = find(connection, code, version, lock=lock)
    if found is None:
        fix = "exchange-central catalogue list shows what there is"
        raise Refused("no such entry in the catalogue", where=code[:80], fix=fix)
    return found


def find(connection: Connection, code: str, version: int = 0, *, lock: bool = False) -> Kept | None:
    """As :func:`kept`; None when there is none."""
    c = ENTRIES.c
    query = select(ENTRIES).where(c.code == code)
    query = query.where(c.version == version) if version else query.order_by(c.version.desc()).limit(1)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return of_row(row) if row is not None else None


def of_row(row: Row[Any]) -> Kept:
    """A row of the entries' table."""
    return Kept(
        entry=Entry.model_validate_json(row.document),
        version=row.version,
        state=EntryState(row.state),
        registrar=row.registrar,
        auditor=row.auditor,
        provider_text=Entry.model_validate_json(row.provider_document) if row.provider_document else None,
        adjusted_by=row.adjusted_by,
        verification=json.loads(row.verification) if row.verification else {},
        registration_no=row.registration_no,
        dictionary=row.dictionary,
        created_us=row.created_us,
        changed_us=row.changed_us,
        effective_us=row.effective_us,
    )


def add_version(turn: Turn, entry: Entry, before: Kept | None, move: Move, **values: Any) -> Kept:
    """Write a new version in the state of *move*; the newest of its code from now on."""
    version = before.version + 1 if before else 1
    connection = turn.connection
    if before is not None:
        connection.execute(update(ENTRIES).where(ENTRIES.c.code == entry.code).values(newest=0))
    row = row_of(entry, turn, {"version": version, "state": str(move.to), **values})
    connection.execute(insert(ENTRIES), row)
    write_items(connection, [entry])
    changes = differences(before.entry if before else None, entry) if before else ()
    made = kept(connection, entry.code, version)
    note(turn, made, "", Move(move.act, move.role, move.to, move.opinion, changes))
    return made


def rewrite(turn: Turn, before: Kept, entry: Entry, role: Role, opinion: str) -> None:
    """Another text for a version that may still be written; the caller has made sure of that."""
    row = row_of(entry, turn, {"version": before.version, "state": str(before.state)})
    del row["created_us"]
    _update(turn.connection, before, row)
    write_items(turn.connection, [entry])
    changes = differences(before.entry, entry)
    note(turn, before, before.state, Move("edit", role, before.state, opinion, changes))


def move(turn: Turn, before: Kept, step: Move, **values: Any) -> None:
    """Bring a version into its next state; raises Refused when there is no such move."""
    demand_move(before.state, step.to, f"{before.code} v{before.version}")
    _update(turn.connection, before, {"state": str(step.to), "changed_us": turn.now_us, **values})
    note(turn, before, before.state, step)


def set_values(turn: Turn, before: Kept, step: Move, **values: Any) -> None:
    """Note something beside the text, without a move."""
    _update(turn.connection, before, {"changed_us": turn.now_us, **values})
    note(turn, before, before.state, step)


def note(turn: Turn, of: Kept, before: str, step: Move) -> None:
    """Put a transition into the entry's history and on record."""
    here = select(func.coalesce(func.max(HISTORY.c.n), 0)).where(HISTORY.c.code == of.code)
    n = turn.connection.execute(here).scalar_one() + 1
    row = history_row(turn, (of.code, n, of.version), before, step)
    turn.connection.execute(insert(HISTORY), row)
    facts: dict[str, Fact] = {
        "code": of.code,
        "version": of.version,
        "before": str(before),
        "after": str(step.to),
    }
    fields = ",".join(each.field for each in step.changes)[:2000]
    turn.record(f"catalogue_{step.act}", **facts, role=str(step.role), opinion=step.opinion, fields=fields)


def history_row(turn: Turn, place: tuple[str, int, int], before: str, step: Move) -> dict[str, Any]:
    """A transition as its row; *place* is code, number and version."""
    changes = json.dumps([each.plain for each in step.changes], ensure_ascii=False) if step.changes else "[]"
    return {
        "code": place[0],
        "n": place[1],
        "version": place[2],
        "at_us": turn.now_us,
        "who": turn.actor.person,
        "role": str(step.role),
        "act": step.act,
        "before_state": str(before),
        "after_state": str(step.to),
        "opinion": step.opinion,
        "changes": changes,
    }


def history(connection: Connection, code: str) -> list[dict[str, Any]]:
    """Every transition of an entry, oldest first."""
    rows = connection.execute(select(HISTORY).where(HISTORY.c.code == code).order_by(HISTORY.c.n))
    return [{**row._mapping, "changes": json.loads(row.changes)} for row in rows.all()]


def writers(connection: Connection, of: Kept) -> set[str]:
    """Who registered this version: everybody who wrote or submitted it."""
    c = HISTORY.c
    acts = ("draft", "change", "edit", "submit", "import")
    query = select(c.who).where(c.code == of.code, c.version == of.version, c.act.in_(acts))
    return {of.registrar, *connection.scalars(query)}


def notify(turn: Turn, department: str, kind: str, code: str, sentence: str) -> None:
    """Leave a notice for a department."""
    here = select(func.coalesce(func.max(NOTICES.c.n), 0)).where(NOTICES.c.department == department)
    n = turn.connection.execute(here).scalar_one() + 1
    row = {"department": department, "n": n, "at_us": turn.now_us, "kind": kind}
    turn.connection.execute(insert(NOTICES), {**row, "code": code, "sentence": sentence})


def tell_consumers(turn: Turn, code: str, kind: str, sentence: str) -> None:
    """Whoever has a live grant is told (Art. 17)."""
    g = GRANTS.c
    query = select(g.department).where(g.resource == code, g.state.in_(_LIVE_GRANTS)).distinct()
    for department in turn.connection.scalars(query.order_by(g.department)).all():
        notify(turn, department, kind, code, sentence)


def row_of(entry: Entry, turn: Turn, values: dict[str, Any]) -> dict[str, Any]:
    """An entry as its row, registered by whoever acts now; *values* over the usual ones."""
    usual = {
        "code": entry.code,
        "provider": entry.provider,
        "name": entry.name,
        "share_type": str(entry.share_type),
        "stream": entry.binding.stream if entry.binding else "",
        "table_name": entry.binding.table if entry.binding else "",
        "registrar": turn.actor.person,
        "created_us": turn.now_us,
        "changed_us": turn.now_us,
        "document": text_of(entry),
        "newest": IS_NEWEST,
        "name_key": name_key(entry.name),
        "dictionary": turn.profile.catalogue.dictionary_version,
    }
    return {**usual, **values}


def text_of(entry: Entry) -> str:
    """An entry in the one way that releases sign it."""
    return canonical(entry.model_dump(mode="json")).decode()


def write_items(connection: Connection, entries: Iterable[Entry]) -> None:
    """Who has which item, by the newest text of each of *entries*."""
    found = list(entries)
    connection.execute(delete(ITEMS).where(ITEMS.c.code.in_([entry.code for entry in found])))
    rows = [
        {
            "code": entry.code,
            "column_name": item.column,
            "provider": entry.provider,
            "name": item.name,
            "name_key": name_key(item.name),
            "standard": item.standard,
        }
        for entry in found
        for item in {item.column: item for item in entry.items}.values()
    ]
    connection.execute(insert(ITEMS), rows)


def _update(connection: Connection, of: Kept, values: dict[str, Any]) -> None:
    c = ENTRIES.c
    connection.execute(update(ENTRIES).where(c.code == of.code, c.version == of.version).values(values))
