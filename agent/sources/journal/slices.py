"""From journal entries to what is in the tables now: one slice of entries becomes upserts and deletes.

The rows are read in the same snapshot as the entries. So a slice that reaches the journal's end is the state of the
tables at one moment, whatever was changed how often; commits are whole in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agent.sources.journal.dialects import Dialect, Entry
from agent.sources.journal.dialects.dialect import EMPTIED, TOUCHED
from agent.sources.journal.watching import Watching
from agent.sources.polling.connection import DataTrouble, TableTrouble
from agent.sources.polling.reader import Reader
from proto import frames
from proto.batch import Delta, Frames
from proto.errors import BadRow, Refused, TableHold
from proto.values import Kind, from_text


@dataclass
class Slice:
    """What entries said so far about each table, and the numbers of all of them."""

    ids: list[int] = field(default_factory=list)
    keys: dict[str, dict[str, None]] = field(default_factory=dict)
    """Noted keys by place, each once."""
    emptied: set[str] = field(default_factory=set)
    first_us: int = 0
    last_us: int = 0
    newest_us: int = 0
    """Of the entry with the highest number."""

    def add(self, entries: Iterable[Entry]) -> None:
        """More entries, in the order of their numbers."""
        for entry in entries:
            self.ids.append(entry.number)
            self.newest_us = entry.at_us
            self.first_us = min(self.first_us or entry.at_us, entry.at_us)
            self.last_us = max(self.last_us, entry.at_us)
            if entry.operation == EMPTIED:
                self.emptied.add(entry.place)
            elif entry.operation == TOUCHED:
                self.keys.setdefault(entry.place, {})[entry.key] = None


def deltas_of(part: Slice, watching: Watching, dialect: Dialect) -> list[Delta]:
    """The rows of the noted keys as they are in the current snapshot; a table that cannot be read is held."""
    found: list[Delta] = []
    for place, reader in watching.by_place().items():
        noted = part.keys.get(place, {})
        if not noted and place not in part.emptied:
            continue
        name = reader.shape.schema.name
        try:
            found.append(_delta(reader, list(noted), dialect, place in part.emptied))
        except TableHold as hold:
            watching.hold(hold)
        except (TableTrouble, DataTrouble) as trouble:
            watching.trouble(name, trouble)
    return found


def _delta(reader: Reader, noted: Sequence[str], dialect: Dialect, emptied: bool) -> Delta:
    keys = list(dict.fromkeys(_key(reader, text, dialect) for text in noted))
    rows = reader.rows(keys)
    gone = [key for key in keys if key not in rows]
    return Delta(
        reader.shape.schema,
        upserts=Frames(b"".join(rows.values()), len(rows)),
        deletes=Frames(b"".join(gone), len(gone)),
        truncated=emptied,
    )


def _key(reader: Reader, text: str, dialect: Dialect) -> bytes:
    schema = reader.shape.schema
    try:
        parts = dialect.parse_key(text)
        if len(parts) != len(schema.key):
            raise Refused("it has another number of columns")
        kinds = [one.column.kind for one in reader.shape.key]
        return frames.pack([_word(kind, part) for kind, part in zip(kinds, parts, strict=True)])
    except (Refused, ValueError) as error:
        what = f"a key in the journal cannot be read: {error.what if isinstance(error, Refused) else 'malformed'}"
        raise BadRow(
            schema.name, what, fix="install the table's triggers again, then copy it afresh"
        ) from None


def _word(kind: Kind, part: str | bytes) -> bytes:
    return part if isinstance(part, bytes) else from_text(kind, part)
