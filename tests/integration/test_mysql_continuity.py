"""A stream of a MariaDB server goes on without a hole or says why it cannot."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pymysql
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.sources.mysql.gtids import DomainGtids
from agent.sources.mysql.place import Place
from agent.sources.source import Limits
from demo.binaries import account
from proto.errors import Credential, Diverged, Fenced, Gap, Transient
from tests.support.mariadb import MariadbServer
from tests.support.mysql import MysqlListener, Shop, end_dumps, purge, source_of

TABLE = "CREATE TABLE t (id int PRIMARY KEY, 名 varchar(20))"


@pytest.fixture(scope="module")
def certificate():
    """A certificate for this machine that is its own authority, where a server under another account finds it."""
    with tempfile.TemporaryDirectory(prefix="exchange-certificate-") as folder:
        Path(folder).chmod(0o755)
        yield make_certificate(Path(folder))


@pytest.fixture(scope="module")
def own(certificate):
    """A server that these tests may restart and reset; it protects the way to it for whoever asks."""
    paths = {"ssl_ca": certificate, "ssl_cert": certificate, "ssl_key": certificate.with_suffix(".key")}
    with MariadbServer(settings={name: str(path) for name, path in paths.items()}) as server:
        yield server


@pytest.fixture
def database(own):
    """A fresh database on it."""
    name = own.new_database("own")
    with contextlib.closing(own.connect(name)) as connection:
        Shop(connection).say(TABLE, "INSERT INTO t VALUES (1, '一')")
    yield name
    own.drop_database(name)


@pytest.fixture
def said(own, database):
    """The department's own connection, made anew for each statement."""

    def say(*statements: str) -> None:
        with contextlib.closing(own.connect(database)) as connection:
            Shop(connection).say(*statements)

    return say


@pytest.fixture
def listener(own, database):
    """A source that is open, and what it brought."""
    made = MysqlListener(own, database, "t")
    yield made
    made.source.close()


def test_purged_logs_are_a_gap_only_if_something_was_in_them(listener, own, said):
    """What was purged behind us is of no concern."""
    said("INSERT INTO t VALUES (2, '二')")
    listener.listen()
    listener.source.close()
    purge(own)
    listener.reopen()
    said("INSERT INTO t VALUES (3, '三')")
    assert listener.listen().rows("t") == [(2, "二"), (3, "三")]
    listener.source.close()
    purge(own)
    old = listener.batches[0].position
    with pytest.raises(Gap) as caught:
        listener.reopen(old)

    assert "snapshot --all" in str(caught.value)


def test_a_reset_log_has_diverged(listener, own, said):
    """Also when its files and numbers look like ours again (C12)."""
    said("RESET MASTER")
    with pytest.raises((Transient, Gap)):
        listener.listen(Limits(wait_s=20))
    with pytest.raises(Diverged):
        listener.reopen()
    said(*(f"INSERT INTO t VALUES ({number}, 'x')" for number in range(100, 130)))
    place = Place.parse(listener.position)
    with pytest.raises(Diverged):
        listener.reopen(str(place.at("0-1-3", place.spot, place.born_s)))


def test_another_server_has_diverged(listener, own):
    """Its numbers mean other transactions (C8)."""
    place = Place.parse(listener.position)
    listener.source.close()
    with pytest.raises(Diverged):
        listener.reopen(str(Place("mariadb-2", place.gtids, place.spot, place.born_s)))
    with pytest.raises(Diverged):
        listener.reopen("pg/1/1/0/0")
    with pytest.raises(Diverged):
        listener.reopen(str(place.at("0-1-999999", place.spot, place.born_s)))


def test_a_server_that_lost_the_end_of_its_log_has_diverged(listener, own, said):
    """As after a power cut with ``sync_binlog = 0``: what it writes next gets the numbers of what we read (C8)."""
    said("FLUSH BINARY LOGS")
    listener.listen(Limits(wait_s=1))
    before = Place.parse(own_end(own)).spot
    said("INSERT INTO t VALUES (2, '没了')", "INSERT INTO t VALUES (3, '没了')")
    listener.listen()
    gtids = Place.parse(listener.position).gtids
    own.kill()
    log = own.data / before.file
    log.write_bytes(log.read_bytes()[: before.offset])
    (own.data / "binlog.state").unlink(missing_ok=True)
    own.start()
    said(*(f"INSERT INTO t VALUES ({number}, '另一个')" for number in range(100, 103)))
    ended = DomainGtids.parse(Place.parse(own_end(own)).gtids)

    assert ended.contains(DomainGtids.parse(gtids))
    with pytest.raises(Diverged, match="lost the end of its log"):
        listener.reopen()


def own_end(server: MariadbServer) -> str:
    """Where its log ends now, as a position."""
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@global.gtid_binlog_pos")
        gtids = cursor.fetchall()[0][0]
        cursor.execute("SHOW MASTER STATUS")
        file, offset, *_ = cursor.fetchall()[0]
    return f"mysql/mariadb-1/{gtids}/{file}/{offset}/0"


def test_a_restarted_server_is_gone_on_with(listener, own, said):
    """While it is away it is a passing trouble; what it had told is not told again."""
    said("INSERT INTO t VALUES (2, '二')")
    listener.listen()
    own.restart()
    with pytest.raises(Transient):
        listener.listen(Limits(wait_s=20))
    said("INSERT INTO t VALUES (3, '三')")
    listener.reopen()
    listener.listen()

    assert [batch.rows for batch in listener.batches] == [1, 1]
    assert listener.mirror.rows("t") == [(2, "二"), (3, "三")]


def test_a_connection_cut_inside_a_transaction_repeats_all_of_it(listener, own, said):
    """The parts that were read name the place before it."""
    said("INSERT INTO t SELECT seq, '多' FROM seq_100_to_40100")
    first = listener.source.read(Limits(rows=1000, wait_s=5))
    assert (first.continues, first.position) == (True, listener.position)
    with contextlib.closing(own.connect()) as connection, connection.cursor() as cursor:
        end_dumps(cursor)
    with pytest.raises(Transient):
        while listener.source.read(Limits(rows=1000, bytes=1 << 16, wait_s=20)).continues:
            pass
    listener.reopen()

    assert len(listener.listen(Limits(wait_s=2)).tables["t"]) == 40_001


def test_a_number_taken_again_and_again_is_fenced(listener, own):
    """The server lets a newcomer in and throws us out; three times is no accident (C20)."""
    for turn in range(3):
        with contextlib.closing(own.connect()) as connection, connection.cursor() as cursor:
            end_dumps(cursor)
        with pytest.raises(Fenced if turn == 2 else Transient):
            listener.source.read(Limits(wait_s=20))
        listener.source.open(listener.position)


def test_a_server_that_does_not_log_whole_rows_is_refused(own, database, said):
    """With the statement that mends it; a fresh stream does not begin either."""
    source = source_of(own, database, "t")
    for name, bad, good in (
        ("binlog_row_image", "MINIMAL", "FULL"),
        ("binlog_row_metadata", "NO_LOG", "FULL"),
    ):
        said(f"SET GLOBAL {name} = {bad}")
        with pytest.raises(Credential) as caught:
            source.open("")
        said(f"SET GLOBAL {name} = {good}")
        assert f"SET GLOBAL {name} = FULL" in caught.value.fix


def test_a_session_that_logs_statements_holds_what_it_may_have_changed(listener, said):
    """Its rows are not in the log."""
    said("SET SESSION binlog_format = STATEMENT", "INSERT INTO t VALUES (2, '二')")
    said("SET SESSION binlog_format = STATEMENT", "INSERT INTO t VALUES (3, '三')")
    said("SET SESSION binlog_row_image = MINIMAL", "UPDATE t SET 名 = 'x' WHERE id = 1")
    listener.listen()
    ((table, why),) = listener.held()

    assert table == "t"
    assert "logged instead of its rows" in why or "statement" in why


def test_a_two_phase_transaction_holds_its_tables(listener, own, database, said):
    """Its rows come before anybody knows whether they count."""
    with contextlib.closing(own.connect(database)) as connection:
        Shop(connection).say("XA START 'x'", "INSERT INTO t VALUES (2, '二')", "XA END 'x'", "XA PREPARE 'x'")
        listener.listen()
        assert listener.mirror.tables == {}
        assert [table for table, _ in listener.held()] == ["t"]
        Shop(connection).say("XA ROLLBACK 'x'")
    listener.source.resume_table("t")
    listener.copy("t")

    assert listener.mirror.rows("t") == [(1, "一")]


def test_a_server_whose_logs_are_rotated_proves_silence(listener, said):
    """A new file holds nothing, and a page that ends there is released."""
    said("FLUSH BINARY LOGS")
    assert listener.copy("t").rows("t") == [(1, "一")]
    said("FLUSH BINARY LOGS", "CREATE TABLE IF NOT EXISTS other (id int PRIMARY KEY)", "DROP TABLE other")
    listener.listen(Limits(wait_s=1.2))

    assert listener.source.proof() is not None


def test_what_others_change_carries_the_position_on(own, database, said):
    """So that a quiet table's stream does not fall behind the oldest log."""
    listener = MysqlListener(own, database, "t", look_every_s=0.1)
    said("CREATE TABLE other (id int PRIMARY KEY)", "INSERT INTO other VALUES (1)")
    listener.listen(Limits(wait_s=0.5))

    assert [batch.deltas for batch in listener.batches] == [()]
    assert Place.parse(listener.position).spot.offset > 0
    purge(own)
    listener.reopen()
    listener.source.close()


def test_a_wrong_password_and_a_missing_grant_are_told_with_the_remedy(own, database, said):
    """Also by check, which names the exact statements, and tries a DELETE that it must not be able to do (SD40.3)."""
    said(
        "CREATE OR REPLACE USER clerk@'127.0.0.1' IDENTIFIED BY 'p@ss/w:rd'",
        f"GRANT SELECT ON `{database}`.* TO clerk@'127.0.0.1'",
    )
    wrong = source_of(own, database, "t", dsn=f"mysql://clerk:wrong@127.0.0.1:{own.port}/{database}")
    with pytest.raises(Credential):
        wrong.open("")
    dsn = f"mysql://clerk:p%40ss%2Fw%3Ard@127.0.0.1:{own.port}/{database}"
    source = source_of(own, database, "t", dsn=dsn)
    with pytest.raises(Credential) as caught:
        source.open("")
    assert "GRANT REPLICATION SLAVE" in caught.value.fix
    assert {finding.name for finding in source.check() if not finding.passed} == {"log reading right"}
    said("GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO clerk@'127.0.0.1'")
    assert source.open("")
    assert [finding for finding in source.check() if not finding.passed] == []
    source.close()
    said(f"GRANT DELETE ON `{database}`.t TO clerk@'127.0.0.1'")
    assert {each.name for each in source.check() if not each.passed} == {"no writing", "table t: no writing"}
    said(
        f"REVOKE DELETE ON `{database}`.t FROM clerk@'127.0.0.1'",
        f"REVOKE SELECT ON `{database}`.* FROM clerk@'127.0.0.1'",
        f"GRANT INSERT ON `{database}`.t TO clerk@'127.0.0.1'",
    )
    assert {finding.name for finding in source.check() if not finding.passed} >= {
        "no writing",
        "table t: read",
    }


def test_a_server_that_is_away_is_a_passing_trouble(own, database):
    """Nobody needs to be told to mend an account."""
    source = source_of(own, database, "t", dsn=f"mysql://root@127.0.0.1:1/{database}")
    with pytest.raises(Transient):
        source.open("")
    (finding,) = source.check()
    assert (finding.name, finding.passed) == ("connection", False)


@pytest.mark.parametrize("setting", ["binlog_checksum = NONE", "log_bin_compress = ON"])
def test_a_log_may_be_without_checksums_or_compressed(own, database, said, setting):
    """Also when it becomes so midway."""
    name, _, value = setting.partition(" = ")
    listener = MysqlListener(own, database, "t")
    said("INSERT INTO t VALUES (2, '二')", f"SET GLOBAL {setting}")
    said(
        "INSERT INTO t VALUES (3, repeat('三', 15))",
        "CREATE TABLE long_named_table_for_a_long_statement (id int)",
    )
    listener.listen()
    listener.reopen()
    said("INSERT INTO t VALUES (4, '四')")
    rows = listener.listen().rows("t")
    said(f"SET GLOBAL {name} = {'CRC32' if value == 'NONE' else 'OFF'}")
    listener.source.close()

    assert [number for number, _ in rows] == [2, 3, 4]


def test_the_way_to_the_server_is_protected_if_asked(own, database, said, certificate):
    """Rows through an encrypted stream; a server that proves another name is refused."""
    dsn = f"mysql://root@127.0.0.1:{own.port}/{database}?ssl_ca={certificate}"
    listener = MysqlListener(own, database, "t", dsn=dsn)
    said("INSERT INTO t SELECT seq, '密' FROM seq_100_to_30099")
    mirror = listener.listen(Limits(wait_s=1))
    assert len(mirror.tables["t"]) == 30_000
    assert len(listener.copy("t").tables["t"]) == 30_001
    listener.source.close()
    for wrong in (
        f"mysql://root@127.0.0.1:{own.port}/{database}?ssl=verify",
        dsn.replace("127.0.0.1", "localhost"),
    ):
        with pytest.raises(Credential):
            source_of(own, database, "t", dsn=wrong).open("")


def test_changes_and_pages_meet_under_load(own, database):
    """A writer that never pauses; every row is there once, as it is in the end."""
    listener = MysqlListener(own, database, "t", page_rows=100)
    stop = threading.Event()

    def work() -> None:
        with contextlib.closing(own.connect(database)) as connection, connection.cursor() as cursor:
            number = 0
            while not stop.is_set():
                number += 1
                for statement in (
                    f"INSERT INTO t VALUES ({number * 7919 % 2000}, '新{number}')",
                    f"UPDATE t SET 名 = '改{number}' WHERE id = {number * 31 % 2000}",
                    f"UPDATE t SET id = id + 5000 WHERE id = {number * 17 % 2000}",
                    f"DELETE FROM t WHERE id = {number * 13 % 7000}",
                ):
                    with contextlib.suppress(pymysql.err.IntegrityError):  # somebody has that key
                        cursor.execute(statement)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(3):
            copy_beside(listener)
    finally:
        stop.set()
        worker.join()
    listener.listen()
    listener.source.close()
    with contextlib.closing(own.connect(database)) as connection:
        assert listener.mirror.rows("t") == Shop(connection).ask("SELECT id, 名 FROM t")


def copy_beside(listener: MysqlListener) -> None:
    """A copy that does not wait for silence."""
    listener.source.start_copy("t", b"")
    listener.mirror.tables.pop("t", None)
    done, deadline_s = False, time.monotonic() + 30
    while not done:
        assert time.monotonic() < deadline_s
        if batch := listener.source.read(Limits(wait_s=0.2)):
            listener.mirror.apply(batch)
        for page in listener.source.pages():
            listener.mirror.merge(page.schema, page.frames.data)
            done = page.is_last


def make_certificate(folder: Path) -> Path:
    """Certificate and key beside it, readable for a server that runs under another account."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "business")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    path = folder / "server.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    secret = path.with_suffix(".key")
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    secret.write_bytes(key.private_bytes(*form))
    if user := account():
        shutil.chown(secret, user)
    return path
