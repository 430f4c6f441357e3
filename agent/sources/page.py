"""A page of a first copy meets the changes that came while it was read: the changes win.

Every change that the page may have seen, and none that it must have seen, is in the window. So a row that the window
replaced, removed or brought is dropped from the page (the stream has delivered it), and a partial update is merged
onto the page's row in order: whether the page saw it or not, the last one decides.
"""

from __future__ import annotations

from collections.abc import Iterable

from proto import frames
from proto.batch import NO_FRAMES, Delta, Frames
from proto.schema import TableSchema

Patch = tuple[tuple[int, ...], bytes]
"""A partial update: its columns and its frame."""


def overtaken(page: Frames, schema: TableSchema, window: Iterable[Delta]) -> Frames:
    """The rows of *page* that are still right after the changes in *window*, merged with partial updates."""
    gone: set[bytes] = set()
    patches: dict[bytes, list[Patch]] = {}
    for delta in window:
        if delta.truncated:
            return NO_FRAMES
        _note(delta, schema, gone, patches)
    if patches.keys() - gone:
        return _patched(page, schema, gone, patches)
    if not gone:
        return page
    return Frames(*frames.without(page.data, schema.key_indexes, gone))


def _note(delta: Delta, schema: TableSchema, gone: set[bytes], patches: dict[bytes, list[Patch]]) -> None:
    gone.update(frames.split(delta.deletes.data))
    for part in delta.partials:
        names = frames.keys(part.frames.data, range(len(schema.key)))
        for name, frame in zip(names, frames.split(part.frames.data), strict=True):
            if name not in gone:
                patches.setdefault(name, []).append((part.columns, frame))
    for section in (delta.upserts, delta.inserts):
        gone.update(frames.keys(section.data, schema.key_indexes))


def _patched(
    page: Frames, schema: TableSchema, gone: set[bytes], patches: dict[bytes, list[Patch]]
) -> Frames:
    kept: list[bytes] = []
    names = frames.keys(page.data, schema.key_indexes)
    for name, frame in zip(names, frames.split(page.data), strict=True):
        if name in gone:
            continue
        merged = frame
        for columns, patch in patches.get(name, ()):
            merged = frames.merge_partial(merged, schema, columns, patch)
        kept.append(merged)
    return Frames(b"".join(kept), len(kept))
