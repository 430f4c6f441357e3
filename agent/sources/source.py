"""What every way of listening to a business database promises.

Pull-style: the agent asks at its own pace. One thread uses a source; only :meth:`Source.stop_waiting` may be
called from another. A source remembers nothing itself: its only memory is the position it is opened at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from proto.batch import NO_FRAMES, Batch, Frames, Position
from proto.schema import TableSchema


@dataclass(frozen=True, slots=True)
class Traits:
    """What a source can and cannot do; ``check`` verifies it and status shows it."""

    sees_deletes: bool
    keeps_commits_whole: bool
    can_reread: bool
    """True when changes after an unconfirmed position can be read again after a crash."""
    copies_without_key: bool = False
    """True when a table without a key can be copied as well; otherwise what it already has is never emptied."""
    compares: bool = False
    """True when it has no log to read but compares with the mirror, and finds some changes on a schedule only."""
    looking_proves: bool = True
    """False when finding nothing new says nothing about the department's data: nobody may have put a file there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a read ends although more is waiting."""

    rows: int = 20_000
    bytes: int = 8 * 1024 * 1024
    wait_s: float = 1.0
    """How long to wait for the first change before returning None."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One prerequisite that ``check`` looked at."""

    name: str
    passed: bool
    sentence: str
    fix: str = ""
    """The exact SQL statement or setting that mends it."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a first copy, in key order, ready to be merged into the stream at the moment it is returned."""

    schema: TableSchema
    frames: Frames
    last_key: bytes
    """Frame of the key of the last row read (also when that row was dropped for a newer change); b"" if empty."""
    is_last: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """That the source was read to its end: everything committed before *at_us* is in *position*."""

    position: Position
    at_us: int
    """Our clock, microseconds since 1970, when the question was asked."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What people should know of a table although it flows."""

    sentence: str
    """Names files, rows and columns; never a value."""
    fix: str
    """What ends it."""


@dataclass(frozen=True, slots=True)
class Retained:
    """What the source's server keeps because of us."""

    bytes: int
    limit_bytes: int | None
    """What the server is willing to keep; None = without limit."""


@dataclass(frozen=True, slots=True)
class Fading:
    """How near the source's log is to being gone before it was read."""

    share: float
    """Of the time or the room that it has; 1 = it may go any moment, or has gone."""
    sentence: str
    fix: str


class Mirror(Protocol):
    """What the exchange database has of this stream's tables: the memory of a source whose database keeps no log.

    It shows what is committed: a batch that was returned by :meth:`Source.read` may not be in it yet. Every method
    is one short read of its own and may be called from the source's thread at any time. Sources with a log ignore it.
    """

    def schema(self, table: str) -> TableSchema | None:
        """How its frames of *table* are laid out; None while it has no such table."""
        ...

    def count(self, table: str) -> int:
        """How many rows it has; 0 while it has no such table."""
        ...

    def page(self, table: str, after_key: bytes, rows: int) -> Frames:
        """Up to *rows* full rows after the key frame *after_key* (``b""`` = from the first), in the mirror's own order.

        Fewer only at the table's end. No collation of the source decides that order: remember the last key, do not
        compare it.
        """
        ...

    def rows(self, table: str, keys: Frames) -> Frames:
        """The full rows that have exactly one of these *keys*, in any order; keys that are not there bring none."""
        ...


class NoMirror:
    """The mirror of a node that has not captured anything yet; for whoever only looks at a source."""

    def schema(self, table: str) -> TableSchema | None:
        """It has no tables."""
        return None

    def count(self, table: str) -> int:
        """It has no rows."""
        return 0

    def page(self, table: str, after_key: bytes, rows: int) -> Frames:
        """Nothing."""
        return NO_FRAMES

    def rows(self, table: str, keys: Frames) -> Frames:
        """Nothing."""
        return NO_FRAMES


@runtime_checkable
class Remembering(Protocol):
    """A source whose log does not tell everything: what it last saw of a table is kept with the table's state."""

    def recall(self, marks: Mapping[str, str]) -> None:
        """What :meth:`marks` said of each table before; the next ``open`` holds those whose rows may be wrong since."""
        ...

    def marks(self) -> dict[str, str]:
        """Of each table that is not held: what must stay true for its rows to be right. For nobody else to read."""
        ...


class Source(Protocol):
    """One business database, seen through one way of listening."""

    traits: Traits

    def check(self) -> list[Finding]:
        """Look at every prerequisite; never raises for a failed one, changes nothing at the source."""
        ...

    def schemas(self) -> list[TableSchema]:
        """The captured tables as they are now, in configured order; :meth:`holds` tells why one is left out.

        Raises Credential or Transient if the source is not reachable.
        """
        ...

    def open(self, position: Position) -> Position:
        """Start streaming strictly after *position*; ``""`` means a new stream: make what is needed and start now.

        Returns the position streaming starts at. Raises Gap, Diverged, Fenced, Credential or Transient, never
        starts with a hole (continuity checks, faults C4–C12).
        """
        ...

    def read(self, limits: Limits) -> Batch | None:
        """What changed since the last read, ending at a commit boundary; None when nothing came in ``wait_s``.

        While a copy is under way it does not wait: the next page is due. A batch closes as soon as nothing more is
        waiting. A transaction over the limits comes in parts that say ``continues``. A batch without deltas but a later
        position is possible (others' changes passed by).
        Raises TableHold subclasses through :meth:`holds` instead of raising: one bad table never stops the others.
        """
        ...

    def holds(self) -> list[Exception]:
        """TableHold errors met since the last call; their tables' changes are left out of batches until resumed."""
        ...

    def resume_table(self, name: str) -> None:
        """Stream a held table again as it is now; its fresh copy follows."""
        ...

    def keepalive(self) -> None:
        """Keep the server from giving us up while we wait for room (C14); cheap."""
        ...

    def confirm(self, position: Position) -> None:
        """Everything up to *position* is committed on our side: the source may forget it. Never blocks for long."""
        ...

    def proof(self) -> Proof | None:
        """The newest proof that the source was read to its end; None before the first."""
        ...

    def start_copy(self, table: str, after_key: bytes) -> None:
        """Begin (``b""``) or go on with the first copy of one table; pages come from :meth:`pages` in key order."""
        ...

    def pages(self) -> Iterator[Page]:
        """Pages that are ready now: call after each read. Changes that came between page and now already won.

        The caller commits each page before the next batch of the stream, so pages and changes never cross.
        """
        ...

    def expected_rows(self, table: str) -> int:
        """An estimate for progress and ETA; 0 if unknown."""
        ...

    def scan(self, table: str) -> Iterator[Frames]:
        """The whole table as it is now, in key order, for comparison; its own consistent read."""
        ...

    def retained(self) -> Retained | None:
        """What the server keeps for us; None if the source has no such thing. Own connection, any thread."""
        ...

    def give_up_place(self) -> None:
        """Let the server forget us for its disk's sake: the stream has a gap from here on (C10)."""
        ...

    def stop_waiting(self) -> None:
        """Make a waiting read return soon; the only method another thread may call besides retained."""
        ...

    def close(self) -> None:
        """Let go of connections; what the server keeps for us stays, so that we can go on later."""
        ...


@runtime_checkable
class Forgetting(Protocol):
    """A source whose server drops its log by its own clock, whether it was read or not."""

    def fading(self, position: Position) -> Fading | None:
        """A warning if what comes after *position* will soon be gone. Own connection, any thread, open or not."""
        ...


@runtime_checkable
class Dated(Protocol):
    """A source of which only what it is given proves anything: each table by itself."""

    def read_at(self) -> Mapping[str, int]:
        """When the newest that was given of each table came, changed or not, once it is committed. Any thread, at once."""
        ...


@runtime_checkable
class Resting(Protocol):
    """A source that its settings let work at certain hours only."""

    def resting(self) -> str:
        """Why it reads nothing now and when it goes on, in words; empty while it works. Any thread, at once."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A source that may take the good part of something and leave the rest to people."""

    def remarks(self) -> Mapping[str, Remark]:
        """What is left to them, by table, until they have dealt with it; a restart tells it again. Any thread, at once."""
        ...
