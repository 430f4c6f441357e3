"""The exchange database is down: the business databases do not notice, and everything goes on by itself afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any, Final

import psycopg
import pytest

from agent.sources.memory import Row
from tests.support.central import eventually
from tests.support.manysources import KINDS, Bureaus
from tests.support.postgres import Cluster

pytestmark = pytest.mark.timeout(240)
LOOKS: Final = 20
_pause = Event()
# Sessions of the agent, what they hold, and whoever waits for a lock, in the business database alone.
POSTGRESQL_LOCKS: Final = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0),
    (SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE application_name LIKE 'exchange-agent%' AND datname = current_database() AND locktype <> 'virtualxid'),
    (SELECT count(*) FROM pg_stat_activity
     WHERE application_name LIKE 'exchange-agent%' AND datname = current_database() AND xact_start < now() - interval '5 s'
     AND backend_type = 'client backend')
"""
MARIADB_LOCKS: Final = """
SELECT (SELECT count(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> connection_id()),
    (SELECT count(*) FROM information_schema.innodb_lock_waits),
    (SELECT count(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for%lock%')
"""
SLOT: Final = "SELECT slot_name, restart_lsn IS NOT NULL, wal_status FROM pg_replication_slots WHERE database = current_database()"


@pytest.fixture
def exchange() -> Iterator[Cluster]:
    """A server of its own for the exchange database."""
    with Cluster(18) as made:
        yield made


@pytest.fixture
def bureaus(tmp_path, postgres15, mariadb, exchange) -> Iterator[Bureaus]:
    """Five bureaus whose first copies have arrived through a PostgreSQL as exchange database."""
    url = exchange.url(exchange.new_database("exchange"))
    with Bureaus(tmp_path, postgres15, mariadb, url=url) as made:
        made.system.start()
        made.system.wait_until_listening()
        for kind in KINDS:
            made.all[kind].put(person(1))
        made.arrives(*KINDS)
        yield made


def person(number: int) -> Row:
    """One of the persons."""
    return (number, f"张三{number}", "住址不详")


def postgresql(bureaus: Bureaus) -> psycopg.Connection[Any]:
    """The administrator's session in the business database."""
    rig: Any = bureaus.all["postgresql"].rig
    found: psycopg.Connection[Any] = rig.admin
    return found


def mariadb_says(bureaus: Bureaus, query: str) -> Any:
    """What the business database answers its administrator."""
    rig: Any = bureaus.all["mysql"].rig
    with rig.admin.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()


def assert_would_be_seen(bureaus: Bureaus) -> None:
    """An agent that left a transaction open would not pass unnoticed."""
    rig: Any = bureaus.all["postgresql"].rig
    with psycopg.connect(rig.cluster.dsn(rig.database), application_name="exchange-agent x") as forgotten:
        forgotten.execute("SELECT count(*) FROM person")
        assert postgresql(bureaus).execute(POSTGRESQL_LOCKS).fetchone()[1] > 0


def test_the_business_does_not_notice(bureaus, exchange):
    """No session blocked, no lock or transaction left open, changes of structure pass, the slot stays; then all of it arrives (SD12.4)."""
    business = postgresql(bureaus)
    slot = business.execute(SLOT).fetchall()
    exchange.kill()
    for kind in KINDS:
        # Something to be written down, so that each of them meets the database that is not there.
        bureaus.all[kind].put(person(2))
    eventually(lambda: set(bureaus.states().values()) & {"RUNNING", "IDLE"}, set(), 60)
    business.execute("SET lock_timeout = '2s'")
    for look in range(LOOKS):
        for kind in KINDS:
            bureaus.all[kind].put(person(10 + look))
        # A change of structure needs the strongest lock there is: whoever held the weakest one would be seen here.
        business.execute("ALTER TABLE person SET (fillfactor = 90)")
        assert business.execute(POSTGRESQL_LOCKS).fetchone() == (0, 0, 0)
        assert mariadb_says(bureaus, MARIADB_LOCKS) == (0, 0, 0)
        _pause.wait(0.25)
    assert_would_be_seen(bureaus)
    kept = business.execute(SLOT).fetchall()
    assert kept == slot and kept[0][1:] == (True, "reserved")

    exchange.start()
    bureaus.arrives(*KINDS, within_s=90)
    assert business.execute(SLOT).fetchall() == slot
