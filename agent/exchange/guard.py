"""A lock on a server as the right to be a stream's only writer: it lasts as long as the connection that took it."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError


class SessionGuard:
    """A lock held by a connection that does nothing else."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Kept, because a connection that SQLAlchemy gave up is closed only when Python finds nobody needs it.
        self._driver = connection.connection.dbapi_connection

    def is_held(self) -> bool:
        """The server frees the lock when the connection ends, so the connection is the lock."""
        if self._connection.closed:
            return False
        try:
            self._connection.execute(text("SELECT 1"))
        except DBAPIError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Close the connection and with it the lock, at once."""
        driver, self._driver = self._driver, None
        if driver is None:
            return
        self._connection.invalidate()
        self._connection.close()
        with suppress(self._connection.dialect.loaded_dbapi.Error):  # it was broken already
            driver.close()
