"""Which driver connects, by what the settings say."""

from __future__ import annotations

from agent.sources.polling.connection import Database
from agent.sources.polling.settings import PollingSettings


def connect(settings: PollingSettings) -> Database:
    """Connect and make the session read-only, exact and in UTC. Raises Credential, Transient or Refused."""
    # Imported late: without libodbc2 pyodbc cannot even be imported, and a URL needs no pyodbc.
    if settings.odbc is not None:
        from agent.sources.polling.odbc import OdbcDatabase

        return OdbcDatabase(settings)
    from agent.sources.polling.alchemy import UrlDatabase

    return UrlDatabase(settings)
