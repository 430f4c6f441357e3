"""A consumer without a wire: takes what a courier makes, keeps it in dictionaries, and compares with the platform."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from central.ca import make_authority
from central.delivery import Dispatch, Post
from central.delivery.calls import Ticket, open_call
from central.delivery.courier import Courier, Step
from central.sharing.permits import permit
from central.store import reading, writing
from central.store.names import room_of
from proto import codec, delivery, frames
from proto.batch import CHAIN_START, Delta
from proto.schema import TableSchema
from proto.signing import Signer, Verifier
from proto.v1 import exchange_pb2
from proto.view import BoundView, View
from replica.opening import open_replica

ZONE = ZoneInfo("Asia/Shanghai")


def platform_signer(folder: Any) -> Signer:
    """A signer such as a platform has."""
    authority = make_authority("测试 CA")
    authority.issue_platform("platform.example").write(folder / "p.pem", folder / "p.key")
    return Signer.load(folder / "p.pem", folder / "p.key")


@dataclass
class Table:
    """What a consumer's table holds."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    appended: list[bytes] = field(default_factory=list)

    def apply(self, delta: Delta) -> None:
        """As a replica does."""
        schema = delta.schema
        if delta.truncated:
            self.rows.clear()
            self.appended.clear()
        if not schema.key:
            self.appended += frames.split(delta.inserts.data)
            return
        for key in frames.split(delta.deletes.data):
            self.rows.pop(key, None)
        for part in delta.partials:
            self._update(schema, part.columns, part.frames.data)
        for section in (delta.upserts, delta.inserts):
            keys = frames.keys(section.data, schema.key_indexes)
            self.rows.update(zip(keys, frames.split(section.data), strict=True))

    def _update(self, schema: TableSchema, columns: tuple[int, ...], data: bytes) -> None:
        found = []
        for old, frame in zip(frames.keys(data, range(len(schema.key))), frames.split(data), strict=True):
            if (row := self.rows.pop(old, None)) is not None:
                found.append(frames.merge_partial(row, schema, columns, frame))
        for row in found:
            self.rows[frames.keys(row, schema.key_indexes)[0]] = row


@dataclass
class Receiver:
    """One grant at its consumer: what is committed survives, what is not is lost with :meth:`crash`."""

    grant: str
    consumer: str
    verifier: Verifier
    table: Table = field(default_factory=Table)
    generation: int = 0
    seq: int = 0
    digest: bytes = CHAIN_START
    copying: bool = True
    schema: TableSchema | None = None
    bytes_seen: bytearray = field(default_factory=bytearray)
    """Every byte of every header and every row that came."""
    _pending: list[Dispatch] = field(default_factory=list)

    def take(self, dispatch: Dispatch) -> None:
        """Check a delivery and commit it, together with the parts before it, unless it continues."""
        message = dispatch.message
        last = self._pending[-1].message if self._pending else None
        if message.generation != (last.generation if last else self.generation):
            assert message.seq == 1, "a generation begins with its first delivery"
            assert message.generation > self.generation
            self._pending.clear()
            last = None
            seq, digest = 0, CHAIN_START
        else:
            seq, digest = (last.seq, last.digest) if last else (self.seq, self.digest)
        assert message.seq == seq + 1
        place = delivery.Place(message.grant, message.generation, message.seq)
        assert delivery.chain(digest, place, message.header) == message.digest
        said = delivery.signed(self.consumer, place, message.digest, message.receipt)
        self.verifier.demand(delivery.RECEIPT, said, message.signature)
        self._pending.append(dispatch)
        if not codec.read_header(message.header).continues:
            self._commit()

    def _commit(self) -> None:
        for dispatch in self._pending:
            batch = codec.decode(dispatch.message.header, dispatch.payload)
            self.bytes_seen += dispatch.message.header
            for delta in batch.deltas:
                self.schema = delta.schema
                self.bytes_seen += b"".join(
                    section.data
                    for section in (
                        delta.inserts,
                        delta.upserts,
                        delta.deletes,
                        *(p.frames for p in delta.partials),
                    )
                )
                self.table.apply(delta)
        message = self._pending[-1].message
        self.generation, self.seq, self.digest = message.generation, message.seq, message.digest
        self.copying = message.copying
        self._pending.clear()

    def crash(self) -> None:
        """What was not committed is gone."""
        self._pending.clear()

    @property
    def has_pending(self) -> bool:
        """A source commit has begun to come."""
        return bool(self._pending)

    @property
    def received(self) -> exchange_pb2.Received:
        """As a hello or a receipt says it."""
        return exchange_pb2.Received(
            grant=self.grant, generation=self.generation, seq=self.seq, digest=self.digest
        )


@dataclass
class Pulling:
    """A consumer's open call for one grant, without a wire."""

    post: Post
    receiver: Receiver
    ticket: Ticket = field(init=False)
    courier: Courier = field(init=False)

    def __post_init__(self) -> None:
        self.connect()

    def connect(self, received: exchange_pb2.Received | None = None) -> None:
        """Open a new call with what the receiver has committed."""
        self.receiver.crash()
        with writing(self.post.engine) as connection:
            self.ticket = open_call(connection, self.receiver.consumer, "tests", "one")
        said = received or self.receiver.received
        self.courier = Courier(self.post, self.ticket, self.receiver.grant, said)

    def step(self) -> Step:
        """One step, and its delivery taken."""
        step = self.courier.step(may_send=True)
        if step.dispatch is not None:
            self.receiver.take(step.dispatch)
        return step

    def drain(self, most: int = 1000) -> Step:
        """Until nothing is left."""
        for _ in range(most):
            step = self.step()
            if not step.more:
                return step
        raise AssertionError(f"no end after {most} steps: {step.standing}")


def bound_view(connection: Connection, grant: str, schema: TableSchema) -> BoundView:
    """The grant's view, made without the room under test."""
    found = permit(connection, grant)
    terms = found.terms
    view = View.from_json({"columns": list(terms.items), "masks": terms.masks, "rows": terms.rows})
    return view.bind(schema, found.secret)


def seen_through(
    connection: Connection, engine: Engine, grant: str, schema: TableSchema
) -> dict[bytes, bytes]:
    """What the grant shows of the platform's table now, by key."""
    bound, stream = bound_view(connection, grant, schema), permit(connection, grant).stream
    shown: dict[bytes, bytes] = {}
    for page in open_replica(engine, room_of(stream)).scan(connection, schema):
        passing, _ = bound.divide(page)
        keys = frames.split(bound.keys_of(passing).data)
        shown.update(zip(keys, frames.split(passing.data), strict=True))
    return shown


def platform_shows(engine: Engine, grant: str, schema: TableSchema) -> dict[bytes, bytes]:
    """The same, in a transaction of its own."""
    with reading(engine) as connection:
        return seen_through(connection, engine, grant, schema)
