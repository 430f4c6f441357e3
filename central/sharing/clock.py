"""What happens to requests and grants by the database's clock alone: overdue steps escalate, grants warn and end.

Nothing here lets anything through or holds it back: a grant's days are judged where it is used. This writes down
what has become of it, and tells people.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Engine, Row, exists, select, update

from central.people import Actor, Turn
from central.policy import Profile
from central.sharing.grants import change_grant
from central.sharing.states import FLOWING, LIVE, GrantState
from central.sharing.steps import step_of
from central.sharing.watermark import see
from central.store import now_us, reading, writing
from central.store.catalogue import ENTRIES
from central.store.grants import GRANTS
from central.store.sharing import REQUESTS, STEPS
from proto.process import Section

CLOCK: Final = Actor("clock", "the platform's clock", "", frozenset(), "clock")
PAGE: Final = 500
_DAY_US: Final = int(timedelta(days=1).total_seconds()) * 1_000_000
_WITHDRAWN: Final = exists().where(ENTRIES.c.code == GRANTS.c.resource, ENTRIES.c.state == "withdrawn")
_log = structlog.get_logger()


class Kept(Section):
    """What one look changed."""

    escalated: int
    changed: int
    warned: int


def keep_time(engine: Engine, profile: Profile) -> Kept:
    """Escalate what is overdue, write down which grants began and ended, warn of ends. Repeating it changes nothing.

    By a clock that went back nothing is decided: see :mod:`central.sharing.watermark`.
    """
    if not _see(engine):
        _log.error(
            "clock_went_back", fix="set the database's clock right, or: exchange-central grant trust-clock"
        )
        return Kept(escalated=0, changed=0, warned=0)
    escalated = escalate(engine, profile)
    changed, warned = settle(engine, profile)
    return Kept(escalated=escalated, changed=changed, warned=warned)


def escalate(engine: Engine, profile: Profile) -> int:
    """Every overdue step goes to the authority, once, with a clock of its own; returns how many did."""
    total = 0
    while True:
        with writing(engine) as connection:
            turn = Turn(connection, engine, CLOCK, profile, now_us(connection), None)
            overdue = (
                select(STEPS)
                .where(
                    STEPS.c.answered_us.is_(None),
                    STEPS.c.due_us <= turn.now_us,
                    STEPS.c.escalated_us.is_(None),
                )
                .order_by(STEPS.c.due_us)
                .limit(PAGE)
                .with_for_update()
            )
            rows = connection.execute(overdue).all()
            for row in rows:
                _escalate(turn, row)
        total += len(rows)
        if len(rows) < PAGE:
            return total


def settle(engine: Engine, profile: Profile) -> tuple[int, int]:
    """Write down which grants began, expire soon or have expired; returns how many changed and how many were warned of."""
    changed = warned = 0
    for grant in _due_grants(engine, profile):
        with writing(engine) as connection:
            turn = Turn(connection, engine, CLOCK, profile, now_us(connection), None)
            query = select(GRANTS).where(GRANTS.c.grant_id == grant).with_for_update()
            here = connection.execute(query).one()
            changed += _settle(turn, here)
            warned += _warn(turn, here)
    return changed, warned


def _see(engine: Engine) -> bool:
    with writing(engine) as connection:
        return see(connection, now_us(connection))


def _escalate(turn: Turn, row: Row[Any]) -> None:
    step = step_of(row)
    due = turn.profile.calendar.due(turn.now_us, turn.profile.sharing.escalated_days)
    here = (STEPS.c.request == step.request, STEPS.c.n == step.n)
    note = step.calendar or due.note
    values = {"escalated_us": turn.now_us, "due_us": due.at_us, "calendar": note}
    turn.connection.execute(update(STEPS).where(*here).values(values))
    said = f"{step.party} did not answer in time; the authority decides"
    turn.connection.execute(update(REQUESTS).where(REQUESTS.c.request == step.request).values(sentence=said))
    facts: dict[str, str | int] = {
        "step": step.n,
        "kind": step.kind,
        "party": step.party,
        "was_due_us": step.due_us,
    }
    turn.record("step_overdue", request=step.request, **facts)
    _log.warning("step_overdue", request=step.request, party=step.party)


def _due_grants(engine: Engine, profile: Profile) -> list[str]:
    first_us = max(profile.sharing.warn_calendar_days) * _DAY_US
    with reading(engine) as connection:
        now = now_us(connection)
        ends = GRANTS.c.state.in_(LIVE) & (GRANTS.c.valid_to_us <= now + first_us)
        begins = (GRANTS.c.state == GrantState.PENDING) & (GRANTS.c.valid_from_us <= now)
        gone = GRANTS.c.state.in_(LIVE) & _WITHDRAWN
        query = select(GRANTS, _WITHDRAWN.label("gone")).where(ends | begins | gone)
        rows = connection.execute(query.order_by(GRANTS.c.grant_id)).all()
        return [row.grant_id for row in rows if row.gone or _has_news(row, now, profile)]


def _has_news(row: Row[Any], now_us: int, profile: Profile) -> bool:
    if row.state in (GrantState.ACTIVE, GrantState.PENDING) or now_us >= row.valid_to_us:
        return True
    step = _step(row, now_us, profile)
    return row.state in FLOWING and step != row.warned_days


def _settle(turn: Turn, row: Row[Any]) -> bool:
    """Whether another state was written."""
    if row.state not in LIVE:
        return False
    if turn.connection.execute(select(_WITHDRAWN).where(GRANTS.c.grant_id == row.grant_id)).scalar_one():
        # Nothing has flowed since the withdrawal; this gives the grant its end.
        said, end = "the resource was withdrawn from the catalogue", min(row.valid_to_us, turn.now_us)
        values = {"state": GrantState.REVOKED, "valid_to_us": end, "sentence": said}
        change_grant(turn, row, "grant_ended_with_resource", said, **values)
        return True
    if turn.now_us >= row.valid_to_us:
        change_grant(turn, row, "grant_expired", "its last day is over", state=GrantState.EXPIRED)
        return True
    if row.state == GrantState.PENDING and turn.now_us >= row.valid_from_us:
        change_grant(turn, row, "grant_began", "its first day has come", state=GrantState.ACTIVE)
        return True
    if row.state == GrantState.ACTIVE and _step(row, turn.now_us, turn.profile):
        change_grant(turn, row, "grant_expires_soon", "its end is near", state=GrantState.EXPIRING)
        return True
    return False


def _warn(turn: Turn, row: Row[Any]) -> bool:
    """Whether people were told of the end anew: once for each step of the profile."""
    step = _step(row, turn.now_us, turn.profile)
    if row.state not in FLOWING or not step or row.warned_days in range(1, step + 1):
        return False
    here = GRANTS.c.grant_id == row.grant_id
    turn.connection.execute(update(GRANTS).where(here).values(warned_days=step))
    facts = {"days": step, "consumer": row.consumer, "resource": row.resource}
    turn.record("grant_end_warned", grant=row.grant_id, valid_to_us=row.valid_to_us, **facts)
    _log.warning("grant_ends", grant=row.grant_id, days=step, consumer=row.consumer)
    return True


def _step(row: Row[Any], now_us: int, profile: Profile) -> int:
    """The warning step its end has reached; 0 while there is time, and when it is over."""
    left_us = row.valid_to_us - now_us
    if left_us <= 0:
        return 0
    steps = profile.sharing.warn_calendar_days
    return min((days for days in steps if left_us <= days * _DAY_US), default=0)
