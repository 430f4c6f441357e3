"""One table watched: polls by watermark, and the comparison that finds what no watermark tells.

The mirror is the memory: a row that the mirror has already is left out, so a quiet table makes no batches. A comparison
walks the source's pages and asks the mirror for the same keys, then the mirror's pages and asks the source; so it needs
no common order and holds one page of each. The second walk is left out when the counts prove that it can find nothing.
What looks different is asked for once more by its key before it is told: a comparison invents no change.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.sources.polling.position import MIRROR, RESTING, SOURCE, Progress
from agent.sources.polling.reader import Place, Reader
from agent.sources.polling.settings import PollingTable
from agent.sources.polling.shapes import before, least
from agent.sources.source import Mirror
from proto import frames
from proto.batch import Delta, Frames
from proto.schema import TableSchema
from proto.values import from_text, to_text


@dataclass(frozen=True, slots=True)
class Found:
    """What one step brought."""

    delta: Delta | None
    rows_read: int


class Unconfirmed:
    """Keys that were told and are not known to be committed: the mirror's word about them may be out of date."""

    def __init__(self) -> None:
        self._told: list[tuple[str, frozenset[bytes]]] = []

    def tell(self, position: str, delta: Delta) -> None:
        """*delta* left with *position*."""
        names = frames.split(delta.deletes.data)
        for section in (delta.upserts, delta.inserts):
            names += frames.keys(section.data, delta.schema.key_indexes)
        self._told.append((position, frozenset(names)))

    def confirm(self, position: str) -> None:
        """Everything up to *position* is committed."""
        places = [at for at, (told, _) in enumerate(self._told) if told == position]
        if places:
            del self._told[: places[-1] + 1]

    def __contains__(self, key: bytes) -> bool:
        return any(key in keys for _, keys in self._told)

    def __bool__(self) -> bool:
        return bool(self._told)


class Watcher:
    """Decides what of one table is read next, and what of it is news."""

    def __init__(self, settings: PollingTable, mirror: Mirror, progress: Progress) -> None:
        self.settings = settings
        self.name = settings.catalogued
        self.progress = progress
        self.unconfirmed = Unconfirmed()
        self.proven_s = 0.0
        """When the newest look began that was finished: everything before it has been seen."""
        self.started = False
        """Whether its place was found; a source outside its hours does that later."""
        self.polled_last = False
        self._mirror = mirror
        self._poll_at_s = 0.0
        self._began_s = 0.0
        self._place: Place | None = None
        self._since: bytes | None = None
        self._polling = False

    # Polls

    def poll_due_in(self, now_s: float) -> float | None:
        """Seconds until the next page by watermark; None without one."""
        if not self.settings.watermark:
            return None
        return 0.0 if self._polling else max(0.0, self._poll_at_s - now_s)

    def poll(self, reader: Reader, rows: int, *, keep_all: bool) -> Found:
        """One page by watermark; with *keep_all* also what the mirror has already."""
        if not self._polling:
            self._begin_poll(reader)
        page = reader.changed(self._since, self._place, rows)
        self._place = page.place
        if page.newest is not None:
            self._advance(reader, page.newest)
        if page.frames.count < rows:
            self._polling, self._place = False, None
            self._poll_at_s = time.monotonic() + self.settings.every_s
            self.proven_s = self._began_s
        schema = reader.shape.schema
        there = {} if keep_all else self._there(schema, frames.keys(page.frames.data, schema.key_indexes))
        return Found(self._news(reader, page.frames, there), page.frames.count)

    def _begin_poll(self, reader: Reader) -> None:
        self._polling, self._place, self._began_s = True, None, time.time()
        self._since = None
        field = reader.shape.watermark
        if field is not None and self.progress.watermark:
            kind = field.column.kind
            self._since = before(kind, from_text(kind, self.progress.watermark), self.settings.overlap)

    def start_at_newest(self, reader: Reader) -> None:
        """A new stream starts now; what was there before is a first copy's business."""
        self.progress.compared_s = int(time.time())
        field = reader.shape.watermark
        newest = reader.newest() if field else None
        if newest is not None:
            self._advance(reader, newest)

    def look_back(self, reader: Reader) -> None:
        """A source that was set back to an earlier day has rows again that a high watermark would pass over."""
        field, mine = reader.shape.watermark, self.progress.watermark
        if field is None or not mine:
            return
        kind, newest = field.column.kind, reader.newest()
        known = from_text(kind, mine)
        if newest is None or (newest != known and least(kind, newest, known) == newest):
            self.progress.watermark = to_text(kind, newest) if newest is not None else ""
            self.compare_now()

    def _advance(self, reader: Reader, newest: bytes) -> None:
        field = reader.shape.watermark
        if field is None:
            return
        kind, latest = field.column.kind, reader.latest()
        newest = newest if latest is None else least(kind, newest, latest)
        known = self.progress.watermark
        if not known or least(kind, newest, from_text(kind, known)) != newest:
            self.progress.watermark = to_text(kind, newest)

    # Comparison

    def compare_now(self) -> None:
        """Compare as soon as it may."""
        self.progress.phase, self.progress.compared_s = RESTING, 0

    def copied(self) -> None:
        """A first copy has just looked at every row."""
        self.progress.phase, self.progress.compared_s = RESTING, int(time.time())

    def compare_due_in(self, now_s: float) -> float | None:
        """Seconds until the next page of a comparison; None when none is wanted. *now_s* since 1970."""
        every_s = self.settings.compare_every_s
        if self.progress.phase != RESTING:
            return 0.0
        return None if every_s is None else max(0.0, self.progress.compared_s + every_s - now_s)

    def compare(self, reader: Reader, rows: int) -> Found:
        """One page of the comparison under way, or of a new one."""
        progress = self.progress
        if progress.phase == RESTING:
            progress.phase, progress.after, progress.matched = SOURCE, "", 0
            progress.began_s = int(time.time())
            self._began_s = time.time()
        return (
            self._walk_source(reader, rows) if progress.phase == SOURCE else self._walk_mirror(reader, rows)
        )

    def _walk_source(self, reader: Reader, rows: int) -> Found:
        progress = self.progress
        page = reader.page(progress.after_key, rows)
        there = self._there(reader.shape.schema, frames.keys(page.data, reader.shape.schema.key_indexes))
        delta = self._news(reader, page, there)
        # A row that is gone by now will be gone from the mirror as well.
        progress.matched += len(there) - (delta.deletes.count if delta else 0)
        if page.count < rows:
            progress.phase, progress.after = MIRROR, ""
            if not self._may_have_more(reader.shape.schema):
                self._end_comparison()
        else:
            progress.walked_to(frames.keys(page.data, reader.shape.schema.key_indexes)[-1])
        return Found(delta, page.count)

    def _may_have_more(self, schema: TableSchema) -> bool:
        """Whether the mirror can hold a key that the walk did not meet: only then is it worth a second walk.

        Each key that was met is counted once, and only if the mirror had it; so with equal counts there is no other.
        """
        return bool(self.unconfirmed) or self._mirror.count(schema.name) != self.progress.matched

    def _walk_mirror(self, reader: Reader, rows: int) -> Found:
        progress = self.progress
        schema = reader.shape.schema
        page = self._mirror.page(self.name, progress.after_key, rows)
        keys = frames.keys(page.data, self._layout(schema).key_indexes)
        present = reader.present(keys)
        delta = self._gone(reader, [key for key in keys if key not in present])
        if page.count < rows:
            self._end_comparison()
        else:
            progress.walked_to(keys[-1])
        return Found(delta, page.count)

    def _end_comparison(self) -> None:
        progress = self.progress
        progress.phase, progress.after, progress.matched = RESTING, "", 0
        progress.compared_s = progress.began_s
        if not self.settings.watermark:
            self.proven_s = self._began_s

    # What is news

    def _news(self, reader: Reader, found: Frames, there: dict[bytes, bytes]) -> Delta | None:
        """Rows that are not *there*, in the mirror, like this, as they are now."""
        schema = reader.shape.schema
        names = frames.keys(found.data, schema.key_indexes)
        suspects = [
            name
            for name, row in zip(names, frames.split(found.data), strict=True)
            if there.get(name) != row or name in self.unconfirmed
        ]
        return self._delta(schema, reader.rows(suspects), suspects, there) if suspects else None

    def _gone(self, reader: Reader, suspects: Sequence[bytes]) -> Delta | None:
        """Keys of the mirror that the source has no row for, asked once more by key."""
        if not suspects:
            return None
        schema = reader.shape.schema
        return self._delta(schema, reader.rows(suspects), suspects, self._there(schema, suspects))

    def _delta(
        self,
        schema: TableSchema,
        now: dict[bytes, bytes],
        suspects: Iterable[bytes],
        there: dict[bytes, bytes],
    ) -> Delta | None:
        """What the source says now about the suspects, as far as it is news."""
        added, changed, gone = [], [], []
        for name in suspects:
            row, mirrored = now.get(name), there.get(name)
            if row is None:
                gone += [name] if mirrored is not None or name in self.unconfirmed else []
            elif mirrored is None:
                added.append(row)
            elif row != mirrored or name in self.unconfirmed:
                changed.append(row)
        if not (added or changed or gone):
            return None
        return Delta(schema, inserts=_joined(added), upserts=_joined(changed), deletes=_joined(gone))

    def _there(self, schema: TableSchema, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """The mirror's rows of these keys, by key. A row laid out in another way equals none of ours."""
        layout = self._layout(schema)
        data = self._mirror.rows(self.name, _joined(names)).data
        return dict(zip(frames.keys(data, layout.key_indexes), frames.split(data), strict=True))

    def _layout(self, schema: TableSchema) -> TableSchema:
        return self._mirror.schema(self.name) or schema


def _joined(rows: Sequence[bytes]) -> Frames:
    return Frames(b"".join(rows), len(rows))
