"""What a MySQL source reads in words: addresses, transaction ids, positions, statements."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.mysql.ddl import Change, Effect, changes
from agent.sources.mysql.dsn import Address
from agent.sources.mysql.gtids import DomainGtids, ServerGtids
from agent.sources.mysql.place import Place, Spot
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.statements import read_mysql_gtid, read_statement
from agent.sources.mysql.types import Type, members, same_values
from proto.errors import Diverged, Refused

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


def test_an_address_is_read_whole():
    """A password may hold anything that is written as %XX, and an @ as it is."""
    address = Address.parse("mysql://clerk:p%3Aw@x%2F@db.gov.cn:3307/人事?ssl_ca=/etc/ca.pem")

    assert (address.host, address.port, address.user, address.password) == (
        "db.gov.cn",
        3307,
        "clerk",
        "p:w@x/",
    )
    assert (address.database, address.option("ssl_ca"), address.mode) == ("人事", "/etc/ca.pem", "verify")
    assert "p:w" not in repr(address)


@pytest.mark.parametrize(
    ("dsn", "mode"),
    [
        ("mysql://u@127.0.0.1/d", "disabled"),
        ("mariadb://u@localhost/d", "disabled"),
        ("mysql://u@[::1]:3306/d", "disabled"),
        ("mysql://u@/d?socket=/run/mysqld.sock", "disabled"),
        ("mysql://u@10.0.0.7/d", "verify"),
        ("mysql://u@10.0.0.7/d?ssl=unverified", "unverified"),
    ],
)
def test_only_the_way_within_a_machine_is_bare(dsn, mode):
    """Unless somebody says so."""
    address = Address.parse(dsn)
    context = address.tls()

    assert address.mode == mode
    assert (context is None) == (mode == "disabled")
    assert context is None or (context.verify_mode is ssl.CERT_REQUIRED) == (mode == "verify")


@pytest.mark.parametrize(
    "dsn", ["pg://u@h/d", "mysql://h/d", "mysql://u@h:x/d", "mysql://u@h/d?tls=1", "mysql://u@h/d?ssl=no"]
)
def test_a_malformed_address_is_refused(dsn):
    """With a sentence."""
    with pytest.raises(ValueError, match=r"dsn"):
        Address.parse(dsn)


def test_a_number_is_derived_from_who_reads_what():
    """The same for the same source, another one for another."""

    def number(name: str, dsn: str, **more: int) -> int:
        told = {"kind": "mysql", "name": name, "dsn": dsn, "tables": [{"table": "t"}], **more}
        return MysqlSettings.model_validate(told).replica_id

    first = number("hr", "mysql://u@h/d")
    assert first == number("hr", "mysql://u:other@h/d") >= 1 << 31
    assert len({first, number("pay", "mysql://u@h/d"), number("hr", "mysql://u@h/e")}) == 3
    assert number("hr", "mysql://u@h/d", server_id=7) == 7


def test_a_table_needs_a_database():
    """Its own or the dsn's."""
    with pytest.raises(ValueError, match="names no database"):
        MysqlSettings.model_validate(
            {"kind": "mysql", "name": "hr", "dsn": "mysql://u@h", "tables": [{"table": "t"}]}
        )


def test_domains_are_compared_one_by_one():
    """A domain that is missing has not begun."""
    whole = DomainGtids.parse("0-1-5,7-2-9")
    assert str(whole) == "0-1-5,7-2-9"
    assert whole.contains(DomainGtids.parse("0-3-5"))
    assert not whole.contains(DomainGtids.parse("0-1-6"))
    assert not whole.contains(DomainGtids.parse("8-1-1"))
    whole.add("0-4-6")
    assert str(whole) == "0-1-5,0-4-6,7-2-9"
    assert whole.ends == "0-4-6,7-2-9"
    assert DomainGtids.parse(str(whole)) == whole


@given(st.lists(st.integers(1, 60)), st.lists(st.integers(1, 60)))
def test_intervals_are_a_set(some: list[int], others: list[int]) -> None:
    """Whatever comes in whatever order."""
    made = ServerGtids({})
    for number in some:
        made.add(f"{UUID}:{number}")
    other = ServerGtids.parse(",".join(f"{UUID}:{number}" for number in others))

    assert made.contains(other) == (set(others) <= set(some))
    assert ServerGtids.parse(str(made)) == made
    assert sum(b - a + 1 for numbers in made.intervals.values() for a, b in numbers) == len(set(some))


def test_a_position_says_whose_it_is():
    """Another source's is refused."""
    text = "mysql/mariadb-1/0-1-5/binlog.000003/1234/1700000000"
    place = Place.parse(text)

    assert (str(place), place.is_mariadb, place.spot) == (f"{text}/0", True, Spot("binlog.000003", 1234))
    assert Spot("b.000010", 4).reaches(Spot("b.000009", 99))
    assert not Spot("b.000010", 4).reaches(Spot("b.000010", 5))
    for wrong in ("pg/1/1/0/0", "mysql/x/0-1-5/f/1", "mysql/mariadb-1/a-b/f/1/0", ""):
        with pytest.raises(Diverged):
            Place.parse(wrong)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("TRUNCATE `人员`", [Change(("d", "人员"), Effect.TRUNCATED)]),
        ("truncate table other.`a``b`", [Change(("other", "a`b"), Effect.TRUNCATED)]),
        ("DELETE FROM `d`.`t`", [Change(("d", "t"), Effect.TRUNCATED)]),
        ("/* x */ DROP /*!40000 TABLE */ IF EXISTS a, `b`.c -- y", [Change(("d", "a"), Effect.LOST), Change(("b", "c"), Effect.LOST)]),
        ("DROP TEMPORARY TABLE t", []),
        ("DROP DATABASE IF EXISTS d", [Change(("d", ""), Effect.LOST)]),
        ("RENAME TABLE a TO b, x.c TO d", [Change((s, n), Effect.LOST) for s, n in (("d", "a"), ("d", "b"), ("x", "c"), ("d", "d"))]),
        ("ALTER TABLE t RENAME AS u", [Change(("d", "t"), Effect.LOST), Change(("d", "u"), Effect.LOST)]),
        ("ALTER TABLE t RENAME INDEX i TO j", [Change(("d", "t"), Effect.ALTERED)]),
        ("ALTER TABLE t DROP PARTITION p0", [Change(("d", "t"), Effect.REWRITTEN)]),
        ("ALTER TABLE t ADD PARTITION (PARTITION p VALUES LESS THAN (3))", [Change(("d", "t"), Effect.ALTERED)]),
        ("ALTER TABLE t DISCARD TABLESPACE", [Change(("d", "t"), Effect.REWRITTEN)]),
        (
            "ALTER TABLE t ADD a int DEFAULT (1 + 2), ADD COLUMN (b int, c decimal(3,1)), DROP d, MODIFY e int, CHANGE f g int, "
            "CHANGE h h int, ADD UNIQUE (a), DROP FOREIGN KEY k, ALTER l DROP DEFAULT",
            [Change(("d", "t"), Effect.ALTERED, frozenset("df"), frozenset("abc"), frozenset("eh"))],
        ),
        ("ALTER TABLE t COMMENT = 'DROP a, ADD b'", [Change(("d", "t"), Effect.ALTERED)]),
        ("CREATE TABLE t (a int)", [Change(("d", "t"), Effect.ALTERED)]),
        ("CREATE OR REPLACE TABLE t (a int)", [Change(("d", "t"), Effect.LOST)]),
        ("CREATE OR REPLACE VIEW t AS SELECT 1", []),
        ("INSERT INTO t VALUES (1)", [Change(("", ""), Effect.BY_STATEMENT)]),
        ("WITH x AS (SELECT 1) DELETE FROM t", [Change(("", ""), Effect.BY_STATEMENT)]),
        ("DELETE FROM t WHERE a = 1", [Change(("d", "t"), Effect.BY_STATEMENT)]),
        ("FLUSH TABLES", []),
        ("GRANT DROP ON d.t TO u", []),
        ("SET STATEMENT x = 'FOR' FOR TRUNCATE t", [Change(("d", "t"), Effect.TRUNCATED)]),
        ("", []),
    ],
)  # fmt: skip
def test_statements_are_understood_as_far_as_they_concern_us(statement, found):
    """Quotes, comments, schemas, several tables."""
    assert changes(statement, "d") == found


@given(st.lists(st.sampled_from(["ALTER", "TABLE", "t", "`", "'", "DROP", "ADD", "(", ")", ",", ".", "RENAME", "TO", "/*", "*/", "中", "\\", '"', "--", " "])))  # fmt: skip
def test_no_statement_breaks_the_reader(words: list[str]) -> None:
    """It is understood or refused, and it ends."""
    try:
        changes(" ".join(words), "d")
    except Refused:
        return


def test_a_mysql_transaction_tells_its_id_and_time():
    """As MySQL 8 writes it, and as 5.7 does without the time."""
    body = b"\1" + bytes.fromhex(UUID.replace("-", "")) + struct.pack("<Q", 23) + b"\2" + bytes(16)
    modern = read_mysql_gtid(bytes(19) + body + (1_700_000_000_123_456 | 1 << 55).to_bytes(7, "little"))

    assert (modern.gtid, modern.at_us) == (f"{UUID}:23", 1_700_000_000_123_456)
    assert read_mysql_gtid(bytes(19) + body).gtid == f"{UUID}:23"


def test_a_statement_is_read_in_its_clients_characters():
    """Its names were typed in gbk."""
    variables = b"\0\0\0\0\0" + b"\1" + bytes(8) + b"\6\3std" + b"\4" + struct.pack("<HHH", 28, 28, 28)
    name = "人事".encode()
    head = struct.pack("<IIBHH", 1, 0, len(name), 0, len(variables))
    event = bytes(4) + b"\2" + bytes(14) + head + variables + name + b"\0" + "DROP TABLE 人员".encode("gbk")

    assert read_statement(event) == ("人事", "DROP TABLE 人员")


def test_members_are_read_from_the_catalogue():
    """With quotes, commas and backslashes in them."""
    assert members(r"enum('a','it''s','x,y','\\','王')") == ("a", "it's", "x,y", "\\", "王")


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (Type("int"), Type("bigint"), True),
        (Type("int", unsigned=True), Type("bigint"), True),
        (Type("int"), Type("bigint", unsigned=True), False),
        (Type("bigint"), Type("int"), False),
        (Type("varchar", 40, charset="utf8mb4"), Type("varchar", 80, charset="utf8mb4"), True),
        (Type("varchar", 40, charset="gbk"), Type("text", 2, charset="utf8mb4"), True),
        (Type("varchar", 40, charset="utf8mb4"), Type("varchar", 40, charset="gbk"), False),
        (Type("text", 2, charset="gbk"), Type("varchar", 40, charset="gbk"), False),
        (Type("decimal", 10, 2), Type("decimal", 12, 2), True),
        (Type("decimal", 10, 2), Type("decimal", 12, 4), False),
        (Type("datetime", 0), Type("datetime", 6), True),
        (Type("datetime", 6), Type("datetime", 0), False),
        (Type("enum", members=("a", "b")), Type("enum", members=("b", "x", "a")), True),
        (Type("enum", members=("a", "b")), Type("enum", members=("a",)), False),
        (Type("set", members=("a", "b")), Type("set", members=("b", "a")), False),
        (Type("binary", 5), Type("binary", 6), False),
        (Type("binary", 16, native="uuid"), Type("binary", 16), False),
        (Type("date"), Type("datetime"), False),
    ],
)
def test_a_change_of_type_keeps_old_values_or_not(before, after, same):
    """Kept to the byte: a decimal with more digits after its point is written otherwise."""
    assert same_values(before, after) is same
