"""Two MariaDB servers, one replicating from the other, and a listener that goes from one to the other."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.mariadb import MariadbServer
from tests.support.mysql import MysqlListener, source_of

DATABASE = "office"


class Pair:
    """A primary and its replica with the table ``t``; who is which may change."""

    def __init__(self, first: MariadbServer, second: MariadbServer) -> None:
        self.first, self.second = first, second
        self.fetch(second, first)
        first.execute(
            f"CREATE DATABASE {DATABASE}", f"CREATE TABLE {DATABASE}.t (id int PRIMARY KEY, 名 varchar(20))"
        )

    def say(self, server: MariadbServer, *statements: str) -> None:
        """In one session."""
        server.execute(*statements, database=DATABASE)

    def ask(self, server: MariadbServer, query: str) -> Any:
        """One value."""
        with contextlib.closing(server.connect(DATABASE)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()[0][0]

    def fetch(self, replica: MariadbServer, primary: MariadbServer) -> None:
        """Let one replicate from the other from where it is."""
        where = f"MASTER_HOST = '127.0.0.1', MASTER_PORT = {primary.port}, MASTER_USER = 'root'"
        replica.execute(f"CHANGE MASTER TO {where}, MASTER_USE_GTID = slave_pos", "START SLAVE")

    def promote(self, replica: MariadbServer, primary: MariadbServer) -> None:
        """As an administrator does it: it has fetched everything, and fetches no more."""
        end = self.ask(primary, "SELECT @@gtid_binlog_pos")
        assert self.ask(replica, f"SELECT master_gtid_wait('{end}', 20)") == 0
        replica.execute("STOP SLAVE")

    def cut(self) -> None:
        """The replica fetches no more from here on."""
        self.promote(self.second, self.first)

    def hear(self) -> MysqlListener:
        """At the first one."""
        return MysqlListener(self.first, DATABASE, "t", look_every_s=0.1)


def go_over(listener: MysqlListener, server: MariadbServer) -> None:
    """The department's address leads to another server now."""
    listener.again = functools.partial(source_of, server, DATABASE, "t", look_every_s=0.1)
    listener.reopen()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Fresh ones."""
    common = {"log_slave_updates": "ON", "innodb_buffer_pool_size": "16M"}
    with (
        MariadbServer(settings={"server_id": "1", **common}) as first,
        MariadbServer(settings={"server_id": "2", **common}) as second,
    ):
        yield Pair(first, second)
