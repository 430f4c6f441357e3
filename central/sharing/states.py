"""The states of a request and of a grant, and the only ways from one to another."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from proto.errors import Refused


class RequestState(StrEnum):
    """How far a request has come."""

    DRAFTED = "drafted"
    """Waits for the asking department's own resource administrator."""
    SUBMITTED = "submitted"
    """Lies with the platform: its five elements are being checked."""
    WAITING = "waiting"
    """Waits for the consents it needs."""
    ROUTING = "routing"
    """Its provider does not hold it: waits for the authority to route it elsewhere."""
    GRANTED = "granted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class GrantState(StrEnum):
    """What a grant lets through. Its last day is enforced by the database's clock, whatever is written here."""

    PENDING = "pending"
    """Its first day is still to come."""
    ACTIVE = "active"
    EXPIRING = "expiring"
    """Active, and warned of its end. A renewal makes it active again."""
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


_R, _G = RequestState, GrantState
_ENDED: Final[frozenset[RequestState]] = frozenset()

NEXT_OF_REQUEST: Final[Mapping[RequestState, frozenset[RequestState]]] = {
    _R.DRAFTED: frozenset({_R.SUBMITTED, _R.WITHDRAWN}),
    _R.SUBMITTED: frozenset({_R.WAITING, _R.GRANTED}),
    _R.WAITING: frozenset({_R.ROUTING, _R.GRANTED, _R.REFUSED, _R.WITHDRAWN}),
    _R.ROUTING: frozenset({_R.SUBMITTED, _R.REFUSED, _R.WITHDRAWN}),
    _R.GRANTED: _ENDED,
    _R.REFUSED: _ENDED,
    _R.WITHDRAWN: _ENDED,
}

NEXT_OF_GRANT: Final[Mapping[GrantState, frozenset[GrantState]]] = {
    _G.PENDING: frozenset({_G.ACTIVE, _G.SUSPENDED, _G.EXPIRED, _G.REVOKED}),
    _G.ACTIVE: frozenset({_G.EXPIRING, _G.EXPIRED, _G.SUSPENDED, _G.REVOKED}),
    _G.EXPIRING: frozenset({_G.ACTIVE, _G.EXPIRED, _G.SUSPENDED, _G.REVOKED}),
    _G.SUSPENDED: frozenset({_G.PENDING, _G.ACTIVE, _G.EXPIRED, _G.REVOKED}),
    _G.EXPIRED: frozenset(),
    _G.REVOKED: frozenset(),
}

OPEN: Final = frozenset(state for state, after in NEXT_OF_REQUEST.items() if after)
"""Requests that somebody still has to move."""
FLOWING: Final = frozenset({_G.PENDING, _G.ACTIVE, _G.EXPIRING})
"""Grants that let things through between their first and their last day: no job has to run for either to take effect."""
LIVE: Final = FLOWING | {_G.SUSPENDED}

_State = TypeVar("_State", RequestState, GrantState)


def demand_move(now: _State, to: _State, table: Mapping[_State, frozenset[_State]], where: str) -> None:
    """Raise Refused unless *table* lets something go from *now* to *to*."""
    if to not in table[now]:
        ways = ", ".join(sorted(table[now])) or "nothing: it has ended"
        raise Refused(f"is {now} and cannot become {to}", where=where, fix=f"from {now} leads: {ways}")
