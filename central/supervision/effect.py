"""What a restriction does (Art. 28 ¶2): the late department's own grants of hosted and composite resources stand still.

Nobody else's grant is touched, and nothing of what others read from the late department (SD28.3). What a law directs to
the department goes on as well. Delivery and query judge the grant as they always do; this writes its state, within one look.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from central.catalogue.published import published
from central.people import Turn
from central.policy import Profile
from central.sharing.changes import RESTRICTION
from central.sharing.clock import CLOCK
from central.sharing.compliance import needs_double_consent
from central.sharing.grants import change_grant, running_state
from central.sharing.states import FLOWING, GrantState
from central.sharing.terms import Terms
from central.sharing.watermark import SEEN, went_back
from central.store import now_us, reading, writing
from central.store.grants import GRANTS
from central.store.supervision import RESTRICTIONS
from central.supervision.restrictions import Step, restricted
from proto.errors import Refused


def keep_effect(engine: Engine, profile: Profile) -> list[str]:
    """Hold back what restrictions close and let go what they no longer do; returns the grants that changed."""
    with reading(engine) as connection:
        late = select(RESTRICTIONS.c.department).where(RESTRICTIONS.c.state == str(Step.ACTIVE))
        closed = connection.execute(
            select(GRANTS).where(GRANTS.c.department.in_(late), GRANTS.c.state.in_(FLOWING))
        ).all()
        wrong = [row.grant_id for row in closed if _is_hit(connection, row)]
        held = (GRANTS.c.state == str(GrantState.SUSPENDED), GRANTS.c.held_by == RESTRICTION)
        over = list(
            connection.scalars(select(GRANTS.c.grant_id).where(*held, GRANTS.c.department.not_in(late)))
        )
    return [grant for grant in (*wrong, *over) if _settle(engine, profile, grant)]


def _settle(engine: Engine, profile: Profile, grant: str) -> bool:
    """Judged again under the grant's lock: people and other central processes decide as well."""
    with writing(engine) as connection:
        turn = Turn(connection, engine, CLOCK, profile, now_us(connection), None)
        if went_back(turn.now_us, connection.execute(select(SEEN)).scalar_one()):
            # By a clock that went back no grant begins to flow again.
            return False
        row = connection.execute(select(GRANTS).where(GRANTS.c.grant_id == grant).with_for_update()).one()
        why = restricted(connection, row.department)
        if why and row.state in FLOWING:
            held = {"state": GrantState.SUSPENDED, "held_by": RESTRICTION, "sentence": why[0]}
            change_grant(turn, row, "grant_restricted", why[0], **held)
            return True
        if not why and row.state == GrantState.SUSPENDED and row.held_by == RESTRICTION:
            free = {"state": running_state(row, turn), "held_by": "", "sentence": "", "warned_days": 0}
            change_grant(turn, row, "grant_unrestricted", "the department is on time again", **free)
            return True
        return False


def _is_hit(connection: Connection, row: Row[Any]) -> bool:
    if Terms.model_validate_json(row.terms).is_directed:
        return False
    try:
        return needs_double_consent(published(connection, row.resource).entry)
    except Refused:
        return False
