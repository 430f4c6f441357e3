"""Journals in MariaDB and MySQL: four triggers of one statement each, so that no client needs a DELIMITER."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.sources.journal.dialects.dialect import BIRTH, Dialect, JournalPlace, Trigger, Watched
from proto.values import Kind

ENTRY_BYTES: Final = 150
"""Of an entry without its key; rather too many."""


class MySql(Dialect):
    """MariaDB 10.3 and later, MySQL 8. TRUNCATE and cascades of foreign keys fire no trigger there."""

    who = "SELECT current_user()"
    begin = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )

    quotes = ("`", "`")

    def account(self, name: str) -> str:
        """Name and host, each in quotes."""
        user, _, host = name.rpartition("@")
        return f"{self.literal(user)}@{self.literal(host)}"

    def literal(self, text: str) -> str:
        """A backslash escapes as well, unless the session says otherwise: doubled, it is right in the usual mode."""
        return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"

    @property
    def from_nothing(self) -> str:
        """WHERE needs a FROM."""
        return " FROM DUAL"

    def create(self, journal: JournalPlace) -> Sequence[str]:
        """In InnoDB, so that an entry lives and dies with its transaction."""
        return [
            f"""\
CREATE TABLE IF NOT EXISTS {self.table(journal)} (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  place VARCHAR(200) NOT NULL,
  op CHAR(1) NOT NULL,
  k LONGTEXT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"""
        ]

    def drop(self, journal: JournalPlace) -> Sequence[str]:
        """Whatever was not read yet goes with it."""
        return [f"DROP TABLE IF EXISTS {self.table(journal)}"]

    def triggers(self, journal: JournalPlace, table: Watched) -> list[Trigger]:
        """The second one for UPDATE notes an old key that is no longer there."""
        self.check_key(table)
        target = f"INSERT INTO {self.table(journal)} (place, op, k)"
        old, new = self._key("OLD", table), self._key("NEW", table)
        place = self.literal(table.place)
        bodies = {
            "insert": ("INSERT", f"{target} VALUES ({place}, 'k', {new})"),
            "update": ("UPDATE", f"{target} VALUES ({place}, 'k', {new})"),
            "moved": (
                "UPDATE",
                f"{target} SELECT {place}, 'k', {old} FROM DUAL WHERE BINARY {old} <> BINARY {new}",
            ),
            "delete": ("DELETE", f"{target} VALUES ({place}, 'k', {old})"),
        }
        return [self._trigger(journal, table, word, *body) for word, body in bodies.items()]

    def installed(self, journal: JournalPlace) -> str:
        """Triggers cannot be disabled here."""
        ours = self.begins("trigger_name", journal)
        return f"SELECT trigger_name FROM information_schema.triggers WHERE {ours}"

    def entries(self, journal: JournalPlace, after: int, rows: int) -> str:
        """By the primary key."""
        return (
            "SELECT id, CAST(UNIX_TIMESTAMP(at) * 1000000 AS UNSIGNED), place, op, k "
            f"FROM {self.table(journal)} WHERE id > {after} ORDER BY id LIMIT {rows}"
        )

    def grants(self, journal: JournalPlace, tables: Sequence[Watched], account: str) -> list[str]:
        """TRIGGER is what seeing the names of triggers needs; it must not be used for more."""
        found = [
            f"GRANT SELECT, TRIGGER ON {self.quoted(table.schema, table.name)} TO {account}"
            for table in tables
        ]
        return [*found, f"GRANT SELECT, DELETE ON {self.table(journal)} TO {account}"]

    def size(self, journal: JournalPlace) -> str:
        """What waits to be read, by its numbers: the server's own estimate can be a day old."""
        table = self.table(journal)
        newest = f"SELECT k FROM {table} ORDER BY id DESC LIMIT 100"
        return (
            f"SELECT (SELECT MAX(id) - MIN(id) FROM {table} WHERE op <> '{BIRTH}') "
            f"* (SELECT {ENTRY_BYTES} + MAX(LENGTH(k)) FROM ({newest}) AS newest)"
        )

    def _trigger(self, journal: JournalPlace, table: Watched, word: str, event: str, body: str) -> Trigger:
        where = self.quoted(table.schema, table.name)
        name = f"{journal.name}_{self.digest(where, word, body)}_{word}"
        # A trigger lives in the schema of its table.
        full = self.quoted(table.schema, name)
        return Trigger(
            name,
            (
                f"DROP TRIGGER IF EXISTS {full}",
                f"CREATE TRIGGER {full} AFTER {event} ON {where} FOR EACH ROW {body}",
            ),
            (f"DROP TRIGGER IF EXISTS {full}",),
        )

    def _key(self, row: str, table: Watched) -> str:
        return f"JSON_ARRAY({', '.join(self._part(f'{row}.{self.quoted(name)}', kind) for name, kind in table.key)})"

    def _part(self, value: str, kind: Kind) -> str:
        if kind is Kind.BYTES:
            return rf"CONCAT('\\x', LOWER(HEX({value})))"
        if kind is Kind.BOOL:
            return f"IF({value} + 0, 't', 'f')"
        return f"CONVERT({value} USING utf8mb4)" if kind is Kind.TEXT else f"CAST({value} AS CHAR)"
