"""What statutory grants in force are directed at: the items that leave a department although they are not shared (Art. 5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, select

from central.sharing.permits import read_terms
from central.sharing.states import FLOWING
from central.store import now_us
from central.store.grants import GRANTS

# Only narrows down what is read: the terms themselves decide.
_SAYS_SO: Final = GRANTS.c.terms.contains('"is_directed":true', autoescape=True)


def directed_items(connection: Connection) -> Mapping[str, frozenset[str]]:
    """Code of a resource to the columns that a directed grant lets through at this moment, by the database's clock."""
    g, now = GRANTS.c, now_us(connection)
    query = select(g.resource, g.terms).where(
        g.state.in_(sorted(FLOWING)), g.valid_from_us <= now, g.valid_to_us > now, _SAYS_SO
    )
    found: dict[str, set[str]] = defaultdict(set)
    for row in connection.execute(query):
        terms = read_terms(row.terms)
        if terms.is_directed:
            found[row.resource] |= set(terms.items)
    return {code: frozenset(columns) for code, columns in found.items()}
