"""Journals in SQL Server: one trigger for each table, which notes all rows of a statement at once."""

from __future__ import annotations

from collections.abc import Sequence

from agent.sources.journal.dialects.dialect import Dialect, JournalPlace, Trigger, Watched
from proto.values import Kind

_STYLES = {Kind.DATE: 23, Kind.TIMESTAMP: 121, Kind.BYTES: 2}
"""How CONVERT prints: ISO dates, hexadecimal without 0x."""


class SqlServer(Dialect):
    """SQL Server 2017 and later. TRUNCATE, and bulk loads without FIRE_TRIGGERS, fire no trigger there."""

    begin = ("SET TRANSACTION ISOLATION LEVEL SNAPSHOT", "BEGIN TRANSACTION")

    quotes = ("[", "]")

    def literal(self, text: str) -> str:
        """As Unicode."""
        return "N'" + text.replace("'", "''") + "'"

    def script(self, statements: Sequence[str]) -> str:
        """A line of its own ends each, because bodies of triggers hold semicolons."""
        return "\nGO\n\n".join(statements) + "\nGO"

    def create(self, journal: JournalPlace) -> Sequence[str]:
        """Times in UTC, whatever the server's zone is."""
        return [
            f"""\
IF OBJECT_ID({self.literal(self.table(journal))}) IS NULL CREATE TABLE {self.table(journal)} (
  id BIGINT IDENTITY PRIMARY KEY,
  at DATETIME2(6) NOT NULL DEFAULT SYSUTCDATETIME(),
  place NVARCHAR(300) NOT NULL,
  op NCHAR(1) NOT NULL,
  k NVARCHAR(MAX) NOT NULL
)"""
        ]

    def drop(self, journal: JournalPlace) -> Sequence[str]:
        """Whatever was not read yet goes with it."""
        return [f"DROP TABLE IF EXISTS {self.table(journal)}"]

    def triggers(self, journal: JournalPlace, table: Watched) -> list[Trigger]:
        """UNION leaves out an old key that is also a new one."""
        self.check_key(table)
        key = self._key(table)
        body = (
            f"SET NOCOUNT ON; INSERT INTO {self.table(journal)} (place, op, k) "
            f"SELECT {self.literal(table.place)}, N'k', k FROM "
            f"(SELECT {key} AS k FROM inserted UNION SELECT {key} FROM deleted) AS keys;"
        )
        where = self.quoted(table.schema, table.name)
        name = f"{journal.name}_{self.digest(where, body)}"
        full = self.quoted(table.schema, name)
        create = f"CREATE OR ALTER TRIGGER {full} ON {where} AFTER INSERT, UPDATE, DELETE AS BEGIN {body} END"
        return [Trigger(name, (create,), (f"DROP TRIGGER IF EXISTS {full}",))]

    def installed(self, journal: JournalPlace) -> str:
        """A disabled one is as good as none."""
        ours = self.begins("name", journal)
        return f"SELECT name FROM sys.triggers WHERE is_disabled = 0 AND {ours}"

    def entries(self, journal: JournalPlace, after: int, rows: int) -> str:
        """By the primary key."""
        return (
            f"SELECT TOP ({rows}) id, DATEDIFF_BIG(MICROSECOND, '1970-01-01', at), place, op, k "
            f"FROM {self.table(journal)} WHERE id > {after} ORDER BY id"
        )

    def remainder(self, number: str, divisor: int) -> str:
        """An operator there."""
        return f"({number}) % {divisor}"

    def begins(self, column: str, journal: JournalPlace) -> str:
        """It spells the function out."""
        return super().begins(column, journal).replace("SUBSTR(", "SUBSTRING(", 1)

    def grants(self, journal: JournalPlace, tables: Sequence[Watched], account: str) -> list[str]:
        """VIEW DEFINITION is what seeing the names of triggers needs."""
        found = [
            f"GRANT SELECT, VIEW DEFINITION ON {self.quoted(table.schema, table.name)} TO {account}"
            for table in tables
        ]
        return [*found, f"GRANT SELECT, DELETE ON {self.table(journal)} TO {account}"]

    def size(self, journal: JournalPlace) -> str:
        """All its pages."""
        return (
            "SELECT COALESCE(SUM(used_page_count), 0) * 8192 FROM sys.dm_db_partition_stats "
            f"WHERE object_id = OBJECT_ID({self.literal(self.table(journal))})"
        )

    def _key(self, table: Watched) -> str:
        parts = [
            "N'\"' + STRING_ESCAPE(" + self._part(name, kind) + ", 'json') + N'\"'"
            for name, kind in table.key
        ]
        return "N'[' + " + " + N',' + ".join(parts) + " + N']'"

    def _part(self, name: str, kind: Kind) -> str:
        style = f", {_STYLES[kind]}" if kind in _STYLES else ""
        text = f"CONVERT(NVARCHAR(4000), {self.quoted(name)}{style})"
        return rf"N'\x' + LOWER({text})" if kind is Kind.BYTES else text
