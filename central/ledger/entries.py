"""Batches of each stream by number; written once, read in order, forgotten when they are old and applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select

from central.ledger.tableholds import needed_after
from central.store.tables import APPLIED, LEDGER
from proto import codec
from proto.batch import CHAIN_START, Head, SealedBatch
from proto.errors import BatchCorrupt, Poisoned

SPAN_BATCHES: Final = 256
"""How far ahead one look goes."""
PRUNE_BATCHES: Final = 500
"""How many batches one transaction forgets."""

_STREAM = LEDGER.c.stream == bindparam("which")
_AFTER = LEDGER.c.seq > bindparam("after")
_SIZES = (
    select(LEDGER.c.seq, LEDGER.c.rows, LEDGER.c.bytes, LEDGER.c.continues)
    .where(_STREAM, _AFTER)
    .order_by(LEDGER.c.seq)
    .limit(SPAN_BATCHES)
)
_BATCHES = select(LEDGER).where(_STREAM, _AFTER, LEDGER.c.seq <= bindparam("last")).order_by(LEDGER.c.seq)
_DIGEST = select(LEDGER.c.digest).where(_STREAM, LEDGER.c.seq == bindparam("seq"))
_DIGESTS = select(LEDGER.c.seq, LEDGER.c.digest).where(
    _STREAM, LEDGER.c.seq.in_(bindparam("some", expanding=True))
)
_END = select(func.min(LEDGER.c.seq)).where(_STREAM, _AFTER, LEDGER.c.continues.is_(False))
_APPLIED_UP_TO = select(APPLIED.c.seq).where(APPLIED.c.stream == bindparam("which"))


class Damaged(Poisoned):
    """A batch in the ledger is not what was accepted."""


@dataclass(frozen=True, slots=True)
class Span:
    """How much one transaction takes; its first source transaction is always taken whole."""

    batches: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Size:
    """A batch without its contents."""

    seq: int
    rows: int
    bytes: int
    continues: bool

    @classmethod
    def of(cls, batch: SealedBatch) -> Self:
        """From what the batch says about itself."""
        header = codec.read_header(batch.header)
        size = len(batch.header) + len(batch.payload)
        return cls(batch.seq, codec.row_count(header), size, header.continues)


def whole_within(sizes: Iterable[Size], limit: Span) -> int | None:
    """The last number of the whole source transactions that fit in *limit*; the first one always does."""
    last, rows, size = None, 0, 0
    for count, entry in enumerate(sizes, 1):
        rows, size = rows + entry.rows, size + entry.bytes
        if last is not None and (count > limit.batches or rows > limit.rows or size > limit.bytes):
            return last
        if not entry.continues:
            last = entry.seq
    return last


class Ledger:
    """Works in the caller's transaction: the caller moves its cursor there too."""

    def append(self, connection: Connection, batches: Sequence[SealedBatch], at_us: int) -> tuple[int, int]:
        """Write down *batches*, verified and in order; returns their rows and bytes."""
        entries = [_entry(batch, at_us) for batch in batches]
        connection.execute(insert(LEDGER), entries)
        return sum(entry["rows"] for entry in entries), sum(entry["bytes"] for entry in entries)

    def digests(self, connection: Connection, stream: str, seqs: Sequence[int]) -> dict[int, bytes]:
        """The digests of those numbers that are still here."""
        rows = connection.execute(_DIGESTS, {"which": stream, "some": list(seqs)})
        return {row.seq: row.digest for row in rows}

    def span(self, connection: Connection, stream: str, after_seq: int, limit: Span) -> int | None:
        """The last number of the whole source transactions after *after_seq* that fit in *limit*.

        The first transaction is taken however large it is. None: its last part has not come yet, or nothing has.
        """
        looked = connection.execute(_SIZES, {"which": stream, "after": after_seq}).all()
        sizes = (Size(entry.seq, entry.rows, entry.bytes, entry.continues) for entry in looked)
        last = whole_within(sizes, limit)
        if last is None and len(looked) == SPAN_BATCHES:
            last = connection.execute(_END, {"which": stream, "after": looked[-1].seq}).scalar_one()
        return last

    def read(
        self,
        connection: Connection,
        stream: str,
        after_seq: int,
        limit_bytes: int,
        after_digest: bytes | None = None,
    ) -> list[SealedBatch]:
        """The next batches, at least one if there is one, verified. Raises Damaged when the first is damaged.

        A later damaged one ends the list before it, so that what lies before can still be applied.
        """
        last, size = after_seq, 0
        for entry in connection.execute(_SIZES, {"which": stream, "after": after_seq}).all():
            size += entry.bytes
            if last > after_seq and size > limit_bytes:
                break
            last = entry.seq
        head = Head(0, after_seq, self._digest(connection, stream, after_seq, after_digest))
        rows = connection.execute(_BATCHES, {"which": stream, "after": after_seq, "last": last})
        return _verified([_batch(row) for row in rows], head)

    def walk(
        self, connection: Connection, stream: str, after: Head, last_seq: int, limit_bytes: int
    ) -> Iterator[SealedBatch]:
        """Every batch after *after* up to *last_seq*, with about *limit_bytes* in memory at once. Raises Damaged."""
        while after.seq < last_seq:
            batches = self.read(connection, stream, after.seq, limit_bytes, after.digest)
            if not batches:
                raise Damaged(f"batch {after.seq + 1} is missing in the ledger", where=stream)
            yield from (batch for batch in batches if batch.seq <= last_seq)
            after = batches[-1].head

    def prune(self, connection: Connection, stream: str, before_us: int) -> int:
        """Forget batches of *stream* that are applied and older than *before_us*; returns how many.

        The last applied one stays: what follows is chained to it. So does what a held table waits for.
        Call again while it returns PRUNE_BATCHES.
        """
        applied = connection.execute(_APPLIED_UP_TO, {"which": stream}).scalar_one_or_none() or 0
        if (needed := needed_after(connection, stream)) is not None:
            applied = min(applied, needed + 1)
        old = (
            select(LEDGER.c.seq)
            .where(LEDGER.c.stream == stream, LEDGER.c.seq < applied, LEDGER.c.accepted_at_us < before_us)
            .order_by(LEDGER.c.seq)
            .limit(PRUNE_BATCHES)
        )
        gone = delete(LEDGER).where(LEDGER.c.stream == stream, LEDGER.c.seq.in_(old))
        return connection.execute(gone).rowcount

    def _digest(self, connection: Connection, stream: str, seq: int, known: bytes | None) -> bytes:
        if known is not None or seq == 0:
            return known or CHAIN_START
        digest = connection.execute(_DIGEST, {"which": stream, "seq": seq}).scalar_one_or_none()
        if digest is None:
            raise Damaged(f"batch {seq} is no longer here, so what follows cannot be verified", where=stream)
        return bytes(digest)


def _entry(batch: SealedBatch, at_us: int) -> dict[str, Any]:
    size = Size.of(batch)
    return {
        "stream": batch.stream,
        "seq": batch.seq,
        "epoch": batch.epoch,
        "rows": size.rows,
        "bytes": size.bytes,
        "accepted_at_us": at_us,
        "continues": size.continues,
        "digest": batch.digest,
        "header": batch.header,
        "payload": batch.payload,
    }


def _batch(row: Row[Any]) -> SealedBatch:
    return SealedBatch(row.stream, row.epoch, row.seq, row.digest, row.header, row.payload, row.rows)


def _verified(batches: list[SealedBatch], head: Head) -> list[SealedBatch]:
    whole: list[SealedBatch] = []
    for batch in batches:
        try:
            codec.verify(batch, head)
        except BatchCorrupt as error:
            if whole:
                break
            raise Damaged(f"batch {batch.seq} is damaged in the ledger", where=batch.stream) from error
        whole.append(batch)
        head = batch.head
    return whole
