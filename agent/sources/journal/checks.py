"""What ``check`` looks at before a journal can be followed; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.sources.journal.dialects import JournalPlace, dialect_of
from agent.sources.journal.notes import Journal
from agent.sources.journal.settings import JournalSettings
from agent.sources.journal.watching import Watching
from agent.sources.polling.checks import no_writing
from agent.sources.polling.connecting import connect
from agent.sources.polling.connection import Database
from agent.sources.source import Finding
from proto.errors import ExchangeError, TableHold

_OWN: Final = frozenset({"TRIGGER"})
"""Without it MariaDB and MySQL show nobody the triggers of a table."""


def findings(settings: JournalSettings, place: JournalPlace) -> list[Finding]:
    """Connection, journal, tables and their triggers."""
    try:
        database = connect(settings.reading)
    except ExchangeError as error:
        return [Finding("connection", False, error.what, error.fix)]
    try:
        return [
            Finding("connection", True, f"{database.dialect.name} answers"),
            *_looked(settings, place, database),
        ]
    except ExchangeError as error:
        return [Finding("journal", False, error.what, error.fix or "see whether the server runs")]
    finally:
        database.close()


def _looked(settings: JournalSettings, place: JournalPlace, database: Database) -> Iterator[Finding]:
    dialect = dialect_of(database.dialect.name)
    journal = Journal(database, dialect, place, settings.name)
    journal.birth()
    yield Finding("journal", True, f"{place.name} is there and holds {journal.size_bytes()} bytes")
    if not dialect.notes_truncate:
        yield Finding("limits", True, "TRUNCATE fires no trigger here: after one, copy the table afresh", "")
    parts = {table.catalogued: table.parts for table in settings.reading.tables}
    watching = Watching(journal, settings)
    watching.verify()
    for hold in watching.told():
        if isinstance(hold, TableHold):
            yield Finding(f"table {hold.table}", False, hold.what, hold.fix)
    for name, reader in watching.readers.items():
        key = ", ".join(reader.shape.schema.key)
        yield Finding(f"table {name}", True, f"key {key}, its triggers are in place")
        yield no_writing(f"table {name}: rights", reader.shape, parts[name], database, _OWN)
