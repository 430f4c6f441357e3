"""Journals in SQLite. Triggers run inside the business program, with whatever old library it brings: core functions only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from agent.sources.journal.dialects.dialect import Dialect, JournalPlace, Trigger, Watched
from proto.errors import Refused

_PART: Final = re.compile(
    r"\s*(?:'((?:[^']|'')*)'|X'([0-9A-F]*)'|(-?[0-9][0-9.e+-]*))\s*(?:,|$)", re.IGNORECASE
)


class SQLite(Dialect):
    """Any SQLite of this century. A row that REPLACE removes through another unique index fires no trigger there."""

    who = "SELECT ''"
    notes_truncate = True

    def create(self, journal: JournalPlace) -> Sequence[str]:
        """AUTOINCREMENT: a number that was deleted is never drawn again. The clock ticks in milliseconds: the next one,
        so that a change is never dated before it was made."""
        return [
            f"""\
CREATE TABLE IF NOT EXISTS {self.table(journal)} (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000 + 1000),
  place TEXT NOT NULL,
  op TEXT NOT NULL,
  k TEXT NOT NULL
)"""
        ]

    def drop(self, journal: JournalPlace) -> Sequence[str]:
        """Whatever was not read yet goes with it."""
        return [f"DROP TABLE IF EXISTS {self.table(journal)}"]

    def triggers(self, journal: JournalPlace, table: Watched) -> list[Trigger]:
        """DELETE without WHERE fires for each row as soon as there is a trigger."""
        self.check_key(table)
        target = f"INSERT INTO {self.quoted(journal.name)} (place, op, k)"
        old, new = self._key("OLD", table), self._key("NEW", table)
        place = self.literal(table.place)
        bodies = {
            "insert": ("INSERT", f"{target} VALUES ({place}, 'k', {new});"),
            "update": (
                "UPDATE",
                f"{target} VALUES ({place}, 'k', {new}); {target} SELECT {place}, 'k', {old} WHERE {old} <> {new};",
            ),
            "delete": ("DELETE", f"{target} VALUES ({place}, 'k', {old});"),
        }
        return [self._trigger(journal, table, word, *body) for word, body in bodies.items()]

    def installed(self, journal: JournalPlace) -> str:
        """Triggers cannot be disabled one by one here."""
        ours = self.begins("name", journal)
        return f"SELECT name FROM sqlite_master WHERE type = 'trigger' AND {ours}"

    def entries(self, journal: JournalPlace, after: int, rows: int) -> str:
        """By the primary key."""
        return f"SELECT id, at, place, op, k FROM {self.table(journal)} WHERE id > {after} ORDER BY id LIMIT {rows}"

    def remainder(self, number: str, divisor: int) -> str:
        """An operator there."""
        return f"({number}) % {divisor}"

    def grants(self, journal: JournalPlace, tables: Sequence[Watched], account: str) -> list[str]:
        """The file's permissions are all there is."""
        return []

    def size(self, journal: JournalPlace) -> str:
        """Estimated from its rows: pages are not counted by table here."""
        return f"SELECT COALESCE(SUM(length(place) + length(k) + 24), 0) FROM {self.table(journal)}"

    def parse_key(self, text: str) -> list[str | bytes]:
        """What ``quote()`` wrote."""
        return list(_parts(text))

    def _trigger(self, journal: JournalPlace, table: Watched, word: str, event: str, body: str) -> Trigger:
        where = self.quoted(table.name)
        name = self.quoted(f"{journal.name}_{self.digest(where, word, body)}_{word}")
        return Trigger(
            name.strip('"'),
            (f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} ON {where} BEGIN {body} END",),
            (f"DROP TRIGGER IF EXISTS {name}",),
        )

    def _key(self, row: str, table: Watched) -> str:
        return " || ',' || ".join(f"quote({row}.{self.quoted(name)})" for name, _ in table.key)


def _parts(text: str) -> Iterator[str | bytes]:
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            raise Refused(f"a key in the journal cannot be read from character {at} on")
        words, data, number = found.groups()
        yield (
            bytes.fromhex(data)
            if data is not None
            else words.replace("''", "'")
            if words is not None
            else number
        )
        at = found.end()
