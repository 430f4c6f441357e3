"""The traps of the real drivers: each would cut, round, drop or write down something unless it is told otherwise."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.sources.polling.connecting import connect
from proto.errors import BadRow, Credential, ExchangeError, Refused, Transient
from tests.support.mariadb import MariadbServer
from tests.support.polling import Followed, mariadb_address, news, odbc_of, settings
from tests.support.postgres import Cluster


@pytest.mark.parametrize("by", ["odbc", "url"])
def test_a_text_longer_than_a_packet_is_not_null(by):
    """MariaDB's CAST gives NULL for what is longer than max_allowed_packet, with a warning that nobody reads."""
    with MariadbServer() as server:
        database = server.new_database("packet")
        server.execute(
            "CREATE TABLE t (id int PRIMARY KEY, 长 longtext, gbk longtext CHARACTER SET latin1, j longtext)",
            "INSERT INTO t VALUES (1, REPEAT('长', 800000), REPEAT(_binary x'BABA', 800000), "
            """CONCAT('"', REPEAT('长', 800000), '"'))""",
            "SET GLOBAL max_allowed_packet = 1048576",
            database=database,
        )
        table = {"table": "t", "charsets": {"gbk": "gbk"}, "kinds": {"j": "json"}}
        source = Followed(settings([table], **mariadb_address(server, database, by))).begin()
        source.open("")
        news(source, 0.5)
        (row,) = source.mirror.rows("t")

        assert row == (1, "长" * 800_000, "汉" * 800_000, f'"{"长" * 800_000}"')
        source.close()


@pytest.mark.parametrize("by", ["odbc", "url"])
@pytest.mark.parametrize(
    ("declared", "text"),
    [("INTEGER", "12\0x"), ("DECIMAL(9,2)", "1.5\0x"), ("DOUBLE", "1.5\0x"), ("REAL", "三")],
)
def test_a_text_where_a_number_is_expected_is_held(tmp_path, by, declared, text):
    """SQLite takes anything anywhere; its ODBC driver would make 12, 1.5 and NULL of these."""
    path = tmp_path / "odd.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, n {declared})")
        connection.execute("INSERT INTO t VALUES (1, ?)", (text,))
    address = {"odbc": f"Driver=SQLite3;Database={path}"} if by == "odbc" else {"url": f"sqlite:///{path}"}
    source = Followed(settings([{"table": "t"}], **address)).begin()
    source.open("")

    assert news(source) == []
    holds: list[Any] = source.holds()
    assert [(type(hold), hold.table) for hold in holds] == [(BadRow, "t")]
    source.close()


def test_a_text_in_a_blob_is_not_cut(tmp_path):
    """The SQLite ODBC driver would end it at its first zero byte."""
    path = tmp_path / "odd.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)")
        connection.execute("INSERT INTO t VALUES (1, ?)", ("abc\0def",))
    source = Followed(settings([{"table": "t"}], odbc=f"Driver=SQLite3;Database={path}")).begin()
    source.open("")
    news(source)

    assert source.mirror.rows("t") == [(1, b"abc\0def")]
    source.close()


@pytest.fixture
def dsn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres15: Cluster) -> Iterator[tuple[str, str]]:
    """A data source of the machine whose settings cut, and the database behind it; its log files go to a place of ours."""
    database = postgres15.new_database("dsn")
    with postgres15.connect(database) as admin:
        admin.execute("CREATE TABLE t (id int PRIMARY KEY, ok boolean, n text)")
        admin.execute("INSERT INTO t VALUES (1, true, repeat('长', 9000))")
    lines = ["Driver=PostgreSQL Unicode", "Servername=127.0.0.1", f"Port={postgres15.port}"]
    lines += [f"Database={database}", "Username=postgres", "BoolsAsChar=1", "TextAsLongVarchar=0"]
    lines += ["MaxLongVarcharSize=100", "MaxVarcharSize=100", "CommLog=1"]
    # The driver manager keeps what it read of a name once, so each test has a name of its own.
    (tmp_path / "odbc.ini").write_text(f"[{database}]\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("ODBCINI", str(tmp_path / "odbc.ini"))
    yield f"DSN={database}", database
    postgres15.drop_database(database)


def test_a_dsn_cannot_make_the_driver_cut(dsn):
    """The driver is known by its library, whatever the data source is called, and told what it must be told."""
    source = Followed(settings([{"table": "public.t"}], odbc=dsn[0])).begin()
    source.open("")
    news(source)

    assert source.mirror.rows("t") == [(1, True, "长" * 9_000)]
    source.close()


@pytest.mark.parametrize("by", ["name", "library", "dsn"])
def test_no_statement_is_written_into_a_log(dsn, postgres15, by):
    """Debian's driver writes each into the temporary folder unless told otherwise; what is left says only that it hung up."""
    (library,) = map(str, Path("/usr/lib").glob("*/odbc/psqlodbcw.so"))
    named = odbc_of(postgres15, dsn[1])
    address = {"name": named, "library": named.replace("{PostgreSQL Unicode}", library), "dsn": dsn[0]}[by]
    program = (
        "import os; from agent.sources.polling.source import PollingSource; "
        "from agent.sources.source import NoMirror; from tests.support.polling import settings; "
        f"s = PollingSource(settings([{{'table': 'public.t'}}], odbc={address + ';CommLog=1;Debug=1'!r}), NoMirror()); "
        "print(s.schemas()[0].name, [p.count for p in s.scan('t')], os.getpid())"
    )
    child = [sys.executable, "-c", program]
    said = subprocess.run(child, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    name, rows, number = said.stdout.split()
    logs = [*Path("/tmp").glob(f"*psqlodbc*{number}.log")]
    written = [line for log in logs for line in log.read_text().splitlines()]
    for log in logs:
        log.unlink()

    assert (name, rows) == ("t", "[1]")
    assert [line for line in written if not line.startswith("PQfinish: ")] == []


def test_the_driver_that_knows_no_unicode_is_refused(dsn, postgres15):
    """Its library is known, whatever it is called; it could bring no Chinese."""
    named = odbc_of(postgres15, dsn[1]).replace("PostgreSQL Unicode", "PostgreSQL ANSI")

    with pytest.raises(Refused, match="cannot carry every character"):
        connect(settings([{"table": "public.t"}], odbc=named))


@pytest.mark.parametrize("by", ["odbc", "url"])
def test_what_does_not_answer_says_why(tmp_path, mariadb, postgres15, by):
    """In the server's own words, whichever driver carries them; nothing is made where a file should be."""
    missing, port = tmp_path / "没有.db", postgres15.port
    addresses: list[tuple[dict[str, str], type[ExchangeError], str]] = [
        (mariadb_address(mariadb, "nix", by), Transient, "Unknown database 'nix'"),
        ({"odbc": odbc_of(postgres15, "nix")}, Transient, 'database "nix" does not exist'),
        ({"odbc": f"{odbc_of(postgres15, 'x')[:-8]}nix"}, Credential, 'role "nix" does not exist'),
        ({"odbc": "DSN=nix"}, Refused, 'data source "nix"'),
        ({"odbc": f"Driver=SQLite3;Database={missing}"}, Transient, "correct the path"),
    ]
    if by == "url":
        addresses[1:] = [
            ({"url": f"postgresql://postgres@127.0.0.1:{port}/nix"}, Transient, '"nix" does not exist'),
            ({"url": f"postgresql://nix@127.0.0.1:{port}/x"}, Credential, 'role "nix" does not exist'),
            ({"url": f"sqlite:///{missing}"}, Transient, "correct the path"),
        ]
    for address, kind, words in addresses:
        with pytest.raises(kind) as caught:
            connect(settings([{"table": "t"}], **address))
        assert words in str(caught.value)
    assert not missing.exists()


NAMES = [
    "秘密",
    "at",
    *("名" * length for length in range(1, 17)),
    *("a" * length + "é" for length in range(1, 40)),
    "😀",
]


@pytest.mark.parametrize("home", ["postgres", "mariadb", "sqlite"])
def test_a_name_is_told_whole(tmp_path, mariadb, postgres15, home):
    """MariaDB's driver would make 秘 of 秘密: another column, or none."""
    quote = "`" if home == "mariadb" else '"'
    names = [name for name in NAMES if name != "😀" or home != "mariadb"]
    made = f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(f'{quote}{name}{quote} int' for name in names)})"
    if home == "sqlite":
        with closing(sqlite3.connect(tmp_path / "names.db")) as connection, connection:
            connection.execute(made)
        address = {"odbc": f"Driver=SQLite3;Database={tmp_path / 'names.db'}"}
    elif home == "mariadb":
        database = mariadb.new_database("names")
        mariadb.execute(made, database=database)
        address = mariadb_address(mariadb, database, "odbc")
    else:
        database = postgres15.new_database("names")
        with postgres15.connect(database) as admin:
            admin.execute(made.encode())
        address = {"odbc": odbc_of(postgres15, database)}
    source = Followed(settings([{"table": "public.t" if home == "postgres" else "t"}], **address)).begin()

    assert [column.name for column in source.mirror.schemas["t"].columns] == ["id", *names]


@pytest.mark.parametrize("by", ["odbc", "url"])
def test_a_yes_of_mariadb_may_be_written_in_any_way(mariadb, mariadb_database, by):
    """A bit of one digit is a truth value by itself; a text and a number are when the settings say so."""
    mariadb.execute(
        "CREATE TABLE t (id int PRIMARY KEY, b bit(1), n tinyint(1), c char(1), bits bit(10))",
        "INSERT INTO t VALUES (1, b'1', 1, 't', b'0000000001'), (2, b'0', 0, 'f', b'1000000000')",
        database=mariadb_database,
    )
    table = {"table": "t", "kinds": {"n": "bool", "c": "bool"}}
    source = Followed(settings([table], **mariadb_address(mariadb, mariadb_database, by))).begin()
    source.open("")
    news(source, 0.5)

    assert source.holds() == []
    assert source.mirror.rows("t") == [
        (1, True, True, True, "0000000001"),
        (2, False, False, False, "1000000000"),
    ]
    source.close()
