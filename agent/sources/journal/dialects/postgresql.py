"""Journals in PostgreSQL: one function and two triggers for each table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.sources.journal.dialects.dialect import BIRTH, Dialect, JournalPlace, Trigger, Watched
from proto.values import Kind

ENTRY_BYTES: Final = 150
"""Of an entry and its place in the index, without its key; rather too many."""
_FUNCTION = """\
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp{settings} AS $exchange$
DECLARE
  before text;
  after text;
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    INSERT INTO {journal} (place, op, k) VALUES ({place}, 't', '[]');
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN before := {old}; END IF;
  IF TG_OP <> 'DELETE' THEN after := {new}; END IF;
  IF before IS NOT NULL AND before IS DISTINCT FROM after THEN
    INSERT INTO {journal} (place, op, k) VALUES ({place}, 'k', before);
  END IF;
  IF after IS NOT NULL THEN
    INSERT INTO {journal} (place, op, k) VALUES ({place}, 'k', after);
  END IF;
  RETURN NULL;
END $exchange$"""


class PostgreSql(Dialect):
    """PostgreSQL 14 and later. Triggers fire also for what a replication or a bulk load writes (ENABLE ALWAYS)."""

    begin = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)

    notes_truncate = True

    def table(self, journal: JournalPlace) -> str:
        """Always with its schema: triggers run with an empty search path."""
        return self.quoted(journal.schema or "public", journal.name)

    def create(self, journal: JournalPlace) -> Sequence[str]:
        """An index on the number alone; vacuum keeps up with a table that is written and emptied all day."""
        return [
            f"""\
CREATE TABLE IF NOT EXISTS {self.table(journal)} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  place text NOT NULL,
  op "char" NOT NULL,
  k text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)"""
        ]

    def drop(self, journal: JournalPlace) -> Sequence[str]:
        """Whatever was not read yet goes with it."""
        return [f"DROP TABLE IF EXISTS {self.table(journal)}"]

    def triggers(self, journal: JournalPlace, table: Watched) -> list[Trigger]:
        """One for rows, which partitions inherit, and one for TRUNCATE."""
        self.check_key(table)
        text = _FUNCTION.format(
            function="{function}",
            settings=self._settings(table),
            journal=self.table(journal),
            place=self.literal(table.place),
            old=self._key("OLD", table),
            new=self._key("NEW", table),
        )
        name = f"{journal.name}_{self.digest(text)}"
        function = self.quoted(journal.schema or "public", name)
        where = self.quoted(table.schema, table.name)
        made = [
            (name + "_row", "INSERT OR UPDATE OR DELETE", "ROW"),
            (name + "_truncate", "TRUNCATE", "STATEMENT"),
        ]
        create = [text.replace("{function}", function), f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC"]
        for trigger, events, each in made:
            create += [
                f"CREATE OR REPLACE TRIGGER {self.quoted(trigger)} AFTER {events} ON {where} "
                f"FOR EACH {each} EXECUTE FUNCTION {function}()",
                f"ALTER TABLE {where} ENABLE ALWAYS TRIGGER {self.quoted(trigger)}",
            ]
        drop = [f"DROP TRIGGER IF EXISTS {self.quoted(trigger)} ON {where}" for trigger, _, _ in made]
        drop.append(f"DROP FUNCTION IF EXISTS {function}()")
        # Both belong together: the first is made with all statements, the second only stands for itself.
        return [Trigger(made[0][0], tuple(create), tuple(drop)), Trigger(made[1][0], (), ())]

    def installed(self, journal: JournalPlace) -> str:
        """A partition's copies do not count; a disabled one is as good as none."""
        ours = self.begins("t.tgname", journal)
        return (
            "SELECT t.tgname FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgparentid = 0 "
            f"AND t.tgenabled = 'A' AND {ours}"
        )

    def entries(self, journal: JournalPlace, after: int, rows: int) -> str:
        """By the primary key."""
        return (
            "SELECT id, (extract(epoch FROM at) * 1000000)::bigint, place, op::text, k "
            f"FROM {self.table(journal)} WHERE id > {after} ORDER BY id LIMIT {rows}"
        )

    def grants(self, journal: JournalPlace, tables: Sequence[Watched], account: str) -> list[str]:
        """Reading the tables, reading and emptying the journal."""
        found = [f"GRANT SELECT ON {self.quoted(table.schema, table.name)} TO {account}" for table in tables]
        return [*found, f"GRANT SELECT, DELETE ON {self.table(journal)} TO {account}"]

    def size(self, journal: JournalPlace) -> str:
        """What waits to be read, by its numbers: a file that was large once stays large, which says nothing. Never more
        than the file and its index."""
        table = self.table(journal)
        newest = f"SELECT k FROM {table} ORDER BY id DESC LIMIT 100"
        return (
            f"SELECT LEAST(pg_catalog.pg_total_relation_size({self.literal(table)}::regclass), "
            f"(SELECT MAX(id) - MIN(id) FROM {table} WHERE op <> '{BIRTH}') "
            f"* (SELECT {ENTRY_BYTES} + MAX(octet_length(k)) FROM ({newest}) AS newest))"
        )

    def _key(self, row: str, table: Watched) -> str:
        parts = [f"{row}.{self.quoted(name)}::text" for name, _ in table.key]
        return f"json_build_array({', '.join(parts)})::text"

    def _settings(self, table: Watched) -> str:
        """How texts look must not depend on the business session; each setting costs, so only where it matters."""
        kinds = {kind for _, kind in table.key}
        dates = " SET datestyle = 'ISO'" if kinds & {Kind.DATE, Kind.TIMESTAMP} else ""
        return dates + (" SET bytea_output = 'hex'" if Kind.BYTES in kinds else "")
