"""What happens again and again is one record a minute, with a count, so that nobody can fill the log with it.

The first of a kind is written at once. Those that follow within a minute are counted in a row of their own, and one
record tells how many there were: with the next one after that minute, or when :func:`settle` is called. The count is
stored each time, so a crash loses none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from central import audit
from central.store import NowUs, now_us, writing
from central.store.tables import REFUSALS

WINDOW_US: Final = 60_000_000
SETTLED_AT_A_TIME: Final = 200
REFUSED: Final = "refused"

_MINE: Final = (
    REFUSALS.c.chain == bindparam("its_chain"),
    REFUSALS.c.node == bindparam("its_node"),
    REFUSALS.c.code == bindparam("its_code"),
)
_KNOWN: Final = select(REFUSALS, NowUs().label("now")).where(*_MINE).with_for_update()
_CHANGE: Final = update(REFUSALS).where(*_MINE)
_OVER: Final = (
    select(REFUSALS)
    .where(REFUSALS.c.since_us < bindparam("before"))
    .order_by(REFUSALS.c.since_us)
    .limit(SETTLED_AT_A_TIME)
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is counted together."""

    chain: str
    who: str
    code: str
    """Of a refusal, as errors have it: in capitals. Anything else is the event itself, in small letters."""

    @property
    def event(self) -> str:
        """As the record has it."""
        return REFUSED if self.code.isupper() else self.code


def record(connection: Connection, kind: Kind, facts: dict[str, audit.Fact], *, at_once: bool = False) -> int:
    """Put it on record, together with what was counted before; returns the record's number, 0 = it was only counted."""
    count = _count(connection, kind, facts, at_once=at_once)
    return audit.record(connection, kind.chain, kind.event, **facts, count=count) if count else 0


def settle(engine: Engine) -> int:
    """Put on record what was counted in minutes that are over; returns how many times that was."""
    with writing(engine) as connection:
        before = now_us(connection) - WINDOW_US
        over = connection.execute(_OVER, {"before": before}).all()
        for row in over:
            _settle(connection, row)
    return sum(row.times for row in over)


def _count(connection: Connection, kind: Kind, facts: dict[str, audit.Fact], *, at_once: bool) -> int:
    mine = {"its_chain": kind.chain, "its_node": kind.who, "its_code": kind.code}
    known = connection.execute(_KNOWN, mine).one_or_none()
    if known is None:
        if _begin(connection, kind):
            return 1
        known = connection.execute(_KNOWN, mine).one()
    if known.now - known.since_us < WINDOW_US and not at_once:
        connection.execute(_CHANGE, {**mine, "times": known.times + 1, "facts": audit.canonical(facts)})
        return 0
    connection.execute(_CHANGE, {**mine, "since_us": known.now, "times": 0, "facts": ""})
    return int(known.times) + 1


def _begin(connection: Connection, kind: Kind) -> bool:
    """Count from now on; False when somebody else began to at this moment."""
    entry = {"chain": kind.chain, "node": kind.who, "code": kind.code}
    values = {**entry, "since_us": now_us(connection), "times": 0, "facts": ""}
    try:
        with connection.begin_nested():
            connection.execute(insert(REFUSALS), values)
    except IntegrityError:
        return False
    return True


def _settle(connection: Connection, row: Row[Any]) -> None:
    mine = {"its_chain": row.chain, "its_node": row.node, "its_code": row.code}
    if not row.times:
        connection.execute(delete(REFUSALS).where(*_MINE), mine)
        return
    event = Kind(row.chain, row.node, row.code).event
    audit.record(connection, row.chain, event, **json.loads(row.facts), count=row.times)
    # The next minute begins with this record.
    connection.execute(_CHANGE, {**mine, "since_us": now_us(connection), "times": 0, "facts": ""})
