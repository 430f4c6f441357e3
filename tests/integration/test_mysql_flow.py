"""From a MariaDB business database to central's tables: copied, streamed, and after every trouble the same."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from agent.capture import Capture, CaptureSettings
from agent.sources.source import Limits
from agent.worker import run_worker
from proto.states import State
from tests.support.central import eventually
from tests.support.department import STREAM, Department
from tests.support.mysql import end_dumps, source_of

FAST = CaptureSettings(Limits(rows=500, wait_s=0.05))
NAMES = {"table": "居民", "name": "resident"}


class Office:
    """The agent of a department: capture and push, each on its thread."""

    def __init__(self, department: Department, server, database: str) -> None:
        self.department = department
        self.source = source_of(server, database, NAMES, page_rows=100)
        self.capture = Capture(self.source, department.exchange, department.push.offer, FAST)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        department.start()

    def stop(self) -> None:
        """As the service stops."""
        self._stop.set()
        self.capture.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        run_worker("capture", self.capture.step, self._stop, self.capture.state)


@pytest.fixture
def office(department, mariadb, mariadb_database, shop) -> Iterator[Office]:
    """Two hundred and fifty residents, and an agent that begins to watch over them."""
    shop.say(
        "CREATE TABLE 居民 (编号 int PRIMARY KEY, 姓名 varchar(20) CHARACTER SET gbk, 余额 decimal(10,2))"
    )
    shop.say("INSERT INTO 居民 SELECT seq, concat('居民', seq), seq / 4 FROM seq_1_to_250")
    office = Office(department, mariadb, mariadb_database)
    yield office
    office.stop()


def test_central_has_what_the_department_has(office, central, shop, mariadb):
    """Copied by pages, then streamed, across a connection that is cut and a server that starts again."""
    schema = office.source.schemas()[0]

    def same() -> bool:
        there = [(number, name, str(money)) for number, name, money in shop.ask("SELECT * FROM 居民")]
        with contextlib.suppress(Exception):  # the table is made by the first batch
            return bool(central.rows(STREAM, schema) == there)
        return False

    eventually(same, True, 30)
    shop.say("UPDATE 居民 SET 余额 = 余额 + 1 WHERE 编号 % 2", "DELETE FROM 居民 WHERE 编号 % 7 = 0")
    eventually(same, True, 30)
    with shop.connection.cursor() as cursor:
        end_dumps(cursor)
    shop.say("INSERT INTO 居民 VALUES (900, '断线', 0)", "UPDATE 居民 SET 编号 = 901 WHERE 编号 = 1")
    eventually(same, True, 30)
    mariadb.restart()
    shop.connection.connect()
    shop.say("INSERT INTO 居民 VALUES (902, '重启', 1)")
    eventually(same, True, 30)
    shop.say("ALTER TABLE 居民 DROP 余额, ADD 余额 decimal(10,2) NOT NULL")
    eventually(lambda: office.department.exchange.tables()["resident"].state, State.SCHEMA_HOLD, 30)
    office.department.exchange.order_copy("resident")
    eventually(same, True, 30)
    assert office.department.exchange.tables()["resident"].state is not State.SCHEMA_HOLD
