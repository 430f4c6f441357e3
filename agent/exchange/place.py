"""Where an exchange database can lie, and what differs there: names, locks, room on the disk, words for errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from proto.errors import ExchangeError

READS = {"exchange_reads": True}
"""Execution options of a transaction that only reads, so that it need not wait for the writer."""


class Guard(Protocol):
    """The right to be a stream's only writer; ends with the process at the latest."""

    def is_held(self) -> bool:
        """Whether it is still ours; a lost connection may have cost us the lock."""
        ...

    def release(self) -> None:
        """Let another process have it."""
        ...


class Place(Protocol):
    """One kind of database as the home of an exchange database."""

    schema: str | None
    prefix: str

    def open(self, url: str, node: str) -> Engine:
        """An engine whose commits are durable when they return."""
        ...

    def guard(self, engine: Engine, stream: str) -> Guard:
        """Become the stream's only writer. Raises Fenced naming who is."""
        ...

    def lock_migrations(self, connection: Connection) -> None:
        """Keep other processes from migrating until this transaction ends, and make room for the first table."""
        ...

    def free_and_total(self, engine: Engine) -> tuple[int, int] | None:
        """Bytes on the volume; None where only the server can see it."""
        ...

    def file(self, engine: Engine) -> Path | None:
        """The database's file; None where it is a server's."""
        ...

    def hold_still(self, connection: Connection) -> None:
        """First in a transaction that reads: let all of it see one moment."""
        ...

    def give_back(self, engine: Engine) -> None:
        """Return room that deleted rows held, where the database does not do so by itself."""
        ...

    def scrub(self, engine: Engine) -> bool:
        """Let no byte of deleted rows be left in its files, where that is ours to do; False = ask again. Raises Transient."""
        ...

    def translate(self, error: DBAPIError, where: str) -> ExchangeError | None:
        """What the daemon should do about it; None for a bug."""
        ...


class Server(Place, Protocol):
    """A place whose rights somebody else grants."""

    def probe(self, connection: Connection) -> None:
        """Do what will be done and leave nothing of it; raises what the server says when it cannot be done."""
        ...

    def grant(self, url: URL) -> str:
        """What an administrator types so that it can."""
        ...


@contextmanager
def translated(place: Place, where: str) -> Iterator[None]:
    """Turn the driver's errors into ours. Around a COMMIT the outcome is unknown: Transient says read again."""
    try:
        yield
    except DBAPIError as error:
        known = place.translate(error, where)
        if known is None:
            raise
        raise known from error
