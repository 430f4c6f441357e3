"""The journal table as its reader sees it: entries in the order of their numbers, and forgetting what was delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, exc

from agent.sources.journal.dialects import Dialect, Entry, JournalPlace
from agent.sources.journal.dialects.dialect import BIRTH
from agent.sources.journal.marks import Mark, Run
from agent.sources.polling.alchemy import engine_of
from agent.sources.polling.connection import Database, TableTrouble
from proto.errors import Diverged, Gap, Transient

_AFRESH: Final = "copy all tables afresh: exchange-agent snapshot --all"


@dataclass(frozen=True, slots=True)
class Journal:
    """One journal, read through a connection that may read only."""

    database: Database
    dialect: Dialect
    place: JournalPlace
    source: str

    def birth(self) -> Entry:
        """Its first entry, which says which journal it is. Raises Transient while there is none."""
        fix = f"have the database's administrator run: exchange-agent journal show-sql {self.source}"
        where = f"SELECT id, op, k FROM {self.dialect.table(self.place)} WHERE op = '{BIRTH}'"  # noqa: S608
        try:
            found = self.database.query(where)
        except TableTrouble as trouble:
            what = (
                f"the journal {self.place.name} is not there, or the account may not read it ({trouble.code})"
            )
            raise Transient(what, where=self.source, fix=fix) from None
        if len(found) != 1:
            raise Transient(f"the journal {self.place.name} is not complete", where=self.source, fix=fix)
        number, _, identity = found[0]
        return Entry(int(number), 0, "", BIRTH, str(identity))

    def entries(self, after: int, rows: int) -> list[Entry]:
        """The next ones above a number."""
        found = self.database.query(self.dialect.entries(self.place, after, rows))
        return [
            Entry(int(number), int(at_us), str(place), str(operation), str(key))
            for number, at_us, place, operation, key in found
        ]

    def newest(self) -> Entry:
        """The newest entry; there always is one besides the first."""
        table = self.dialect.table(self.place)
        top = int(self.database.query(f"SELECT MAX(id) FROM {table}")[0][0])  # noqa: S608
        return self.entries(top - 1, 1)[0]

    def check(self, mark: Mark) -> None:
        """That nobody has read, emptied or replaced the journal behind our back. Raises Diverged and Gap."""
        birth = self.birth()
        if birth.key != mark.identity:
            raise Diverged("this is another journal than the one we read", where=self.source, fix=_AFRESH)
        kept = self.entries(mark.kept - 1, 1)
        if not kept or (kept[0].number, kept[0].at_us) != (mark.kept, mark.kept_us):
            what = "the entry we read last is gone: the journal was emptied, read by another, or restored"
            raise Gap(what, where=self.source, fix=_AFRESH)

    def size_bytes(self) -> int:
        """What it takes at the source."""
        return int(self.database.query(self.dialect.size(self.place))[0][0] or 0)


class Eraser:
    """The one connection that writes to the business database, and all it ever says is DELETE FROM the journal."""

    def __init__(self, url: str, dialect: Dialect, place: JournalPlace, source: str) -> None:
        self._engine = engine_of(url, source, isolation_level="AUTOCOMMIT")
        self._dialect, self._place, self._source = dialect, place, source
        self._link: Connection | None = None

    def forget(self, runs: tuple[Run, ...], keep: int) -> None:
        """Delete the entries of *runs* but for *keep*. Raises Transient."""
        for run in runs:
            for part in _around(run, keep):
                self._say(self._dialect.delete(self._place, part.first, part.last, part.step))

    def forget_before(self, number: int) -> None:
        """Delete what is older than *number*, but for the first entry."""
        table = self._dialect.table(self._place)
        self._say(f"DELETE FROM {table} WHERE id < {number} AND op <> '{BIRTH}'")  # noqa: S608

    def close(self) -> None:
        """Hang up; never raises."""
        if self._link is not None:
            self._link.invalidate()
            self._link.close()
            self._link = None
        self._engine.dispose()

    def _say(self, statement: str) -> None:
        try:
            if self._link is None:
                self._link = self._engine.connect()
            self._link.exec_driver_sql(statement)
        except exc.DBAPIError as error:
            self.close()
            fix = f"GRANT DELETE ON {self._dialect.table(self._place)}, if the account may not"
            # The driver's words may hold the statement, never a value.
            what = f"the journal could not be emptied of what was delivered ({type(error.orig).__name__})"
            raise Transient(what, where=self._source, fix=fix) from None


def _around(run: Run, keep: int) -> list[Run]:
    """The run without one number."""
    if keep not in run.ids:
        return [run]
    parts = []
    if keep > run.first:
        parts.append(Run(run.first, keep - run.step, run.step))
    if keep < run.last:
        parts.append(Run(keep + run.step, run.last, run.step))
    return parts
