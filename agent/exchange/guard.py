"""A lock on a server as the right to be a stream's only writer: it lasts as long as the connection that took it."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError


class SessionGuard:
    """A lock held by a connection that does nothing else."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def is_held(self) -> bool:
        """The server frees the lock when the connection ends, so the connection is the lock."""
        if self._connection.closed:
            return False
        try:
            self._connection.execute(text("SELECT 1"))
        except DBAPIError:
            self._connection.invalidate()
            self._connection.close()
            return False
        return True

    def release(self) -> None:
        """Close the connection and with it the lock; at once, not when Python finds nobody needs it any more."""
        if self._connection.closed or self._connection.invalidated:
            return
        driver = self._connection.connection.dbapi_connection
        self._connection.invalidate()
        self._connection.close()
        with suppress(self._connection.dialect.loaded_dbapi.Error):  # it was broken already
            if driver is not None:
                driver.close()
