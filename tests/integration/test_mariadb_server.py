"""The MariaDB that tests and demonstrations start themselves."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from demo.binaries import ServerFailed, account
from demo.embedded_mariadb import EmbeddedMariadb, system_install
from tests.support.mariadb import MariadbServer, template

CHILD = """
import subprocess, sys
from demo.embedded_mariadb import EmbeddedMariadb
class Server(EmbeddedMariadb):
    def initialise(self, data):
        subprocess.run(["cp", "-a", sys.argv[1], str(data)], check=True)
server = Server()
server.start()
print(server.pid, server.directory, flush=True)
sys.stdin.read()
"""


def asked(server: EmbeddedMariadb, question: str, database: str = "") -> tuple[object, ...]:
    """The one row that answers *question*."""
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        row: tuple[object, ...] = cursor.fetchone()
        return row


def test_it_logs_rows_with_all_that_a_reader_needs(mariadb: MariadbServer):
    """Row format, full images, full metadata, strict GTIDs, UTC."""
    found = asked(mariadb, "SELECT @@binlog_format, @@binlog_row_image, @@binlog_row_metadata, @@time_zone")

    assert found == ("ROW", "FULL", "FULL", "+00:00")
    assert asked(mariadb, "SELECT @@log_bin, @@gtid_strict_mode, @@character_set_server") == (1, 1, "utf8mb4")


def test_a_database_holds_chinese_under_any_name(mariadb: MariadbServer):
    """Names are quoted; texts come back as they went in."""
    name = mariadb.create_database("人口 `库`")
    mariadb.execute("CREATE TABLE 表 (名 TEXT)", "INSERT INTO 表 VALUES ('张三🀄')", database=name)

    assert asked(mariadb, "SELECT 名 FROM 表", name) == ("张三🀄",)
    mariadb.execute("DROP DATABASE `人口 ``库```")


def test_committed_rows_survive_a_kill_and_settings_are_heard():
    """The data directory and the port stay; what is given wins over what is usual."""
    with MariadbServer(fsync=True, settings={"max_connections": "17"}) as server:
        name = server.new_database()
        server.execute("CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)", database=name)
        server.kill()
        assert not server.running
        server.start()

        assert asked(server, "SELECT id FROM t", name) == (1,)
        assert asked(server, "SELECT @@max_connections") == (17,)
    assert not server.directory.exists()


def test_it_goes_when_its_owner_dies():
    """Nobody is left to stop it, and nobody finds its files in a temporary directory for ever."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(template())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        number, directory = owner.stdout.readline().split()
        server = psutil.Process(int(number))
        owner.send_signal(signal.SIGKILL)

    with contextlib.suppress(psutil.TimeoutExpired):  # a zombie where nobody reaps orphans
        server.wait(5)
    assert not psutil.pid_exists(int(number)) or server.status() == psutil.STATUS_ZOMBIE
    subprocess.run(
        ["timeout", "5", "sh", "-c", 'while [ -e "$0" ]; do sleep 0.1; done', directory], check=True
    )


def test_eight_are_made_at_once():
    """As the workers of a test run do it: none touches what another has for the moment."""
    homes = [Path(tempfile.mkdtemp(prefix="exchange-eight-")) for _ in range(8)]
    try:
        for home in homes:
            shutil.chown(home, account() or os.geteuid())
        with ThreadPoolExecutor(len(homes)) as workers:
            list(workers.map(lambda home: EmbeddedMariadb(home).initialise(home / "data"), homes))
        assert all((home / "data" / "ibdata1").exists() for home in homes)
    finally:
        for home in homes:
            shutil.rmtree(home)


def test_a_port_that_was_taken_meanwhile_is_left_to_whoever_has_it():
    """A stranger may even take calls and say nothing."""
    server = MariadbServer()
    with socket.create_server(("127.0.0.1", server.port)) as stranger, server:
        assert server.port != stranger.getsockname()[1]
        assert asked(server, "SELECT @@port") == (server.port,)


def test_a_server_that_cannot_start_says_why(tmp_path: Path):
    """The tail of its log is in the error."""
    server = MariadbServer(settings={"no_such_setting": "1"})

    with pytest.raises(ServerFailed, match="no-such-setting"):
        server.start()
    server.close()


def test_where_none_is_installed_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    """Nothing is guessed or downloaded."""
    system_install.cache_clear()
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)

    with pytest.raises(ServerFailed, match="apt-get install mariadb-server"):
        system_install()
    system_install.cache_clear()
