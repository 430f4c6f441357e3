"""``init`` at whatever a department runs on: what it finds, what it recommends, and settings that load."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from agent.settings import Settings
from demo.system import attempt, command
from proto.process import load_settings
from tests.support.mariadb import MariadbServer
from tests.support.polling import mariadb_address, odbc_of
from tests.support.postgres import Cluster

AGENT = command("exchange-agent")
SECRET = "s3cret/@word"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A business database in one file."""
    path = tmp_path / "business.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE 人员 (编号 INTEGER PRIMARY KEY, 姓名 TEXT)")
        connection.execute("CREATE TABLE 日志 (what TEXT)")
    return path


def init(dsn: str, out: Path, *more: str) -> CompletedProcess[str]:
    """As a person says it."""
    where = ("--node", "hr", "--central", "central.example:7443", "--source", "hr", "--out", str(out))
    return attempt(AGENT, "init", "--dsn", dsn, *where, *more)


def source(out: Path) -> dict[str, Any]:
    """The only source of a settings file, as it is read."""
    return load_settings(out, Settings).sources[0].model_dump()


def test_a_file_is_listened_to_through_triggers(file, tmp_path):
    """Recommended with its reason; what is missing is a command; the table without a key stays out."""
    done = init(str(file), tmp_path / "agent.yaml")

    assert done.returncode == 0, done.stderr
    assert "recommended: journal" in done.stdout
    assert "missing for journal:" in done.stdout and "journal show-sql hr" in done.stdout
    told = source(tmp_path / "agent.yaml")
    assert told["kind"] == "journal"
    assert [table["table"] for table in told["tables"]] == ["人员"]


def test_another_way_can_be_chosen(file, tmp_path):
    """The same file, asked with nothing but SELECT."""
    done = init(f"sqlite:///{file}", tmp_path / "agent.yaml", "--kind", "polling")

    assert done.returncode == 0, done.stderr
    assert source(tmp_path / "agent.yaml")["kind"] == "polling"


def test_a_way_that_is_not_there_is_refused(file, tmp_path):
    """With those that are."""
    done = init(str(file), tmp_path / "agent.yaml", "--kind", "mysql")

    assert done.returncode == 2
    assert "choose journal or polling" in done.stderr
    assert not (tmp_path / "agent.yaml").exists()


def test_odbc_is_asked(file, tmp_path):
    """Any database with a driver; its password goes into its own file."""
    out = tmp_path / "agent.yaml"
    done = init(f"Driver={{SQLite3}};Database={file};PWD={SECRET}", out)

    assert done.returncode == 0, done.stderr
    assert "recommended: polling" in done.stdout
    assert SECRET not in out.read_text() + done.stdout
    assert source(out)["odbc"].get_secret_value().endswith(f"PWD={SECRET}")
    assert stat.S_IMODE((tmp_path / "hr-password").stat().st_mode) == 0o600


def test_a_folder_is_known_by_its_files(tmp_path):
    """One table for each name; the headings become rules."""
    folder = tmp_path / "收件"
    folder.mkdir()
    (folder / "人员2024.csv").write_bytes("身份证号,姓名\n1,王伟\n".encode("gb18030"))
    (folder / "人员2025.csv").write_text("身份证号,姓名\n")
    done = init(str(folder), tmp_path / "agent.yaml")

    assert done.returncode == 0, done.stderr
    assert "recommended: dropfolder" in done.stdout
    (table,) = source(tmp_path / "agent.yaml")["tables"]
    assert (table["table"], table["files"], table["key"]) == ("人员", "人员*.csv", ("身份证号",))
    assert [rule["name"] for rule in table["rules"]] == ["身份证号", "姓名"]


def test_an_empty_folder_says_what_to_put_into_it(tmp_path):
    """There is nothing to guess from."""
    (tmp_path / "收件").mkdir()
    done = init(str(tmp_path / "收件"), tmp_path / "agent.yaml")

    assert done.returncode == 2
    assert "put one .csv or .xlsx of each table into it" in done.stderr


def test_what_is_no_address_is_told_what_one_looks_like(tmp_path):
    """No traceback."""
    done = init("这不是地址", tmp_path / "agent.yaml")

    assert done.returncode == 2
    assert "mysql://user@host/database" in done.stderr and "Traceback" not in done.stderr


def test_mariadb_is_read_through_its_log(mariadb: MariadbServer, mariadb_database: str, tmp_path):
    """An account without the right to read the log is told the exact grant; the password stays out of the settings."""
    mariadb.execute("CREATE TABLE 人员 (编号 int PRIMARY KEY, 姓名 varchar(20))", database=mariadb_database)
    mariadb.execute(
        f"CREATE USER IF NOT EXISTS init_reader@'127.0.0.1' IDENTIFIED BY '{SECRET}'",
        f"GRANT SELECT ON `{mariadb_database}`.* TO init_reader@'127.0.0.1'",
    )
    out = tmp_path / "agent.yaml"
    dsn = f"mysql://init_reader:{SECRET.replace('/', '%2F')}@127.0.0.1:{mariadb.port}/{mariadb_database}"
    done = init(dsn, out)
    mariadb.execute("DROP USER init_reader@'127.0.0.1'")

    assert done.returncode == 0, done.stderr
    assert "recommended: mysql" in done.stdout
    assert "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO 'init_reader'@" in done.stdout
    assert "s3cret" not in out.read_text() + done.stdout
    assert load_settings(out, Settings).sources[0].address.password == SECRET
    assert [table["table"] for table in source(out)["tables"]] == [f"{mariadb_database}.人员"]


def test_odbc_tells_what_may_be_read_and_of_a_better_way(postgres15: Cluster, tmp_path):
    """Only readable columns are proposed; where the log could be read, init says with which address."""
    name = postgres15.new_database("init")
    with postgres15.connect(name) as admin:
        admin.execute("CREATE TABLE 人员 (编号 int PRIMARY KEY, 姓名 text, 秘密 text)")
        admin.execute("INSERT INTO 人员 SELECT n, '王' FROM generate_series(1, 300) n")
        admin.execute("ANALYZE 人员")
        admin.execute("CREATE ROLE init_odbc LOGIN")
        admin.execute("GRANT SELECT (编号, 姓名) ON 人员 TO init_odbc")
        done = init(
            odbc_of(postgres15, name).replace("UID=postgres", "UID=init_odbc"), tmp_path / "agent.yaml"
        )
        admin.execute("DROP OWNED BY init_odbc; DROP ROLE init_odbc")
    postgres15.drop_database(name)

    assert done.returncode == 0, done.stderr
    assert "recommended: polling" in done.stdout and "missing for" not in done.stdout
    assert "about 300 rows" in done.stdout
    assert "its log tells every change at once" in done.stdout and "postgresql://user@" in done.stdout
    assert [table["columns"] for table in source(tmp_path / "agent.yaml")["tables"]] == [("编号", "姓名")]


def test_odbc_of_mariadb_names_its_tables_whole(mariadb: MariadbServer, mariadb_database: str, tmp_path):
    """Its driver would cut the last character of some names; an administrator's account is not recommended.

    Two databases may have a table of one name: the platform tells them apart by a longer one.
    """
    other = mariadb.new_database("other")
    for database in (mariadb_database, other):
        mariadb.execute("CREATE TABLE 秘密 (编号 int PRIMARY KEY, 秘密 text)", database=database)
    done = init(mariadb_address(mariadb, mariadb_database, "odbc")["odbc"], tmp_path / "agent.yaml")
    mariadb.drop_database(other)

    assert done.returncode == 0, done.stderr
    tables = source(tmp_path / "agent.yaml")["tables"]
    assert {f"{mariadb_database}_秘密", f"{other}_秘密"} <= {one["name"] for one in tables}
    (table,) = [one for one in tables if mariadb_database in one["table"]]
    assert (table["table"], table["columns"]) == (f"{mariadb_database}.秘密", ("编号", "秘密"))
    assert "CREATE USER 'exchange_reader'" in done.stdout and "REVOKE" not in done.stdout
    assert "mysql://user@host/database" in done.stdout
