"""A pause lies beside the checkpoint: who asked and when, until somebody resumes, and by the same writer's rules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import select

from agent.exchange import Exchange, Pause
from agent.exchange.tables import tables
from proto.errors import Fenced
from tests.support.rows import both

pytest_plugins = ["tests.support.exchanges"]


def audited(exchange: Exchange) -> list[tuple[str, str]]:
    """What the record says, oldest first: event and who."""
    audit = tables(exchange._place.schema, exchange._place.prefix).audit
    with exchange._engine.connect() as connection:
        rows = connection.execute(select(audit.c.event, audit.c.who).order_by(audit.c.id))
        return [(row.event, row.who) for row in rows]


def test_a_pause_outlives_the_process(opened: Callable[..., Exchange]) -> None:
    """The next process finds who stopped the stream, until somebody lets it go on."""
    with closing(opened()) as first:
        assert first.start().pause is None
        first.pause(Pause("王芳", 1_700_000_000_000_000))
        first.pause(Pause("somebody later", 1))
    with closing(opened()) as second:
        assert second.start().pause == Pause("王芳", 1_700_000_000_000_000)
        second.commit([both(1, 1)])
        assert second.checkpoint().pause is not None
        second.resume("李雷")
        second.resume("nobody needs to")
    third = opened()

    assert third.start().pause is None
    assert audited(third) == [("paused", "王芳"), ("resumed", "李雷")]


def test_only_the_writer_may_pause(opened: Callable[..., Exchange]) -> None:
    """A process that lost the stream to another one changes nothing any more."""
    old = opened()
    old.start()
    old._guard.release()
    old._guard = None
    new = opened()
    new.start()

    with pytest.raises(Fenced):
        old.pause(Pause("王芳", 1))
    assert new.checkpoint().pause is None
