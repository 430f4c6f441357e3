"""The two state machines of sharing: every pair of states."""

from __future__ import annotations

import itertools

import pytest

from central.sharing.states import (
    FLOWING,
    LIVE,
    NEXT_OF_GRANT,
    NEXT_OF_REQUEST,
    OPEN,
    GrantState,
    RequestState,
    demand_move,
)
from central.store.grants import LIVE_STATES
from proto.errors import Refused


@pytest.mark.parametrize(("now", "to"), list(itertools.product(RequestState, repeat=2)))
def test_a_request_moves_only_as_listed(now, to):
    """Every pair."""
    if to in NEXT_OF_REQUEST[now]:
        demand_move(now, to, NEXT_OF_REQUEST, "R1")
    else:
        with pytest.raises(Refused, match="cannot become"):
            demand_move(now, to, NEXT_OF_REQUEST, "R1")


@pytest.mark.parametrize(("now", "to"), list(itertools.product(GrantState, repeat=2)))
def test_a_grant_moves_only_as_listed(now, to):
    """Every pair."""
    if to in NEXT_OF_GRANT[now]:
        demand_move(now, to, NEXT_OF_GRANT, "G1")
    else:
        with pytest.raises(Refused, match="cannot become"):
            demand_move(now, to, NEXT_OF_GRANT, "G1")


def test_what_has_ended_is_neither_open_nor_live():
    """And the database's index of live grants knows the same states."""
    assert {state for state in RequestState if not NEXT_OF_REQUEST[state]} == set(RequestState) - OPEN
    assert {state for state in GrantState if NEXT_OF_GRANT[state]} == LIVE == set(LIVE_STATES)
    assert LIVE - {GrantState.SUSPENDED} == FLOWING
