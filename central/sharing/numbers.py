"""Numbers that people say to each other: R2026-0007 for a request, G2026-0012 for a grant; none is left out."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from central.people import Turn
from central.store.sharing import COUNTERS


def next_number(turn: Turn, letter: str) -> str:
    """The next number of this year. Whoever asks at the same time waits for this transaction."""
    year = turn.profile.calendar.day_of(turn.now_us).year
    name = f"{letter}{year}"
    here = COUNTERS.c.name == name
    if not turn.connection.execute(update(COUNTERS).where(here).values(n=COUNTERS.c.n + 1)).rowcount:
        turn.connection.execute(insert(COUNTERS), {"name": name, "n": 1})
    n = turn.connection.execute(select(COUNTERS.c.n).where(here)).scalar_one()
    return f"{name}-{n:04d}"


def place(number: str) -> int:
    """Where a number stands in the order of all."""
    year, _, n = number[1:].partition("-")
    return int(year) * 10_000_000 + int(n)
