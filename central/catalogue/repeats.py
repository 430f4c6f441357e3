"""Who provides an item already (Art. 18): by the standard's name or code, and, as a hint only, by the item's name."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, or_, select

from central.catalogue.arguments import Repeats
from central.catalogue.differences import name_key
from central.catalogue.entry import Entry
from central.people import Turn
from central.store.catalogue import ENTRIES, ITEMS, RELEASED

MOST: Final = 100


def same_standard(connection: Connection, entry: Entry) -> list[dict[str, Any]]:
    """Items of other providers, in force, under the same standard as one of *entry*'s."""
    return _others(
        connection, entry.provider, {item.standard for item in entry.items if item.standard}, set()
    )


def repeats(turn: Turn, told: Repeats) -> dict[str, Any]:
    """Who else has these items."""
    provider = told.provider or turn.actor.department
    keys = {name_key(name) for name in told.names} - {""}
    found = _others(turn.connection, provider, set(told.standards) - {""}, keys)
    return {"items": found}


def _others(
    connection: Connection, provider: str, standards: set[str], keys: set[str]
) -> list[dict[str, Any]]:
    if not standards and not keys:
        return []
    c = ITEMS.c
    query = (
        select(c.code, c.provider, c.name, c.standard, ENTRIES.c.name.label("resource"))
        .join(RELEASED, (RELEASED.c.code == c.code) & RELEASED.c.until_release.is_(None))
        .join(ENTRIES, (ENTRIES.c.code == c.code) & (ENTRIES.c.version == RELEASED.c.version))
        .where(or_(c.standard.in_(standards), c.name_key.in_(keys)), c.provider != provider)
        .order_by(c.standard.desc(), c.code)
        .limit(MOST)
    )
    return [dict(row._mapping) for row in connection.execute(query)]
