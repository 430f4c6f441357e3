"""What a journal needs of a database, and what is the same in all of them.

A trigger must never make a business transaction fail: it has no condition beyond its insert, its keys are wide, and it
runs with the rights of whoever made it. Its name carries a digest of its text, so that a trigger that is there is also
the right one.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proto.errors import Refused
from proto.values import Kind

BIRTH: Final = "b"
TOUCHED: Final = "k"
EMPTIED: Final = "t"
STARTED: Final = "s"
KEY_KINDS: Final = frozenset(
    {
        Kind.BOOL,
        Kind.INT16,
        Kind.INT32,
        Kind.INT64,
        Kind.DECIMAL,
        Kind.TEXT,
        Kind.BYTES,
        Kind.DATE,
        Kind.TIMESTAMP,
        Kind.UUID,
    }
)
"""Whose text is the same whatever a business session has set."""


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """Where the journal lies; the schema is empty for the account's default."""

    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Watched:
    """A table whose changes are noted."""

    schema: str
    name: str
    key: tuple[tuple[str, Kind], ...]
    """Its key columns and what they hold."""

    @property
    def place(self) -> str:
        """As the journal names it."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger, and the statements that make it and take it away."""

    name: str
    create: tuple[str, ...]
    drop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the journal."""

    number: int
    at_us: int
    place: str
    operation: str
    key: str


class Dialect(ABC):
    """The SQL of one database. Statements are complete, so that an administrator can run them as printed."""

    quotes: tuple[str, str] = ('"', '"')
    begin: tuple[str, ...] = ("BEGIN",)
    """Begin a transaction that reads from one snapshot; COMMIT ends it."""
    who: str = "SELECT current_user"
    """Asks for the account that reads."""
    notes_truncate: bool = False
    """Whether emptying a table by TRUNCATE is noted."""

    def quoted(self, *parts: str) -> str:
        """A name, dotted where it has several parts; empty parts are left out."""
        opening, closing = self.quotes
        return ".".join(f"{opening}{p.replace(closing, closing * 2)}{closing}" for p in parts if p)

    def account(self, name: str) -> str:
        """An account as GRANT names it."""
        return self.quoted(name)

    def literal(self, text: str) -> str:
        """A string in SQL."""
        return "'" + text.replace("'", "''") + "'"

    def digest(self, *parts: str) -> str:
        """Ten characters that stand for a trigger's text."""
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]

    def check_key(self, table: Watched) -> None:
        """Raise Refused where no trigger could note the table's key exactly."""
        if not table.key:
            raise Refused(
                "a table without a key cannot be journalled",
                where=table.place,
                fix="name its key in the settings",
            )
        for name, kind in table.key:
            if kind not in KEY_KINDS:
                fix = "choose another unique key, or listen by polling"
                raise Refused(f'the key column "{name}" is {kind}', where=table.place, fix=fix)

    def delete(self, journal: JournalPlace, first: int, last: int, step: int) -> str:
        """Forget a run of entries."""
        every = f" AND {self.remainder(f'id - {first}', step)} = 0" if step > 1 else ""
        return f"DELETE FROM {self.table(journal)} WHERE id BETWEEN {first} AND {last}{every}"

    def remainder(self, number: str, divisor: int) -> str:
        """What is left after a division."""
        return f"MOD({number}, {divisor})"

    def begins(self, column: str, journal: JournalPlace) -> str:
        """Whether a name begins with the journal's; without LIKE, whose signs mean something to drivers as well."""
        prefix = journal.name + "_"
        return f"SUBSTR({column}, 1, {len(prefix)}) = {self.literal(prefix)}"

    def script(self, statements: Sequence[str]) -> str:
        """As the database's own client reads them from a file."""
        return ";\n\n".join(statements) + ";"

    def table(self, journal: JournalPlace) -> str:
        """The journal's name in SQL."""
        return self.quoted(journal.schema, journal.name)

    def parse_key(self, text: str) -> list[str | bytes]:
        """The parts of a noted key: texts as PostgreSQL prints them."""
        parts: list[str | bytes] = json.loads(text)
        return parts

    def born(self, journal: JournalPlace, identity: str) -> list[str]:
        """The journal's first two entries, where there are none yet: which journal it is, and what is kept at first."""
        table = self.table(journal)
        return [
            f"INSERT INTO {table} (place, op, k) SELECT {self.literal('-')}, '{operation}', {self.literal(key)}"
            f"{self.from_nothing} WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE op = '{operation}' OR {rest})"
            for operation, key, rest in ((BIRTH, identity, "1 = 0"), (STARTED, "-", f"op <> '{BIRTH}'"))
        ]

    @property
    def from_nothing(self) -> str:
        """What a SELECT without a table needs."""
        return ""

    @abstractmethod
    def create(self, journal: JournalPlace) -> Sequence[str]:
        """Make the journal where it is not there yet."""

    @abstractmethod
    def drop(self, journal: JournalPlace) -> Sequence[str]:
        """Take the journal away."""

    @abstractmethod
    def triggers(self, journal: JournalPlace, table: Watched) -> list[Trigger]:
        """What notes every change of the table."""

    @abstractmethod
    def installed(self, journal: JournalPlace) -> str:
        """The names of triggers that are there and enabled, whose names begin with the journal's."""

    @abstractmethod
    def entries(self, journal: JournalPlace, after: int, rows: int) -> str:
        """Up to *rows* entries above *after* by number: number, microseconds since 1970, place, operation, key."""

    @abstractmethod
    def grants(self, journal: JournalPlace, tables: Sequence[Watched], account: str) -> list[str]:
        """The least rights of the account that reads, named as :meth:`account` does."""

    @abstractmethod
    def size(self, journal: JournalPlace) -> str:
        """How many bytes the journal takes."""
