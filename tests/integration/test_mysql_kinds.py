"""A table of MariaDB has one shape, whichever way it is listened to and however little the account may do."""

from __future__ import annotations

import pytest

from agent.sources.mysql.types import json_columns
from agent.sources.polling.source import PollingSource
from agent.sources.source import NoMirror
from proto.values import Kind
from tests.support.mysql import source_of
from tests.support.polling import settings

EVERY = (
    "n tinyint(1), m mediumint unsigned, 大 bigint unsigned, 满 int(10) unsigned zerofill, d double unsigned",
    "b1 bit, b9 bit(9), 时 time, 日 date, 刻 timestamp NULL, 年 year, 文 json COMMENT '`n` longtext CHECK (json_valid(`n`))'",
    "短 varchar(9), 长 longtext, 定 char(3) CHARACTER SET gbk, 字节 binary(3), 块 mediumblob, 选 enum('甲)','乙') , 集 set('甲')",
    "身 uuid, 址 inet4, 位 point, 金 decimal(9,2) unsigned, `反``引` longtext, CHECK (json_valid(`反``引`))",
    "半 longtext CHECK (json_valid(`半`) AND n > 0)",
)


@pytest.fixture
def reader(mariadb, mariadb_database):
    """An account that may read the log and the table, and nothing else."""
    made = f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(EVERY)}) CHARACTER SET utf8mb4"
    mariadb.execute(
        made,
        "CREATE OR REPLACE USER kinds_reader@'127.0.0.1'",
        "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO kinds_reader@'127.0.0.1'",
        f"GRANT SELECT ON `{mariadb_database}`.t TO kinds_reader@'127.0.0.1'",
        database=mariadb_database,
    )
    return f"kinds_reader@127.0.0.1:{mariadb.port}/{mariadb_database}"


def test_the_log_and_a_poll_give_the_same_kinds(mariadb, mariadb_database, reader):
    """So a department may change its way of listening; JSON is told to who may only read."""
    log = source_of(mariadb, mariadb_database, "t", dsn=f"mysql://{reader}")
    asked = PollingSource(settings([{"table": "t"}], url=f"mysql+pymysql://{reader}"), NoMirror())
    (logged,), (polled,) = log.schemas(), asked.schemas()
    kinds = {column.name: column.kind for column in logged.columns}

    assert kinds == {column.name: column.kind for column in polled.columns}
    assert logged.fingerprint == polled.fingerprint
    assert [name for name, kind in kinds.items() if kind is Kind.JSON] == ["文", "反`引"]
    assert (kinds["b1"], kinds["b9"], kinds["时"]) == (Kind.BOOL, Kind.OTHER, Kind.INTERVAL)


def test_who_may_read_single_columns_only_is_told_the_same_by_both(mariadb, mariadb_database, reader):
    """The server tells such an account no checks, so a JSON is a text to it."""
    mariadb.execute(
        "REVOKE SELECT ON t FROM kinds_reader@'127.0.0.1'",
        "GRANT SELECT (id, 文) ON t TO kinds_reader@'127.0.0.1'",
        database=mariadb_database,
    )
    table = {"table": "t", "columns": ["id", "文"]}
    log = source_of(mariadb, mariadb_database, table, dsn=f"mysql://{reader}")
    asked = PollingSource(settings([table], url=f"mysql+pymysql://{reader}"), NoMirror())
    (logged,), (polled,) = log.schemas(), asked.schemas()

    assert logged.kinds == polled.kinds == (Kind.INT32, Kind.TEXT)
    assert logged.fingerprint == polled.fingerprint


def test_the_servers_words_may_be_quoted_either_way():
    """As its mode has it."""
    lines = '  "a""b" longtext DEFAULT NULL CHECK (json_valid("a""b")),\n  `c` longtext CHECK (json_valid(`d`))\n)'

    assert json_columns(lines) == {'a"b'}
