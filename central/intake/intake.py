"""The transactions of hello, accept and release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, bindparam, delete, insert, select, update

from central import audit
from central.intake import rules
from central.intake.beginning import begin_stream
from central.intake.refusals import Refusal, Refusals
from central.ledger import Ledger, tableholds
from central.store import NowUs, now_us, together, writing
from central.store.tables import APPLIED, AUDIT_HEADS, GAPS, LEDGER, STREAMS
from proto import codec
from proto.batch import Head, SealedBatch
from proto.errors import Diverged, ExchangeError, Fenced, Gap, Refused, Transient
from proto.states import State
from proto.v1 import exchange_pb2

_LOCKED: Final = (
    select(STREAMS, NowUs().label("now")).where(STREAMS.c.stream == bindparam("which")).with_for_update()
)
_LOCKED_FOR_ACCEPT: Final = (
    select(
        STREAMS,
        NowUs().label("now"),
        AUDIT_HEADS.c.n.label("audit_n"),
        AUDIT_HEADS.c.digest.label("audit_digest"),
    )
    .join(AUDIT_HEADS, AUDIT_HEADS.c.chain == STREAMS.c.stream)
    .where(STREAMS.c.stream == bindparam("which"))
    .with_for_update()
)
_CHANGE: Final = update(STREAMS).where(STREAMS.c.stream == bindparam("which"))
_MOVE: Final = _CHANGE.values(
    head_epoch=bindparam("seal_epoch"),
    head_seq=bindparam("last"),
    head_digest=bindparam("digest"),
    accepted_at_us=bindparam("at"),
    batches=STREAMS.c.batches + bindparam("more_batches"),
    rows=STREAMS.c.rows + bindparam("more_rows"),
    bytes=STREAMS.c.bytes + bindparam("more_bytes"),
)
_REFUSALS: Final = (Refused, Fenced, Diverged, Gap)
_RUNNING: Final = {"state": State.RUNNING, "code": "", "sentence": "", "fix": "", "evidence": ""}


class Intake:
    """One door for all streams; each method is one transaction, and a refusal one more."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ledger = Ledger()
        self._refusals = Refusals(engine)

    def hello(self, node: str, hello: exchange_pb2.Hello) -> Head:
        """Let *node* speak for its stream; returns where central's chain ends.

        Raises Refused, Fenced, or Diverged and Gap, which freeze the stream.
        """
        try:
            rules.check_hello(node, hello)
            with writing(self._engine) as connection:
                return self._meet(connection, node, hello)
        except _REFUSALS as error:
            facts: dict[str, audit.Fact] = {
                "epoch": hello.epoch,
                "oldest_seq": hello.oldest_seq,
                "node_seq": hello.head.seq,
                "node_digest": hello.head.digest.hex(),
            }
            self._refusals.keep(error, Refusal(hello.stream, node, facts))
            raise

    def accept(self, stream: str, epoch: int, incarnation: str, batches: Sequence[SealedBatch]) -> Head:
        """Take all of *batches* durably, or none; returns the new head. A repeat is answered, not taken twice.

        Raises Fenced, Diverged, OutOfOrder, BatchCorrupt; Transient when nobody knows: say hello again.
        """
        try:
            with writing(self._engine) as connection:
                return self._take(connection, stream, (epoch, incarnation), batches)
        except _REFUSALS as error:
            node = stream.partition("/")[0]
            self._refusals.keep(
                error, Refusal(stream, node, _seqs(batches), self._culprit(error, stream, batches))
            )
            raise

    def release(self, stream: str, who: str, reason: str) -> None:
        """Let the node's next hello decide where *stream* goes on; a repeat changes nothing.

        Everything between the two heads becomes a declared gap: its tables must be copied afresh. Raises Refused.
        """
        with writing(self._engine) as connection:
            row = _locked(connection, stream)
            held = connection.execute(
                select(APPLIED.c.held_seq).where(APPLIED.c.stream == stream)
            ).scalar_one()
            if held:
                raise Refused(f"batch {held} cannot be applied", where=stream, fix="retry or skip it first")
            if not row.adopts_next:
                connection.execute(_CHANGE, {"which": stream, **_RUNNING, "adopts_next": True})
                audit.record(connection, stream, "stream_released", state=row.state, who=who, reason=reason)

    def _meet(self, connection: Connection, node: str, hello: exchange_pb2.Hello) -> Head:
        row = connection.execute(_LOCKED, {"which": hello.stream}).one_or_none()
        if row is None:
            rules.check_first(hello)
            _create(connection, node, hello)
            return Head()
        known = rules.known_from(row)
        if known.adopts_next:
            return _adopt(connection, known, hello)
        rules.check_writer(known, hello)
        rules.check_frozen(known)
        rules.check_heads(known, hello)
        if hello.epoch > known.epoch:
            _change_writer(connection, known.stream, hello)
        return known.head

    def _take(
        self, connection: Connection, stream: str, writer: tuple[int, str], batches: Sequence[SealedBatch]
    ) -> Head:
        row = _found(connection.execute(_LOCKED_FOR_ACCEPT, {"which": stream}).one_or_none(), stream)
        known = rules.known_from(row)
        rules.fence(known, *writer)
        rules.check_frozen(known)
        repeats = [batch for batch in batches if batch.seq <= known.head.seq]
        if repeats:
            seqs = [batch.seq for batch in repeats]
            rules.check_repeats(known, repeats, self._ledger.digests(connection, stream, seqs))
        fresh = [batch for batch in batches if batch.seq > known.head.seq]
        if not fresh:
            return known.head
        head = _chained(known, fresh)
        self._write(connection, row, head, fresh)
        return head

    def _write(self, connection: Connection, row: Row[Any], head: Head, fresh: Sequence[SealedBatch]) -> None:
        with together(connection):
            rows, size = self._ledger.append(connection, fresh, row.now)
            more = {"at": row.now, "batches": len(fresh), "rows": rows, "bytes": size}
            _move(connection, row.stream, head, more)
            tip = audit.Tip(row.stream, row.audit_n, bytes(row.audit_digest), row.now)
            facts = _seqs(fresh) | {"epoch": head.epoch, "rows": rows, "bytes": size}
            audit.append(connection, tip, "accepted", facts)

    def _culprit(
        self, error: ExchangeError, stream: str, batches: Sequence[SealedBatch]
    ) -> SealedBatch | None:
        """The batch that came again with another digest, so that it can be kept."""
        if not isinstance(error, Diverged):
            return None
        with writing(self._engine) as connection:
            known = self._ledger.digests(connection, stream, [batch.seq for batch in batches])
        return next((batch for batch in batches if known.get(batch.seq, batch.digest) != batch.digest), None)


def _locked(connection: Connection, stream: str) -> Row[Any]:
    return _found(connection.execute(_LOCKED, {"which": stream}).one_or_none(), stream)


def _found(row: Row[Any] | None, stream: str) -> Row[Any]:
    if row is None:
        raise Refused(
            "no such stream",
            where=stream,
            fix="see 'exchange-central stream list'; a node's first hello makes one",
        )
    return row


def _chained(known: rules.Known, fresh: Sequence[SealedBatch]) -> Head:
    head = known.head
    for batch in fresh:
        rules.check_place(known, head, batch)
        codec.verify(batch, head)
        head = batch.head
    return head


def _move(connection: Connection, stream: str, head: Head, more: dict[str, int]) -> None:
    grown = {f"more_{name}": more[name] for name in ("batches", "rows", "bytes")}
    place = {"seal_epoch": head.epoch, "last": head.seq, "digest": head.digest, "at": more["at"]}
    connection.execute(_MOVE, {"which": stream, **place, **grown})


def _create(connection: Connection, node: str, hello: exchange_pb2.Hello) -> None:
    begin_stream(connection, node, hello.stream, {"epoch": hello.epoch, "incarnation": hello.incarnation})
    audit.record(connection, hello.stream, "stream_began", epoch=hello.epoch, incarnation=hello.incarnation)


def _change_writer(connection: Connection, stream: str, hello: exchange_pb2.Hello) -> None:
    writer: dict[str, Any] = {"epoch": hello.epoch, "incarnation": hello.incarnation}
    connection.execute(_CHANGE, {"which": stream, **writer})
    audit.record(connection, stream, "writer_changed", **writer)


def _adopt(connection: Connection, known: rules.Known, hello: exchange_pb2.Hello) -> Head:
    """Go on where the node is, as a person decided; what central accepted before is applied first."""
    stream, old, new = known.stream, known.head, rules.head_of(hello) if hello.head.seq else Head()
    applied = connection.execute(select(APPLIED).where(APPLIED.c.stream == stream).with_for_update()).one()
    if applied.seq != old.seq:
        raise Transient(
            f"central has applied {applied.seq} of {old.seq}; the stream goes on after that", where=stream
        )
    connection.execute(delete(LEDGER).where(LEDGER.c.stream == stream, LEDGER.c.seq > new.seq))
    # Another token: an applier that still works for the old past comes too late.
    place = {
        "seq": new.seq,
        "epoch": new.epoch,
        "digest": new.digest,
        "token": applied.token + 1,
        "expires_us": 0,
    }
    connection.execute(update(APPLIED).where(APPLIED.c.stream == stream).values(place))
    head = {"head_epoch": new.epoch, "head_seq": new.seq, "head_digest": new.digest, "adopts_next": False}
    writer = {"epoch": hello.epoch, "incarnation": hello.incarnation}
    connection.execute(_CHANGE, {"which": stream, **head, **writer})
    mend = f"at the node: exchange-agent snapshot --all --source {stream.rpartition('/')[2]}"
    tableholds.adopt(connection, stream, new, ("the stream was released: what waited is of its past", mend))
    _declare_gap(connection, stream, old, new)
    return new


def _declare_gap(connection: Connection, stream: str, old: Head, new: Head) -> None:
    first, last = sorted((old.seq, new.seq))
    gap = {"stream": stream, "first_seq": first + 1, "last_seq": last, "at_us": now_us(connection)}
    why = {"who": "", "reason": "the node's head was adopted after a release"}
    connection.execute(insert(GAPS), {**gap, "digest": new.digest, **why})
    facts: dict[str, audit.Fact] = {"old_seq": old.seq, "old_digest": old.digest.hex(), "new_seq": new.seq}
    audit.record(connection, stream, "head_adopted", **facts, new_digest=new.digest.hex())


def _seqs(batches: Sequence[SealedBatch]) -> dict[str, audit.Fact]:
    if not batches:
        return {}
    first, last = batches[0], batches[-1]
    return {"first_seq": first.seq, "last_seq": last.seq, "digest": last.digest.hex()}
