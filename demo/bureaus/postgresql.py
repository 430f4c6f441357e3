"""A bureau on PostgreSQL, captured through its own log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from demo.books import Books
from demo.bureaus.bureau import (
    ACCOUNT,
    DATABASE,
    PEOPLE,
    TABLES,
    TRANSACTIONS,
    Counting,
    Day,
    Looking,
    Work,
    asked,
    show_tables,
)
from demo.embedded import EmbeddedPostgres
from demo.show import Show
from proto.batch import Frames

SCHEMA: Final = """
CREATE TABLE person (
    number bigint PRIMARY KEY,
    id_number char(18) NOT NULL,
    name text NOT NULL,
    gender smallint NOT NULL,
    born date NOT NULL,
    district text NOT NULL,
    household bigint NOT NULL,
    phone text,
    income numeric(12, 2),
    profile jsonb NOT NULL,
    registered timestamptz NOT NULL
);
CREATE TABLE household (
    district text NOT NULL,
    number bigint NOT NULL,
    address text NOT NULL,
    members integer NOT NULL DEFAULT 0,
    PRIMARY KEY (district, number)
);
CREATE TABLE "迁移登记" (
    "编号" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "身份证号" text NOT NULL,
    "迁出地" text,
    "迁入地" text NOT NULL,
    "登记时间" timestamp NOT NULL DEFAULT localtimestamp,
    "附件" bytea
)
"""

POPULATION: Final = """
INSERT INTO person SELECT
    n,
    '3701' || lpad((n * 7919 % 99999999999999)::text, 14, '0'),
    (ARRAY['王','李','张','刘','陈','杨','赵','黄','周','吴'])[1 + n % 10]
      || (ARRAY['伟','芳','娜','敏','静','丽','强','磊','军','洋'])[1 + n / 10 % 10]
      || (ARRAY['','华','明','国','平','英','杰','文'])[1 + n / 100 % 8],
    n % 2,
    date '1940-01-01' + (n * 31 % 30000)::int,
    (ARRAY['历下区','市中区','槐荫区','天桥区','历城区','长清区'])[1 + n / 3 % 6],
    n / 3,
    CASE WHEN n % 7 = 0 THEN NULL ELSE '13' || lpad((n * 104729 % 999999999)::text, 9, '0') END,
    (n * 37 % 9999999)::numeric / 100,
    jsonb_build_object('民族', '汉族', '学历', (ARRAY['小学','初中','高中','大学'])[1 + n % 4]),
    timestamptz '2015-01-01 00:00:00+08' + make_interval(secs => n % 300000000)
FROM generate_series(1::bigint, {people}) n
"""

HOUSEHOLDS: Final = """
INSERT INTO household SELECT
    (ARRAY['历下区','市中区','槐荫区','天桥区','历城区','长清区'])[1 + n % 6], n,
    '经十路' || n % 29999 || '号' || n % 32 || '单元' || n % 2500 || '室', 3
FROM generate_series(0::bigint, {people} / 3) n
"""


class PostgresqlBureau:
    """Everything below *home*; the agent finds its password in *password_file*."""

    tables = TABLES
    unit = TRANSACTIONS
    pace_s = 0.01

    def __init__(self, home: Path, password: str, password_file: Path) -> None:
        self.server = EmbeddedPostgres(home / "postgresql", fsync=False)
        self._password = password
        self.source: dict[str, Any] = {
            "kind": "postgresql",
            "dsn": make_conninfo(
                host="127.0.0.1",
                port=self.server.port,
                dbname=DATABASE,
                user=ACCOUNT,
                password=f"${{file:{password_file}}}",
            ),
            "tables": [{"table": f"public.{table}"} for table in TABLES],
            "manage_publication": False,
        }

    def open(self, show: Show) -> None:
        """A server, its tables, and the read-only account the agent gets."""
        with show.waiting("启动 PostgreSQL，登记人口", "starting PostgreSQL, registering people"):
            self.server.start()
            self.server.create_database(DATABASE)
            with self._connect(autocommit=True) as connection:
                _create(connection, self._password)
                version = asked(connection, "SHOW server_version")
        show.fact("PostgreSQL", f"{version} · 127.0.0.1:{self.server.port}")
        show_tables(show, self.looking(), TABLES)
        show.fact("采集账号 account", f"{ACCOUNT}，只读 read-only")

    def mend(self, missing: Sequence[Mapping[str, Any]], config: Path, show: Show) -> None:
        """The administrator runs the SQL."""
        statements = [finding["fix"] for finding in missing]
        show.sql(";\n".join(statements))
        with self._connect(autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def looking(self) -> Looking:
        """How far its log is tells what must be read."""
        return Counting(self._connect(autocommit=True), _reached)

    def working(self) -> Work:
        """A connection of the bureau's own program."""
        return Day(self._connect(autocommit=False))

    def known(self) -> dict[str, Frames] | None:
        """The source is asked."""
        return None

    def afterwards(self, show: Show) -> None:
        """All was said."""

    def place(self) -> str:
        """For its own client."""
        return f"psql '{self.server.dsn(DATABASE)}'"

    def close(self) -> None:
        """Stop the server."""
        self.server.close()

    def _connect(self, *, autocommit: bool) -> psycopg.Connection[Any]:
        return self.server.connect(DATABASE, autocommit=autocommit)


def _create(connection: psycopg.Connection[Any], password: str) -> None:
    connection.execute(SCHEMA)
    connection.execute(POPULATION.format(people=PEOPLE).encode())
    connection.execute(HOUSEHOLDS.format(people=PEOPLE).encode())
    connection.execute("ANALYZE")
    account = sql.Identifier(ACCOUNT)
    connection.execute(
        sql.SQL("CREATE ROLE {} LOGIN REPLICATION PASSWORD {}").format(account, sql.Literal(password))
    )
    connection.execute(sql.SQL('GRANT SELECT ON person, household, "迁移登记" TO {}').format(account))


def _reached(connection: psycopg.Connection[Any], books: Books) -> bool:
    end = asked(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'")
    return lsn(books.position()) >= int(end)


def lsn(position: str) -> int:
    """How far in the server's log ``pg/…/HIGH/LOW`` is; 0 for none."""
    if not position:
        return 0
    high, low = position.split("/")[-2:]
    return int(high, 16) << 32 | int(low, 16)
