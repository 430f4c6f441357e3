"""Looks for one key among what went out under a grant: exactly, in bounded steps, and says what it cannot know.

Each delivery and comparison has a trace (:mod:`central.sharing.traces`); the database searches them where they lie, a
window at a time, so that memory stays flat. What was delivered before there were traces, or under a key that was
written another way, is counted and never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, case, false, func, or_, select

from central.delivery.recalls import chain_of
from central.sharing.permits import Permit
from central.sharing.traces import TRACE_BYTES, Form, OtherKey, Tracer, fact, forms_of
from central.store.grants import GRANT_HISTORY
from central.store.tables import AUDIT, AUDIT_HEADS
from central.store.traces import TRACES, PlaceIn
from proto.errors import Diverged, Refused

MOST_DELIVERIES: Final = 1_000_000
MOST_KEYS: Final = 300_000_000
"""So much is looked at for one question; the answer then says where the next one goes on."""
MOST_LISTED: Final = 200
"""Deliveries that brought the key, of one grant and question; more are only counted."""
FEWEST, USUAL, MOST = 500, 10_000, 50_000
"""Deliveries in one window."""
WINDOW_KEYS: Final = 5_000_000
_T: Final = TRACES.c


@dataclass(frozen=True, slots=True)
class Point:
    """Where a walk has come to: everything up to this record of this grant was looked at."""

    grant: str
    at_us: int
    n: int

    @staticmethod
    def before(grant: str, at_us: int) -> Point:
        """Right before the first record at that time."""
        return Point(grant, at_us, 0)

    def __str__(self) -> str:
        return f"{self.grant}:{self.at_us}:{self.n}"

    @staticmethod
    def read(text: str) -> Point:
        """The inverse of str(). Raises Refused."""
        grant, _, rest = text.partition(":")
        at_us, _, n = rest.partition(":")
        if not (grant and at_us.isdecimal() and n.isdecimal()):
            raise Refused("is no place to go on from", where="after", fix="give what the last answer said")
        return Point(grant, int(at_us), int(n))


@dataclass(slots=True)
class Left:
    """What may still be looked at for this question."""

    deliveries: int
    keys: int

    @staticmethod
    def usual() -> Left:
        """At the beginning of a question."""
        return Left(MOST_DELIVERIES, MOST_KEYS)

    @property
    def is_none(self) -> bool:
        """It is enough for now."""
        return self.deliveries <= 0 or self.keys <= 0


@dataclass(slots=True)
class Tally:
    """Some deliveries."""

    deliveries: int = 0
    rows: int = 0
    first_us: int = 0
    last_us: int = 0

    def add(self, deliveries: int, rows: int, first_us: int | None, last_us: int | None) -> None:
        """More of them, later ones."""
        self.deliveries += deliveries
        self.rows += rows
        self.first_us = self.first_us or first_us or 0
        self.last_us = last_us or self.last_us


@dataclass(slots=True)
class Found:
    """What a walk met."""

    searched: Tally = field(default_factory=Tally)
    """Where the key was looked for."""
    unknown: Tally = field(default_factory=Tally)
    """Where nobody can know."""
    brought: list[dict[str, Any]] = field(default_factory=list)
    """Records of deliveries and comparisons that the key was in."""
    hits: int = 0


def trace_of(form: Form, key: Mapping[str, str], secret: bytes) -> bytes | None:
    """The trace of *key*; b"" when no row can have had it, None when nobody can know."""
    try:
        frame = form.key(key, secret)
    except OtherKey:
        return None
    return b"" if frame is None else Tracer(form, secret).keys([frame])


def walk(
    connection: Connection, found: Permit, key: Mapping[str, str], where: tuple[Point, int, Left]
) -> tuple[Found, Point | None]:
    """Look for *key* in everything after a point and before a time; None = the end was reached.

    Raises Diverged when a trace is not the one on record.
    """
    after, until_us, left = where
    met = Found()
    reached = _untraced(connection, found, after, until_us, (left, met))
    if reached is not None:
        return met, reached
    forms = forms_of(connection, found.grant)
    traces = {number: trace_of(form, key, found.secret) for number, form in forms.items()}
    width = USUAL
    while True:
        if left.is_none:
            return met, after
        end = _end_of_window(connection, after, until_us, width)
        within = and_(_after(after), _up_to(end) if end else _T.at_us < until_us)
        keys = _window(connection, within, traces, met, left)
        if end is None:
            return met, None
        after, width = end, max(FEWEST, min(MOST, width * WINDOW_KEYS // max(1, keys)))


def _window(
    connection: Connection,
    within: ColumnElement[bool],
    traces: Mapping[int, bytes | None],
    met: Found,
    left: Left,
) -> int:
    """One window: counted, searched, and what was met fetched; returns how many keys it held."""
    unknown = and_(_T.form.in_([form for form, trace in traces.items() if trace is None]), _T.rows > 0)
    holds = or_(
        false(),
        *(and_(_T.form == form, PlaceIn(_T.digests, trace) > 0) for form, trace in traces.items() if trace),
    )
    group = case((unknown, 0), (holds, 2), else_=1)
    said = (func.count(), func.sum(_T.rows), func.sum(_T.traced), func.min(_T.at_us), func.max(_T.at_us))
    total = 0
    for row in connection.execute(select(group, *said).where(within).group_by(group)).all():
        kind, count, rows, keys, first_us, last_us = row
        (met.unknown if kind == 0 else met.searched).add(count, int(rows), first_us, last_us)
        total += int(keys)
        left.deliveries -= count
        left.keys -= int(keys)
        if kind == 2:
            met.hits += count
            _fetch(connection, and_(within, holds), traces, met)
    return total


def _fetch(
    connection: Connection, here: ColumnElement[bool], traces: Mapping[int, bytes | None], met: Found
) -> None:
    if not (room := MOST_LISTED - len(met.brought)):
        return
    query = select(_T.grant_id, _T.chain, _T.n, _T.at_us, _T.form).where(here).order_by(_T.at_us, _T.n)
    for row in connection.execute(query.limit(room)).all():
        this = (_T.grant_id == row.grant_id, _T.at_us == row.at_us, _T.n == row.n)
        digests = bytes(connection.execute(select(_T.digests).where(*this)).scalar_one())
        trace = traces[row.form] or b""
        if any(digests.startswith(trace, at) for at in range(0, len(digests), TRACE_BYTES)):
            met.brought.append(_told(connection, row, digests))
        else:
            # The database found it across two digests, where there is none.
            met.hits -= 1


def _told(connection: Connection, row: Any, digests: bytes) -> dict[str, Any]:
    """The record behind a trace; raises Diverged when they do not go together."""
    here = (AUDIT.c.chain == row.chain, AUDIT.c.n == row.n)
    said = connection.scalar(select(AUDIT.c.facts).where(*here))
    facts = json.loads(said) if said else {}
    if facts.get("traces") != fact(digests):
        what = f"the keys kept beside record {row.n} are not those on record"
        raise Diverged(what, where=f"audit chain {row.chain}", fix="exchange-central audit verify")
    names = ("version", "release", "generation", "seq", "receipt", "rows", "purpose", "comparison")
    told = {name: facts[name] for name in names if name in facts}
    return {"chain": row.chain, "record": row.n, "at_us": row.at_us, **told}


def _untraced(
    connection: Connection, found: Permit, after: Point, until_us: int, what: tuple[Left, Found]
) -> Point | None:
    """Count deliveries from before there were traces; the point it came to when that was enough for one question."""
    left, met = what
    first = connection.scalar(
        select(_T.at_us).where(_T.grant_id == found.grant).order_by(_T.at_us, _T.n).limit(1)
    )
    begun = connection.scalar(
        select(GRANT_HISTORY.c.at_us).where(GRANT_HISTORY.c.grant_id == found.grant, GRANT_HISTORY.c.n == 1)
    )
    span = max(after.at_us, begun or 0), min(until_us, first or until_us)
    if span[0] >= span[1]:
        return None
    chain = chain_of(found.consumer)
    start, end = (place(connection, chain, at_us) for at_us in span)
    start = max(start, after.n + 1)
    for row in _delivered(connection, found, chain, (start, end)):
        left.deliveries -= 1
        met.unknown.add(1, int(json.loads(row.facts).get("rows", 0)), row.at_us, row.at_us)
        if left.is_none:
            return Point(found.grant, row.at_us, row.n)
    return None


def _delivered(connection: Connection, found: Permit, chain: str, span: tuple[int, int]) -> Iterator[Any]:
    """The grant's deliveries among records of *chain*, a window at a time."""
    c = AUDIT.c
    # Facts are canonical JSON: inside a value these quotes would be escaped.
    ours = c.facts.contains(f'"grant":{json.dumps(found.grant)}', autoescape=True)
    for start in range(span[0], span[1], MOST):
        here = (c.chain == chain, c.n >= start, c.n < min(span[1], start + MOST))
        query = select(c.n, c.at_us, c.facts).where(*here, c.event == "delivered", ours).order_by(c.n)
        yield from connection.execute(query).all()


def _end_of_window(connection: Connection, after: Point, until_us: int, width: int) -> Point | None:
    query = select(_T.at_us, _T.n).where(_after(after), _T.at_us < until_us).order_by(_T.at_us, _T.n)
    row = connection.execute(query.offset(width - 1).limit(1)).one_or_none()
    return Point(after.grant, row.at_us, row.n) if row else None


def _after(point: Point) -> ColumnElement[bool]:
    past = or_(_T.at_us > point.at_us, _T.n > point.n)
    return and_(_T.grant_id == point.grant, _T.at_us >= point.at_us, past)


def _up_to(point: Point) -> ColumnElement[bool]:
    return and_(_T.at_us <= point.at_us, or_(_T.at_us < point.at_us, _T.n <= point.n))


def place(connection: Connection, chain: str, at_us: int) -> int:
    """The first record of *chain* from *at_us* on: found by halves, because time and number go up together."""
    oldest = select(func.min(AUDIT.c.n)).where(AUDIT.c.chain == chain)
    low = connection.scalar(oldest) or 1
    high = (connection.scalar(select(AUDIT_HEADS.c.n).where(AUDIT_HEADS.c.chain == chain)) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        here = (AUDIT.c.chain == chain, AUDIT.c.n == middle)
        time = connection.execute(select(AUDIT.c.at_us).where(*here)).scalar_one()
        low, high = (middle + 1, high) if time < at_us else (low, middle)
    return low
