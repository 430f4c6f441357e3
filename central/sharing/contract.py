"""What a grant shows of its resource at one moment: the version of the entry it follows, without what is closed.

The same for deliveries, queries and comparisons: none of them shows, asks for or compares what the catalogue has closed,
whatever the platform's table or a batch of the ledger still holds (SD05.2).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from central.catalogue.contracts import Coming, entry_at, followed
from central.catalogue.entry import Entry, ShareType
from central.catalogue.published import closed_columns, published
from central.sharing.permits import Permit
from central.sharing.terms import Terms
from proto import predicate
from proto.errors import Refused


class Unshared(Refused):
    """The catalogue lets out nothing of what a grant names."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One grant's part of the catalogue."""

    entry: Entry
    """In the version that is followed."""
    version: int
    release: int
    """The newest one."""
    closed: frozenset[str]
    coming: Coming | None
    """The version that will be followed next."""

    def shown(self, terms: Terms) -> tuple[str, ...]:
        """The items of *terms* that may go. Raises Unshared when none may, or when rows are told apart by a closed one."""
        if terms.is_directed:
            return terms.items
        items = self.entry.columns
        found = tuple(
            name
            for name in terms.items
            if name in items
            and items[name].share_type is not ShareType.NOT_SHARED
            and name not in self.closed
        )
        if not found:
            raise Unshared("the catalogue shares none of the granted items", where=self.entry.code)
        asked = predicate.columns(predicate.from_json(terms.rows)) if terms.rows else frozenset()
        if hidden := sorted(asked & self.closed):
            what = f"its rows are chosen by {', '.join(hidden)}, which is not shared any more"
            raise Unshared(what, where=self.entry.code, fix="change the grant's rows")
        return found


def contract_of(connection: Connection, found: Permit, now_us: int) -> Contract:
    """What *found* follows at *now_us*. Raises Refused when the resource is not in the catalogue."""
    there = published(connection, found.resource)
    at = followed(connection, found.resource, found.release, now_us)
    version = at.version if at else there.version
    entry = there.entry if version == there.version else entry_at(connection, found.resource, version)
    closed = closed_columns(connection, found.stream, found.table)
    return Contract(entry, version, there.release, closed, at.coming if at else None)
