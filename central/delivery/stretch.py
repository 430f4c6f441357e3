"""What the ledger holds next for one table: whole source commits, as many as fit in one delivery.

Only headers are read to find out; the payload of a batch that holds nothing of the table stays where it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from sqlalchemy import Connection, Row, and_, bindparam, select

from central.delivery.cursor import Place, Standing
from central.ledger import Damaged
from central.ledger.tableholds import held_from
from central.store.tables import APPLIED, LEDGER, STREAMS, TABLE_HOLDS
from proto import codec
from proto.batch import Batch, chain
from proto.errors import ExchangeError
from proto.v1 import batch_pb2

LOOK_BATCHES: Final = 256
"""How far ahead one look goes."""
MOST_ROWS: Final = 20_000
MOST_BYTES: Final = 1024 * 1024
"""Of one delivery, as the ledger stores it; a single larger batch goes as it is."""
HELD: Final = "TABLE_HELD"
"""Of a grant whose table the platform holds."""
REUSE_ROWS: Final = 2_000
"""A batch of so many rows is worth a delivery of its own, when that spares encoding it anew."""

_STREAM = LEDGER.c.stream == bindparam("which")
_AHEAD: Final = (
    select(*(LEDGER.c[name] for name in ("seq", "epoch", "rows", "bytes", "continues", "digest", "header")))
    .where(_STREAM, LEDGER.c.seq > bindparam("after"), LEDGER.c.seq <= bindparam("last"))
    .order_by(LEDGER.c.seq)
    .limit(LOOK_BATCHES)
)
_PAYLOADS: Final = select(LEDGER.c.seq, LEDGER.c.payload).where(
    _STREAM, LEDGER.c.seq.in_(bindparam("some", expanding=True))
)
_DIGEST: Final = select(LEDGER.c.digest).where(_STREAM, LEDGER.c.seq == bindparam("at"))
_HOLD: Final = and_(TABLE_HOLDS.c.stream == APPLIED.c.stream, TABLE_HOLDS.c.table_name == bindparam("named"))
# In one statement: a table that is let go and its stream's number are of the same moment.
_APPLIED: Final = (
    select(
        APPLIED.c.seq.label("applied_seq"),
        APPLIED.c.digest,
        APPLIED.c.last_commit_us,
        STREAMS.c.head_seq,
        TABLE_HOLDS,
    )
    .join(STREAMS, STREAMS.c.stream == APPLIED.c.stream)
    .join(TABLE_HOLDS, _HOLD, isouter=True)
    .where(APPLIED.c.stream == bindparam("which"))
)


class Lost(ExchangeError):
    """The ledger cannot take the consumer from where it is to where the platform's table is."""

    code = "FRESH_COPY"


@dataclass(frozen=True, slots=True)
class Applied:
    """How far the provider's stream has come in one of the platform's tables."""

    seq: int = 0
    digest: bytes = b""
    commit_us: int = 0
    accepted: int = 0
    hold: Standing | None = None
    """The table is held, and shows no more than this."""
    broken_seq: int = 0
    """The ledger takes nobody from before this number to after it: changes of the table were passed over."""


@dataclass(frozen=True)
class Entry:
    """One batch in the ledger, without its payload."""

    stream: str
    seq: int
    epoch: int
    rows: int
    size: int
    continues: bool
    digest: bytes
    packed: bytes
    """Its header."""

    @cached_property
    def header(self) -> batch_pb2.BatchHeader:
        """Its header, read."""
        return codec.read_header(self.packed)

    @cached_property
    def tables(self) -> frozenset[str]:
        """The tables it changes."""
        schemas = self.header.schemas
        return frozenset(schemas[delta.schema].name for delta in self.header.deltas)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Batches that follow each other; together whole source commits, or parts of a single large one."""

    entries: tuple[Entry, ...]
    """Those that change the table."""
    last: Entry
    """Up to here nothing else does."""

    @property
    def continues(self) -> bool:
        """The source commit goes on after it."""
        return self.last.continues


def applied_of(connection: Connection, stream: str, table: str) -> Applied:
    """What the platform's *table* of *stream* shows at this moment."""
    row = connection.execute(_APPLIED, {"which": stream, "named": table}).one_or_none()
    if row is None:
        return Applied()
    applied = Applied(row.applied_seq, bytes(row.digest), row.last_commit_us, row.head_seq)
    if row.state is None:
        return applied
    held = held_from(row)
    applied = replace(applied, broken_seq=held.broken_seq)
    if not held.is_held:
        return applied
    said = Standing(
        held.state, HELD, held.notice, "the platform retries it, or its provider copies it afresh"
    )
    return replace(applied, seq=held.after.seq, digest=held.after.digest, hold=said)


def demand_unbroken(stream: str, place: Place, applied: Applied) -> None:
    """Raise Lost when changes after *place* were passed over in the platform's table: the ledger has them still."""
    if place.source_seq < applied.broken_seq:
        raise Lost(
            "the platform held the table, and it was copied afresh or changes were skipped", where=stream
        )


def look_ahead(connection: Connection, stream: str, place: Place, applied: Applied) -> list[Entry]:
    """The batches after *place* that are applied, chained to it. Raises Lost, and Damaged."""
    _check_past(stream, place, applied)
    if place.source_seq >= applied.seq:
        return []
    asked = {"which": stream, "after": place.source_seq, "last": applied.seq}
    entries = [_entry(stream, row) for row in connection.execute(_AHEAD, asked)]
    if not entries or entries[0].seq != place.source_seq + 1:
        raise Lost(f"the platform no longer holds the changes after number {place.source_seq}", where=stream)
    return _chained(connection, entries, place)


@dataclass(frozen=True, slots=True)
class Want:
    """What one delivery should hold."""

    table: str
    most_rows: int
    is_open: bool
    """The next part of a source commit is due."""
    reuse: bool
    """A batch can go as it is stored, if it goes alone."""


def stretch(entries: Sequence[Entry], want: Want) -> Stretch:
    """As many of *entries* as go into one delivery; the first source commit is taken however large it is."""
    taken: list[Entry] = []
    commit: list[Entry] = []
    last, rows, size = None, 0, 0
    for entry in entries:
        commit.append(entry)
        if entry.continues:
            continue
        ours = [each for each in commit if want.table in each.tables]
        rows, size = rows + sum(e.rows for e in ours), size + sum(e.size for e in ours)
        is_over = rows > want.most_rows or size > MOST_BYTES
        if want.is_open or (is_over and len(commit) > 1 and not taken):
            return _parts(commit, want)
        is_alone = want.reuse and len(ours) == 1 and ours[0].rows >= REUSE_ROWS
        if taken and (is_over or is_alone):
            break
        taken, last, commit = [*taken, *ours], entry, []
        if is_alone:
            break
    return _parts(entries, want) if last is None else Stretch(tuple(taken), last)


def batches(connection: Connection, entries: Sequence[Entry]) -> list[Batch]:
    """The contents of *entries*, verified. Raises Damaged."""
    return [codec.decode(entry.packed, payload) for entry, payload in payloads(connection, entries)]


def payloads(connection: Connection, entries: Sequence[Entry]) -> list[tuple[Entry, bytes]]:
    """The payloads of *entries*, verified. Raises Damaged."""
    asked = {"which": entries[0].stream, "some": [entry.seq for entry in entries]}
    found = {row.seq: bytes(row.payload) for row in connection.execute(_PAYLOADS, asked)}
    for entry in entries:
        payload = found.get(entry.seq)
        if payload is None or hashlib.sha256(payload).digest() != entry.header.payload_sha256:
            raise Damaged(f"batch {entry.seq} is missing or damaged in the ledger", where=entry.stream)
    return [(entry, found[entry.seq]) for entry in entries]


def _parts(entries: Sequence[Entry], want: Want) -> Stretch:
    """The beginning, or the next part, of a source commit that is too large for one delivery."""
    taken: list[Entry] = []
    rows = size = 0
    last = entries[0]
    for entry in entries:
        if want.table in entry.tables:
            rows, size = rows + entry.rows, size + entry.size
            if taken and (rows > want.most_rows or size > MOST_BYTES):
                break
            taken.append(entry)
        last = entry
        if not entry.continues:
            break
    return Stretch(tuple(taken), last)


def _check_past(stream: str, place: Place, applied: Applied) -> None:
    if place.source_seq > applied.accepted:
        raise Lost(
            "the platform went back in time: it was restored, or the provider's past changed", where=stream
        )
    if place.source_seq == applied.seq and place.source_digest != applied.digest:
        raise Lost("the provider's past is another one now", where=stream)


def _chained(connection: Connection, entries: list[Entry], place: Place) -> list[Entry]:
    """Those that follow from *place*, one from another."""
    previous = place.source_digest
    for at, entry in enumerate(entries):
        expected = place.source_seq + 1 + at
        if entry.seq != expected or chain(previous, entry.stream, entry.epoch, entry.seq, entry.packed) != (
            entry.digest
        ):
            if at:
                return entries[:at]
            _blame(connection, entry, place)
        previous = entry.digest
    return entries


def _blame(connection: Connection, entry: Entry, place: Place) -> None:
    before = connection.execute(_DIGEST, {"which": entry.stream, "at": place.source_seq}).scalar_one_or_none()
    if before is not None and bytes(before) == place.source_digest:
        raise Damaged(f"batch {entry.seq} is damaged in the ledger", where=entry.stream)
    raise Lost("the provider's past is another one now", where=entry.stream)


def _entry(stream: str, row: Row[tuple[object, ...]]) -> Entry:
    return Entry(
        stream=stream,
        seq=row.seq,
        epoch=row.epoch,
        rows=row.rows,
        size=row.bytes,
        continues=row.continues,
        digest=bytes(row.digest),
        packed=bytes(row.header),
    )
