"""Versions of an entry as contracts: a release brings another one, and live grants follow it from a day on (Art. 17).

Until that day they follow the version before. What is closed never waits for it, and what the provider's table has lost
cannot be had any more: an overlap keeps what is still there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from central.catalogue.entry import Entry, Item, ShareType
from central.store.catalogue import ENTRIES, RELEASED
from central.store.grants import GRANTS, LIVE_STATES

AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Coming:
    """Another version that will be followed."""

    version: int
    at_us: int
    what: str
    """What becomes different, in words."""


@dataclass(frozen=True, slots=True)
class Followed:
    """The version that a grant follows at one moment."""

    version: int
    coming: Coming | None = None


def changes(before: Entry, after: Entry) -> str:
    """What another version means for whoever receives the resource, in words; "" when nothing that can be seen."""
    return "; ".join(_changes(before.columns, after.columns))


def followed(connection: Connection, code: str, granted_in: int, now_us: int) -> Followed | None:
    """What a grant made in release *granted_in* follows; None when the resource is not in force."""
    chain = _chain(connection, code)
    for place, row in enumerate(chain):
        if row.contract_us is None or row.contract_us <= now_us or row.since_release <= granted_in:
            return Followed(row.version, _coming(connection, code, row.version, chain[:place]))
    return Followed(chain[-1].version) if chain else None


def announced(connection: Connection, codes: Iterable[str], now_us: int) -> set[str]:
    """Those of *codes* that will follow another version."""
    r, found = RELEASED.c, sorted(set(codes))
    query = select(r.code).where(r.code.in_(found), r.until_release.is_(None), r.contract_us > now_us)
    return set(connection.scalars(query)) if found else set()


def kept_items(connection: Connection, now_us: int) -> Mapping[str, tuple[Item, ...]]:
    """By code: items that the version in force does not have any more and that grants still receive for a while."""
    r = RELEASED.c
    query = select(r.code).where(r.until_release.is_(None), r.contract_us > now_us).order_by(r.code)
    found = {}
    for code in connection.scalars(query).all():
        chain = _chain(connection, code)
        newest = entry_at(connection, code, chain[0].version)
        kept: dict[str, Item] = {}
        for after, row in pairwise(chain):
            if after.contract_us is None or after.contract_us <= now_us:
                break
            older = entry_at(connection, code, row.version).columns
            kept |= {
                name: item for name, item in older.items() if name not in newest.columns and name not in kept
            }
        found[code] = tuple(kept.values())
    return {code: items for code, items in found.items() if items}


def touched(connection: Connection, coming: Sequence[Row[Any]]) -> dict[str, str]:
    """By code: what the entries that are to be in force change of those that are, where somebody receives them."""
    g, codes = GRANTS.c, [row.code for row in coming]
    query = select(g.resource).where(g.resource.in_(codes), g.state.in_(LIVE_STATES)).distinct()
    received = set(connection.scalars(query))
    found = {}
    for row in coming:
        chain = _chain(connection, row.code) if row.code in received else []
        entry = Entry.model_validate_json(row.document) if chain else None
        if entry and (what := changes(entry_at(connection, row.code, chain[0].version), entry)):
            found[row.code] = what
    return found


def entry_at(connection: Connection, code: str, version: int) -> Entry:
    """One version of an entry."""
    query = select(ENTRIES.c.document).where(ENTRIES.c.code == code, ENTRIES.c.version == version)
    return Entry.model_validate_json(connection.execute(query).scalar_one())


def _chain(connection: Connection, code: str) -> list[Row[Any]]:
    """The version in force, and before it those that were replaced without a gap."""
    r = RELEASED.c
    query = select(RELEASED).where(r.code == code).order_by(r.since_release.desc())
    chain: list[Row[Any]] = []
    for row in connection.execute(query).all():
        if row.until_release != (chain[-1].since_release if chain else None):
            break
        chain.append(row)
    return chain


def _coming(connection: Connection, code: str, version: int, newer: Sequence[Row[Any]]) -> Coming | None:
    if not newer:
        return None
    # Newest first: of several on one day it is the newest.
    row = min(newer, key=lambda each: each.contract_us)
    before, after = (entry_at(connection, code, each) for each in (version, row.version))
    return Coming(row.version, row.contract_us, changes(before, after) or "nothing that is received")


def _changes(old: Mapping[str, Item], new: Mapping[str, Item]) -> Iterator[str]:
    closed = ShareType.NOT_SHARED
    if gone := [_named(item) for name, item in old.items() if name not in new]:
        yield f"without {', '.join(gone)}"
    if added := [_named(item) for name, item in new.items() if name not in old]:
        yield f"with {', '.join(added)}"
    both = [(old[name], new[name]) for name in old if name in new]
    if shut := [_named(now) for was, now in both if now.share_type is closed is not was.share_type]:
        yield f"{', '.join(shut)} not shared any more, at once"
    for was, now in both:
        if (was.type, was.length) != (now.type, now.length):
            yield f"{_named(now)} is {_typed(now)} instead of {_typed(was)}"
    was_key, is_key = ([name for name, item in items.items() if item.is_key] for items in (old, new))
    if was_key != is_key:
        yield f"the key is {', '.join(is_key) or 'none'} instead of {', '.join(was_key) or 'none'}"


def _named(item: Item) -> str:
    return item.column if item.name == item.column else f"{item.column} ({item.name})"


def _typed(item: Item) -> str:
    return f"{item.type}{item.length or ''}"
