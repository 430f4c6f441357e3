"""Whoever runs a stream hears that the server will soon drop its log, while there is time to do something (C11)."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest

from agent.cli.console import socket_of
from agent.local import LocalClient, NotRunning
from agent.sources.mysql.fading import Keeping, by_size, span
from agent.sources.source import Forgetting
from demo.system import System, attempt, command
from proto.errors import Gap
from proto.v1 import node_pb2
from tests.support.central import eventually
from tests.support.mariadb import MariadbServer
from tests.support.mysql import MysqlListener, Shop, end_dumps, purge

TABLE = "CREATE TABLE t (id int PRIMARY KEY, 名 varchar(20))"


@pytest.fixture(scope="module")
def own():
    """A server whose logs these tests may drop."""
    with MariadbServer() as server:
        yield server


class Department(Shop):
    """On a database of its own."""

    database = ""


@pytest.fixture
def say(own):
    """The department's own connection to a fresh database, where the log is kept for ever."""
    name = own.new_database("own")
    with contextlib.closing(own.connect(name)) as connection:
        shop = Department(connection)
        shop.say("SET GLOBAL binlog_expire_logs_seconds = 0", TABLE, "INSERT INTO t VALUES (1, '一')")
        shop.database = name
        yield shop
    own.drop_database(name)


def outlook(listener: MysqlListener) -> Any:
    """What the source says of the log after the listener's position."""
    assert isinstance(listener.source, Forgetting)
    return listener.source.fading(listener.position)


def test_a_log_that_grows_old_is_warned_of_before_it_is_dropped(own, say):
    """By the server's own clock; the newest file never goes, so a stream at the end is never warned."""
    listener = MysqlListener(own, say.database, "t")
    listener.source.close()
    say.say("SET GLOBAL binlog_expire_logs_seconds = 4")
    assert outlook(listener) is None
    say.say("FLUSH BINARY LOGS", "SET GLOBAL binlog_expire_logs_seconds = 1")
    began_s = time.monotonic()
    eventually(lambda: outlook(listener) is not None or time.monotonic() > began_s + 2)
    assert outlook(listener) is None, "nothing in the old file is new"
    say.say(
        "INSERT INTO t VALUES (2, '二')", "SET GLOBAL binlog_expire_logs_seconds = 3600", "FLUSH BINARY LOGS"
    )
    assert outlook(listener) is None

    say.say("SET GLOBAL binlog_expire_logs_seconds = 4")
    eventually(lambda: outlook(listener) is not None, True)
    found = outlook(listener)
    assert found.sentence.startswith("the server drops its logs after 4 s; ours is ")
    assert "SET GLOBAL binlog_expire_logs_seconds = 604800" in found.fix
    eventually(lambda: outlook(listener).share >= 1, True)

    def after_a_rotation() -> str:
        with contextlib.closing(own.connect()) as connection, connection.cursor() as cursor:
            end_dumps(cursor)  # a file that somebody still reads would stay
        say.say("FLUSH BINARY LOGS")
        return str(outlook(listener).sentence.partition(":")[0])

    eventually(after_a_rotation, "the server has dropped logs that were not read")
    with pytest.raises(Gap):
        listener.reopen()


def test_logs_that_are_purged_by_hand_are_warned_of_at_the_last_file(own, say):
    """Where nobody ever purged, nobody is warned; nor of what went behind us."""
    say.say("FLUSH BINARY LOGS")
    listener = MysqlListener(own, say.database, "t")
    listener.source.close()
    say.say("INSERT INTO t VALUES (2, '二')", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    number = len(say.ask("SHOW BINARY LOGS"))
    assert number >= 3
    ours = listener.position.split("/")[3]
    say.say(f"PURGE BINARY LOGS TO '{ours}'")

    assert "by hand, and ours is the oldest" in outlook(listener).sentence
    listener.reopen()
    listener.listen()
    listener.source.close()
    purge(own)
    assert outlook(listener) is None


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (
            Keeping(86_400, 0, "binlog_expire_logs_seconds"),
            "SET GLOBAL binlog_expire_logs_seconds = 604800; ",
        ),
        (Keeping(864_000, 0, "expire_logs_days"), "SET GLOBAL expire_logs_days = 20; "),
    ],
)
def test_the_remedy_is_in_the_servers_own_setting(kept, said):
    """Old servers count days."""
    assert said in kept.longer


def test_a_server_with_a_limit_of_room_is_measured_by_it():
    """MariaDB 11.4 has one; the server that runs here has not."""
    kept = Keeping(0, 100 << 20, "binlog_expire_logs_seconds")
    said = "the server keeps 100 MiB of its logs; from ours on there are 80 MiB"
    assert list(by_size(kept, [("b.000002", 50 << 20), ("b.000003", 30 << 20)])) == [(0.8, said)]
    assert list(by_size(Keeping(60, 0, ""), [("b.000002", 50 << 20)])) == []


def test_spans_are_rounded_down():
    """Nothing sounds older than it is."""
    found = [span(seconds) for seconds in (0, 119, 7199, 172_799, 604_800)]
    assert found == ["0 s", "119 s", "119 minutes", "47 hours", "7 days"]


def test_the_status_says_so_also_while_the_stream_stands_still(own, say, tmp_path):
    """A stream that somebody paused and forgot is the one whose log goes; also after a restart of the agent."""
    source = {"kind": "mysql", "dsn": f"mysql://root@127.0.0.1:{own.port}/{say.database}"}
    system = System(tmp_path / "system", "", [{"table": "t"}], source_settings=source)
    system.prepare()
    system.start()
    try:
        eventually(
            lambda: told(system).acknowledged_seq > 0 and told(system).state == "IDLE", True, within_s=60
        )
        done = attempt(command("exchange-agent"), "pause", "-c", str(system.agent_config))
        assert done.returncode == 0, done.stderr
        say.say(
            "INSERT INTO t VALUES (2, '二')", "FLUSH BINARY LOGS", "SET GLOBAL binlog_expire_logs_seconds = 8"
        )
        warned(system)
        done = attempt(command("exchange-agent"), "check", "--json", "-c", str(system.agent_config))
        (found,) = [each for each in json.loads(done.stdout) if each["name"] == "source hr: log left"]
        assert found["sentence"].startswith("the server drops its logs after 8 s; ours is ")
        system.agent.kill()
        system.agent.start()
        warned(system)
        assert "source_log_fades" in system.agent.log.read_text()
    finally:
        system.agent.kill()
        system.central.kill()


def warned(system):
    """The line of the paused stream says how old its log is."""
    said = "; the server drops its logs after 8 s; ours is"
    eventually(lambda: (told(system).state, said in told(system).sentence), ("PAUSED", True), within_s=60)


def told(system):
    """What the running agent says of its stream; nothing while nobody answers."""
    try:
        with LocalClient(socket_of(system.agent_config)) as agent:
            return agent.status().streams[0]
    except NotRunning:
        return node_pb2.StreamReport()
