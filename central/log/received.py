"""Who received one item of one person, between two days: what the log can prove, and what it can only not rule out.

Queries name their key, deliveries and comparisons have traces of theirs, both as digests that the grant's secret makes:
they are found exactly (:mod:`central.log.walking`). What has none is counted as what cannot be ruled out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, Final

from pydantic import Field
from sqlalchemy import func, select

from central.ledger import shape_of
from central.log.walking import MOST_LISTED, Left, Point, walk
from central.people import Role, Turn, Verb
from central.sharing.permits import Permit, permit
from central.sharing.query import TRACED, key_digest
from central.sharing.traces import Form, OtherKey, forms_of
from central.store.grants import GRANT_HISTORY, GRANTS
from central.store.log import QUERIED
from proto.errors import Refused
from proto.process import Section


class Asked(Section):
    """``audit.received``."""

    resource: str = Field(max_length=200)
    item: str = Field(max_length=200)
    """A column."""
    key: dict[str, str] = Field(min_length=1)
    """Key columns and their values as text, as the provider's table has them."""
    since: date
    until: date
    """The day after the last one."""
    reason: str = Field(min_length=1, max_length=2000)
    after: str = Field("", max_length=400)
    """Where the answer before this one ended; empty = from the beginning."""


def received(turn: Turn, asked: Asked) -> dict[str, Any]:
    """Every grant that let the item out in that time, with what it brought. Raises Refused.

    An answer looks at so many deliveries, and ends with where the next one goes on; "" = that was all.
    """
    calendar = turn.profile.calendar
    span = (calendar.begin_of(asked.since), calendar.begin_of(asked.until))
    if span[0] >= span[1]:
        raise Refused("ends before it begins", where="until", fix="until is the day after the last one")
    found = _let_out_by(turn, asked, span)
    start = Point.read(asked.after) if asked.after else None
    answer, left, end = [], Left.usual(), None
    for at, each in enumerate(found):
        if start is not None and each.grant < start.grant:
            continue
        is_begun = start is not None and each.grant == start.grant
        after = start if start is not None and is_begun else Point.before(each.grant, span[0])
        told, end = _of_grant(turn, each, asked, (after, span, left, is_begun))
        answer.append(told)
        if end is None and left.is_none and at + 1 < len(found):
            end = Point.before(found[at + 1].grant, span[0])
        if end is not None:
            break
    facts = {"resource": asked.resource, "item": asked.item, "reason": asked.reason, "after": asked.after}
    turn.record(
        "received_asked",
        **facts,
        since=asked.since.isoformat(),
        until=(asked.until - timedelta(days=1)).isoformat(),
        grants=len(answer),
    )
    share = _share(found, end, span)
    return {**_said(asked, answer), "next": str(end) if end else "", "done_percent": share}


def _said(asked: Asked, answer: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resource": asked.resource, "item": asked.item, "grants": answer}


def _share(found: Sequence[Permit], end: Point | None, span: tuple[int, int]) -> int:
    """How much of the whole question is answered, about."""
    if end is None:
        return 100
    place = [each.grant for each in found].index(end.grant)
    within = (end.at_us - span[0]) / (span[1] - span[0])
    return min(99, int(100 * (place + max(0.0, within)) / len(found)))


def _let_out_by(turn: Turn, asked: Asked, span: tuple[int, int]) -> list[Permit]:
    grants = turn.connection.scalars(
        select(GRANTS.c.grant_id).where(GRANTS.c.resource == asked.resource).order_by(GRANTS.c.grant_id)
    ).all()
    if not grants:
        raise Refused("nothing of it was ever granted", where=asked.resource[:200])
    found = (permit(turn.connection, each) for each in sorted(grants))
    return [each for each in found if _let_out(turn, each, asked.item, span)]


def _let_out(turn: Turn, found: Permit, item: str, span: tuple[int, int]) -> bool:
    """Whether any version of the grant had the item in that time."""
    c = GRANT_HISTORY.c
    versions = turn.connection.execute(
        select(c.terms, c.at_us).where(c.grant_id == found.grant).order_by(c.n)
    ).all()
    ends = [*(row.at_us for row in versions[1:]), span[1]]
    return any(
        row.at_us < span[1] and end >= span[0] and item in json.loads(row.terms)["items"]
        for row, end in zip(versions, ends, strict=True)
    )


def _of_grant(
    turn: Turn, found: Permit, asked: Asked, where: tuple[Point, tuple[int, int], Left, bool]
) -> tuple[dict[str, Any], Point | None]:
    """What went out under one grant, from a point on; and where the look ended before the end."""
    after, span, left, is_begun = where
    # Questions are found at once, so an answer that goes on need not tell them again.
    queries, unnamed = ([], 0) if is_begun else _queries(turn, found, asked.key, span)
    met, end = walk(turn.connection, found, asked.key, (after, span[1], left))
    proven = met.hits > 0 or any(each["rows"] for each in queries)
    told = {
        "grant": found.grant,
        "consumer": found.consumer,
        "department": found.department,
        "purpose": found.terms.purpose,
        "masked": asked.item in found.terms.masks,
        "queries": queries,
        "conditions": unnamed,
        "brought": met.brought,
        "times": met.hits,
        "searched": asdict(met.searched),
        "unknown": asdict(met.unknown),
        "says": "received" if proven else "may have" if met.unknown.deliveries or unnamed else "nothing",
    }
    return told, end


def _queries(
    turn: Turn, found: Permit, key: dict[str, str], span: tuple[int, int]
) -> tuple[list[dict[str, Any]], int]:
    """Those that named the key, and how many named none, or one in a form that nobody can compare."""
    c = QUERIED.c
    here = (c.grant_id == found.grant, c.at_us >= span[0], c.at_us < span[1])
    digests, are_all = _digests(turn, found, key)
    rows = turn.connection.execute(
        select(QUERIED).where(*here, c.key.in_(digests)).order_by(c.at_us).limit(MOST_LISTED)
    )
    named = [{"record": row.record, "at_us": row.at_us, "event": row.event, "rows": row.rows} for row in rows]
    others = c.key == "" if are_all else c.key.not_in([*digests, TRACED])
    return named, turn.connection.execute(select(func.count()).where(*here, others)).scalar_one()


def _digests(turn: Turn, found: Permit, key: dict[str, str]) -> tuple[list[str], bool]:
    """The key as the log has it, in each form that the grant's keys had; and whether every form is comparable."""
    forms = list(forms_of(turn.connection, found.grant).values())
    shape = shape_of(turn.connection, found.stream, found.table)
    if not forms and shape is not None:
        forms = [Form.of(shape, found.terms.masks)]
    digests, are_all = set(), bool(forms)
    for form in forms:
        try:
            frame = form.key(key, found.secret)
        except OtherKey:
            are_all = False
            continue
        if frame is not None:
            digests.add(key_digest(found, frame))
    return sorted(digests), are_all


VERBS: Final[tuple[Verb, ...]] = (
    Verb(
        "audit.received",
        Asked,
        received,
        frozenset({Role.AUDIT_ADMIN, Role.AUTHORITY}),
        help="who received one item of one person",
    ),
)
