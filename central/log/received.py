"""Who received one item of one person, between two days: what the log can prove, and what it can only not rule out.

Queries name their key, as a digest that the grant's secret makes: they are found exactly. Deliveries are on record by
grant, time and number of rows, not by row; of a filtered grant it is known which keys the recipient has now.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any, Final

from pydantic import Field
from sqlalchemy import func, select

from central.ledger import shape_of
from central.people import Role, Turn, Verb
from central.sharing.permits import Permit, permit
from central.sharing.query import frame_of, key_digest
from central.store.grants import GRANT_HISTORY, GRANTS
from central.store.log import QUERIED
from central.store.tables import AUDIT, AUDIT_HEADS
from proto.errors import Refused
from proto.process import Section

MOST_LISTED: Final = 200


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


def received(turn: Turn, asked: Asked) -> dict[str, Any]:
    """Every grant that let the item out in that time, with what it brought. Raises Refused."""
    calendar = turn.profile.calendar
    span = (calendar.begin_of(asked.since), calendar.begin_of(asked.until))
    if span[0] >= span[1]:
        raise Refused("ends before it begins", where="until", fix="until is the day after the last one")
    grants = turn.connection.scalars(
        select(GRANTS.c.grant_id).where(GRANTS.c.resource == asked.resource).order_by(GRANTS.c.grant_id)
    ).all()
    if not grants:
        raise Refused("nothing of it was ever granted", where=asked.resource[:200])
    found = [permit(turn.connection, each) for each in grants]
    answer = [_of_grant(turn, each, asked, span) for each in found if _let_out(turn, each, asked.item, span)]
    facts = {"resource": asked.resource, "item": asked.item, "reason": asked.reason}
    turn.record(
        "received_asked",
        **facts,
        since=asked.since.isoformat(),
        until=(asked.until - timedelta(days=1)).isoformat(),
        grants=len(answer),
    )
    return {"resource": asked.resource, "item": asked.item, "grants": answer}


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


def _of_grant(turn: Turn, found: Permit, asked: Asked, span: tuple[int, int]) -> dict[str, Any]:
    queries, unnamed = _queries(turn, found, asked.key, span)
    deliveries = _deliveries(turn, found, span)
    proven = any(each["rows"] for each in queries)
    return {
        "grant": found.grant,
        "consumer": found.consumer,
        "department": found.department,
        "purpose": found.terms.purpose,
        "masked": asked.item in found.terms.masks,
        "queries": queries,
        "conditions": unnamed,
        "deliveries": deliveries,
        "says": "received" if proven else "may have" if deliveries["count"] or unnamed else "nothing",
    }


def _queries(
    turn: Turn, found: Permit, key: dict[str, str], span: tuple[int, int]
) -> tuple[list[dict[str, Any]], int]:
    """Those that named the key, and how many named none or, where the key is masked, another form of it."""
    c = QUERIED.c
    here = (c.grant_id == found.grant, c.at_us >= span[0], c.at_us < span[1])
    digest = _digest(turn, found, key)
    if digest is None:
        return [], turn.connection.execute(select(func.count()).where(*here)).scalar_one()
    rows = turn.connection.execute(
        select(QUERIED).where(*here, c.key == digest).order_by(c.at_us).limit(MOST_LISTED)
    )
    named = [{"record": row.record, "at_us": row.at_us, "event": row.event, "rows": row.rows} for row in rows]
    unnamed = turn.connection.execute(select(func.count()).where(*here, c.key == "")).scalar_one()
    return named, unnamed


def _digest(turn: Turn, found: Permit, key: dict[str, str]) -> str | None:
    """As the log has it; None where a mask makes another key of it, or nothing of the table is here."""
    shape = shape_of(turn.connection, found.stream, found.table)
    if shape is None or set(shape.key) & set(found.terms.masks):
        return None
    return key_digest(found, frame_of(key, shape))


def _deliveries(turn: Turn, found: Permit, span: tuple[int, int]) -> dict[str, Any]:
    chain = f"delivery:{found.consumer}"
    first, last = (_place(turn, chain, at_us) for at_us in span)
    c = AUDIT.c
    # Facts are canonical JSON: inside a value these quotes would be escaped.
    here = (
        c.chain == chain,
        c.n.between(first, last - 1),
        c.event == "delivered",
        c.facts.contains(f'"grant":{json.dumps(found.grant)}', autoescape=True),
    )
    row = _only(turn, select(func.count(), func.min(c.at_us), func.max(c.at_us)).where(*here))
    return {"count": row[0], "first_us": row[1] or 0, "last_us": row[2] or 0, "chain": chain}


def _place(turn: Turn, chain: str, at_us: int) -> int:
    """The first record of *chain* from *at_us* on: found by halves, because time and number go up together."""
    oldest = select(func.min(AUDIT.c.n)).where(AUDIT.c.chain == chain)
    low = turn.connection.scalar(oldest) or 1
    high = (turn.connection.scalar(select(AUDIT_HEADS.c.n).where(AUDIT_HEADS.c.chain == chain)) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        time = _only(turn, select(AUDIT.c.at_us).where(AUDIT.c.chain == chain, AUDIT.c.n == middle))
        low, high = (middle + 1, high) if time[0] < at_us else (low, middle)
    return low


def _only(turn: Turn, query: Any) -> tuple[Any, ...]:
    return tuple(turn.connection.execute(query).one())


VERBS: Final[tuple[Verb, ...]] = (
    Verb(
        "audit.received",
        Asked,
        received,
        frozenset({Role.AUDIT_ADMIN, Role.AUTHORITY}),
        help="who received one item of one person",
    ),
)
