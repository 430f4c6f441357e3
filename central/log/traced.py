"""Whether the traces beside the log are the ones its records speak of."""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Connection, and_, select

from central.sharing.traces import fact
from central.store.tables import AUDIT
from central.store.traces import TRACES
from proto.errors import Diverged

EVENTS: Final = ("delivered", "compared")
AT_ONCE: Final = 100


def verify_traces(connection: Connection, chain: str) -> int:
    """Compare every trace of *chain* with its record; returns how many. Raises Diverged naming the first bad one.

    Records from before there were traces have none.
    """
    here = and_(TRACES.c.chain == AUDIT.c.chain, TRACES.c.n == AUDIT.c.n)
    query = (
        select(AUDIT.c.n, AUDIT.c.facts, TRACES.c.grant_id, TRACES.c.digests)
        .join(TRACES, here, isouter=True)
        .where(AUDIT.c.chain == chain, AUDIT.c.event.in_(EVENTS))
        .order_by(AUDIT.c.n)
        .execution_options(yield_per=AT_ONCE)
    )
    count = 0
    for row in connection.execute(query):
        facts = json.loads(row.facts)
        if "traces" not in facts:
            continue
        digests = None if row.digests is None else bytes(row.digests)
        if digests is None or row.grant_id != facts["grant"] or fact(digests) != facts["traces"]:
            what = f"the trace of record {row.n} is missing or was changed"
            raise Diverged(what, where=f"audit chain {chain}")
        count += 1
    return count
