"""Journals in Oracle: one row trigger for each table."""

from __future__ import annotations

from collections.abc import Sequence

from agent.sources.journal.dialects.dialect import Dialect, JournalPlace, Trigger, Watched
from proto.values import Kind

_FORMATS = {Kind.DATE: "YYYY-MM-DD", Kind.TIMESTAMP: "YYYY-MM-DD HH24:MI:SS.FF6"}
_BODY = """\
DECLARE
  old_key VARCHAR2(4000);
  new_key VARCHAR2(4000);
BEGIN
  IF NOT INSERTING THEN SELECT {old} INTO old_key FROM dual; END IF;
  IF NOT DELETING THEN SELECT {new} INTO new_key FROM dual; END IF;
  IF old_key IS NOT NULL AND (new_key IS NULL OR old_key <> new_key) THEN
    INSERT INTO {journal} (place, op, k) VALUES ({place}, 'k', old_key);
  END IF;
  IF new_key IS NOT NULL THEN
    INSERT INTO {journal} (place, op, k) VALUES ({place}, 'k', new_key);
  END IF;
END;"""


class Oracle(Dialect):
    """Oracle 12.2 and later. TRUNCATE and direct-path loads fire no trigger there."""

    begin = ("SET TRANSACTION READ ONLY",)
    who = "SELECT user FROM dual"

    @property
    def from_nothing(self) -> str:
        """A SELECT needs a FROM."""
        return " FROM dual"

    def script(self, statements: Sequence[str]) -> str:
        """A line of its own ends each, because bodies of triggers hold semicolons."""
        return "\n/\n\n".join(statements) + "\n/"

    def create(self, journal: JournalPlace) -> Sequence[str]:
        """Times in UTC, whatever the session's zone is."""
        return [
            f"""\
CREATE TABLE {self.table(journal)} (
  id NUMBER(19) GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at TIMESTAMP(6) DEFAULT SYS_EXTRACT_UTC(SYSTIMESTAMP) NOT NULL,
  place VARCHAR2(300) NOT NULL,
  op CHAR(1) NOT NULL,
  k VARCHAR2(4000) NOT NULL
)"""
        ]

    def drop(self, journal: JournalPlace) -> Sequence[str]:
        """Whatever was not read yet goes with it."""
        return [f"DROP TABLE {self.table(journal)} PURGE"]

    def triggers(self, journal: JournalPlace, table: Watched) -> list[Trigger]:
        """Run with the rights of whoever made it, as triggers do there."""
        self.check_key(table)
        body = _BODY.format(
            old=self._key(":OLD", table),
            new=self._key(":NEW", table),
            journal=self.table(journal),
            place=self.literal(table.place),
        )
        where = self.quoted(table.schema, table.name)
        name = f"{journal.name}_{self.digest(where, body)}".upper()
        full = self.quoted(table.schema, name)
        create = f"CREATE OR REPLACE TRIGGER {full} AFTER INSERT OR UPDATE OR DELETE ON {where} FOR EACH ROW\n{body}"
        return [Trigger(name, (create,), (f"DROP TRIGGER {full}",))]

    def installed(self, journal: JournalPlace) -> str:
        """A disabled one is as good as none."""
        ours = self.begins("LOWER(trigger_name)", journal)
        return f"SELECT trigger_name FROM all_triggers WHERE status = 'ENABLED' AND {ours}"

    def entries(self, journal: JournalPlace, after: int, rows: int) -> str:
        """By the primary key."""
        microseconds = (
            "ROUND((CAST(at AS DATE) - DATE '1970-01-01') * 86400) * 1000000 + TO_NUMBER(TO_CHAR(at, 'FF6'))"
        )
        return (
            f"SELECT id, {microseconds}, place, op, k FROM {self.table(journal)} "
            f"WHERE id > {after} ORDER BY id FETCH FIRST {rows} ROWS ONLY"
        )

    def grants(self, journal: JournalPlace, tables: Sequence[Watched], account: str) -> list[str]:
        """Reading the tables, reading and emptying the journal."""
        found = [f"GRANT SELECT ON {self.quoted(table.schema, table.name)} TO {account}" for table in tables]
        return [*found, f"GRANT SELECT, DELETE ON {self.table(journal)} TO {account}"]

    def size(self, journal: JournalPlace) -> str:
        """Of its segment, where the account may see it."""
        return f"SELECT COALESCE(SUM(bytes), 0) FROM user_segments WHERE segment_name = {self.literal(journal.name)}"

    def _key(self, row: str, table: Watched) -> str:
        parts = [self._part(f"{row}.{self.quoted(name)}", kind) for name, kind in table.key]
        return f"JSON_ARRAY({', '.join(parts)} RETURNING VARCHAR2(4000))"

    def _part(self, value: str, kind: Kind) -> str:
        if kind is Kind.BYTES:
            return rf"'\x' || LOWER(RAWTOHEX({value}))"
        if kind is Kind.TEXT:
            return value
        return f"TO_CHAR({value}, '{_FORMATS[kind]}')" if kind in _FORMATS else f"TO_CHAR({value}, 'TM9')"
