"""One department's people, some columns and some rows of them, in another department's database: kills, revocation, equality.

Every process is a real one, and the grant is asked for, agreed to and revoked with the commands a user has.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.central import eventually
from tests.support.neighbours import CLOCK, PLACE, CountingBureau, Neighbours, seen
from tests.support.parcels import CONSUMER
from tests.support.postgres import Cluster

pytestmark = pytest.mark.timeout(400)
PEOPLE = 3000
WITHIN_S = 120.0
REVOKED_S = 5.0
"""From the decision until nothing more is taken (SD29.2)."""
CONDITIONS = ("--rows", f"district = '{PLACE}'", "--mask", "id_no=keep:3:4", "--mask", "phone=keep:3:4")
LAW = ("--law", "个人信息保护法", "--document-no", "主席令第九十一号", "--article", "第四十七条")
_pause = threading.Event()


@pytest.fixture(params=["sqlite", "postgresql"])
def exchange_urls(request: pytest.FixtureRequest, postgres15: Cluster) -> Iterator[tuple[str, str]]:
    """Where both departments' exchange databases lie; "" = a file of their own."""
    if request.param == "sqlite":
        yield "", ""
        return
    names = [postgres15.new_database("exchange") for _ in range(2)]
    first, second = (f"postgresql+psycopg://postgres@127.0.0.1:{postgres15.port}/{name}" for name in names)
    yield first, second
    for name in names:
        postgres15.drop_database(name)


@pytest.fixture
def bureau(postgres15: Cluster) -> Iterator[CountingBureau]:
    """The provider's business."""
    name = postgres15.new_database("business")
    made = CountingBureau(f"postgresql://postgres@127.0.0.1:{postgres15.port}/{name}")
    made.open(PEOPLE)
    yield made
    with psycopg.connect(made.dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )
    postgres15.drop_database(name)


@pytest.fixture
def neighbours(
    tmp_path: Path, bureau: CountingBureau, exchange_urls: tuple[str, str]
) -> Iterator[Neighbours]:
    """Everything runs, the first copy is at the platform, and nothing is granted yet."""
    made = Neighbours(tmp_path, bureau.dsn, *exchange_urls)
    try:
        made.consumer.start()
        made.system.wait_until_copied()
        yield made
    finally:
        made.close()


def test_what_is_granted_arrives_and_nothing_else(neighbours: Neighbours, bureau: CountingBureau) -> None:
    """Through kill -9 of every process; at the end of the grant the table is one true moment of its rows (SD12.1, SD12.2, D3).

    Revoked while the bureau works: nothing that was committed later than five seconds after the decision is there, and
    nothing comes any more (SD25.1, SD29.2, D4).
    """
    grant = neighbours.granted(*CONDITIONS)
    eventually(neighbours.received, seen(bureau.model), WITHIN_S)
    system = neighbours.system
    daemons = (system.agent, system.central, neighbours.consumer.daemon)
    with bureau.at_work():
        for some in (*itertools.combinations(daemons, 1), daemons):
            _pause.wait(1.5)
            for daemon in some:
                daemon.kill()
            for daemon in some:
                daemon.start()
    eventually(neighbours.received, seen(bureau.model), WITHIN_S)
    assert len(bureau.history) > 100

    with bureau.at_work():
        before = len(bureau.history)
        eventually(lambda: _ticks(neighbours) > before, True, WITHIN_S)
        neighbours.decide("zhao-jing", "grant", "revoke", grant, "--reason", "核对已经完成", *LAW)
        revoked = time.monotonic()
        eventually(lambda: neighbours.consumer.grant(grant)["code"], "GRANT_REVOKED", WITHIN_S)
        ended = neighbours.received()
        _pause.wait(3)
    commits = _ticks(neighbours)
    late = [at for at in bureau.committed_at[: commits + 1] if at > revoked + REVOKED_S]
    assert not late
    assert neighbours.received() == ended == seen(bureau.after(commits))
    assert commits < len(bureau.history) - 1, "the bureau worked on"
    _is_on_record(neighbours, grant)


def test_a_consumer_that_comes_back_after_the_end_gets_nothing(
    neighbours: Neighbours, bureau: CountingBureau
) -> None:
    """Killed before the revocation and started after it, it has what it had (SD29.2, D4)."""
    grant = neighbours.granted(*CONDITIONS)
    eventually(neighbours.received, seen(bureau.model), WITHIN_S)
    had = seen(bureau.model)
    neighbours.consumer.daemon.kill()
    with bureau.at_work():
        _pause.wait(1)
    neighbours.decide("zhao-jing", "grant", "revoke", grant, "--reason", "核对已经完成", *LAW)
    neighbours.consumer.start()
    eventually(lambda: neighbours.consumer.grant(grant)["code"], "GRANT_REVOKED", WITHIN_S)
    assert neighbours.received() == had != seen(bureau.model)


def _ticks(neighbours: Neighbours) -> int:
    """How many commits of the bureau the consumer has seen."""
    return int(next(row[4] for row in neighbours.received() if row[0] == CLOCK))


def _is_on_record(neighbours: Neighbours, grant: str) -> None:
    """Who got what for which purpose: every delivery, in an unbroken chain (SD31.1)."""
    told = ("audit", "show", f"delivery:{CONSUMER}", "--event", "delivered", "--grant", grant, "--json")
    records = [each["facts"] for each in json.loads(neighbours.system.central_command(*told))]
    assert {each["purpose"] for each in records} == {"核对申请人"}
    assert len({each["receipt"] for each in records}) == len(records)
    report = neighbours.consumer.grant(grant)
    assert report["receipt"] in {each["receipt"] for each in records}
    assert "chains are unbroken" in neighbours.system.central_command("audit", "verify")
