"""What people do about deliveries, for the desk."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import select

from central.delivery.figures import delivered
from central.delivery.recalls import recall
from central.people import Role, Turn, Verb
from central.store.grants import GRANTS
from proto.process import Section

_Reason = Annotated[str, Field(min_length=1, max_length=2000)]


class Which(Section):
    """Which deliveries to show."""

    consumer: str = ""
    grant: str = ""


class Recall(Section):
    """What is recalled, and why; the consumer reads it."""

    grant: str
    reason: _Reason


def shown(turn: Turn, which: Which) -> list[dict[str, Any]]:
    """How far each grant's delivery is and why it waits: figures, never rows."""
    chosen = {"consumer": which.consumer or None, "grants": [which.grant] if which.grant else None}
    return [asdict(each) for each in delivered(turn.connection, **chosen)]  # type: ignore[arg-type]


def recalled(turn: Turn, asked: Recall) -> dict[str, str]:
    """召回: its provider or the authority has what was delivered removed, and ends the grant's deliveries."""
    provider = turn.connection.execute(
        select(GRANTS.c.provider).where(GRANTS.c.grant_id == asked.grant)
    ).scalar_one_or_none()
    if Role.AUTHORITY not in turn.actor.roles:
        turn.actor.demand_department(provider or "", what="a recall")
    number = recall(turn.connection, asked.grant, turn.actor.person, asked.reason)
    turn.record("recall_asked", grant=asked.grant, recall=number, reason=asked.reason)
    return {"recall": number, "grant": asked.grant}


_WATCHES: Final = frozenset({Role.RESOURCE_ADMIN, Role.AUTHORITY, Role.SYSTEM_ADMIN, Role.AUDIT_ADMIN})
VERBS: Final = (
    Verb("delivery.list", Which, shown, _WATCHES, writes=False, help="How far each grant's delivery is."),
    Verb(
        "delivery.recall",
        Recall,
        recalled,
        frozenset({Role.RESOURCE_ADMIN, Role.AUTHORITY}),
        help="Have what was delivered removed.",
    ),
)
