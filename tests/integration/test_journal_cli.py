"""``exchange-agent journal``: real processes, and the databases' own clients for what it prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from demo.system import attempt, command
from tests.support.mariadb import MariadbServer
from tests.support.postgres import Cluster

AGENT = command("exchange-agent")
READER = "exchange_reader"
PASSWORD = "s3cret/@word"
TABLES = (
    "CREATE TABLE person (id integer PRIMARY KEY, name varchar(50))",
    "INSERT INTO person VALUES (1, '张三')",
)


@dataclass
class Place:
    """A business database, the account that reads it, and how its own client runs a script."""

    admin: str
    url: str
    """The reader's, its password in a file."""
    table: str
    client: Sequence[str]
    run: Callable[[str], None]
    """One statement as the administrator."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Settings and secrets live here."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return tmp_path


def sqlite(folder: Path, _: pytest.FixtureRequest) -> Iterator[Place]:
    """A file; it has no accounts."""
    path = folder / "business.db"
    url = f"sqlite:///{path}"
    yield Place(url, url, "person", ("sqlite3", "-bail", str(path)), runner(url))


def postgres(folder: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A login that may connect and nothing else."""
    cluster: Cluster = request.getfixturevalue("postgres15")
    name = cluster.new_database("business")
    admin = cluster.url(name)
    reader = make_url(admin).set(username=READER, password="SECRET").render_as_string(hide_password=False)
    run = runner(admin)
    run(f"CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}'")
    client = ("psql", "-1", "-v", "ON_ERROR_STOP=1", cluster.dsn(name))
    yield Place(admin, reader.replace("SECRET", f"${{file:{folder}/password}}"), "public.person", client, run)
    cluster.drop_database(name)
    runner(cluster.url("postgres"))(f"DROP ROLE {READER}")


def mariadb(folder: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """An account of this machine, which must see the tables before their triggers can be written."""
    server: MariadbServer = request.getfixturevalue("mariadb")
    name = server.new_database("business")
    admin = server.url(name)
    reader = make_url(admin).set(username=READER, password="SECRET").render_as_string(hide_password=False)
    run = runner(admin)
    run(f"CREATE USER {READER}@'%%' IDENTIFIED BY '{PASSWORD}'")
    run(f"GRANT SELECT ON {name}.* TO {READER}@'%%'")
    login = make_url(admin)
    client = ("mariadb", "-h127.0.0.1", f"-P{login.port}", f"-u{login.username}", name)
    yield Place(admin, reader.replace("SECRET", f"${{file:{folder}/password}}"), "person", client, run)
    run(f"DROP USER {READER}@'%%'")
    server.drop_database(name)


PLACES = {"sqlite": sqlite, "postgres15": postgres, "mariadb": mariadb}


@pytest.fixture
def place(request: pytest.FixtureRequest, folder: Path) -> Iterator[Place]:
    """Each database with its table, and settings that name it."""
    made = PLACES[request.param](folder, request)
    found = next(made)
    for statement in TABLES:
        found.run(statement)
    settle(folder, found.url, found.table)
    yield found
    next(made, None)


def settle(folder: Path, url: str, table: str) -> None:
    """Write the settings file."""
    section = {"kind": "journal", "name": "hr", "url": url, "tables": [{"table": table}]}
    files = {word: str(folder / f"{word}.pem") for word in ("ca", "certificate", "key")}
    settings = {
        "node": "hr-node",
        "central": {"address": "127.0.0.1:1", **files},
        "exchange": {"url": f"sqlite:///{folder}/exchange.db"},
        "sources": [section],
    }
    (folder / "agent.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True))


def runner(url: str) -> Callable[[str], None]:
    """A hand on a database."""

    def run(statement: str) -> None:
        with closing(create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect()) as link:
            link.exec_driver_sql(statement)

    return run


def ask(folder: Path, *words: str) -> tuple[int, str, str]:
    """A command of the agent: exit code, what it printed, what it complained of."""
    done = attempt(AGENT, *words, "-c", str(folder / "agent.yaml"))
    assert "Traceback" not in done.stderr, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def do(folder: Path, *words: str) -> str:
    """A command that must succeed."""
    code, said, complaint = ask(folder, *words)
    assert code == 0, complaint
    return said


def checked(folder: Path) -> dict[str, bool]:
    """What ``check`` finds of the source."""
    code, said, complaint = ask(folder, "check", "--json")
    assert (code, complaint) == (1, ""), complaint
    found = [each for each in json.loads(said) if each["name"].startswith("source hr: ")]
    assert all(each["passed"] or each["fix"] for each in found), found
    return {each["name"].removeprefix("source hr: "): each["passed"] for each in found}


def fed(place: Place, script: str) -> None:
    """What was printed, read by the database's own client."""
    subprocess.run(place.client, input=script, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_what_is_printed_is_what_the_databases_own_client_runs(place, folder):
    """Show, run by hand, check; and the same to take it away."""
    script = do(folder, "journal", "show-sql")
    assert checked(folder)["journal"] is False, "printing changes nothing"
    fed(place, script)
    fed(place, script)

    found = checked(folder)
    assert found["journal"] and found["table person"]
    assert all(found.values()), found

    fed(place, do(folder, "journal", "show-sql", "hr", "--remove"))
    with pytest.raises(DBAPIError):
        place.run("SELECT * FROM exchange_journal")
    place.run("INSERT INTO person VALUES (2, '李四')")


@pytest.mark.parametrize("place", ["mariadb"], indirect=True)
def test_install_and_remove_by_command(place, folder):
    """With a URL that has the rights, named on the command line and kept nowhere."""
    said = do(folder, "journal", "install", "hr", "--url", place.admin)
    assert said.startswith("1 tables are watched\n")
    place.run("INSERT INTO person VALUES (2, '李四')")
    assert checked(folder)["table person"] is True

    assert do(folder, "journal", "remove", "--yes", "--url", place.admin) == "removed\n"
    with pytest.raises(DBAPIError):
        place.run("SELECT * FROM exchange_journal")
    place.run("INSERT INTO person VALUES (3, '王五')")


@pytest.mark.parametrize("place", ["postgres15", "mariadb"], indirect=True)
def test_an_account_with_too_few_rights_is_one_clear_line(place, folder):
    """The reader has not the rights to install."""
    reader = make_url(place.url).set(password=PASSWORD).render_as_string(hide_password=False)
    code, said, complaint = ask(folder, "journal", "install", "hr", "--url", reader)
    assert (code, said, complaint.count("\n")) == (2, "", 1), complaint
    assert "was refused" in complaint and "run it as an administrator" in complaint


@pytest.mark.parametrize("place", ["mariadb"], indirect=True)
def test_a_wrong_password_is_one_clear_line(place, folder):
    """It is not repeated, and nothing is read."""
    (folder / "password").write_text("wrong\n")
    code, said, complaint = ask(folder, "journal", "show-sql")

    assert (code, said, complaint.count("\n")) == (1, "", 1), complaint
    assert "the database refuses the account" in complaint and "password" in complaint
    assert "wrong" not in complaint
