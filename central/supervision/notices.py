"""What departments are told through their nodes: a sentence for each of their tables that the platform holds, and for each
warning, proposal and restriction for being late (SD11.3, SD28.4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Engine, select

from central.ledger.tableholds import held_at
from central.store import reading
from central.store.office import DEPARTMENT_NODES
from central.store.supervision import RESTRICTIONS
from central.supervision.restrictions import Step

MOST: Final = 50
"""For one node; the rest is in ``case restrictions``."""


def notices(engine: Engine, node: str | None = None) -> Mapping[str, Sequence[str]]:
    """By node, or of the one: every node of a department hears of all of the department's resources."""
    r, n = RESTRICTIONS.c, DEPARTMENT_NODES.c
    query = select(n.node, r.state, r.sentence).join(RESTRICTIONS, r.department == n.department)
    query = query.where(r.state != str(Step.NONE)).order_by(r.resource)
    if node is not None:
        query = query.where(n.node == node)
    found: dict[str, list[str]] = defaultdict(list)
    with reading(engine) as connection:
        for held in held_at(connection, node):
            found[held.stream.partition("/")[0]].append(f"{held.notice}: {held.sentence} — {held.fix}")
        for row in connection.execute(query):
            if len(found[row.node]) < MOST:
                found[row.node].append(f"{_WORDS[Step(row.state)]}: {row.sentence}")
    return found


_WORDS: Final = {
    Step.WARNED: "warning",
    Step.PROPOSED: "restriction proposed",
    Step.ACTIVE: "restriction in force",
}
