"""A view on one table, ready to work: what changed in the table becomes what the receiver gets.

Everything here works on frames. The receiver's rows are frames of :attr:`BoundView.schema`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Final

from proto import frames
from proto.batch import NO_FRAMES, Delta, Frames, Partial
from proto.errors import Refused
from proto.masks import Masking
from proto.predicate import Step
from proto.schema import TableSchema
from proto.sieve import Pick, Sieve
from proto.view.partials import Layout, layout

DIGEST_BYTES: Final = 16
_LAYOUTS: Final = 64
"""As many sets of present columns are kept ready."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """What a view lets through of a delta.

    Of a view that does not filter, ``delta`` is all there is. Of one that does, the receiver may or may not have
    a row that changed; :meth:`BoundView.settle` ends the work once that is known.
    """

    delta: Delta
    """What passes, in delivered form; without deletes if the view filters."""
    left_keys: Frames = NO_FRAMES
    """Keys in delivered form that the receiver must not have afterwards; it may not have had them before either."""
    undecided: Frames = NO_FRAMES
    """Keys in *stored* form of rows of which too little is known here: look the full rows up and divide them."""
    partial_keys: tuple[Frames, ...] = ()
    """For each of the delta's partials the keys in *stored* form of its rows, in order: a partial update makes no
    row, so one that the receiver does not have must be looked up in full. Empty if the view does not filter."""


@dataclass(frozen=True, eq=False)
class BoundView:
    """Chooses, masks and filters the rows of one table."""

    stored: TableSchema
    """The table as it is stored."""
    schema: TableSchema
    """The table as it is delivered: chosen columns in their order, kinds after masking, the same key."""
    steps: tuple[Step, ...] = field(repr=False)
    masks: Mapping[int, Masking] = field(repr=False)
    """By place in the stored table."""

    @property
    def filters(self) -> bool:
        """Whether some rows may not pass."""
        return bool(self.steps)

    @cached_property
    def is_identity(self) -> bool:
        """Nothing is changed at all, so stored bytes may be handed on as they are."""
        return self.schema == self.stored and not self.masks and not self.filters

    def divide(self, full: Frames) -> tuple[Frames, Frames]:
        """Full stored frames: the rows that pass, as they are delivered, and the delivered keys of the others."""
        if self.is_identity or not full:
            return full, NO_FRAMES
        passing, left = _divided(self._full, full)
        return passing, left if self.stored.key else NO_FRAMES

    def keys(self, key_frames: Frames) -> Frames:
        """Stored key frames, such as those of deletes, as they are delivered."""
        if not key_frames or self.masks.keys().isdisjoint(self.stored.key_indexes):
            return key_frames
        return _divided(self._keys, key_frames)[0]

    def keys_of(self, delivered: Frames) -> Frames:
        """The key frames of full rows that are in delivered form already."""
        return Frames(frames.choose(delivered.data, self.schema.key_indexes), delivered.count)

    def key_digests(self, key_frames: Frames) -> list[bytes]:
        """16-byte BLAKE2b of each key frame, which must be in delivered form."""
        return [_digest(frame) for frame in frames.split(key_frames.data)]

    def delta(self, delta: Delta) -> Sifted:
        """What is let through of a whole delta of the stored table.

        An insert that does not pass brings nothing, since its key was not there. If the view filters, a delete
        and any other change that does not pass bring a key that is left.
        """
        if delta.schema.fingerprint != self.stored.fingerprint:
            fix = "bind the view to the table as it is now"
            raise Refused("the table is not the one the view is bound to", where=delta.schema.name, fix=fix)
        if self.is_identity:
            return Sifted(delta)
        inserts, _ = self.divide(delta.inserts)
        upserts, left = self.divide(delta.upserts)
        gone = self.keys(delta.deletes)
        parts = [self.partial(part) for part in delta.partials]
        partials = tuple(found for part in parts for found in part.delta.partials)
        if not self.filters:
            return Sifted(Delta(self.schema, inserts, upserts, gone, partials, delta.truncated))
        return Sifted(
            Delta(self.schema, inserts, upserts, NO_FRAMES, partials, delta.truncated),
            _joined([left, gone, *(part.left_keys for part in parts)]),
            _joined(part.undecided for part in parts),
            tuple(keys for part in parts for keys in part.partial_keys),
        )

    def partial(self, part: Partial) -> Sifted:
        """What is let through of partial updates of the stored table.

        If the view filters, undecided are those that lack a column of the filter, and those that carry key
        columns: who has a row under its old key must lose it and get it whole under the new one.
        """
        nothing = Delta(self.schema)
        if not part.frames:
            return Sifted(nothing)
        ready = self._layouts(part.columns)
        if ready.sieve is None or ready.keys is None or (self.filters and ready.has_key):
            moved = self._moved(part, ready) if ready.has_key else NO_FRAMES
            found = Frames(frames.choose(part.frames.data, ready.new_key), part.frames.count)
            return Sifted(nothing, moved, found)
        passing, left = _divided(ready.sieve, part.frames)
        if not self.filters:
            partials = (Partial(ready.columns, passing),) if ready.columns else ()
            return Sifted(replace(nothing, partials=partials))
        if not passing:
            return Sifted(nothing, left)
        known_by, _ = _divided(ready.keys, part.frames)
        return Sifted(
            replace(nothing, partials=(Partial(ready.columns, passing),)), left, NO_FRAMES, (known_by,)
        )

    def asks(self, sifted: Sifted) -> list[bytes]:
        """The digests of the keys of which :meth:`settle` must know whether the receiver has them."""
        key = range(len(self.schema.key))
        found = [sifted.left_keys.data] if self.filters else []
        found += [frames.choose(part.frames.data, key) for part in sifted.delta.partials if self.filters]
        return self.key_digests(Frames(b"".join(found)))

    def settle(self, sifted: Sifted, known: AbstractSet[bytes]) -> tuple[Delta, Frames]:
        """What to deliver to a receiver that has the rows whose key digests are *known*; and what to look up.

        The second are keys in stored form: read their full rows, divide those and deliver them as upserts; the
        keys that this leaves are deleted if they are known.
        """
        if not self.filters:
            return sifted.delta, NO_FRAMES
        if sifted.delta.truncated:
            known = frozenset()
        kept: list[Partial] = []
        wanted = [sifted.undecided]
        for part, keys in zip(sifted.delta.partials, sifted.partial_keys, strict=True):
            here, elsewhere = self._split(part.frames, keys, known)
            wanted.append(elsewhere)
            if here and part.columns:
                kept.append(Partial(part.columns, here))
        deletes = [frame for frame in frames.split(sifted.left_keys.data) if _digest(frame) in known]
        gone = Frames(b"".join(deletes), len(deletes))
        return replace(sifted.delta, deletes=gone, partials=tuple(kept)), _joined(wanted)

    def _split(
        self, updates: Frames, stored_keys: Frames, known: AbstractSet[bytes]
    ) -> tuple[Frames, Frames]:
        """The updates of rows that are known, and the stored keys of the others."""
        delivered = frames.keys(updates.data, range(len(self.schema.key)))
        is_known = [_digest(key) in known for key in delivered]
        here = [frame for frame, has in zip(frames.split(updates.data), is_known, strict=True) if has]
        elsewhere = [
            key for key, has in zip(frames.split(stored_keys.data), is_known, strict=True) if not has
        ]
        return Frames(b"".join(here), len(here)), Frames(b"".join(elsewhere), len(elsewhere))

    def _moved(self, part: Partial, ready: Layout) -> Frames:
        """The delivered old keys of rows that have another key now."""
        data = part.frames.data
        old = frames.keys(data, range(len(self.stored.key)))
        moved = [was for was, now in zip(old, frames.keys(data, ready.new_key), strict=True) if was != now]
        return self.keys(Frames(b"".join(moved), len(moved)))

    @cached_property
    def _full(self) -> Sieve:
        places = {column.name: at for at, column in enumerate(self.stored.columns)}
        chosen = [self._pick(places[column.name]) for column in self.schema.columns]
        left = [self._pick(at) for at in self.stored.key_indexes]
        return Sieve(len(self.stored.columns), self.steps, chosen, left)

    @cached_property
    def _keys(self) -> Sieve:
        key = self.stored.key_indexes
        return Sieve(len(key), (), [(at, self.masks.get(column)) for at, column in enumerate(key)], ())

    @cached_property
    def _layouts(self) -> Callable[[tuple[int, ...]], Layout]:
        return lru_cache(_LAYOUTS)(partial(layout, self.stored, self.schema, self.steps, self.masks))

    def _pick(self, column: int) -> Pick:
        return column, self.masks.get(column)


def _digest(frame: bytes) -> bytes:
    return hashlib.blake2b(frame, digest_size=DIGEST_BYTES).digest()


def _divided(sieve: Sieve, found: Frames) -> tuple[Frames, Frames]:
    passing, passed, left, remained = sieve.divide(found.data)
    return Frames(passing, passed), Frames(left, remained)


def _joined(parts: Iterable[Frames]) -> Frames:
    found = [part for part in parts if part]
    return (
        found[0] if len(found) == 1 else Frames(b"".join(f.data for f in found), sum(f.count for f in found))
    )
