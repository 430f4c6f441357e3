"""The SQL of a journal in each database: one file per database, all answering the same questions."""

from agent.sources.journal.dialects.dialect import Dialect, Entry, JournalPlace, Trigger, Watched
from agent.sources.journal.dialects.mysql import MySql
from agent.sources.journal.dialects.oracle import Oracle
from agent.sources.journal.dialects.postgresql import PostgreSql
from agent.sources.journal.dialects.sqlite import SQLite
from agent.sources.journal.dialects.sqlserver import SqlServer
from proto.errors import Refused

_DIALECTS: dict[str, type[Dialect]] = {
    "postgresql": PostgreSql,
    "mysql": MySql,
    "mariadb": MySql,
    "sqlite": SQLite,
    "mssql": SqlServer,
    "oracle": Oracle,
}


def dialect_of(database: str) -> Dialect:
    """The dialect of a database as SQLAlchemy calls it."""
    if database not in _DIALECTS:
        known = ", ".join(sorted(_DIALECTS))
        raise Refused(f"there are no triggers for {database}", fix=f"one of {known}; or listen by polling")
    return _DIALECTS[database]()


__all__ = ["Dialect", "Entry", "JournalPlace", "Trigger", "Watched", "dialect_of"]
