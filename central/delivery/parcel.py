"""What the next delivery of a grant holds: changes and rows of a page, as the grant's view shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from central.delivery.cursor import Cursor, Place
from central.delivery.keys import KeyBook
from central.delivery.lens import Lens
from central.delivery.stretch import Stretch, batches, payloads
from central.sharing.traces import new_key
from proto import codec, frames
from proto.batch import NO_FRAMES, Batch, Delta, Frames, Partial
from proto.errors import ExchangeError
from replica.replica import Replica


class Reshaped(ExchangeError):
    """The provider's table has other columns than those that this generation shows."""

    code = "FRESH_COPY"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One delivery, not yet numbered."""

    header: bytes
    payload: bytes
    rows: int
    commit_us: int
    place: Place
    """After it."""
    traces: bytes = b""
    """Of the keys that it brings."""
    keys: KeyBook | None = None


@dataclass(frozen=True, slots=True)
class Packer:
    """Makes the parcels of one grant from one reading of the database."""

    connection: Connection
    replica: Replica
    lens: Lens
    cursor: Cursor

    def changes(self, stretch: Stretch) -> Parcel | Place:
        """What *stretch* brings; only where the grant stands afterwards when that is nothing."""
        place = self._after(stretch)
        if self._is_as_stored(stretch):
            [(entry, payload)] = payloads(self.connection, stretch.entries)
            traces = self.lens.tracer.of(codec.decode(entry.packed, payload).deltas)
            return Parcel(entry.packed, payload, entry.rows, entry.header.last_commit_us, place, traces)
        found = batches(self.connection, stretch.entries) if stretch.entries else []
        keys = self._book()
        deltas = [
            shown
            for batch in found
            for delta in batch.deltas
            if delta.schema.name == self.lens.stored.name
            for shown in self._shown(delta, keys)
        ]
        before = self.cursor.place
        if not deltas and before.copying == place.copying and not (before.is_open and not stretch.continues):
            return replace(place, is_open=before.is_open)
        batch = Batch(
            position=str(stretch.last.seq),
            deltas=tuple(deltas),
            first_commit_us=min((b.first_commit_us for b in found if b.first_commit_us), default=0),
            last_commit_us=max((b.last_commit_us for b in found), default=0),
            transactions=sum(b.transactions for b in found),
            continues=stretch.continues,
        )
        return self._encoded(batch, place, keys)

    def page(self, page: Frames, rows_asked: int, needs: int) -> Parcel | Place:
        """Rows of the first copy: *page*, read when the ledger was applied up to *needs* or less."""
        before = self.cursor.place
        is_last = page.count < rows_asked
        # In stored form: it never leaves central.
        key = frames.keys(page.data, self.lens.stored.key_indexes)[-1] if page and not is_last else None
        place = replace(
            before,
            copy_key=key,
            copy_needs=max(before.copy_needs, needs),
            rows_copied=before.rows_copied + page.count,
        )
        place = replace(place, copying=_is_copying(place))
        passing, _ = self.lens.bound.divide(page)
        is_first = self.cursor.seq == 0
        if not passing and not is_first and place.copying:
            return place
        keys = self._book()
        if keys:
            keys.came(self._digests(passing))
        delta = Delta(self.lens.bound.schema, inserts=passing, truncated=is_first)
        return self._encoded(Batch(str(before.source_seq), (delta,)), place, keys)

    def sheet(self, page: Frames, is_last: bool, taken_at: tuple[int, bytes]) -> Parcel:
        """Rows of the first copy of a table without a key, read when the ledger was applied up to *taken_at*."""
        before = self.cursor.place
        seq, digest = taken_at
        place = replace(
            before,
            source_seq=seq,
            source_digest=digest,
            copying=not is_last,
            copy_key=None if is_last else b"",
            rows_copied=before.rows_copied + page.count,
        )
        passing, _ = self.lens.bound.divide(page)
        delta = Delta(self.lens.bound.schema, inserts=passing, truncated=self.cursor.seq == 0)
        return self._encoded(Batch(str(seq), (delta,)), place, None)

    def _after(self, stretch: Stretch) -> Place:
        place = replace(
            self.cursor.place,
            source_seq=stretch.last.seq,
            source_digest=stretch.last.digest,
            is_open=stretch.continues,
        )
        return replace(place, copying=_is_copying(place))

    def _is_as_stored(self, stretch: Stretch) -> bool:
        """Whether the bytes in the ledger are the delivery."""
        if len(stretch.entries) != 1 or not self.lens.bound.is_identity:
            return False
        [entry] = stretch.entries
        if entry.continues != stretch.continues:
            return False
        header, stored = entry.header, self.lens.stored
        if any(schema.fingerprint != stored.fingerprint for schema in codec.schemas_of(header)):
            return False
        return self.cursor.place.copy_key is None or not any(delta.partials for delta in header.deltas)

    def _book(self) -> KeyBook | None:
        has_memory = self.lens.bound.filters and bool(self.lens.stored.key)
        return KeyBook(self.connection, self.cursor.grant) if has_memory else None

    def _shown(self, delta: Delta, keys: KeyBook | None) -> Iterator[Delta]:
        if delta.schema.fingerprint != self.lens.stored.fingerprint:
            raise Reshaped("the provider changed the columns of the table", where=delta.schema.name)
        if keys is not None:
            yield from self._filtered(delta, keys)
        elif self.cursor.place.copy_key is not None and delta.partials:
            yield from self._in_full(delta)
        else:
            yield from _unless_empty(self.lens.bound.delta(delta).delta)

    def _filtered(self, delta: Delta, keys: KeyBook) -> Iterator[Delta]:
        """Rows that move in and out of the filter (fault D4)."""
        bound = self.lens.bound
        if delta.truncated:
            keys.emptied()
        # A new row that does not pass may be known under its key: a copy afresh says "new" of rows that were there.
        inserts, outside = bound.divide(delta.inserts)
        sifted = bound.delta(replace(delta, inserts=NO_FRAMES))
        sifted = replace(
            sifted,
            delta=replace(sifted.delta, inserts=inserts),
            left_keys=_joined((sifted.left_keys, outside)),
        )
        # Those of upserts are asked as well, only so that a row that changes often is not written down each time.
        upserted = self._digests(sifted.delta.upserts)
        asked = bound.asks(sifted)
        known = keys.known([*asked, *upserted])
        shown, wanted = bound.settle(sifted, known)
        keys.went(bound.key_digests(shown.deletes))
        keys.came(self._digests(shown.inserts))
        keys.came(upserted)
        yield from _unless_empty(shown)
        if wanted:
            yield from self._looked_up(wanted, keys)

    def _looked_up(self, wanted: Frames, keys: KeyBook | None) -> Iterator[Delta]:
        """Rows of which the ledger says too little, as the platform has them now."""
        bound = self.lens.bound
        passing, left = bound.divide(self.replica.rows(self.connection, self.lens.stored, wanted))
        gone = NO_FRAMES
        if keys is not None:
            known = keys.known(bound.key_digests(left))
            kept = [
                frame for frame in frames.split(left.data) if bound.key_digests(Frames(frame, 1))[0] in known
            ]
            gone = Frames(b"".join(kept), len(kept))
            keys.went(bound.key_digests(gone))
            keys.came(self._digests(passing))
        yield from _unless_empty(Delta(bound.schema, upserts=passing, deletes=gone))

    def _in_full(self, delta: Delta) -> Iterator[Delta]:
        """While pages are still to come, an update of part of a row may be of one that the consumer does not have.

        If its key changed, the row may have moved from where the copy has not been to where it will not come again.
        """
        bound, stored = self.lens.bound, self.lens.stored
        yield from _unless_empty(bound.delta(replace(delta, partials=())).delta)
        old = [_chosen(part, range(len(stored.key))) for part in delta.partials]
        new = [_chosen(part, new_key(stored, part)) for part in delta.partials]
        moved = _joined(was for was, now in zip(old, new, strict=True) if was.data != now.data)
        if moved:
            yield Delta(bound.schema, deletes=bound.keys(moved))
        yield from self._looked_up(_joined(new), None)

    def _encoded(self, batch: Batch, place: Place, keys: KeyBook | None) -> Parcel:
        header, payload = codec.encode(batch)
        traces = self.lens.tracer.of(batch.deltas)
        return Parcel(header, payload, batch.rows, batch.last_commit_us, place, traces, keys)

    def _digests(self, rows: Frames) -> list[bytes]:
        bound = self.lens.bound
        return bound.key_digests(bound.keys_of(rows))


def _is_copying(place: Place) -> bool:
    return place.copying and (place.copy_key is not None or place.source_seq < place.copy_needs)


def _chosen(part: Partial, places: Sequence[int]) -> Frames:
    return Frames(frames.choose(part.frames.data, places), part.frames.count)


def _unless_empty(delta: Delta) -> Iterator[Delta]:
    if delta.rows or delta.truncated:
        yield delta


def _joined(parts: Iterable[Frames]) -> Frames:
    found = [part for part in parts if part]
    return Frames(b"".join(part.data for part in found), sum(part.count for part in found))
