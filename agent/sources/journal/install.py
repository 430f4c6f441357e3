"""Making and removing a journal: the one time that somebody with more rights than the agent is needed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exc

from agent.sources.journal.dialects import Dialect, JournalPlace, Watched, dialect_of
from agent.sources.journal.settings import JournalSettings
from agent.sources.journal.watching import watched
from agent.sources.polling.alchemy import engine_of
from agent.sources.polling.connecting import connect
from agent.sources.polling.shapes import read_shape
from proto.errors import Refused


@dataclass(frozen=True, slots=True)
class Plan:
    """What a journal of these tables consists of."""

    dialect: Dialect
    place: JournalPlace
    tables: tuple[Watched, ...]
    account: str
    """Who will read it, as GRANT names it."""

    def install(self) -> list[str]:
        """Statements that make what is not there yet, in order; running them twice does no harm."""
        made = [*self.dialect.create(self.place), *self.dialect.born(self.place, secrets.token_hex(8))]
        for table in self.tables:
            made += [one for trigger in self.dialect.triggers(self.place, table) for one in trigger.create]
        return made + self.dialect.grants(self.place, self.tables, self.account)

    def remove(self) -> list[str]:
        """Statements that leave nothing of it."""
        dropped = [
            statement
            for table in self.tables
            for trigger in self.dialect.triggers(self.place, table)
            for statement in trigger.drop
        ]
        return [*dropped, *self.dialect.drop(self.place)]

    def script(self, statements: Sequence[str]) -> str:
        """Statements as the database's own client reads them from a file."""
        return self.dialect.script(statements)


def plan(settings: JournalSettings) -> Plan:
    """Ask the database what the tables' keys are. Raises SchemaHold for a table that cannot be journalled."""
    reading = settings.reading
    database = connect(reading)
    try:
        dialect = dialect_of(database.dialect.name)
        tables = tuple(watched(table, read_shape(database, table)) for table in reading.tables)
        account = dialect.account(str(database.query(dialect.who)[0][0]))
    finally:
        database.close()
    return Plan(dialect, JournalPlace(settings.journal_schema, settings.journal), tables, account)


def execute(url: str, statements: Sequence[str]) -> None:
    """Run *statements* as whoever *url* names, in one transaction where the database can. Raises Refused."""
    engine = engine_of(url, "journal")
    done = 0
    try:
        with engine.begin() as connection:
            # A host or a name may hold a percent sign, which means something to drivers where there are parameters.
            connection.execution_options(no_parameters=True)
            for statement in statements:
                connection.exec_driver_sql(statement)
                done += 1
    except exc.DBAPIError as error:
        said = str(error.orig).strip().splitlines()[0]
        what = f"statement {done + 1} of {len(statements)} was refused: {said}"
        raise Refused(
            what, where=statements[done].splitlines()[0], fix="run it as an administrator"
        ) from None
    finally:
        engine.dispose()
