"""A bureau on MariaDB, captured through its binary log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from agent.sources.mysql.gtids import DomainGtids
from agent.sources.mysql.place import Place
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
from demo.bureaus.people import households, people
from demo.embedded_mariadb import EmbeddedMariadb, system_install
from demo.show import Show
from proto.batch import Frames

SCHEMA: Final = (
    """
CREATE TABLE person (
    number bigint PRIMARY KEY,
    id_number char(18) NOT NULL,
    name varchar(60) NOT NULL,
    gender smallint NOT NULL,
    born date NOT NULL,
    district varchar(20) NOT NULL,
    household bigint NOT NULL,
    phone varchar(20),
    income decimal(12, 2),
    profile json NOT NULL,
    registered datetime(6) NOT NULL
)""",
    """
CREATE TABLE household (
    district varchar(20) NOT NULL,
    number bigint NOT NULL,
    address varchar(200) NOT NULL,
    members int NOT NULL DEFAULT 0,
    PRIMARY KEY (district, number),
    KEY (number)
)""",
    """
CREATE TABLE "迁移登记" (
    "编号" bigint AUTO_INCREMENT PRIMARY KEY,
    "身份证号" varchar(18) NOT NULL,
    "迁出地" varchar(20),
    "迁入地" varchar(20) NOT NULL,
    "登记时间" datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    "附件" varbinary(200)
)""",
)


class MysqlBureau:
    """Everything below *home*; the agent finds its password in *password_file*."""

    tables = TABLES
    unit = TRANSACTIONS
    pace_s = 0.01

    def __init__(self, home: Path, password: str, password_file: Path) -> None:
        system_install()
        self.server = EmbeddedMariadb(home / "mariadb", fsync=False)
        self._password = password
        account = f"{ACCOUNT}:${{file:{password_file}}}"
        self.source: dict[str, Any] = {
            "kind": "mysql",
            "dsn": f"mysql://{account}@127.0.0.1:{self.server.port}/{DATABASE}",
            "tables": [{"table": table} for table in TABLES],
        }

    def open(self, show: Show) -> None:
        """A server, its tables, and an account that can read them, but not yet the log."""
        with show.waiting("启动 MariaDB，登记人口", "starting MariaDB, registering people"):
            self.server.start()
            self.server.create_database(DATABASE)
            with closing(self._connect()) as connection:
                _create(connection, self._password)
                version = asked(connection, "SELECT version()")
        show.fact("MariaDB", f"{version} · 127.0.0.1:{self.server.port}")
        show_tables(show, self.looking(), TABLES)
        show.fact("采集账号 account", f"{ACCOUNT}，只读 read-only")

    def mend(self, missing: Sequence[Mapping[str, Any]], config: Path, show: Show) -> None:
        """The administrator runs the SQL."""
        statements = [finding["fix"] for finding in missing]
        show.sql(";\n".join(statements))
        self.server.execute(*statements)

    def looking(self) -> Looking:
        """Which transactions its log holds tells what must be read."""
        return Counting(self._connect(autocommit=True), _reached)

    def working(self) -> Work:
        """A connection of the bureau's own program."""
        return Day(self._connect())

    def known(self) -> dict[str, Frames] | None:
        """The source is asked."""
        return None

    def afterwards(self, show: Show) -> None:
        """All was said."""

    def place(self) -> str:
        """For its own client."""
        return f"mariadb -h 127.0.0.1 -P {self.server.port} -u root {DATABASE}"

    def close(self) -> None:
        """Stop the server."""
        self.server.close()

    def _connect(self, *, autocommit: bool = False) -> Any:
        connection = self.server.connect(DATABASE, autocommit=autocommit)
        # Names stand in double quotes here as they do everywhere else.
        connection.query("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')")
        return connection


def _create(connection: Any, password: str) -> None:
    with connection.cursor() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)
        cursor.executemany(f"INSERT INTO person VALUES ({', '.join(['%s'] * 11)})", list(people(PEOPLE)))
        cursor.executemany("INSERT INTO household VALUES (%s, %s, %s, %s)", list(households(PEOPLE // 3)))
        cursor.execute(f"CREATE USER {ACCOUNT}@'127.0.0.1' IDENTIFIED BY %s", (password,))
        for table in TABLES:
            cursor.execute(f"GRANT SELECT ON {DATABASE}.\"{table}\" TO {ACCOUNT}@'127.0.0.1'")
    connection.commit()


def _reached(connection: Any, books: Books) -> bool:
    position = books.position()
    ours = Place.parse(position).read_gtids() if position else None
    theirs = DomainGtids.parse(str(asked(connection, "SELECT @@global.gtid_binlog_pos")))
    return isinstance(ours, DomainGtids) and ours.contains(theirs)
