"""What ``check`` says of a polled database is true, and the statements that it prints mend it as they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from agent.sources.polling.source import PollingSource
from agent.sources.source import Finding, NoMirror
from tests.support.mariadb import MariadbServer
from tests.support.polling import mariadb_address, odbc_of, settings
from tests.support.postgres import Cluster

READER = "polling_advised"
Run = Callable[[str], None]
Home = tuple[dict[str, str], Run]


@contextmanager
def postgres_home(cluster: Cluster, by: str) -> Iterator[Home]:
    """A reader that may see the key alone, and change a name."""
    database = cluster.new_database("advice")
    with cluster.connect(database) as admin:

        def run(statement: str) -> None:
            admin.execute(statement.encode())

        run(
            "CREATE TABLE 人员 (编号 int PRIMARY KEY, 姓名 text, 密 text, 改 timestamptz NOT NULL DEFAULT now())"
        )
        run(f"CREATE ROLE {READER} LOGIN")
        run(f"GRANT SELECT (编号), UPDATE (姓名) ON 人员 TO {READER}")
        url = f"postgresql://{READER}@127.0.0.1:{cluster.port}/{database}"
        odbc = odbc_of(cluster, database).replace("UID=postgres", f"UID={READER}")
        yield {"url": url} if by == "url" else {"odbc": odbc}, run
        run(f"DROP OWNED BY {READER}")
        run(f"DROP ROLE {READER}")
    cluster.drop_database(database)


@contextmanager
def mariadb_home(server: MariadbServer, by: str) -> Iterator[Home]:
    """The same on MariaDB."""
    database = server.new_database("advice")
    with closing(server.connect(database)) as admin, admin.cursor() as cursor:

        def run(statement: str) -> None:
            cursor.execute(statement)

        run(
            "CREATE TABLE 人员 (编号 int PRIMARY KEY, 姓名 varchar(20), 密 text, 改 datetime(6) NOT NULL DEFAULT now(6))"
        )
        run(f"CREATE USER {READER}@'%'")
        run(f"GRANT SELECT (编号), UPDATE (姓名) ON 人员 TO {READER}@'%'")
        address = mariadb_address(server, database, by)
        yield {way: text.replace("root", READER) for way, text in address.items()}, run
        run(f"DROP USER {READER}@'%'")
    server.drop_database(database)


@pytest.fixture(params=["postgres-odbc", "postgres-url", "mariadb-odbc", "mariadb-url"])
def home(request: pytest.FixtureRequest, postgres15: Cluster, mariadb: MariadbServer) -> Iterator[Home]:
    """Where the reader connects, and the administrator's hand."""
    name, by = request.param.split("-")
    made = postgres_home(postgres15, by) if name == "postgres" else mariadb_home(mariadb, by)
    with made as found:
        yield found


def checked(address: dict[str, str]) -> list[Finding]:
    """What it says of the table with its watermark; one column does not leave."""
    schema = "public." if "ostgre" in str(address) else ""
    table: dict[str, Any] = {"table": f"{schema}人员", "columns": ["编号", "姓名"], "watermark": "改"}
    return PollingSource(settings([table], **address), NoMirror()).check()


def test_the_statements_as_printed_mend_it(home):
    """Missing columns, a right to write, and no index: then all is in order, and the secret column stays unread."""
    address, run = home
    first = checked(address)
    assert "改" in next(finding for finding in first if not finding.passed).sentence
    said = ""
    for _ in range(3):
        for finding in checked(address):
            said += finding.fix
            for line in finding.fix.splitlines():
                if line.endswith(";"):
                    run(line)

    assert [finding for finding in checked(address) if not finding.passed or finding.fix] == []
    assert "REVOKE" in said and "CREATE INDEX" in said and "密" not in said
