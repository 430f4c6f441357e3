"""The one writer of grants: each change is a new version, a line of history that is never deleted, and on record."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from central.catalogue.published import Published
from central.people import Turn
from central.sharing.compliance import demand_fit
from central.sharing.numbers import next_number
from central.sharing.states import LIVE, NEXT_OF_GRANT, GrantState, demand_move
from central.sharing.terms import Terms
from central.store.grants import GRANT_HISTORY, GRANTS
from proto.errors import Refused

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Right:
    """What is granted to whom."""

    request: str
    consumer: str
    department: str
    mode: str
    terms: Terms
    valid_from_us: int
    valid_to_us: int


@dataclass(frozen=True, slots=True)
class Prolonged:
    """How a renewed grant goes on."""

    terms: Terms
    valid_to_us: int


def make_grant(turn: Turn, right: Right, found: Published) -> str:
    """A new grant; returns its number. Raises Refused when one is live already, or when it does not fit the table."""
    if right.valid_to_us <= max(turn.now_us, right.valid_from_us):
        raise Refused("it would end before it begins", where=right.request)
    demand_fit(turn.connection, found.entry, right.terms)
    # The record first: it lets one decision at a time look whether another grant is there.
    grant = next_number(turn, "G")
    turn.record(
        "granted",
        grant=grant,
        request=right.request,
        consumer=right.consumer,
        resource=found.entry.code,
        release=found.release,
        mode=right.mode,
        terms=right.terms.model_dump_json(),
        article=right.terms.article,
        valid_from_us=right.valid_from_us,
        valid_to_us=right.valid_to_us,
    )
    _demand_none_live(turn, right, found.entry.code)
    binding = found.entry.binding
    row = {
        "grant_id": grant,
        "version": 1,
        "state": GrantState.PENDING if right.valid_from_us > turn.now_us else GrantState.ACTIVE,
        "consumer": right.consumer,
        "department": right.department,
        "resource": found.entry.code,
        "entry_version": found.version,
        "release": found.release,
        "stream": binding.stream if binding else "",
        "table_name": binding.table if binding else "",
        "mode": right.mode,
        "terms": right.terms.model_dump_json(),
        "secret": secrets.token_bytes(SECRET_BYTES),
        "valid_from_us": right.valid_from_us,
        "valid_to_us": right.valid_to_us,
        "created_us": turn.now_us,
        "changed_us": turn.now_us,
        "request": right.request,
        "provider": found.entry.provider,
    }
    turn.connection.execute(insert(GRANTS), row)
    _remember(turn, grant, "granted")
    return grant


def grant_row(connection: Connection, grant: str, *, lock: bool = False) -> Row[Any]:
    """One grant. Raises Refused when there is none."""
    query = select(GRANTS).where(GRANTS.c.grant_id == grant)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise Refused(
            "no such grant", where=grant[:40], fix="exchange-central grant list shows what there is"
        )
    return row


def change_grant(turn: Turn, row: Row[Any], event: str, reason: str, **changed: Any) -> int:
    """Write what *changed* as the next version, with history and record; returns the version."""
    state = GrantState(changed.get("state", row.state))
    if state != row.state:
        demand_move(GrantState(row.state), state, NEXT_OF_GRANT, row.grant_id)
    version: int = row.version + 1
    values = {**changed, "state": state, "version": version, "changed_us": turn.now_us}
    turn.connection.execute(update(GRANTS).where(GRANTS.c.grant_id == row.grant_id).values(values))
    _remember(turn, row.grant_id, reason)
    facts: dict[str, Any] = {"grant": row.grant_id, "version": version, "state": state, "reason": reason}
    facts |= {name: changed[name] for name in ("terms", "valid_to_us") if name in changed}
    turn.record(
        event, **facts, consumer=row.consumer, resource=row.resource, article=_terms(changed, row).article
    )
    return version


def prolong(turn: Turn, grant: str, wanted: Prolonged, found: Published) -> str:
    """A renewed grant goes on to another day. Raises Refused when it has ended: that needs a request of its own."""
    row = grant_row(turn.connection, grant, lock=True)
    if has_ended(row, turn.now_us):
        raise Refused("the grant has ended", where=grant, fix="ask anew: exchange-central share request")
    if wanted.valid_to_us <= row.valid_to_us:
        raise Refused("the renewal would not end later", where=grant)
    demand_fit(turn.connection, found.entry, wanted.terms)
    state = GrantState.ACTIVE if row.state == GrantState.EXPIRING else GrantState(row.state)
    new = {"terms": wanted.terms.model_dump_json(), "valid_to_us": wanted.valid_to_us, "warned_days": 0}
    change_grant(turn, row, "grant_renewed", "renewed", state=state, **new)
    return grant


def running_state(row: Row[Any], turn: Turn) -> GrantState:
    """What a grant that nobody holds back is now, by its days."""
    if turn.now_us >= row.valid_to_us:
        return GrantState.EXPIRED
    return GrantState.PENDING if turn.now_us < row.valid_from_us else GrantState.ACTIVE


def has_ended(row: Row[Any], now_us: int) -> bool:
    """Whether it lets nothing through any more for good, even where no job has written that down."""
    return row.state not in LIVE or now_us >= row.valid_to_us


def _demand_none_live(turn: Turn, right: Right, resource: str) -> None:
    there = (GRANTS.c.consumer == right.consumer, GRANTS.c.resource == resource, GRANTS.c.mode == right.mode)
    query = select(GRANTS).where(*there, GRANTS.c.state.in_(LIVE)).with_for_update()
    for row in turn.connection.execute(query).all():
        if row.valid_to_us > turn.now_us:
            raise Refused(
                f"{right.consumer} has a live grant of it already",
                where=row.grant_id,
                fix=f"exchange-central share renew {row.grant_id}, or have its terms changed",
            )
        change_grant(turn, row, "grant_expired", "its last day is over", state=GrantState.EXPIRED)


def _remember(turn: Turn, grant: str, reason: str) -> None:
    row = turn.connection.execute(select(GRANTS).where(GRANTS.c.grant_id == grant)).one()
    last = select(func.coalesce(func.max(GRANT_HISTORY.c.n), 0)).where(GRANT_HISTORY.c.grant_id == grant)
    line = {
        "grant_id": grant,
        "n": turn.connection.execute(last).scalar_one() + 1,
        "version": row.version,
        "at_us": turn.now_us,
        "state": row.state,
        "terms": row.terms,
        "valid_from_us": row.valid_from_us,
        "valid_to_us": row.valid_to_us,
        "who": turn.actor.person,
        "reason": reason,
    }
    turn.connection.execute(insert(GRANT_HISTORY), line)


def _terms(changed: dict[str, Any], row: Row[Any]) -> Terms:
    return Terms.model_validate_json(changed.get("terms", row.terms))
