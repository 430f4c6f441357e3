"""Releases of the 共享目录: what is in force from when to when, and the signed head that makes it binding (Art. 7).

The entries of a release are not written down again: a published version never changes, so they are what the tables say,
and the signed digest tells whether they still are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, exists, func, insert, literal, or_, select, update

from central.catalogue.arguments import Diff, Nothing, OneRelease, Release, ReleasePage
from central.catalogue.contracts import touched
from central.catalogue.differences import differences
from central.catalogue.entry import Entry
from central.catalogue.gathering import facts_of
from central.catalogue.keeping import of_row, tell_consumers
from central.catalogue.published import newest_release
from central.catalogue.rules import Severity, look, rules_needing
from central.catalogue.rules.rule import Needs
from central.catalogue.states import EntryState
from central.people import Role, Turn
from central.store.catalogue import ENTRIES, HISTORY, RELEASED, RELEASES
from proto.catalogue import RELEASE, Digest, Head
from proto.errors import Diverged, Refused

PAGES: Final = {"yield_per": 500}
"""How a whole release is read: as one answer, of which this many rows are in memory."""
MOST_LEFT_OUT: Final = 100
DEMANDED: Final = frozenset({"V01", "V08", "V09", "V20", "V22"})
"""What nothing may break that enters the 共享目录 (Art. 5, 13, 16)."""


def release(turn: Turn, told: Release) -> dict[str, Any]:
    """Make the next release of everything that is published; what lacks an element is left out and named."""
    if turn.signer is None:
        raise Refused(
            "nothing signs for this platform", where="signing", fix="fill in 'signing' in central's settings"
        )
    number = newest_release(turn.connection) + 1
    left_out: list[dict[str, Any]] = []
    taken = 0
    overlaps_until = _overlap(turn, told.overlap_days)
    for page in _due(turn):
        good, bad = _sorted_out(turn, page)
        left_out += bad
        _take(turn, number, good, overlaps_until)
        taken += len(good)
    _end_earlier(turn, number)
    _mark_released(turn, number)
    head = _head(turn, number, told.note)
    signature = turn.signer.sign(RELEASE, head.document)
    row = {"release": number, "at_us": turn.now_us, "who": turn.actor.person, "note": told.note}
    turn.connection.execute(insert(RELEASES), {**row, "document": head.document, "signature": signature})
    turn.record("catalogue_released", release=number, entries=head.entries, taken=taken, digest=head.digest)
    said = {"release": number, "entries": head.entries, "new": taken, "digest": head.digest}
    return {**said, "left_out": left_out[:MOST_LEFT_OUT], "left_out_count": len(left_out)}


def releases(turn: Turn, _told: Nothing) -> list[dict[str, Any]]:
    """Every release, newest first."""
    c = RELEASES.c
    rows = turn.connection.execute(
        select(c.release, c.at_us, c.who, c.note).order_by(c.release.desc()).limit(1000)
    )
    return [dict(row._mapping) for row in rows]


def release_head(turn: Turn, told: OneRelease) -> dict[str, Any]:
    """The signed head of a release, and the certificate to verify it with."""
    row = _release_row(turn.connection, told.release or newest_release(turn.connection))
    certificate = turn.signer.certificate_pem.decode() if turn.signer else ""
    head = asdict(Head.read(bytes(row.document)))
    return {"head": head, "signature": bytes(row.signature).hex(), "certificate": certificate}


def release_lines(turn: Turn, told: ReleasePage) -> dict[str, Any]:
    """Some of a release's entries, as they were signed."""
    number = told.release or newest_release(turn.connection)
    rows = _in_release(turn.connection, number, told.after, told.limit)
    lines = [_line(row).decode() for row in rows]
    return {"lines": lines, "after": rows[-1].code if len(rows) == told.limit else ""}


def diff(turn: Turn, told: Diff) -> dict[str, Any]:
    """What was added, changed or withdrawn from one release to another, with each field's change."""
    connection = turn.connection
    for number in (told.first, told.second):
        if number:
            _release_row(connection, number)
    codes = _touched(connection, told)
    before, after = (_texts_at(connection, number, codes) for number in (told.first, told.second))
    found = []
    for code in codes:
        old, new = before.get(code), after.get(code)
        shown, fields = new or old, _changed(old, new) if old and new else []
        if shown is None or (old and new and not fields):
            continue
        kind = "added" if old is None else "withdrawn" if new is None else "changed"
        found.append({"code": code, "name": shown.name, "kind": kind, "fields": fields})
    return {"entries": found, "after": codes[-1] if len(codes) == told.limit else ""}


def verify_kept(connection: Connection, number: int) -> Head:
    """The head of a release whose entries are still what was signed. Raises Diverged."""
    head = Head.read(bytes(_release_row(connection, number).document))
    digest = _digest(connection, number)
    if (digest.count, digest.text) != (head.entries, head.digest):
        raise Diverged("its entries are not what was signed", where=f"release {number}")
    return head


def _due(turn: Turn) -> Iterator[Sequence[Row[Any]]]:
    """What is published and may take effect, a page at a time: one walk along the key, however much there is."""
    c = ENTRIES.c
    effective = or_(c.effective_us.is_(None), c.effective_us <= turn.now_us)
    query = select(ENTRIES).where(c.state == str(EntryState.PUBLISHED), effective).order_by(c.code)
    yield from turn.connection.execute(query, execution_options=PAGES).partitions()


def _sorted_out(turn: Turn, page: Sequence[Row[Any]]) -> tuple[list[Row[Any]], list[dict[str, Any]]]:
    rules = [rule for rule in rules_needing(Needs.TEXT, Needs.CATALOGUE) if rule.number in DEMANDED]
    good, bad = [], []
    for row in page:
        # Read one at a time and let go: of a page of them, Python's search for cycles would cost more than the reading.
        [facts] = facts_of(turn, [of_row(row)], data=False, alone=True)
        faults = [found for found in look(facts, rules) if found.severity is Severity.ERROR]
        if faults:
            bad.append({"code": row.code, "faults": [fault.plain for fault in faults]})
        else:
            good.append(row)
    return good, bad


def _overlap(turn: Turn, days: int | None) -> int | None:
    """Until when live grants follow the version before; None = not at all."""
    days = turn.profile.catalogue.contract_overlap_days if days is None else days
    calendar = turn.profile.calendar
    return calendar.begin_of(calendar.day_of(turn.now_us) + timedelta(days=days)) if days else None


def _take(turn: Turn, number: int, good: Sequence[Row[Any]], overlaps_until: int | None) -> None:
    if not good:
        return
    changed = touched(turn.connection, good)
    _tell(turn, [row for row in good if row.code in changed], changed, overlaps_until)
    rows = [
        {
            "code": row.code,
            "since_release": number,
            "version": row.version,
            "contract_us": overlaps_until if row.code in changed else None,
        }
        for row in good
    ]
    turn.connection.execute(insert(RELEASED), rows)


def _end_earlier(turn: Turn, number: int) -> None:
    """Another version of the same entry is in force no more: one statement, for the table is not counted yet."""
    r, newer = RELEASED.c, RELEASED.alias("newer").c
    again = exists().where(newer.code == r.code, newer.since_release == number)
    earlier = (r.until_release.is_(None), r.since_release < number)
    turn.connection.execute(update(RELEASED).where(*earlier, again).values(until_release=number))


def _tell(turn: Turn, good: Sequence[Row[Any]], changed: Mapping[str, str], at_us: int | None) -> None:
    """Whoever receives something that becomes otherwise hears from when on (SD17.2)."""
    when = f"from {turn.profile.calendar.local(at_us):%Y-%m-%d %H:%M} on" if at_us else "from now on"
    for each in good:
        said = f"{when} version {each.version} of {each.name} is followed: {changed[each.code]}"
        tell_consumers(turn, each.code, "changed", said)
        turn.record("contract_changed", code=each.code, version=each.version, from_us=at_us or turn.now_us)


def _mark_released(turn: Turn, number: int) -> None:
    """The state and the history of everything that was taken, in two statements."""
    e, r, h = ENTRIES.c, RELEASED.c, HISTORY.alias("earlier").c
    taken = exists().where(r.code == e.code, r.version == e.version, r.since_release == number)
    published = e.state == str(EntryState.PUBLISHED)
    last = select(func.coalesce(func.max(h.n), 0)).where(h.code == e.code).scalar_subquery()
    words = {
        "who": turn.actor.person,
        "role": str(Role.AUTHORITY),
        "act": "release",
        "before_state": str(EntryState.PUBLISHED),
        "after_state": str(EntryState.RELEASED),
        "opinion": f"release {number}",
        "changes": "[]",
    }
    said = [literal(value) for value in words.values()]
    rows = select(e.code, last + 1, e.version, literal(turn.now_us), *said).where(published, taken)
    names = ["code", "n", "version", "at_us", *words]
    turn.connection.execute(insert(HISTORY).from_select(names, rows))
    done = {"state": str(EntryState.RELEASED), "changed_us": turn.now_us}
    turn.connection.execute(update(ENTRIES).where(published, taken).values(done))


def _head(turn: Turn, number: int, note: str) -> Head:
    digest = _digest(turn.connection, number)
    c = RELEASES.c
    before = turn.connection.execute(select(c.document).where(c.release == number - 1)).scalar_one_or_none()
    return Head(
        release=number,
        at_us=turn.now_us,
        who=turn.actor.person,
        note=note,
        platform=turn.platform.model_dump(),
        policy=turn.profile.name,
        entries=digest.count,
        digest=digest.text,
        previous=hashlib.sha256(before).hexdigest() if before else "",
    )


def _digest(connection: Connection, number: int) -> Digest:
    digest = Digest()
    query = _held_by(number).order_by(RELEASED.c.code)
    for row in connection.execute(query, execution_options=PAGES):
        digest.add(_line(row))
    return digest


def _held_by(number: int) -> Select[Any]:
    r = RELEASED.c
    same = (ENTRIES.c.code == r.code) & (ENTRIES.c.version == r.version)
    return select(ENTRIES, r.since_release).join(ENTRIES, same).where(_holds(number))


def _in_release(connection: Connection, number: int, after: str, limit: int) -> Sequence[Any]:
    r = RELEASED.c
    query = _held_by(number).where(r.code > after, ENTRIES.c.code > after)
    return connection.execute(query.order_by(r.code).limit(limit)).all()


def _holds(number: int) -> Any:
    r = RELEASED.c
    return and_(r.since_release <= number, or_(r.until_release.is_(None), r.until_release > number))


def _line(row: Any) -> bytes:
    # Put together, not parsed and written again: a release of fifty thousand entries would take a minute.
    # Every part is canonical JSON already, and the names stand in order.
    parts = (
        f'"code":{json.dumps(row.code, ensure_ascii=False)}',
        f'"entry":{row.document}',
        f'"provider_text":{row.provider_document or "null"}',
        f'"since_release":{row.since_release}',
        f'"verification":{row.verification or "null"}',
        f'"version":{row.version}',
    )
    return f"{{{','.join(parts)}}}".encode()


def _release_row(connection: Connection, number: int) -> Any:
    row = connection.execute(select(RELEASES).where(RELEASES.c.release == number)).one_or_none()
    if row is None:
        fix = "exchange-central catalogue releases shows which there are"
        raise Refused("no such release", where=str(number), fix=fix)
    return row


def _touched(connection: Connection, told: Diff) -> list[str]:
    low, high = sorted((told.first, told.second))
    r = RELEASED.c
    began = and_(r.since_release > low, r.since_release <= high)
    ended = and_(r.until_release > low, r.until_release <= high)
    query = select(r.code).where(or_(began, ended), r.code > told.after).distinct()
    return list(connection.scalars(query.order_by(r.code).limit(told.limit)))


def _texts_at(connection: Connection, number: int, codes: Sequence[str]) -> dict[str, Any]:
    query = (
        select(ENTRIES.c.code, ENTRIES.c.name, ENTRIES.c.document)
        .join(RELEASED, (ENTRIES.c.code == RELEASED.c.code) & (ENTRIES.c.version == RELEASED.c.version))
        # Said of both, so that both indexes are entered there.
        .where(_holds(number), RELEASED.c.code.in_(codes), ENTRIES.c.code.in_(codes))
    )
    return {row.code: row for row in connection.execute(query).all()}


def _changed(old: Any, new: Any) -> list[dict[str, Any]]:
    """Field by field; the same text is not even read."""
    if old.document == new.document:
        return []
    texts = (Entry.model_validate_json(row.document) for row in (old, new))
    return [each.plain for each in differences(*texts)]
