"""What libpq has received, taken out message by message: compiled and in Python the same, on a real connection."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq

from agent.sources.postgresql import tap
from tests.support.postgres import Cluster

BOTH = pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
ROWS = "SELECT n, CASE n % 3 WHEN 0 THEN NULL ELSE repeat('人口', n) END FROM generate_series(1, {}) n"


@pytest.fixture(scope="module")
def database(postgres15: Cluster) -> Iterator[str]:
    """A database with a published table and some transactions in a slot."""
    name = postgres15.new_database("tap")
    with postgres15.connect(name) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
        connection.execute("CREATE PUBLICATION p FOR TABLE t")
        connection.execute("SELECT pg_create_logical_replication_slot('tap', 'pgoutput')")
        for first in (1, 401):
            connection.execute(
                f"INSERT INTO t SELECT n, '济南市' FROM generate_series({first}, {first + 399}) n"
            )
    yield name
    postgres15.drop_database(name)


@contextmanager
def streaming(postgres: Cluster, database: str) -> Iterator[psycopg.Connection[Any]]:
    dsn = f"{postgres.dsn(database)} replication=database"
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        start = b"START_REPLICATION SLOT tap LOGICAL 0/0 (proto_version '1', publication_names 'p')"
        assert connection.pgconn.exec_(start).status == pq.ExecStatus.COPY_BOTH
        connection.pgconn.nonblocking = 1
        yield connection


def everything(connection: psycopg.Connection[Any], limit: int, compiled: bool) -> list[tap.Taken]:
    """What the stream brings until its second commit."""
    taken: list[tap.Taken] = []
    while True:
        one = tap.messages(connection.pgconn, limit, compiled=compiled)
        taken += [one] if one.data else []
        if sum(bool(one.whole) for one in taken) == 2:
            break
        if one.status == 0:
            assert select.select([connection.pgconn.socket], [], [], 10)[0]
            connection.pgconn.consume_input()
    return taken


def test_the_compiled_version_finds_the_library_of_the_driver() -> None:
    """Without it the comparisons below would compare Python with itself."""
    program = "from agent.sources.postgresql import tap; print(tap.PIPE is not None)"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "True"


def test_both_take_the_same_messages(postgres15: Cluster, database: str) -> None:
    """In order, sized, and cut at the limit; ``whole`` names the last commit."""
    found = []
    for compiled in (False, True):
        with streaming(postgres15, database) as connection:
            taken = everything(connection, 1000, compiled)
        assert all(one.bytes == sum(map(len, one.data)) for one in taken)
        assert all(one.bytes - len(one.data[-1]) < 1000 for one in taken)
        for one in taken:
            commits = [at for at, message in enumerate(one.data, 1) if message[tap.KIND_AT] == ord("C")]
            assert one.whole == (commits[-1] if commits else 0)
        assert {message[0] for one in taken for message in one.others} <= {ord("k")}
        found.append([message[tap.KIND_AT :] for one in taken for message in one.data])
    assert len(found[0]) > 800
    assert found[0] == found[1]


@BOTH
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_rows_are_what_copy_sends_between_header_and_trailer(
    postgres15: Cluster, database: str, compiled: bool, count: int
) -> None:
    """All rows, counted, with the place of the last; several takes add up to the same bytes."""
    statement = f"COPY ({ROWS.format(count)}) TO STDOUT (FORMAT binary)"
    with psycopg.connect(postgres15.dsn(database)) as connection:
        with connection.cursor().copy(statement) as copy:
            expected = b"".join(bytes(part) for part in copy)[19:-2]
        pgconn = connection.pgconn
        assert pgconn.exec_(statement.encode()).status == pq.ExecStatus.COPY_OUT
        rows, parts, counted = tap.new_rows(compiled=compiled), [], 0
        while rows.gather(pgconn) == 0:
            if rows.size > 10_000:
                parts.append(rows.take())
            assert select.select([pgconn.socket], [], [], 10)[0]
            pgconn.consume_input()
        assert rows.count <= count
        parts.append(rows.take())
        assert (rows.size, rows.count) == (0, 0)
        assert b"".join(data for data, _, _ in parts) == expected
        assert sum(number for _, number, _ in parts) == count
        for data, counted, last_at in parts:
            assert not counted or data[last_at : last_at + 2] == b"\0\2"
            assert not counted or int.from_bytes(data[last_at + 6 : last_at + 10], "big") >= counted
        while pgconn.get_result() is not None:
            pass


@BOTH
def test_a_lost_connection_is_the_drivers_error(postgres15: Cluster, database: str, compiled: bool) -> None:
    """A closed connection is never touched; one that the server ended says so, by status or by error."""
    with streaming(postgres15, database) as connection:
        with postgres15.connect() as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        with pytest.raises((psycopg.OperationalError, StopIteration)):
            while True:
                connection.pgconn.consume_input()
                if tap.messages(connection.pgconn, 1 << 30, compiled=compiled).status < 0:
                    raise StopIteration
        connection.close()
        with pytest.raises(psycopg.OperationalError):
            tap.messages(connection.pgconn, 1000, compiled=compiled)
        with pytest.raises(psycopg.OperationalError):
            tap.new_rows(compiled=compiled).gather(connection.pgconn)
