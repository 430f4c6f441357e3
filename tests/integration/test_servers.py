"""The test servers are real, die when told to, and leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy

from demo.binaries import ServerFailed
from demo.embedded import EmbeddedPostgres
from tests.support.postgres import VERSIONS, Cluster

ROOT = Path(__file__).parents[2]


def test_each_version_speaks_logical_replication(postgres, business):
    """A fresh database per test, with pgoutput at hand."""
    with postgres.connect(business) as connection:
        major = connection.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone()[0]
        made = connection.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')").fetchone()

    assert major == postgres.version
    assert made is not None


@pytest.mark.parametrize("version", VERSIONS)
def test_committed_rows_survive_every_kind_of_end(version):
    """Stopped, stopped at once or killed: the same port answers again with the same rows."""
    with Cluster(version, fsync=True) as cluster:
        ends = (lambda: cluster.stop("fast"), lambda: cluster.stop("immediate"), cluster.kill)
        with cluster.connect() as connection:
            connection.execute("CREATE TABLE t (n int)")
        for turn, end in enumerate(ends, 1):
            with cluster.connect() as connection:
                connection.execute("INSERT INTO t VALUES (%s)", (turn,))
                end()
            assert not cluster.running
            with pytest.raises(psycopg.OperationalError):
                cluster.connect()
            cluster.start()
            with cluster.connect() as connection:
                assert connection.execute("SELECT count(*) FROM t").fetchone() == (turn,)
    assert not cluster.directory.exists()


def test_a_cluster_may_have_an_identity_of_its_own(postgres15):
    """Continuity checks tell servers apart by their system identifier."""

    def identity(cluster):
        with cluster.connect() as connection:
            return connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()

    with Cluster(15) as twin, Cluster(15, own_identity=True) as stranger:
        assert identity(postgres15) == identity(twin) != identity(stranger)


@pytest.fixture
def reachable():
    """A directory that the server's account can enter as well."""
    with tempfile.TemporaryDirectory(prefix="exchange-kept-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_a_kept_directory_is_found_again(reachable):
    """The demo's server keeps its data where it was told to, whatever the databases are called."""
    with EmbeddedPostgres(reachable / "pg") as server:
        name = server.create_database("odd 'name' \"库\"")
    with EmbeddedPostgres(reachable / "pg") as again, again.connect(name) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (name,)
        with sqlalchemy.create_engine(again.url(name)).connect() as same:
            assert same.scalar(sqlalchemy.text("SELECT current_database()")) == name


def test_a_server_that_cannot_start_says_why():
    """The message ends with the server's own words."""
    with (
        pytest.raises(ServerFailed, match="shared_buffers"),
        Cluster(15, settings={"shared_buffers": "nonsense"}),
    ):
        pass


def test_a_killed_test_run_takes_its_servers_along():
    """kill -9 on us stops the server and removes its directory."""
    program = """
from demo.embedded import EmbeddedPostgres
server = EmbeddedPostgres()
server.start()
print(server.pid, server.directory, flush=True)
input()
"""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=pipe, stdout=pipe, text=True
    ) as process:
        pid, directory = process.stdout.readline().split()
        server = psutil.Process(int(pid))
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    _until(lambda: not Path(directory).exists())
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def _until(happens):
    """Look again until it happened; the test's own time limit ends a vain wait."""
    while not happens():
        psutil.cpu_percent(interval=0.05)
