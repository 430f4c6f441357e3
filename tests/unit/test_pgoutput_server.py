"""The collapse against real servers: what they send, applied, is what their table holds."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from agent.sources.postgresql.pgoutput import Collector
from proto import frames
from tests.support.pgoutput_model import Row, apply, collector
from tests.support.postgres import Cluster

CHANGES = """SELECT data FROM pg_logical_slot_get_binary_changes(
    'follow', NULL, NULL, 'proto_version', '1', 'publication_names', 'p', 'binary', 'true')"""
ROWS = """INSERT INTO t SELECT g, 'a', repeat(md5(g::text), 200), repeat(md5((g + 1)::text), 200)
    FROM generate_series(1, 20) g"""
HISTORY = [
    (ROWS, "UPDATE t SET a = 'b' WHERE id < 10", "UPDATE t SET id = id + 100 WHERE id < 5", "DELETE FROM t WHERE id = 7"),
    ("UPDATE t SET a = 'c' WHERE id = 9", "UPDATE t SET id = id + 1000 WHERE id IN (10, 11)", "UPDATE t SET wide = 'w' WHERE id = 1010"),
    ("ALTER TABLE t ADD COLUMN extra text DEFAULT 'e'", "UPDATE t SET extra = 'f' WHERE id = 16"),
    ("TRUNCATE t", "INSERT INTO t VALUES (1, 'a', NULL, '')"),
]  # fmt: skip
DEFERRED = [
    (ROWS, "UPDATE t SET id = CASE id WHEN 13 THEN 14 ELSE 13 END WHERE id IN (13, 14)"),
    ("UPDATE t SET id = 1 + id % 20",),
    ("INSERT INTO t VALUES (15, 'dup'); UPDATE t SET a = 'z' WHERE id = 15 AND a <> 'dup'; DELETE FROM t WHERE id = 15 AND a = 'z'",),
]  # fmt: skip


def prepare(connection: psycopg.Connection[Any], identity: str, constraint: str = "") -> None:
    """A table with large values out of line, a publication and a slot."""
    connection.execute(f"CREATE TABLE t (id int, a text, big text, wide text, PRIMARY KEY (id) {constraint})")
    connection.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL, ALTER wide SET STORAGE EXTERNAL")
    connection.execute(f"ALTER TABLE t REPLICA IDENTITY {identity}")
    connection.execute("CREATE PUBLICATION p FOR TABLE t")
    connection.execute("SELECT pg_create_logical_replication_slot('follow', 'pgoutput')")


def table(connection: psycopg.Connection[Any]) -> dict[bytes, Row]:
    """What the server's table holds now."""
    with connection.cursor().copy("COPY (SELECT id, a, big, wide FROM t) TO STDOUT (FORMAT binary)") as copy:
        data = b"".join(bytes(part) for part in copy)[19:-2]
    return {frames.keys(frame, (0,))[0]: tuple(frames.fields(frame)) for frame in frames.split(data)}


def follow(connection: psycopg.Connection[Any], both: list[Collector], replica: dict[bytes, Row]) -> None:
    """Feed what the server sends to both versions and apply it."""
    messages = [b"w" + bytes(24) + bytes(data) for (data,) in connection.execute(CHANGES)]
    for one in both:
        one.feed(messages)
    plain, compiled = (one.take() for one in both)
    assert plain == compiled
    apply(replica, plain)


@pytest.mark.parametrize(
    ("identity", "constraint", "history"),
    [
        ("DEFAULT", "", HISTORY),
        ("FULL", "", HISTORY),
        ("FULL", "DEFERRABLE INITIALLY DEFERRED", DEFERRED),
    ],
    ids=["key", "full", "deferred"],
)
def test_the_replica_equals_the_table(
    postgres: Cluster, business: str, identity: str, constraint: str, history: list[tuple[str, ...]]
) -> None:
    """Unlogged large values, key changes, keys shared for a moment, a new column and a truncate."""
    both = [collector(compiled) for compiled in (False, True)]
    replica: dict[bytes, Row] = {}
    with postgres.connect(business) as connection:
        prepare(connection, identity, constraint)
        for statements in history:
            for statement in statements:
                connection.execute(statement)
            follow(connection, both, replica)
            assert replica == table(connection)
    assert not both[0].holds
    assert not both[1].holds
