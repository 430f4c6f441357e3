"""Rows of one table outside of memory: what a file says, what it changes, and a table being copied.

A temporary database that nobody else can open and that vanishes with us, so a million rows cost disk, not memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from agent.sources.dropfolder.places import Placing
from agent.sources.dropfolder.reading import Record
from agent.sources.source import Limits
from proto import frames
from proto.batch import NO_FRAMES, Delta, Frames
from proto.schema import TableSchema

WHOLE_GONE: Final = "x"
"""The operation of a deleted row that is known whole; ``=`` is one that stayed as it was."""
_NEW: Final = "INSERT INTO rows VALUES (?, ?, ?, ?, NULL)"
# The last word on a key counts; that it was there before is remembered for those who allow it once only.
_PUT: Final = (
    _NEW + " ON CONFLICT (place) DO UPDATE SET again = row, row = excluded.row, frame = excluded.frame,"
    " op = CASE excluded.op WHEN 'd' THEN 'd' ELSE 'u' END"
)


class Spool:
    """Rows by the place of their key."""

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self._placing = Placing(schema)
        # No name: the database lies in a file that is deleted while it is open.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA cache_size = -16000",
            "CREATE TABLE rows (place BLOB PRIMARY KEY, op TEXT, frame BLOB, row INT, again INT) WITHOUT ROWID",
            "CREATE TABLE before (place BLOB PRIMARY KEY, frame BLOB) WITHOUT ROWID",
        ):
            self._db.execute(statement)

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    # What a file says

    def put(self, records: Iterable[Record]) -> None:
        """Take rows in; of two with one key the later counts."""
        rows = [(each.place, each.operation, each.frame, each.row) for each in records]
        with self._transaction():
            self._db.executemany(_PUT, rows)

    def repeated(self, most: int) -> list[tuple[int, int]]:
        """Rows whose key stands in another row too, with that row."""
        return self._db.execute(
            "SELECT row, again FROM rows WHERE again IS NOT NULL ORDER BY row LIMIT ?", (most,)
        ).fetchall()

    # What a snapshot changes

    def compare(self, page: Frames) -> None:
        """Take in rows that were there before."""
        keys = frames.keys(page.data, self.schema.key_indexes)
        places = map(self._placing.of_frame, keys)
        with self._transaction():
            self._db.executemany(
                "INSERT INTO before VALUES (?, ?)", list(zip(places, frames.split(page.data), strict=True))
            )

    def tell_changes(self) -> None:
        """Say of each row what became of it, now that all that was there before is known."""
        with self._transaction():
            self._db.execute(
                "UPDATE rows SET op = CASE WHEN rows.frame = before.frame THEN '=' ELSE 'u' END"
                " FROM before WHERE before.place = rows.place"
            )
            self._db.execute(
                "INSERT INTO rows SELECT place, 'x', frame, 0, NULL FROM before"
                " WHERE NOT EXISTS (SELECT 1 FROM rows WHERE rows.place = before.place)"
            )
            self._db.execute("DELETE FROM before")

    def counts(self) -> dict[str, int]:
        """How many rows there are of each operation."""
        return dict(self._db.execute("SELECT op, count(*) FROM rows GROUP BY op").fetchall())

    def deltas(self, limits: Limits) -> Iterator[Delta]:
        """The changes in parts within the limits; none when nothing changed."""
        part = _Part(self.schema)
        for op, frame in self._db.execute("SELECT op, frame FROM rows WHERE op <> '='"):
            if part.rows and (part.rows >= limits.rows or part.size + len(frame) > limits.bytes):
                yield part.delta()
                part = _Part(self.schema)
            part.add(op, frame)
        if part.rows:
            yield part.delta()

    # A table being copied

    def fold(self, changes: Delta) -> None:
        """Bring the table up to date with what was handed out."""
        with self._transaction():
            if changes.deletes:
                gone = [(self._placing.of_frame(key),) for key in frames.split(changes.deletes.data)]
                self._db.executemany("DELETE FROM rows WHERE place = ?", gone)
            for section in (changes.upserts, changes.inserts):
                self._db.executemany(
                    "INSERT OR REPLACE INTO rows VALUES (?, 'i', ?, 0, NULL)", self._placed(section)
                )

    def settle(self) -> None:
        """After all files were put: what they delete is gone, and the rest is the table."""
        self._db.execute("DELETE FROM rows WHERE op IN ('d', 'x')")

    def count(self) -> int:
        """How many rows the table has."""
        return int(self._db.execute("SELECT count(*) FROM rows").fetchone()[0])

    def page(self, after_key: bytes, rows: int) -> list[bytes]:
        """The next rows in key order."""
        after = self._placing.of_frame(after_key) if after_key else b""
        found = self._db.execute(
            "SELECT frame FROM rows WHERE place > ? ORDER BY place LIMIT ?", (after, rows)
        )
        return [frame for (frame,) in found]

    def _placed(self, section: Frames) -> list[tuple[bytes, bytes]]:
        keys = frames.keys(section.data, self.schema.key_indexes)
        return list(zip(map(self._placing.of_frame, keys), frames.split(section.data), strict=True))

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)


class _Transaction:
    """Many statements at the price of one. Nothing is rolled back: a spool that failed is thrown away."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN")

    def __exit__(self, *failed: object) -> None:
        self._db.execute("COMMIT")


class _Part:
    """A delta being filled."""

    def __init__(self, schema: TableSchema) -> None:
        self._schema = schema
        self._sections: dict[str, list[bytes]] = {"i": [], "u": [], "d": [], WHOLE_GONE: []}
        self.rows = self.size = 0

    def add(self, op: str, frame: bytes) -> None:
        """One more change."""
        self._sections[op].append(frame)
        self.rows += 1
        self.size += len(frame)

    def delta(self) -> Delta:
        """What was added."""
        found = self._sections
        gone = [*found["d"], *frames.keys(b"".join(found[WHOLE_GONE]), self._schema.key_indexes)]
        return Delta(
            self._schema, inserts=_joined(found["i"]), upserts=_joined(found["u"]), deletes=_joined(gone)
        )


def _joined(found: Sequence[bytes]) -> Frames:
    return Frames(b"".join(found), len(found)) if found else NO_FRAMES
