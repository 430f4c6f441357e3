"""Central's deliveries and the agent's receiving, the real ones of both, over real TLS."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from central.delivery import recall
from central.delivery.recalls import open_recalls
from central.store import now_us, reading, writing
from proto import frames
from proto.batch import Delta, Frames
from proto.values import Kind
from tests.support.central import TestCentral, eventually, inserts, running
from tests.support.consumer import Consumer
from tests.support.deliveries import platform_shows
from tests.support.pulling import PEOPLE, Provider, figure, granted
from tests.support.shares import change_grant, put_in_force

FAMILY = {"op": "starts with", "column": "name", "prefix": "张"}


@pytest.fixture(params=["sqlite", "postgresql"])
def central(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'central.db'}"
    else:
        server = request.getfixturevalue("postgres15")
        url = server.url(server.new_database("central"))
    yield from running(tmp_path / "platform", url)


@pytest.fixture
def consumer(central: TestCentral, tmp_path: Path) -> Iterator[Consumer]:
    """A department that receives."""
    made = Consumer(tmp_path / "node", central.target, central.node("civil").tls, "civil")
    yield made
    made.close()


def shown(central: TestCentral, grant: str) -> list[tuple[Any, ...]]:
    """What the grant shows of the platform's table, as plain values."""
    rows = platform_shows(central.engine, grant, PEOPLE)
    kinds = [PEOPLE.kinds[0]] if grant in NARROW else PEOPLE.kinds
    found = frames.rows(b"".join(rows.values()), kinds)
    return sorted(found, key=repr)


NARROW: set[str] = set()
"""Grants of the key alone."""


def equal(central: TestCentral, consumer: Consumer, *grants: str) -> None:
    """Wait until the inbound tables hold what the grants show."""
    for grant in grants:
        eventually(partial(_rows, consumer, grant), shown(central, grant))


def changes(chance: random.Random) -> Delta:
    """Rows that come, change, move in and out of the filter, and go."""
    keys = chance.sample(range(300), 20)
    rows = [(key, chance.choice(("张三", "李四"))) for key in keys[:14]]
    gone = frames.pack_rows([(key,) for key in keys[14:]], [Kind.INT64])
    return Delta(
        PEOPLE,
        upserts=Frames(frames.pack_rows(rows, PEOPLE.kinds), len(rows)),
        deletes=Frames(gone, 6),
    )


def test_both_ends_agree_through_copies_changes_and_restarts(central, consumer):
    """Everything, columns, rows; a large source commit; a new process of the consumer (SD12.1, SD12.2, D4)."""
    chance, provider = random.Random(3), Provider(central)
    provider.people(0, 200)
    terms: list[dict[str, Any]] = [{}, {"items": ("id",)}, {"rows": FAMILY}]
    grants = [granted(central, "civil", **each)[0] for each in terms]
    NARROW.add(grants[1])
    consumer.start()
    equal(central, consumer, *grants)
    for _ in range(10):
        provider.change(changes(chance))
    equal(central, consumer, *grants)
    provider.change(inserts([(n, "张大") for n in range(1000, 13_000)], PEOPLE), continues=True)
    provider.change(inserts([(n, "李大") for n in range(20_000, 32_000)], PEOPLE))
    equal(central, consumer, *grants)
    consumer.close()
    for _ in range(5):
        provider.change(changes(chance))
    consumer.open()
    consumer.start()
    equal(central, consumer, *grants)
    assert {figure(central, grant).generation for grant in grants} == {1}
    eventually(lambda: [figure(central, g).acked_seq == figure(central, g).seq for g in grants], [True] * 3)


def test_an_end_with_withdrawal_and_a_recall_empty_the_table(central, consumer):
    """The one when the grant ends, the other at any time; both ends have it on record (召回, D3)."""
    provider = Provider(central)
    provider.people(1, 50)
    ended, _ = granted(central, "civil", at_end="withdraw")
    called_back, _ = granted(central, "civil", items=("id", "name"))
    consumer.start()
    equal(central, consumer, ended, called_back)
    with writing(central.engine) as connection:
        change_grant(connection, ended, state="revoked", sentence="数据用途不符")
        recall(connection, called_back, "li-na", "数据有误")
    eventually(lambda: (consumer.rows(ended), consumer.rows(called_back)), ([], []))

    def unanswered() -> int:
        with reading(central.engine) as connection:
            return len(open_recalls(connection, ["civil"]))

    eventually(unanswered, 0)


def test_another_version_is_announced_with_its_day_and_comes_then(central, consumer):
    """The consumer knows beforehand what becomes different and when; at that moment its table is another one (SD17.2)."""
    provider = Provider(central)
    provider.people(1, 30)
    grant, entry = granted(central, "civil")
    consumer.start()
    equal(central, consumer, grant)
    with writing(central.engine) as connection:
        day = now_us(connection) + 6_000_000
        shorter = entry.model_copy(update={"items": entry.items[:1]})
        put_in_force(connection, shorter, contract_us=day)
    eventually(lambda: consumer.received.grants()[grant].coming, "without name (信息项name)")
    told = consumer.received.grants()[grant]
    assert (told.contract, told.coming_us, told.generation) == (1, day, 1)
    provider.people(31, 32)
    equal(central, consumer, grant)

    eventually(lambda: consumer.received.grants()[grant].contract, 2)
    with reading(central.engine) as connection:
        assert now_us(connection) >= day
    eventually(lambda: sorted(consumer.rows(grant)), [(number,) for number in range(1, 33)])
    told = consumer.received.grants()[grant]
    assert (told.coming, told.coming_us, told.generation) == ("", 0, 2)
    assert told.schema is not None and [each.name for each in told.schema.columns] == ["id"]


def _rows(consumer: Consumer, grant: str) -> list[tuple[Any, ...]]:
    return sorted(consumer.rows(grant), key=repr)
