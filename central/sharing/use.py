"""A grant in use, one question at a time: purpose, hours, how often and how much, counted by the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, case, func, insert, select, update

from central.people import READS_NO_ROWS, Turn
from central.policy import Profile
from central.sharing.permits import NotGranted, Permit, permit
from central.sharing.states import LIVE
from central.sharing.terms import Limits
from central.sharing.users import demand_user
from central.store.grants import GRANTS
from central.store.sharing import QUERY_USE
from proto.errors import NotAdmitted, Refused

HOUR_US: Final = 3_600_000_000


class LimitReached(NotGranted):
    """The grant allows this, but not so much or not now."""

    code = "LIMIT"


def demand_use(turn: Turn, grant: str, modes: Sequence[str], said: tuple[str, str]) -> Permit:
    """The grant, if the actor may use it now in one of *modes* for the stated purpose and case; raises why not."""
    found = permit(turn.connection, grant)
    if found.department != turn.actor.department:
        raise NotGranted("the grant is another department's", where=grant)
    if reads_none := turn.actor.roles & READS_NO_ROWS:
        raise NotAdmitted(f"the role {min(reads_none)} reads no rows", where=turn.actor.person)
    if found.mode not in modes:
        raise NotGranted(f"the grant is for {found.mode}, not for {' or '.join(modes)}", where=grant)
    demand_user(found, turn.actor)
    found.demand(turn.now_us)
    purpose, number = said
    if turn.profile.delivery.purpose_required and not purpose.strip():
        raise Refused("a purpose must be stated (Article 31)", where="purpose")
    if found.mode in turn.profile.sharing.case_number_modes and not number.strip():
        raise Refused(f"the policy {turn.profile.name} asks for a case number", where="case")
    demand_hours(found.terms.limits, turn.profile, turn.now_us, grant)
    return found


def grant_of(turn: Turn, resource: str, mode: str) -> str:
    """The newest grant of *resource* in *mode* to the system's node or the person's department, one in force first.

    Raises NotGranted when there never was one.
    """
    g, actor = GRANTS.c, turn.actor
    whose = g.consumer == actor.node if actor.node else g.department == actor.department
    in_force = and_(g.state.in_(LIVE), g.valid_to_us > turn.now_us)
    query = select(g.grant_id).where(g.resource == resource, g.mode == mode, whose)
    query = query.order_by(case((in_force, 0), else_=1), g.created_us.desc(), g.grant_id.desc()).limit(1)
    if found := turn.connection.execute(query).scalar_one_or_none():
        return str(found)
    fix = f"exchange-central share explain {actor.node or 'NODE'} {resource[:80]}"
    raise NotGranted(f"nothing of it was ever granted to you for {mode}", where=resource[:80], fix=fix)


def demand_hours(limits: Limits, profile: Profile, now_us: int, grant: str) -> None:
    """Raise LimitReached outside the grant's hours."""
    if not limits.are_open(profile.calendar.local(now_us).time()):
        raise LimitReached(f"the grant is for {limits.hours}", where=grant, fix="ask again in its hours")


def rows_left(turn: Turn, found: Permit) -> int:
    """Count one more question; how many rows may still be given out. Raises LimitReached when that was one too many.

    Counted before it is judged: the account is locked until this transaction ends, so of two questions at the same
    moment one sees the other.
    """
    limits = found.terms.limits
    hour_us = turn.now_us - turn.now_us % HOUR_US
    _count(turn, found, queries=1)
    in_hour = turn.connection.execute(
        select(func.coalesce(func.sum(QUERY_USE.c.queries), 0)).where(
            QUERY_USE.c.grant_id == found.grant, QUERY_USE.c.hour_us == hour_us
        )
    ).scalar_one()
    if in_hour > limits.queries_per_hour:
        fix = f"ask again in {(hour_us + HOUR_US - turn.now_us) // 60_000_000 + 1} minutes"
        raise LimitReached(
            f"{limits.queries_per_hour} questions an hour are granted", where=found.grant, fix=fix
        )
    if limits.rows_per_day is None:
        return limits.query_rows
    begins_us = turn.profile.calendar.begin_of(turn.profile.calendar.day_of(turn.now_us))
    today = select(func.coalesce(func.sum(QUERY_USE.c.rows), 0)).where(
        QUERY_USE.c.grant_id == found.grant, QUERY_USE.c.hour_us >= begins_us
    )
    left = limits.rows_per_day - int(turn.connection.execute(today).scalar_one())
    if left <= 0:
        raise LimitReached(
            f"{limits.rows_per_day} rows a day are granted", where=found.grant, fix="ask tomorrow"
        )
    return min(left, limits.query_rows)


def count_rows(turn: Turn, found: Permit, rows: int) -> None:
    """Put rows that are given out on the grant's account."""
    _count(turn, found, rows=rows)


def _count(turn: Turn, found: Permit, queries: int = 0, rows: int = 0) -> None:
    hour_us = turn.now_us - turn.now_us % HOUR_US
    here = (QUERY_USE.c.grant_id == found.grant, QUERY_USE.c.hour_us == hour_us)
    more = {"queries": QUERY_USE.c.queries + queries, "rows": QUERY_USE.c.rows + rows}
    if not turn.connection.execute(update(QUERY_USE).where(*here).values(more)).rowcount:
        row = {"grant_id": found.grant, "hour_us": hour_us, "queries": queries, "rows": rows}
        turn.connection.execute(insert(QUERY_USE), row)
