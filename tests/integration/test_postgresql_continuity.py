"""A PostgreSQL source never goes on with a hole: restarts, failovers, restored servers, lost slots, other readers."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from agent.sources.postgresql.place import Place
from agent.sources.postgresql.source import PostgresqlSource
from agent.sources.source import Limits
from proto.errors import Credential, Diverged, Fenced, Gap, Transient
from tests.support.listener import SOON, Listener, unopened
from tests.support.postgres import VERSIONS, Cluster

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


@pytest.fixture(params=VERSIONS, ids=lambda version: f"postgres{version}")
def server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server of its own, with the table ``t`` in database ``hr``; it may be broken."""
    with Cluster(request.param, settings={"max_slot_wal_keep_size": "16MB", "wal_keep_size": "0"}) as cluster:
        cluster.create_database("hr")
        with cluster.connect("hr") as connection:
            connection.execute(TABLE)
        yield cluster


def listener(server: Cluster, **settings: object) -> Listener:
    """A source on its table."""
    return Listener(server, "hr", "t", **settings)


def listener_source(server: Cluster, **settings: object) -> PostgresqlSource:
    """A source on its table that is not open yet."""
    return unopened(server, "hr", "t", **settings)


def insert(server: Cluster, *numbers: int) -> None:
    """Commit rows, one transaction each."""
    with server.connect("hr") as connection:
        for number in numbers:
            connection.execute("INSERT INTO t VALUES (%s, 'v')", (number,))


def twin(server: Cluster) -> Cluster:
    """Another server with a copy of the stopped server's data, its slots included."""
    other = Cluster(server.version, settings=dict(server.settings))
    other.start()
    other.stop()
    shutil.rmtree(other.data)
    shutil.copytree(server.data, other.data, symlinks=True)
    for path in (other.data, *other.data.rglob("*")):
        shutil.chown(path, server.data.owner(), server.data.group())
    return other


def promote(server: Cluster) -> None:
    """Start as a standby and take over: a new timeline begins where the log ends."""
    (server.data / "standby.signal").touch()
    shutil.chown(server.data / "standby.signal", server.data.owner(), server.data.group())
    server.start()
    with server.connect() as connection:
        connection.execute("SELECT pg_promote()")


def test_a_restarted_server_heals(server):
    """C3: the session ends with Transient, and opening again neither loses nor repeats a commit."""
    hr = listener(server)
    insert(server, 1)
    hr.listen()
    hr.source.confirm(hr.position)
    for number, mode in enumerate(("fast", "immediate", "fast"), start=2):
        insert(server, number)
        stopping = threading.Thread(target=server.stop, args=(mode,))
        started_s = time.monotonic()
        stopping.start()
        with pytest.raises(Transient):
            hr.listen(Limits(wait_s=30))
        hr.source.close()
        stopping.join()
        # A server that is told to stop waits for its readers, but not for what they have not committed yet.
        assert time.monotonic() - started_s < 10
        server.start()
        hr.source.open(hr.position)
        hr.listen()
    hr.source.close()

    assert [row[0] for row in hr.mirror.rows("t")] == [1, 2, 3, 4]
    assert sum(batch.transactions for batch in hr.batches) == 4


def test_a_server_that_does_not_answer_is_transient(server):
    """Down, then starting: both heal."""
    hr = listener(server)
    hr.source.close()
    server.stop()

    with pytest.raises(Transient):
        hr.source.open(hr.position)


def test_a_missing_slot_is_a_gap(server):
    """C4: it is never made anew for a position that is not the beginning."""
    hr = listener(server)
    hr.source.give_up_place()

    for _ in range(2):
        with pytest.raises(Gap, match="does not exist"):
            hr.source.open(hr.position)


def test_a_slot_of_something_else_is_a_gap(server):
    """Another plug-in's slot under our name is neither read nor dropped by opening at a position."""
    hr = listener(server)
    hr.source.give_up_place()
    with server.connect("hr") as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('exchange_hr', 'test_decoding')")

    with pytest.raises(Gap, match="test_decoding"):
        hr.source.open(hr.position)


def test_a_failover_before_our_position_is_a_divergence(server):
    """C6: the new primary lacks commits that we hold."""
    hr = listener(server)
    insert(server, 1)
    hr.listen()
    hr.source.close()
    server.stop()
    with closing(twin(server)) as standby:
        server.start()
        insert(server, 2)
        hr.source.open(hr.position)
        hr.listen()
        hr.source.close()
        promote(standby)
        insert(standby, *range(10, 40))

        with pytest.raises(Diverged, match="not in this server's past"):
            listener_source(standby).open(hr.position)


def test_a_failover_after_our_position_goes_on(server):
    """C5: the position lies before the switch, and the slot came along."""
    hr = listener(server)
    insert(server, 1)
    hr.listen()
    insert(server, 2)
    hr.source.close()
    server.stop()
    with closing(twin(server)) as standby:
        promote(standby)
        insert(standby, 3)
        source = listener_source(standby)
        opened = source.open(hr.position)
        batches = [*iter(lambda: source.read(SOON), None)]
        source.close()

    assert Place.parse(opened).timeline == 2
    assert sum(batch.rows for batch in batches) == 2


def test_a_server_restored_to_an_earlier_time_is_a_divergence(server):
    """C8: PostgreSQL itself would silently skip everything it commits up to our position."""
    hr = listener(server)
    server.stop()
    with closing(twin(server)) as restored:
        server.start()
        insert(server, *range(20))
        hr.source.open(hr.position)
        hr.listen()
        hr.source.close()
        restored.start()
        source = listener_source(restored)

        with pytest.raises(Diverged, match="restored to an earlier time"):
            source.open(hr.position)


def test_another_cluster_is_a_divergence(server):
    """Same name, same tables, other past."""
    hr = listener(server)
    hr.source.close()
    with Cluster(server.version, own_identity=True) as other:
        other.create_database("hr")
        with other.connect("hr") as connection:
            connection.execute(TABLE)

        with pytest.raises(Diverged, match="another cluster"):
            listener_source(other).open(hr.position)


def test_a_slot_whose_log_is_gone_is_a_gap(server):
    """C9: and retained() had warned of it, with the server's limit."""
    hr = listener(server)
    retained = hr.source.retained()
    hr.source.close()
    with server.connect("hr") as connection:
        for _ in range(6):
            connection.execute("INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, 20000) n")
            connection.execute("TRUNCATE t")
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
        row = connection.execute("SELECT wal_status FROM pg_replication_slots").fetchone()

    assert row == ("lost",)
    assert retained.limit_bytes == 16 * 1024 * 1024
    with pytest.raises(Gap, match="lost"):
        hr.source.open(hr.position)
    hr.source.open("")
    insert(server, 1)
    assert hr.listen().rows("t") == [(1, "v")]
    hr.source.close()


def test_a_new_slot_does_not_wait_for_ever(server):
    """C13: it names whom it waits for, and begins once that transaction ends."""
    hr = listener(server)
    hr.source.give_up_place()
    with server.connect("hr", autocommit=False) as busy:
        busy.execute("SELECT pg_current_xact_id()")
        source = listener_source(server, slot_timeout_s=0.5)
        with pytest.raises(Transient, match=f"process {busy.info.backend_pid}"):
            source.open("")
        with server.connect("hr") as connection:
            assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
        busy.rollback()
    source.open("")
    source.close()


def test_a_slow_reader_is_not_given_up(server):
    """C14: keepalive() alone keeps the session, far beyond the server's patience and in the middle of much data."""
    with server.connect() as connection:
        connection.execute("ALTER SYSTEM SET wal_sender_timeout = '1s'")
        connection.execute("SELECT pg_reload_conf()")
    hr = listener(server)
    with server.connect("hr") as connection:
        connection.execute("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 30000) n")
    seen = 0
    while seen < 30000:
        batch = hr.source.read(Limits(rows=10000, wait_s=5))
        assert batch is not None
        seen += batch.rows
        ends_s = time.monotonic() + 2.5
        while time.monotonic() < ends_s:
            hr.source.keepalive()
            threading.Event().wait(0.1)
    insert(server, 30001)

    assert hr.source.read(Limits(wait_s=5)).rows == 1
    hr.source.close()


def test_our_own_reader_from_before_a_crash_is_waited_for(server):
    """C1: a walsender that has not noticed yet is not a second agent."""
    hr = listener(server)
    source = listener_source(server)
    timer = threading.Timer(1.0, hr.source.close)
    timer.start()
    source.open(hr.position)
    timer.join()
    source.close()


def test_a_second_agent_is_fenced(server):
    """C20: after three tries, with the process that reads."""
    hr = listener(server)
    with pytest.raises(Fenced):
        listener_source(server).open(hr.position)
    with pytest.raises(Fenced):
        listener_source(server).open("")

    insert(server, 1)
    assert hr.listen().rows("t") == [(1, "v")]
    hr.source.close()


@pytest.mark.parametrize(
    "change", ["PASSWORD 'other'", "NOLOGIN", "NOREPLICATION"], ids=["password", "nologin", "noreplication"]
)
def test_a_refused_account_is_a_credential(server, change):
    """C21: told apart from a server that is down, and over as soon as the account is mended."""
    with server.connect("hr") as connection:
        connection.execute("CREATE ROLE capture LOGIN REPLICATION PASSWORD 'secret'")
        connection.execute("ALTER TABLE t OWNER TO capture")
        connection.execute("GRANT CREATE ON DATABASE hr TO capture")
    hba = server.data / "pg_hba.conf"
    hba.write_text("host all capture 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
    server.restart()
    dsn = f"host=127.0.0.1 port={server.port} user=capture password=secret dbname=hr"
    hr = listener(server, dsn=dsn)
    hr.source.close()
    with server.connect("hr") as connection:
        connection.execute(f"ALTER ROLE capture {change}".encode())
        with pytest.raises(Credential) as refused:
            hr.source.open(hr.position)
        connection.execute("ALTER ROLE capture LOGIN REPLICATION PASSWORD 'secret'")
    hr.source.open(hr.position)
    hr.source.close()

    assert "secret" not in str(refused.value)


def test_a_full_server_is_not_a_refusal(server):
    """Too many connections heal by themselves."""
    hr = listener(server)
    hr.source.close()
    with server.connect() as connection:
        connection.execute("ALTER DATABASE hr CONNECTION LIMIT 0")
        connection.execute("CREATE ROLE plain LOGIN REPLICATION")
        with pytest.raises(Transient):
            listener_source(server, dsn=f"host=127.0.0.1 port={server.port} user=plain dbname=hr").open("")


def test_a_terminated_walsender_is_transient(server):
    """Also in the middle of a wait."""
    hr = listener(server)

    def terminate() -> None:
        with server.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")

    timer = threading.Timer(0.3, terminate)
    timer.start()
    with pytest.raises(Transient):
        hr.source.read(Limits(wait_s=20))
    timer.join()
    hr.source.open(hr.position)
    hr.source.close()
