"""The latest time that was seen on the database's clock (fault P8).

A clock that goes back would let ended grants live again. So whoever judges a grant also looks at the latest time that
was seen, and when the clock stands before it nothing passes until a person says that the clock is right. It is seen
once a minute: of a smaller step back nothing is noticed, and an ended grant lives for less than a minute more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from central.people import Turn
from central.sharing.terms import Line
from central.store.sharing import CLOCK
from proto.errors import Refused
from proto.process import Section

MOST_BACK_US: Final = 5_000_000
_NAME: Final = "grants"
_HERE: Final = CLOCK.c.name == _NAME
SEEN: Final = select(func.coalesce(func.max(CLOCK.c.seen_us), 0)).where(_HERE).scalar_subquery()
"""As a part of whatever statement reads a grant."""


Others = Callable[[Connection], bool]
"""Believes the clock again too; says whether it did not before."""


class Trust(Section):
    """``grant.trust-clock``."""

    reason: Line


def went_back(now_us: int, seen_us: int) -> bool:
    """Whether the clock stands before a time that was seen on it."""
    return now_us < seen_us - MOST_BACK_US


def see(connection: Connection, now_us: int) -> bool:
    """Remember *now_us*; False when the clock went back, and then nothing is remembered."""
    row = connection.execute(select(CLOCK).where(_HERE).with_for_update()).one_or_none()
    if row is None:
        connection.execute(insert(CLOCK), {"name": _NAME, "seen_us": now_us})
    elif went_back(now_us, row.seen_us):
        return False
    elif now_us > row.seen_us:
        connection.execute(update(CLOCK).where(_HERE).values(seen_us=now_us))
    return True


def reset(connection: Connection, now_us: int) -> None:
    """Nothing later than *now_us* was seen."""
    connection.execute(update(CLOCK).where(_HERE).values(seen_us=now_us))


def nobody_else(connection: Connection) -> bool:
    """Nobody else judges by a time that was seen."""
    del connection
    return False


def trust(turn: Turn, wanted: Trust, others: Others) -> dict[str, Any]:
    """A person says that the clock is right as it is: grants, and what *others* judge, are judged by it again."""
    seen = turn.connection.execute(select(SEEN)).scalar_one()
    freed = others(turn.connection)
    if not freed and not went_back(turn.now_us, seen):
        raise Refused("the clock did not go back", where="clock")
    reset(turn.connection, turn.now_us)
    turn.record("clock_trusted", before_us=seen, now_us=turn.now_us, reason=wanted.reason)
    return {"before_us": seen, "now_us": turn.now_us}
