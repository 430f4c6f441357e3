"""A bureau on one SQLite file, captured through triggers."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from demo.books import Books
from demo.bureaus.bureau import TABLES, TRANSACTIONS, Counting, Day, Looking, Work, asked, show_tables
from demo.bureaus.people import households, people
from demo.show import Show
from demo.system import SOURCE, command, run
from proto.batch import Frames

SCHEMA: Final = """
PRAGMA journal_mode = WAL;
CREATE TABLE person (
    number INTEGER PRIMARY KEY,
    id_number TEXT NOT NULL,
    name TEXT NOT NULL,
    gender INTEGER NOT NULL,
    born DATE NOT NULL,
    district TEXT NOT NULL,
    household INTEGER NOT NULL,
    phone TEXT,
    income DECIMAL(12, 2),
    profile TEXT NOT NULL,
    registered TIMESTAMP NOT NULL
);
CREATE TABLE household (
    district TEXT NOT NULL,
    number INTEGER NOT NULL,
    address TEXT NOT NULL,
    members INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (district, number)
);
CREATE INDEX household_number ON household (number);
CREATE TABLE "迁移登记" (
    "编号" INTEGER PRIMARY KEY,
    "身份证号" TEXT NOT NULL,
    "迁出地" TEXT,
    "迁入地" TEXT NOT NULL,
    "登记时间" TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "附件" BLOB
);
"""
PEOPLE: Final = 30_000
STANDING: Final = 2
"""What a journal that was read to its end still holds: its birth, and the entry that was read last."""


class SqliteBureau:
    """One file below *home*; who may read the file needs no password."""

    tables = TABLES
    unit = TRANSACTIONS
    pace_s = 0.01

    def __init__(self, home: Path, password: str, password_file: Path) -> None:
        self.file = home / "business" / "population.db"
        self.url = f"sqlite:///{self.file}"
        self.source: dict[str, Any] = {
            "kind": "journal",
            "url": self.url,
            "tables": [{"table": table} for table in TABLES],
        }

    def open(self, show: Show) -> None:
        """A file with tables, as some office program keeps it."""
        with show.waiting("建立 SQLite 文件，登记人口", "making an SQLite file, registering people"):
            self.file.parent.mkdir()
            with closing(self._connect()) as connection:
                connection.executescript(SCHEMA)
                marks = ", ".join("?" * 11)
                connection.executemany(f"INSERT INTO person VALUES ({marks})", people(PEOPLE))
                connection.executemany("INSERT INTO household VALUES (?, ?, ?, ?)", households(PEOPLE // 3))
                connection.commit()
        show.fact("SQLite", f"{sqlite3.sqlite_version} · {self.file}")
        show_tables(show, self.looking(), TABLES)

    def mend(self, missing: Sequence[Mapping[str, Any]], config: Path, show: Show) -> None:
        """Who owns the file makes the journal and its triggers."""
        told = ("journal", "install", SOURCE, "-c", str(config), "--url", self.url)
        show.sql(f"exchange-agent {shlex.join(told)}", title="sh")
        run(command("exchange-agent"), *told)

    def looking(self) -> Looking:
        """What its journal still holds tells what must be read."""
        return Counting(self._connect(), _reached)

    def working(self) -> Work:
        """A connection of the bureau's own program."""
        return Day(self._connect(), mark="?")

    def known(self) -> dict[str, Frames] | None:
        """The source is asked."""
        return None

    def afterwards(self, show: Show) -> None:
        """All was said."""

    def place(self) -> str:
        """For its own client."""
        return f"sqlite3 {self.file}"

    def close(self) -> None:
        """Nothing runs."""

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.file, timeout=30, check_same_thread=False)


def _reached(connection: Any, books: Books) -> bool:
    return int(asked(connection, "SELECT count(*) FROM exchange_journal")) <= STANDING
