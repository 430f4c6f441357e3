"""Values as the real drivers bring them: every trap of theirs, and the same canonical form by each of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pymysql
import pytest

from agent.sources.polling.source import PollingSource
from agent.sources.source import Limits, NoMirror
from proto import frames
from proto.errors import BadRow
from proto.values import to_text
from tests.support.polling import Followed, mariadb_address, news, odbc_of, settings

LONG = "长" * 100_000
LARGE = "\\x" + bytes(range(256)).hex() * 2_000
POSTGRES = {
    "n": ("varchar(20)", "张三😀"),
    "c": ("char(5)", "a    "),
    "大": ("text", LONG),
    "d": ("numeric(20,6)", "12345678901234.567891"),
    "wide": ("numeric", "9" * 60 + ".10"),
    "nan": ("numeric", "NaN"),
    "z": ("timestamptz", "2024-01-01 19:04:05.123456+00"),
    "ts": ("timestamp", "infinity"),
    "day": ("date", "0044-03-15 BC"),
    "tm": ("time", "23:59:59.999999"),
    "iv": ("interval", "1 mon -3 days"),
    "ok": ("boolean", "f"),
    "b": ("bytea", "\\x00ff27"),
    "大b": ("bytea", LARGE),
    "v": ("varchar(9000)", "字" * 9_000),
    "u": ("uuid", "00000000-0000-0000-0000-00000000000a"),
    "j": ("jsonb", '{"名": 1}'),
    "f8": ("float8", "0.30000000000000004"),
    "max": ("float8", "1.7976931348623157e+308"),
    "f4": ("real", "1.6777216e+07"),
    "i8": ("bigint", "-9223372036854775808"),
    "i2": ("smallint", "-32768"),
    "arr": ("int[]", "{1,NULL,2}"),
    "m": ("mood", "好"),
}
MARIADB = {
    "n": ("varchar(200)", "张三😀" * 50),
    "gbk": ("varchar(20) CHARACTER SET gbk", "汉字"),
    "大": ("longtext", f"{LONG}\0尾"),
    "零": ("varchar(20)", "甲\0乙"),
    "零gbk": ("char(20) CHARACTER SET gbk", "\0甲\0乙"),
    "零e": ("enum('甲\0乙','丙')", "甲\0乙"),
    "d": ("decimal(20,6)", "12345678901234.567891"),
    "ts": ("datetime(6)", "2024-01-02 03:04:05.123456"),
    "z": ("timestamp(6) NULL", "2024-01-02 03:04:05.123456+00"),
    "day": ("date", "2024-02-29"),
    "tm": ("time(6)", "23:59:59.999999"),
    "b": ("varbinary(20)", "\\x00ff27"),
    "大b": ("longblob", LARGE),
    "f8": ("double", "0.30000000000000004"),
    "max": ("double", "1.7976931348623157e+308"),
    "f4": ("float", "0.1"),
    "i8": ("bigint", "-9223372036854775808"),
    "u8": ("bigint unsigned", "18446744073709551615"),
    "u4": ("int unsigned", "4294967295"),
    "i1": ("tinyint", "-128"),
    "y": ("year", "2024"),
    "e": ("enum('男','女')", "女"),
}
SQLITE = {
    "n": ("TEXT", "张三😀"),
    "大": ("TEXT", f"{LONG}\0尾"),
    "零": ("TEXT", "甲\0乙"),
    "d": ("DECIMAL(20,6)", "12.34"),
    "dt": ("DATETIME", "2024-01-02 03:04:05.123456"),
    "day": ("DATE", "2024-02-29"),
    "ok": ("BOOLEAN", "t"),
    "b": ("BLOB", "\\x00ff27"),
    "大b": ("BLOB", LARGE),
    "f8": ("DOUBLE", "0.30000000000000004"),
    "r": ("REAL", "1.7976931348623157e+308"),
    "f": ("FLOAT", "5e-324"),
    "i": ("INTEGER", "-9223372036854775808"),
}
DRIVERS = ["postgres-odbc", "postgres-url", "mariadb-odbc", "mariadb-url", "sqlite-odbc", "sqlite-url"]
COLUMNS = {"postgres": POSTGRES, "mariadb": MARIADB, "sqlite": SQLITE}


@contextmanager
def postgres_at(request: pytest.FixtureRequest, by: str) -> Iterator[dict[str, str]]:
    """A PostgreSQL database with the table ``t``."""
    cluster = request.getfixturevalue("postgres15")
    database = cluster.new_database("types")
    with cluster.connect(database) as admin:
        admin.execute("CREATE TYPE mood AS ENUM ('坏', '好')")
        columns = ", ".join(f'"{name}" {kind}' for name, (kind, _) in POSTGRES.items())
        admin.execute(f"CREATE TABLE t (id int PRIMARY KEY, {columns})".encode())
        marks = ", ".join(["%s"] * len(POSTGRES))
        texts = [text for _, text in POSTGRES.values()]
        admin.execute(f"INSERT INTO t VALUES (1, {marks})".encode(), texts)
        admin.execute("INSERT INTO t VALUES (2)")
        # A server that prints and reckons its own way changes nothing.
        admin.execute(f"ALTER DATABASE {database} SET TimeZone = 'Asia/Shanghai'".encode())
        admin.execute(f"ALTER DATABASE {database} SET DateStyle = 'German'".encode())
    url = f"postgresql://postgres@127.0.0.1:{cluster.port}/{database}"
    yield {"odbc": odbc_of(cluster, database)} if by == "odbc" else {"url": url}
    cluster.drop_database(database)


@contextmanager
def mariadb_at(request: pytest.FixtureRequest, by: str) -> Iterator[dict[str, str]]:
    """A MariaDB database with the table ``t``."""
    server = request.getfixturevalue("mariadb")
    database = server.new_database("types")
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00'")
        columns = ", ".join(f"`{name}` {kind}" for name, (kind, _) in MARIADB.items())
        cursor.execute(f"CREATE TABLE t (id int PRIMARY KEY, {columns}) CHARACTER SET utf8mb4")
        texts: list[Any] = [text.removesuffix("+00") for _, text in MARIADB.values()]
        for at, text in enumerate(texts):
            if text.startswith("\\x"):
                texts[at] = bytes.fromhex(text[2:])
        cursor.execute(f"INSERT INTO t VALUES (1, {', '.join(['%s'] * len(MARIADB))})", texts)
        cursor.execute("INSERT INTO t (id) VALUES (2)")
        connection.commit()
    yield mariadb_address(server, database, by)
    server.drop_database(database)


@contextmanager
def sqlite_at(request: pytest.FixtureRequest, by: str) -> Iterator[dict[str, str]]:
    """A SQLite file with the table ``t``."""
    path = request.getfixturevalue("tmp_path") / "types.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = ", ".join(f'"{name}" {kind}' for name, (kind, _) in SQLITE.items())
        connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
        reads: dict[str, Callable[[str], Any]] = {
            "BOOLEAN": lambda _: 1,
            "BLOB": lambda text: bytes.fromhex(text[2:]),
            **dict.fromkeys(("DOUBLE", "REAL", "FLOAT"), float),
            "INTEGER": int,
        }
        values = [reads.get(kind, str)(text) for kind, text in SQLITE.values()]
        connection.execute(f"INSERT INTO t VALUES (1, {', '.join('?' * len(SQLITE))})", values)
        connection.execute("INSERT INTO t (id) VALUES (2)")
    yield {"odbc": f"Driver=SQLite3;Database={path}"} if by == "odbc" else {"url": f"sqlite:///{path}"}


PLACES = {"postgres": postgres_at, "mariadb": mariadb_at, "sqlite": sqlite_at}


@pytest.fixture(params=DRIVERS)
def told(request: pytest.FixtureRequest) -> Iterator[tuple[str, Followed]]:
    """The database's name and a source that polls the table, by each driver in turn."""
    name, by = request.param.split("-")
    with PLACES[name](request, by) as address:
        source = Followed(settings([{"table": "public.t" if name == "postgres" else "t"}], **address)).begin()
        source.open("")
        yield name, source
        source.close()


def texts_of(source: Followed, number: int) -> dict[str, str | None]:
    """One row of the mirror as text, by column."""
    schema = source.mirror.schemas["t"]
    rows = [frames.fields(frame) for frame in source.mirror.tables["t"].values()]
    row = next(row for row in rows if int.from_bytes(row[0] or b"") == number)
    return {
        column.name: None if word is None else to_text(column.kind, word)
        for column, word in zip(schema.columns, row, strict=True)
    }


def test_every_value_comes_exactly(told):
    """No digit, fraction, zone, blank or character is lost, and NULL is NULL."""
    name, source = told
    news(source)

    assert texts_of(source, 1) == {"id": "1"} | {column: text for column, (_, text) in COLUMNS[name].items()}
    assert set(texts_of(source, 2).values()) == {"2", None}


def test_a_scan_and_a_copy_bring_the_same_frames(told):
    """One statement through the driver's cursor, and pages by key."""
    _, source = told
    news(source)
    source.start_copy("t", b"")
    pages = list(source.pages())

    assert b"".join(page.frames.data for page in pages) == b"".join(page.data for page in source.scan("t"))
    assert sum(page.frames.count for page in pages) == 2


@pytest.mark.parametrize("by", ["odbc", "url"])
def test_a_key_of_any_type_is_found_again(postgres15, by):
    """As a parameter it means the same value: pages go on after it and look-ups find it."""
    database = postgres15.new_database("keys")
    kinds = {kind: text[:50] for kind, text in POSTGRES.values()}
    with postgres15.connect(database) as admin:
        admin.execute("CREATE TYPE mood AS ENUM ('坏', '好')")
        for number, (kind, text) in enumerate(kinds.items()):
            admin.execute(f"CREATE TABLE k{number} (k {kind} PRIMARY KEY)".encode())
            admin.execute(f"INSERT INTO k{number} VALUES (%s)".encode(), (text,))
        url = f"postgresql://postgres@127.0.0.1:{postgres15.port}/{database}"
        address = {"odbc": odbc_of(postgres15, database)} if by == "odbc" else {"url": url}
        empty = [f"DELETE FROM k{number}" for number in range(len(kinds))]
        found_and_gone("public.", len(kinds), address, lambda: [admin.execute(one.encode()) for one in empty])
    postgres15.drop_database(database)


@pytest.mark.parametrize("by", ["odbc", "url"])
def test_a_key_of_mariadb_is_found_again(mariadb, mariadb_database, by):
    """Texts of 128 characters and more are the ones that Debian's driver corrupts unless told otherwise."""
    kinds = {
        "decimal(12,2)": "12.30",
        "decimal(12,2) unsigned": "12.30",
        "bit(1)": 1,
        "bit(10)": 513,
        "time(6)": "-838:59:58.900000",
        "datetime(6)": "2024-01-02 03:04:05.100000",
        "date": "2024-01-02",
        "varchar(150)": "字" * 140,
        "varchar(20)": "甲\0乙",
        "bigint unsigned": "18446744073709551615",
        "int unsigned": "4294967295",
        "double": "0.1",
    }
    for number, (kind, value) in enumerate(kinds.items()):
        made = f"CREATE TABLE k{number} (k {kind} PRIMARY KEY) CHARACTER SET utf8mb4"
        mariadb.execute(made, f"INSERT INTO k{number} VALUES ({value!r})", database=mariadb_database)
    empty = [f"DELETE FROM k{number}" for number in range(len(kinds))]
    address = mariadb_address(mariadb, mariadb_database, by)
    found_and_gone("", len(kinds), address, lambda: mariadb.execute(*empty, database=mariadb_database))


def found_and_gone(schema: str, tables: int, address: dict[str, str], empty: Callable[[], object]) -> None:
    """One row in each table: it comes once, stays, is a page's beginning, and goes."""
    names = [f"k{number}" for number in range(tables)]
    polled = settings([{"table": f"{schema}{name}"} for name in names], load={"page_rows": 1}, **address)
    source = Followed(polled).begin()
    source.open("")
    news(source, 0.5)
    assert [name for name in names if source.mirror.count(name) != 1] == []
    for _ in range(4 * tables):
        assert source.read(Limits(wait_s=0)) is None
    empty()
    news(source, 0.5)
    assert [name for name in names if source.mirror.count(name)] == []
    assert source.holds() == []
    source.close()


@pytest.mark.parametrize("by", ["odbc", "url"])
def test_undecodable_bytes_hold_the_table(tmp_path, by):
    """Never replaced by another character; the other table goes on."""
    path = tmp_path / "bad.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE bad (id INTEGER PRIMARY KEY, n TEXT)")
        connection.execute("CREATE TABLE good (id INTEGER PRIMARY KEY, n TEXT)")
        connection.execute("INSERT INTO bad VALUES (1, CAST(? AS TEXT))", ("汉字".encode("gbk"),))
        connection.execute("INSERT INTO good VALUES (1, '汉字')")
    address = {"odbc": f"Driver=SQLite3;Database={path}"} if by == "odbc" else {"url": f"sqlite:///{path}"}
    source = Followed(settings([{"table": "bad"}, {"table": "good"}], **address)).begin()
    source.open("")
    news(source)
    holds: list[Any] = source.holds()

    assert [(type(hold), hold.table, "utf-8 at byte 0" in str(hold)) for hold in holds] == [
        (BadRow, "bad", True)
    ]
    assert source.mirror.rows("good") == [(1, "汉字")]
    source.close()


def test_gbk_in_a_column_that_says_otherwise(tmp_path, mariadb, mariadb_database):
    """The settings say how the bytes are really written: in SQLite, and in a latin1 column of MariaDB."""
    path = tmp_path / "gbk.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT)")
        connection.execute("INSERT INTO t VALUES (1, CAST(? AS TEXT))", ("汉字".encode("gbk"),))
    with closing(mariadb.connect(mariadb_database)) as server, server.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY, n varchar(20) CHARACTER SET latin1)")
        cursor.execute("INSERT INTO t VALUES (1, _binary %s)", ("汉字".encode("gbk"),))
        server.commit()
    addresses = [{"url": f"sqlite:///{path}"}]
    addresses += [mariadb_address(mariadb, mariadb_database, by) for by in ("odbc", "url")]
    for address in addresses:
        source = Followed(settings([{"table": "t", "charsets": {"n": "gbk"}}], **address)).begin()
        source.open("")
        news(source)
        assert source.mirror.rows("t") == [(1, "汉字")]
        source.close()


@pytest.mark.parametrize("by", ["odbc", "url"])
def test_a_postgresql_that_checks_no_characters(postgres15, by):
    """Its texts come as bytes: UTF-8 is read, GBK where the settings say so, and anything else is held."""
    database = postgres15.new_database("ascii")
    url = f"postgresql://postgres@127.0.0.1:{postgres15.port}/{database}"
    with postgres15.connect() as admin:
        admin.execute(f'DROP DATABASE "{database}"'.encode())
        admin.execute(
            f"CREATE DATABASE \"{database}\" ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0".encode()
        )
    with postgres15.connect(database) as admin:
        for name, encoding in (("good", "utf-8"), ("old", "gbk"), ("bad", "gbk")):
            word = "".join(f"\\x{byte:02x}" for byte in "汉字".encode(encoding))
            admin.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, n text)".encode())
            admin.execute(f"INSERT INTO {name} VALUES (1, E'{word}')".encode())
    address = {"odbc": odbc_of(postgres15, database)} if by == "odbc" else {"url": url}
    tables: list[dict[str, Any]] = [{"table": f"public.{name}"} for name in ("good", "old", "bad")]
    tables[1]["charsets"] = {"n": "gbk"}
    source = Followed(settings(tables, **address)).begin()
    source.open("")
    news(source, 0.2)
    holds: list[Any] = source.holds()

    assert source.mirror.rows("good") == source.mirror.rows("old") == [(1, "汉字")]
    assert [(type(hold), hold.table) for hold in holds] == [(BadRow, "bad")]
    source.close()
    postgres15.drop_database(database)


def test_a_column_is_what_the_settings_say(tmp_path):
    """Where the database's own word says too little: an epoch, a flag, a decimal in a text."""
    path = tmp_path / "kinds.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, flag INTEGER, price TEXT)")
        connection.execute("INSERT INTO t VALUES (1, 1700000000, 1, '12345678901234567890.10')")
    kinds = {"at": "int64", "flag": "bool", "price": "decimal"}
    source = Followed(settings([{"table": "t", "kinds": kinds}], url=f"sqlite:///{path}")).begin()
    source.open("")
    news(source)

    assert texts_of(source, 1) == {
        "id": "1",
        "at": "1700000000",
        "flag": "t",
        "price": "12345678901234567890.10",
    }
    source.close()


def test_a_key_that_is_spelled_another_way_is_held(tmp_path):
    """SQLite compares spellings: a time with a T would never be found again, and its row deleted and added for ever."""
    path = tmp_path / "spelled.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (at DATETIME PRIMARY KEY)")
        connection.execute("INSERT INTO t VALUES ('2024-01-02T03:04:05')")
    source = Followed(settings([{"table": "t"}], url=f"sqlite:///{path}")).begin()
    source.open("")

    assert news(source) == []
    holds: list[Any] = source.holds()
    assert [hold.table for hold in holds] == ["t"]
    source.close()


def test_the_session_of_each_driver_cannot_write(told):
    """Whatever the account could do."""
    _, source = told
    with pytest.raises(Exception) as refused:
        source._opened._database.query("DELETE FROM t")

    assert not isinstance(refused.value, pymysql.err.InternalError)
    news(source)
    assert source.mirror.count("t") == 2


def test_passwords_are_in_no_message(postgres15):
    """Neither of an address that is refused nor of a server that is not there."""
    for address in (
        {"odbc": "Driver={PostgreSQL Unicode};Server=127.0.0.1;Port=1;UID=x;PWD=geheim"},
        {"url": "postgresql://x:geheim@127.0.0.1:1/d"},
    ):
        source = PollingSource(settings([{"table": "t"}], **address), NoMirror())
        found = source.check()

        assert [finding.passed for finding in found] == [False]
        assert "geheim" not in str(found)
