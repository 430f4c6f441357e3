"""A business database in memory, and a source that listens to it: for tests of the rooms above.

It keeps every promise of :mod:`agent.sources.source` and passes the same suite as the real ones. Rows are plain
values as :func:`proto.frames.rows` gives them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Condition

from agent.sources.collapse import Pending
from agent.sources.page import overtaken
from agent.sources.source import Finding, Limits, Page, Proof, Retained, Traits
from proto import frames
from proto.batch import Batch, Delta, Frames, Position
from proto.errors import Diverged, Fenced, Gap, Refused, TableHold
from proto.schema import TableSchema
from proto.values import Plain

Row = tuple[Plain, ...]
_identities = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Change:
    """One row before and after it; a table without its rows when both are None."""

    table: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction changed, and when it ended."""

    changes: tuple[Change, ...]
    at_us: int


@dataclass
class MemoryDatabase:
    """Tables by catalogued name, and the log of what was committed."""

    schemas: list[TableSchema]
    tables: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    log: list[Commit] = field(default_factory=list)
    forgotten: int = 0
    """How many commits from the start are no longer kept."""
    reader: object = None
    identity: int = field(default_factory=lambda: next(_identities))
    moved: Condition = field(default_factory=Condition)

    def __post_init__(self) -> None:
        self.tables = {schema.name: {} for schema in self.schemas}

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Changes that become visible together, or not at all when the block raises."""
        transaction = Transaction(self)
        yield transaction
        with self.moved:
            self.tables = transaction.tables
            self.log.append(Commit(tuple(transaction.changes), time.time_ns() // 1000))
            self.moved.notify_all()

    def schema(self, name: str) -> TableSchema:
        """The table's shape."""
        return next(schema for schema in self.schemas if schema.name == name)


class Transaction:
    """Changes that are not visible yet."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self.tables = {name: dict(rows) for name, rows in database.tables.items()}
        self.changes: list[Change] = []

    def put(self, table: str, row: Row) -> None:
        """Add a row, or replace the one with its key."""
        schema = self._database.schema(table)
        frame = frames.pack_rows([row], schema.kinds)
        key = frames.keys(frame, schema.key_indexes)[0]
        self.changes.append(Change(table, self.tables[table].get(key), frame))
        self.tables[table][key] = frame

    def delete(self, table: str, row: Row) -> None:
        """Remove the row with the key of *row*."""
        self._remove(table, row, None)

    def move(self, table: str, old: Row, new: Row) -> None:
        """Give the row with the key of *old* the values of *new*, its key included."""
        self._remove(table, old, frames.pack_rows([new], self._database.schema(table).kinds))

    def truncate(self, table: str) -> None:
        """Remove every row."""
        self.tables[table].clear()
        self.changes.append(Change(table, None, None))

    def _remove(self, table: str, row: Row, after: bytes | None) -> None:
        schema = self._database.schema(table)
        key = frames.keys(frames.pack_rows([row], schema.kinds), schema.key_indexes)[0]
        self.changes.append(Change(table, self.tables[table].pop(key), after))
        if after is not None:
            self.tables[table][frames.keys(after, schema.key_indexes)[0]] = after


@dataclass
class _Copy:
    """A first copy: the last key read, and the page that waits for the stream with what came meanwhile."""

    after_key: bytes
    page: Page | None = None
    high: int = 0
    window: list[Delta] = field(default_factory=list)


class MemorySource:
    """Listens to a :class:`MemoryDatabase`."""

    traits = Traits(sees_deletes=True, keeps_commits_whole=True, can_reread=True)

    def __init__(self, database: MemoryDatabase, page_rows: int = 100) -> None:
        self._database = database
        self._page_rows = page_rows
        self._at = 0
        self._part = 0
        self._is_open = self._told_to_stop = False
        self._held: dict[str, TableHold] = {}
        self._unread: list[Exception] = []
        self._copies: dict[str, _Copy] = {}
        self._proof: Proof | None = None

    def check(self) -> list[Finding]:
        """Nothing is missing in memory."""
        return [Finding("memory", True, "the database is in this process")]

    def schemas(self) -> list[TableSchema]:
        """The tables, in the order given."""
        return list(self._database.schemas)

    def open(self, position: Position) -> Position:
        """Start strictly after *position*."""
        database = self._database
        self.close()
        if database.reader not in (None, self):
            raise Fenced("another source listens to this database", where=f"memory {database.identity}")
        kind, identity, number = (position or self._position(len(database.log))).split("/")
        if (kind, identity) != ("mem", str(database.identity)) or int(number) > len(database.log):
            raise Diverged("the position is not in this database's past", where=position)
        if int(number) < database.forgotten:
            raise Gap("the changes after the position are no longer kept", where=position)
        database.reader, self._is_open = self, True
        self._at, self._part, self._proof = int(number), 0, None
        self._copies.clear()
        return self._position(self._at)

    def read(self, limits: Limits) -> Batch | None:
        """What was committed since the last read; a commit over the limits comes in parts."""
        if not self._is_open:
            raise Refused("the source is not open")
        asked_us = time.time_ns() // 1000
        if not self._wait(0.0 if self._copies else limits.wait_s):
            self._proof = Proof(self._position(self._at), asked_us)
            return None
        batch = self._next_batch(limits)
        for delta in batch.deltas:
            if copy := self._copies.get(delta.schema.name):
                copy.window.append(delta)
        return batch

    def holds(self) -> list[Exception]:
        """What :meth:`hold` was told since the last call."""
        unread, self._unread = self._unread, []
        return unread

    def hold(self, hold: TableHold) -> None:
        """Leave a table out from here on, as a source does that cannot follow it."""
        self._held[hold.table] = hold
        self._unread.append(hold)
        self._copies.pop(hold.table, None)

    def resume_table(self, name: str) -> None:
        """Stream a held table again."""
        self._held.pop(name, None)

    def confirm(self, position: Position) -> None:
        """Forget what is before *position*."""
        self._database.forgotten = max(self._database.forgotten, int(position.rsplit("/", 1)[1]))

    def keepalive(self) -> None:
        """Nobody gives us up here."""

    def give_up_place(self) -> None:
        """What was not read yet is forgotten."""
        self._database.forgotten = len(self._database.log)

    def proof(self) -> Proof | None:
        """The last time a read found nothing more."""
        return self._proof

    def start_copy(self, table: str, after_key: bytes) -> None:
        """Begin or go on with a first copy; a fresh one also streams a held table again."""
        if not after_key:
            self.resume_table(table)
        self._copies[table] = _Copy(after_key)

    def pages(self) -> Iterator[Page]:
        """Pages that the stream has caught up with; the next one is read ahead, as a real source does."""
        for table, copy in list(self._copies.items()):
            if self._part:
                return
            if copy.page is None:
                self._read_ahead(table, copy)
            page = copy.page
            if page is None or self._at < copy.high:
                continue
            window, copy.after_key = copy.window, page.last_key
            if page.is_last:
                del self._copies[table]
            else:
                self._read_ahead(table, copy)
            yield replace(page, frames=overtaken(page.frames, page.schema, window))

    def expected_rows(self, table: str) -> int:
        """How many there are."""
        return len(self._database.tables[table])

    def scan(self, table: str) -> Iterator[Frames]:
        """The whole table in key order."""
        rows = [frame for _, frame in self._sorted(table)]
        for some in (rows[at : at + self._page_rows] for at in range(0, len(rows), self._page_rows)):
            yield Frames(b"".join(some), len(some))

    def retained(self) -> Retained | None:
        """The size of what is not forgotten."""
        kept = self._database.log[self._database.forgotten :]
        return Retained(sum(len(change.after or b"") for commit in kept for change in commit.changes), None)

    def stop_waiting(self) -> None:
        """Make a waiting read return."""
        with self._database.moved:
            self._told_to_stop = True
            self._database.moved.notify_all()

    def close(self) -> None:
        """Let another source listen."""
        self._is_open = False
        if self._database.reader is self:
            self._database.reader = None

    def _position(self, number: int) -> Position:
        return f"mem/{self._database.identity}/{number}"

    def _wait(self, seconds: float) -> bool:
        """Whether there is something to read."""
        with self._database.moved:
            self._database.moved.wait_for(lambda: self._has_more() or self._told_to_stop, seconds)
            self._told_to_stop = False
            return self._has_more()

    def _has_more(self) -> bool:
        return self._at < len(self._database.log)

    def _next_batch(self, limits: Limits) -> Batch:
        first = self._database.log[self._at]
        if len(first.changes) - self._part > limits.rows:
            end = self._part + limits.rows
            deltas = self._collapsed(first.changes[self._part : end])
            self._part = end
            return Batch(self._position(self._at), deltas, continues=True)
        changes = list(first.changes[self._part :])
        taken, last = 1, first
        for commit in self._database.log[self._at + 1 :]:
            if len(changes) + len(commit.changes) > limits.rows:
                break
            changes += commit.changes
            taken, last = taken + 1, commit
        self._at, self._part = self._at + taken, 0
        return Batch(self._position(self._at), self._collapsed(changes), first.at_us, last.at_us, taken)

    def _collapsed(self, changes: Sequence[Change]) -> tuple[Delta, ...]:
        closed: list[Delta] = []
        pending: dict[str, Pending] = {}
        for change in changes:
            if change.table in self._held:
                continue
            if change.table not in pending:
                schema = self._database.schema(change.table)
                pending[change.table] = Pending(schema, closed, tells_all=True)
                pending[change.table].keep_vanished = change.table in self._copies
            _note(pending[change.table], change)
        for each in pending.values():
            each.close()
        return tuple(closed)

    def _read_ahead(self, table: str, copy: _Copy) -> None:
        copy.page, copy.high, copy.window = self._read_page(table, copy), len(self._database.log), []

    def _read_page(self, table: str, copy: _Copy) -> Page:
        schema = self._database.schema(table)
        rows = self._sorted(table)
        if copy.after_key:
            after = _sort_key(schema, copy.after_key)
            rows = [(key, frame) for key, frame in rows if _sort_key(schema, key) > after]
        some = rows[: self._page_rows]
        found = Frames(b"".join(frame for _, frame in some), len(some))
        return Page(schema, found, some[-1][0] if some else b"", len(rows) <= self._page_rows)

    def _sorted(self, table: str) -> list[tuple[bytes, bytes]]:
        schema = self._database.schema(table)
        return sorted(self._database.tables[table].items(), key=lambda item: _sort_key(schema, item[0]))


def _note(pending: Pending, change: Change) -> None:
    before = frames.fields(change.before) if change.before is not None else None
    if change.after is not None and before is not None:
        pending.update(before, frames.fields(change.after))
    elif change.after is not None:
        pending.insert(frames.fields(change.after))
    elif before is not None:
        pending.delete(before)
    else:
        pending.truncate()


def _sort_key(schema: TableSchema, key: bytes) -> tuple[str | int | float | bytes, ...]:
    kinds = [schema.kinds[at] for at in schema.key_indexes]
    return tuple(value for value in frames.rows(key, kinds)[0] if value is not None)
