"""Steps of a restriction, written straight into central's tables: for tests of what follows from them."""

from __future__ import annotations

from sqlalchemy import Engine, insert, update

from central.store import writing
from central.store.supervision import RESTRICTIONS


def warn(engine: Engine, department: str, resource: str, sentence: str, state: str = "warned") -> None:
    """As the clock and the authority would."""
    said = {"state": state, "since_us": 1, "sentence": sentence}
    with writing(engine) as connection:
        here = RESTRICTIONS.c.resource == resource
        if not connection.execute(update(RESTRICTIONS).where(here).values(said)).rowcount:
            connection.execute(insert(RESTRICTIONS), {"resource": resource, "department": department, **said})
