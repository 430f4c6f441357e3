"""What a source sees of the mirror: committed rows, beside a transaction that writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.exchange import Exchange
from agent.sources.source import Mirror, NoMirror
from proto.batch import NO_FRAMES, Batch, Frames
from proto.frames import pack, rows
from proto.values import Plain
from tests.support.rows import PERSON, both

pytest_plugins = ["tests.support.exchanges"]


def numbers(found: Frames) -> list[Plain]:
    """The ids of people."""
    return sorted((row[0] for row in rows(found.data, PERSON.kinds)), key=repr)


def key(number: int) -> bytes:
    """The key frame of a person."""
    return pack([number.to_bytes(8)])


@pytest.mark.parametrize("mirror", [NoMirror(), None])
def test_a_table_that_is_not_mirrored_is_empty(exchange: Exchange, mirror: Mirror | None) -> None:
    """A first copy compares with nothing."""
    door: Mirror = mirror or exchange.mirror

    assert door.schema("person") is None
    assert door.count("person") == 0
    assert door.page("person", b"", 10) == door.rows("person", Frames(key(1), 1)) == NO_FRAMES


def test_the_door_shows_what_is_committed(exchange: Exchange) -> None:
    """Pages go on after a key, rows are found by theirs."""
    exchange.commit([both(1, 1, 2, 3, 4)])
    door: Mirror = exchange.mirror

    assert door.schema("person") == PERSON
    assert door.count("person") == 4
    assert numbers(door.page("person", b"", 3)) == [1, 2, 3]
    assert numbers(door.page("person", key(3), 3)) == [4]
    assert numbers(door.rows("person", Frames(key(4) + key(9) + key(1), 3))) == [1, 4]


def test_the_door_does_not_wait_for_the_writer(exchange: Exchange) -> None:
    """A source asks while a commit is under way, and sees none of it."""
    exchange.commit([both(1, 1)])
    seen: list[Plain] = []

    def parts() -> Iterator[Batch]:
        yield both(1, 2, continues=True)
        seen.extend(numbers(exchange.mirror.page("person", b"", 10)))
        yield both(2, 3)

    exchange.commit(parts())

    assert seen == [1]
    assert numbers(exchange.mirror.page("person", b"", 10)) == [1, 2, 3]
