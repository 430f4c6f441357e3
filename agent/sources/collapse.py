"""Several changes of one key become the last one: what is pending of one table, by key.

The first operation on a key decides where it belongs: a row that was inserted is new to everybody, so deleting
it again leaves nothing; every other row was there before. Updates whose large values the source did not log are
filled from what is known here, else kept as a partial update.

Under a deferred constraint two rows can share a key for a moment, e.g. while two keys are swapped. The source
allows that only with identity FULL, so the old row in each message tells which of them is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final

from proto import frames
from proto.batch import NO_FRAMES, Delta, Frames, Partial
from proto.errors import BadRow, SchemaHold
from proto.schema import TableSchema


class Absent(Enum):
    """A value that a message does not carry."""

    UNCHANGED = "unchanged"


Field = bytes | None | Absent
Present = dict[int, bytes | None]
"""The columns a partial update carries, by index."""

_NOT_UNIQUE_FIX: Final = "choose a key that is unique at the source and copy the table afresh"
_APPEND_ONLY_FIX: Final = "declare a key for the table, or stop changing rows in it, and copy it afresh"


class Pending:
    """One table's changes since they were last drained. ``new`` and ``old`` are shared with the hot loop."""

    def __init__(self, schema: TableSchema, closed: list[Delta], tells_all: bool) -> None:
        """Closed deltas go to *closed*; *tells_all* says that an old row comes with all its columns."""
        self.schema = schema
        self.keep_vanished = False
        """Keep the delete of a row that was inserted here: a page of a first copy may have seen the row."""
        self.new: dict[bytes, bytes] = {}
        """Frames of rows that were not there before, by key frame; of an append-only table, by number."""
        self.old: dict[bytes, bytes | Present | None] = {}
        """What became of rows that were there: a full frame, a partial update, or None for deleted."""
        self.appended: list[bytes] = []
        """Frames of an append-only table."""
        self._displaced: dict[bytes, list[bytes]] = {}
        """Rows known here whose key another row has come to; they are expected to leave it."""
        self._tells_all = tells_all
        self._closed = closed
        self._truncated = False
        self._key = schema.key_indexes
        self._others = tuple(sorted(set(range(len(schema.columns))) - set(self._key)))

    def insert(self, row: Sequence[Field]) -> None:
        """A row came."""
        full = self._full(row)
        if not self._key:
            self.appended.append(frames.pack(full))
        else:
            self._come(self._key_frame(full), frames.pack(full))

    def update(self, before: Sequence[Field] | None, row: Sequence[Field]) -> None:
        """A row changed; *before* holds what the source says of the old row, UNCHANGED where it says nothing."""
        self._need_key("updated")
        row = row if before is None else _filled(row, before)
        key = self._key_frame(row)
        old_key = key if before is None else self._key_frame(before)
        row = self._known(old_key, row)
        if Absent.UNCHANGED in row:
            self._change_partly(old_key, key, row)
        elif key == old_key and not self._is_another(key, before):
            self._change(key, frames.pack(self._full(row)))
        else:
            self._leave(old_key, before)
            self._come(key, frames.pack(self._full(row)))

    def delete(self, before: Sequence[Field]) -> None:
        """A row went."""
        self._need_key("deleted")
        self._leave(self._key_frame(before), before)

    def truncate(self) -> None:
        """Every row went."""
        self._forget()
        self._truncated = True

    def close(self) -> None:
        """Hand over what is pending as one delta; what comes next starts another one.

        Raises SchemaHold when two rows still share a key: no replica can hold both.
        """
        delta = Delta(
            self.schema,
            inserts=_joined([*self.new.values(), *self.appended]),
            upserts=_joined([state for state in self.old.values() if isinstance(state, bytes)]),
            deletes=_joined([key for key, state in self.old.items() if state is None]),
            partials=tuple(self._partials()),
            truncated=self._truncated,
        )
        shared = bool(self._displaced)
        self._forget()
        self._truncated = False
        if delta.rows or delta.truncated:
            self._closed.append(delta)
        if shared:
            raise SchemaHold(self.schema.name, "two rows have the same key", fix=_NOT_UNIQUE_FIX)

    def _come(self, key: bytes, frame: bytes) -> None:
        state = self._row_at(key)
        if self._tells_all and state is not None:
            self._displaced.setdefault(key, []).append(state)
        if key in self.old:
            self.old[key] = frame
        else:
            self.new[key] = frame

    def _change(self, key: bytes, frame: bytes) -> None:
        if key in self.new:
            self.new[key] = frame
        else:
            self.old[key] = frame

    def _leave(self, key: bytes, before: Sequence[Field] | None) -> None:
        others = self._displaced.get(key, [])
        if before is not None and self._is_another(key, before):
            leaving = frames.pack(self._full(before))
            if leaving in others:
                others.remove(leaving)
            elif key in self.new:
                # The row that was there before leaves, so the one that came replaces it.
                self.old[key] = self.new.pop(key)
        elif others:
            (self.new if key in self.new else self.old)[key] = others.pop()
        elif self.new.pop(key, None) is None or self.keep_vanished:
            self.old[key] = None
        if not others:
            self._displaced.pop(key, None)

    def _is_another(self, key: bytes, before: Sequence[Field] | None) -> bool:
        """Whether *before* is not the row that is known at this key."""
        state = self._row_at(key)
        if before is None or state is None or not self._tells_all:
            return False
        return state != frames.pack(self._full(before))

    def _row_at(self, key: bytes) -> bytes | None:
        state = self.new.get(key) or self.old.get(key)
        return state if isinstance(state, bytes) else None

    def _known(self, key: bytes, row: Sequence[Field]) -> Sequence[Field]:
        """*row* with unchanged values from an earlier change of the same key."""
        if Absent.UNCHANGED not in row:
            return row
        known = self._row_at(key)
        return row if known is None else _filled(row, frames.fields(known))

    def _change_partly(self, old_key: bytes, key: bytes, row: Sequence[Field]) -> None:
        if key != old_key:
            self.close()
            self.old[old_key] = {at: field for at, field in enumerate(row) if not isinstance(field, Absent)}
            self.close()
            return
        earlier = self.old.get(key)
        present: Present = earlier if isinstance(earlier, dict) else {}
        present |= {at: field for at in self._others if not isinstance(field := row[at], Absent)}
        if len(present) == len(self._others):
            self.old[key] = frames.pack(self._full([present.get(at, field) for at, field in enumerate(row)]))
        elif present:
            self.old[key] = present

    def _partials(self) -> Iterator[Partial]:
        """Partial updates, those with the same columns together."""
        groups: dict[tuple[int, ...], list[bytes]] = {}
        for key, state in self.old.items():
            if isinstance(state, dict):
                columns = tuple(sorted(state))
                frame = frames.pack([*frames.fields(key), *(state[at] for at in columns)])
                groups.setdefault(columns, []).append(frame)
        for columns, found in groups.items():
            yield Partial(columns, _joined(found))

    def _forget(self) -> None:
        self.new.clear()
        self.old.clear()
        self.appended.clear()
        self._displaced.clear()

    def _need_key(self, what: str) -> None:
        if not self._key:
            raise SchemaHold(
                self.schema.name, f"the table is append-only, but a row was {what}", fix=_APPEND_ONLY_FIX
            )

    def _key_frame(self, row: Sequence[Field]) -> bytes:
        return frames.pack([self._carried(row[at]) for at in self._key])

    def _full(self, row: Sequence[Field]) -> list[bytes | None]:
        return [self._carried(field) for field in row]

    def _carried(self, field: Field) -> bytes | None:
        if isinstance(field, Absent):
            raise BadRow(self.schema.name, "a change lacks a value it needs", fix="copy the table afresh")
        return field


def _filled(row: Sequence[Field], source: Sequence[Field]) -> list[Field]:
    return [source[at] if field is Absent.UNCHANGED else field for at, field in enumerate(row)]


def _joined(found: list[bytes]) -> Frames:
    return Frames(b"".join(found), len(found)) if found else NO_FRAMES
