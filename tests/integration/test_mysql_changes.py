"""What changes of a MariaDB business database bring, and which changes of structure a table survives."""

from __future__ import annotations

import pymysql
import pytest

from agent.sources.source import Limits
from proto.batch import Batch
from proto.errors import SchemaHold

MEMBERS = "CREATE TABLE 人员 (编号 int PRIMARY KEY, 姓名 varchar(20), 备注 text)"


def test_tables_may_be_chinese_all_over(hear, shop):
    """Names of tables and columns, gbk beside utf8mb4, values of four bytes."""
    shop.say(
        "CREATE TABLE 人员 (编号 int PRIMARY KEY, 姓名 varchar(20) CHARACTER SET gbk, 备注 varchar(20)) "
        "CHARACTER SET utf8mb4"
    )
    listener = hear({"table": "人员", "name": "person"})
    shop.say(
        "INSERT INTO 人员 VALUES (1, '王伟', '🙂'), (2, '李娜', NULL)",
        "UPDATE 人员 SET 姓名 = '李娜娜' WHERE 编号 = 2",
    )

    assert listener.listen().rows("person") == [(1, "王伟", "🙂"), (2, "李娜娜", None)]


def test_keys_that_differ_in_case_only_are_two_keys_for_us(hear, shop):
    """The server's collation calls them equal, our copies compare bytes; a page follows the server's order."""
    shop.say("CREATE TABLE t (k varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY, n int)")
    for name in ("a", "B", "c", "D", "é", "王", "z", "Z2"):
        shop.say(f"INSERT INTO t VALUES ('{name}', 1)")
    listener = hear("t", page_rows=3)
    listener.copy("t")
    shop.say(
        "UPDATE t SET k = 'A' WHERE k = 'a'", "DELETE FROM t WHERE k = 'b'", "INSERT INTO t VALUES ('b', 2)"
    )

    rows = listener.listen().rows("t")
    assert rows == shop.ask("SELECT k, n FROM t")
    assert ("A", 1) in rows
    assert ("b", 2) in rows


def test_pages_go_on_after_any_key(hear, shop):
    """One row per page: every key is looked up again."""
    shop.say("SET sql_mode = '', timestamp = 1700000000")
    for number, (one, two) in enumerate(KEY_TYPES):
        shop.say(f"CREATE TABLE t{number} (a {one} NOT NULL, b {two} NOT NULL, PRIMARY KEY (a, b))")
        first, second = (KEYS[column.split(" ")[0].partition("(")[0]] for column in (one, two))
        shop.say(*(f"INSERT INTO t{number} VALUES ({x}, {y})" for x in first for y in second))
    names = [f"t{number}" for number in range(len(KEY_TYPES))]
    listener = hear(*names, page_rows=1)
    copied = {name: len(listener.copy(name).tables[name]) for name in names}

    assert copied == dict.fromkeys(names, 9)
    assert listener.held() == []


KEY_TYPES = (
    ("int", "int"),
    ("varchar(5) CHARACTER SET gbk COLLATE gbk_chinese_ci", "int"),
    ("datetime(3)", "decimal(20,4)"),
    ("enum('z','y','x')", "int"),
    ("varbinary(9)", "bit(4)"),
    ("double", "date"),
    ("char(3) COLLATE utf8mb4_bin", "time(6)"),
    ("bigint unsigned", "timestamp(6)"),
    ("uuid", "inet6"),
)
KEYS = {
    "int": ("-1", "0", "7"),
    "varchar": ("'a'", "'王'", "''"),
    "datetime": ("'2024-01-01 00:00:00.001'", "'2024-01-01'", "'1000-01-01'"),
    "decimal": ("-1.5", "0", "9999999999999999.0001"),
    "enum": ("'z'", "'y'", "'x'"),
    "varbinary": ("x'00'", "x'FF'", "''"),
    "bit": ("b'0'", "b'1'", "b'1010'"),
    "double": ("0.1", "1e300", "-2.5e-7"),
    "date": ("'2024-01-01'", "'1000-01-01'", "'9999-12-31'"),
    "char": ("'A'", "'a'", "'王'"),
    "time": ("'-838:59:59'", "'00:00:00.000001'", "'12:00:00'"),
    "bigint": ("0", "18446744073709551615", "9223372036854775808"),
    "timestamp": ("'2024-01-01'", "'2024-01-01 00:00:00.000001'", "'1999-01-01'"),
    "uuid": ("uuid()", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-0000-0000-0000-000000000001'"),
    "inet6": ("'::1'", "'fe80::1'", "'::ffff:1.2.3.4'"),
}


def test_a_column_may_be_added_and_widened(hear, shop):
    """Rows that were there have no value in it; the ones after it do."""
    shop.say(MEMBERS)
    listener = hear("人员")
    shop.say("INSERT INTO 人员 VALUES (1, '王', NULL)")
    listener.listen()
    shop.say(
        "ALTER TABLE 人员 ADD COLUMN 部门 varchar(9) NULL AFTER 编号, MODIFY 姓名 varchar(50)",
        "INSERT INTO 人员 VALUES (2, '人事', '李', NULL)",
    )
    listener.listen()

    assert listener.held() == []
    assert [column.name for column in listener.mirror.schemas["人员"].columns] == [
        "编号",
        "部门",
        "姓名",
        "备注",
    ]


LOSING = (
    ("ALTER TABLE `{0}` /* 旧的 */ DROP COLUMN 备注", "备注 was dropped"),
    ("ALTER TABLE {0} ADD 工龄 int NOT NULL", "工龄 was added with a value"),
    ("ALTER TABLE {0} ADD (工龄 int DEFAULT 3, x int)", "工龄 was added with a value"),
    ("ALTER TABLE {0} CHANGE 姓名 名 varchar(20)", "姓名 was dropped or renamed"),
    ("ALTER TABLE {0} RENAME COLUMN 姓名 TO 名", "姓名 was dropped or renamed"),
    ("ALTER TABLE {0} MODIFY 姓名 varchar(5)", "姓名 changed its type"),
    ("ALTER TABLE {0} MODIFY 备注 int", "备注 changed its type"),
    ("ALTER TABLE {0} DROP PRIMARY KEY, ADD PRIMARY KEY (编号, 姓名)", "its key is now"),
    ("RENAME TABLE {0} TO 老{0}", "renamed, dropped or replaced"),
    ("ALTER TABLE {0} RENAME TO 老{0}", "renamed, dropped or replaced"),
    ("DROP TABLE {0}", "renamed, dropped or replaced"),
    ("CREATE OR REPLACE TABLE {0} (编号 int PRIMARY KEY)", "renamed, dropped or replaced"),
    ("ALTER TABLE {0} ADD SYSTEM VERSIONING", "without a word about its rows"),
    ("ALTER IGNORE TABLE {0} ADD UNIQUE (姓名)", "without a word about its rows"),
    ("SET STATEMENT max_statement_time = 9 FOR ALTER TABLE {0} DROP 备注", "备注 was dropped"),
)
HARMLESS = (
    "ALTER TABLE 人员 ADD INDEX i (姓名), COMMENT = 'DROP TABLE 人员'",
    "CREATE TABLE IF NOT EXISTS 人员 (编号 int PRIMARY KEY)",
    "CREATE TABLE 别的 LIKE 人员",
    "RENAME TABLE 别的 TO 另外",
    "DROP TABLE IF EXISTS 没有, 另外",
    "CREATE VIEW 视图 AS SELECT * FROM 人员",
    "ANALYZE TABLE 人员",
    "ALTER TABLE 人员 ENGINE = InnoDB",
    "CREATE DEFINER = root@localhost TRIGGER tr AFTER INSERT ON 人员 FOR EACH ROW SET @x = 'ALTER TABLE 人员'",
)


def test_what_changes_old_rows_without_a_word_holds_the_table(hear, shop):
    """At that place: what came before is delivered, and the other table goes on."""
    names = [f"人员{number}" for number in range(len(LOSING))]
    shop.say(
        *(MEMBERS.replace("人员", name) for name in names),
        "CREATE TABLE 家访 (id int AUTO_INCREMENT PRIMARY KEY)",
    )
    listener = hear(*names, "家访")
    for name, (statement, _) in zip(names, LOSING, strict=True):
        shop.say(
            f"INSERT INTO {name} VALUES (1, '王', NULL)",
            statement.format(name),
            "INSERT INTO 家访 VALUES (NULL)",
        )
    listener.listen()

    held = dict(listener.held())
    assert {
        name: why for name, (_, why) in zip(names, LOSING, strict=True) if why not in held.get(name, "")
    } == {}
    assert held.keys() == set(names)
    assert [listener.mirror.rows(name) for name in names] == [[(1, "王", None)]] * len(names)
    assert len(listener.mirror.rows("家访")) == len(names)


def test_what_leaves_rows_alone_holds_nothing(hear, shop):
    """Indexes, other tables, views, triggers."""
    shop.say(MEMBERS)
    listener = hear("人员")
    shop.say(*HARMLESS, "INSERT INTO 人员 VALUES (1, '王', NULL)")

    assert listener.listen().rows("人员") == [(1, "王", None)]
    assert listener.held() == []


def test_a_held_table_begins_again_as_it_is(hear, shop):
    """What the log still tells of its past is passed over."""
    shop.say(MEMBERS)
    listener = hear("人员")
    shop.say("INSERT INTO 人员 VALUES (1, '王', NULL)", "ALTER TABLE 人员 DROP 备注")
    listener.listen()
    shop.say("ALTER TABLE 人员 ADD 备注 int NOT NULL", "INSERT INTO 人员 VALUES (2, '李', 5)")
    assert listener.held()
    listener.source.resume_table("人员")
    listener.copy("人员")
    shop.say("UPDATE 人员 SET 备注 = 6 WHERE 编号 = 2")

    assert listener.listen().rows("人员") == [(1, "王", 0), (2, "李", 6)]
    assert listener.held() == []


def test_sixty_thousand_rows_of_one_transaction_come_in_parts(hear, shop):
    """They become visible together, and none is lost when the connection breaks midway."""
    shop.say("CREATE TABLE t (id int PRIMARY KEY, v varchar(50))")
    listener = hear("t")
    shop.say("INSERT INTO t SELECT seq, concat('值', seq) FROM seq_1_to_60000")
    limits = Limits(wait_s=2.0)
    first = listener.source.read(limits)
    listener.mirror.apply(first)
    assert first.continues
    assert first.position == listener.position
    listener.reopen()
    listener.mirror = type(listener.mirror)()
    parts: list[Batch] = []
    while not parts or parts[-1].continues:
        parts.append(listener.source.read(limits))
        listener.mirror.apply(parts[-1])

    assert [part.continues for part in parts] == [True] * (len(parts) - 1) + [False]
    assert max(part.rows for part in parts) < 25_000
    assert len(listener.mirror.tables["t"]) == 60_000


def test_a_row_larger_than_a_packet_arrives_whole(hear, shop):
    """The protocol cuts at sixteen MiB; the row after it is found again."""
    shop.say("CREATE TABLE t (id int PRIMARY KEY, v longtext)")
    listener = hear("t", page_bytes=1 << 20)
    shop.say("INSERT INTO t VALUES (1, repeat('大', 6000000)), (2, '小')", "INSERT INTO t VALUES (3, '后')")

    rows = listener.listen(Limits(wait_s=3)).rows("t")
    assert [(number, len(text)) for number, text in rows] == [(1, 6_000_000), (2, 1), (3, 1)]
    assert [len(text) for _, text in listener.copy("t").rows("t")] == [6_000_000, 1, 1]


def test_tables_without_transactions_are_followed(hear, shop):
    """Each statement is a commit of its own; also one that fails midway."""
    shop.say("CREATE TABLE t (id int PRIMARY KEY, v varchar(9)) ENGINE = MyISAM")
    listener = hear("t")
    shop.say("BEGIN", "INSERT INTO t VALUES (1, '一')", "ROLLBACK")
    with pytest.raises(pymysql.err.IntegrityError):
        shop.say("INSERT INTO t VALUES (2, '二'), (1, '重')")

    assert listener.listen().rows("t") == shop.ask("SELECT id, v FROM t") == [(1, "一"), (2, "二")]
    assert listener.copy("t").rows("t") == [(1, "一"), (2, "二")]


def test_the_estimate_of_a_table_is_a_number(hear, shop):
    """For the remaining time of a copy."""
    shop.say(
        "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_100", "ANALYZE TABLE t"
    )
    expected = hear("t").source.expected_rows("t")

    assert (type(expected), expected) == (int, 100)


def test_a_page_waits_for_what_it_has_seen(hear, shop):
    """A row that came and went while a page was read must not stay in the copy."""
    shop.say("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    source = (listener := hear("t")).source
    source.start_copy("t", b"")
    shop.say("INSERT INTO t VALUES (2)")
    assert list(source.pages()) == []
    # It rings when the page has been read; the stream has not been asked yet.
    source._wakeup.pause(20)
    assert list(source.pages()) == []
    shop.say("DELETE FROM t WHERE id = 2")

    assert listener.finish("t").rows("t") == [(1,)]


def test_zero_dates_are_refused_or_null(hear, shop):
    """By the department's choice, and alike in a copy."""
    shop.say("SET sql_mode = ''", "CREATE TABLE t (id int PRIMARY KEY, d date, m datetime)")
    strict = hear("t")
    lenient = hear("t", zero_dates="null", server_id=77)
    shop.say("INSERT INTO t VALUES (1, '0000-00-00', '2024-00-00 00:00:00')")

    assert lenient.listen().rows("t") == [(1, None, None)]
    assert lenient.copy("t").rows("t") == [(1, None, None)]
    strict.listen()
    assert [table for table, _ in strict.held()] == ["t"]


def test_only_listed_columns_leave(hear, shop):
    """Key columns are always among them; generated ones are left out."""
    shop.say(
        "CREATE TABLE t (id int PRIMARY KEY, a int, secret int, g int AS (a + 1) STORED, v int AS (a) VIRTUAL)"
    )
    listener = hear({"table": "t", "columns": ["a"]}, {"table": "t2", "name": "none"})
    shop.say("INSERT INTO t (id, a, secret) VALUES (1, 2, 3)")
    assert listener.listen().rows("t") == [(2, 1)]
    assert [table for table, _ in listener.held()] == ["none"]
    whole = hear("t", server_id=78)

    assert [column.name for column in whole.source.schemas()[0].columns] == ["id", "a", "secret"]


def test_a_chosen_key_must_be_unique(hear, shop):
    """Another one would make two rows one."""
    shop.say("CREATE TABLE t (id int, a int NOT NULL, b int NOT NULL, UNIQUE (a))", "CREATE TABLE u LIKE t")
    listener = hear({"table": "t", "key": ["a"]}, {"table": "u", "key": ["b"]})
    shop.say("INSERT INTO t VALUES (1, 2, 3)", "UPDATE t SET a = 5", "INSERT INTO u VALUES (1, 1, 1)")

    assert listener.listen().rows("t") == [(1, 5, 3)]
    ((table, why),) = listener.held()
    assert (table, "no unique index" in why) == ("u", True)
    with pytest.raises(SchemaHold):
        listener.source.start_copy("u", b"x")
