"""Which tables of a source are left out, and why."""

from __future__ import annotations

from proto.errors import TableHold


class Holds:
    """The tables that are left out, and the errors nobody has read yet."""

    def __init__(self) -> None:
        self.tables: set[str] = set()
        self._unread: list[Exception] = []

    def add(self, hold: TableHold) -> None:
        """Leave a table out and keep the reason."""
        self.tables.add(hold.table)
        self._unread.append(hold)

    def taken(self) -> list[Exception]:
        """The reasons since the last call."""
        unread, self._unread = self._unread, []
        return unread
