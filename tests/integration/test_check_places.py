"""What ``check`` says where nothing can be looked at: why, and the one thing to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.sources.dropfolder.checks import check as check_folder
from agent.sources.dropfolder.settings import DropfolderSettings
from agent.sources.mysql.checks import check as check_mysql
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.postgresql.checks import check as check_postgresql
from agent.sources.postgresql.settings import PostgresqlSettings
from demo.server import free_port


def of_postgresql(dsn: str) -> tuple[str, str]:
    """The only finding."""
    known = {"kind": "postgresql", "name": "hr", "dsn": dsn, "tables": [{"table": "public.人员"}]}
    (found,) = check_postgresql(PostgresqlSettings.model_validate(known))
    assert not found.passed
    return found.sentence, found.fix


def of_mysql(dsn: str) -> tuple[str, str]:
    """The only finding."""
    known = {"kind": "mysql", "name": "hr", "dsn": dsn, "tables": [{"table": "人员"}]}
    (found,) = check_mysql(MysqlSettings.model_validate(known))
    assert not found.passed
    return found.sentence, found.fix


def of_folder(folder: Path) -> tuple[str, str]:
    """The first finding."""
    table = {
        "table": "人员",
        "files": "人员*.csv",
        "mode": "snapshot",
        "key": ["编号"],
        "rules": [{"name": "编号"}],
    }
    known: dict[str, Any] = {"kind": "dropfolder", "name": "hr", "folder": str(folder), "tables": [table]}
    found = check_folder(DropfolderSettings.model_validate(known))[0]
    assert not found.passed
    return found.sentence, found.fix


def test_a_postgresql_without_the_database(postgres15):
    """Its account and password are right, so nothing is said of them."""
    sentence, fix = of_postgresql(f"postgresql://postgres@127.0.0.1:{postgres15.port}/nix")

    assert 'database "nix" does not exist' in sentence
    assert fix == "correct the database's name in the dsn"


def test_a_mariadb_without_the_database(mariadb):
    """An account that may not see it gets the right to, by the statement as printed."""
    mariadb.execute("CREATE USER check_reader@'%'", "CREATE DATABASE check_hidden")
    sentence, fix = of_mysql(f"mysql://root@127.0.0.1:{mariadb.port}/nix")
    assert "Unknown database 'nix'" in sentence and fix == "correct the database's name in the dsn"

    hidden = f"mysql://check_reader@127.0.0.1:{mariadb.port}/check_hidden"
    sentence, fix = of_mysql(hidden)
    mariadb.execute("CREATE TABLE 人员 (编号 int PRIMARY KEY)", fix.splitlines()[1], database="check_hidden")
    known = {"kind": "mysql", "name": "hr", "dsn": hidden, "tables": [{"table": "人员"}]}
    found = {one.name: one for one in check_mysql(MysqlSettings.model_validate(known))}
    mariadb.execute("DROP DATABASE check_hidden", "DROP USER check_reader@'%'")

    assert "Access denied" in sentence
    assert found["table 人员: read"].passed


def test_a_mariadb_that_does_not_answer():
    """The address is named, port included."""
    port = free_port()

    assert f"127.0.0.1:{port}" in of_mysql(f"mysql://root@127.0.0.1:{port}/d")[1]


@pytest.mark.parametrize("what", ["nothing", "a file", "a link"])
def test_a_folder_that_is_none(tmp_path, what):
    """Each with what to do; a link is never followed."""
    folder = tmp_path / "收件"
    if what == "a file":
        folder.write_text("x")
    elif what == "a link":
        folder.symlink_to(tmp_path)
    sentence, fix = of_folder(folder)

    assert {"nothing": "does not exist", "a file": "Not a directory", "a link": "it is a link"}[
        what
    ] in sentence
    assert ("mkdir -m 0770" in fix) == (what == "nothing")
