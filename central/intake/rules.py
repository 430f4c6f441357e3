"""What two ends must agree on before anything moves: pure questions, answered by silence or by an error that names the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row

from central.store.names import split_stream
from proto.batch import Head, SealedBatch
from proto.errors import BatchCorrupt, Diverged, Fenced, Gap, Halt, Refused, way_out
from proto.states import State
from proto.v1 import exchange_pb2

LARGEST: Final = 2**63 - 1
INCARNATION_CHARACTERS: Final = 64
DIGEST_BYTES: Final = 32
_FROZEN: Final[dict[str, type[Halt]]] = {State.DIVERGED: Diverged, State.GAP: Gap}


class OlderCopy(Diverged):
    """A node that went back in time; it stops, and whoever writes the stream now is not disturbed."""


class OutOfOrder(Refused):
    """A batch came before the one it follows."""

    code = "OUT_OF_ORDER"


@dataclass(frozen=True, slots=True)
class Known:
    """What central knows of a stream, read under its lock."""

    stream: str
    epoch: int
    incarnation: str
    head: Head
    state: str
    code: str
    sentence: str
    fix: str
    adopts_next: bool


def known_from(row: Row[Any]) -> Known:
    """From its row in the database."""
    head = Head(row.head_epoch, row.head_seq, bytes(row.head_digest))
    frozen = (row.state, row.code, row.sentence, row.fix)
    return Known(row.stream, row.epoch, row.incarnation, head, *frozen, row.adopts_next)


def head_of(hello: exchange_pb2.Hello) -> Head:
    """The node's own head."""
    return Head(hello.head.epoch, hello.head.seq, hello.head.digest)


def check_hello(node: str, hello: exchange_pb2.Hello) -> None:
    """A node speaks for its own streams, in numbers that can be kept."""
    if split_stream(hello.stream)[0] != node:
        raise Refused(f"{node} does not own this stream", where=hello.stream)
    numbers = (hello.epoch, hello.oldest_seq, hello.head.epoch, hello.head.seq)
    if max(numbers) >= LARGEST or not 0 < len(hello.incarnation) <= INCARNATION_CHARACTERS:
        raise Refused("the hello has a number or a name out of bounds", where=hello.stream)
    if hello.head.seq and len(hello.head.digest) != DIGEST_BYTES:
        raise Refused(f"the head's digest has {len(hello.head.digest)} bytes", where=hello.stream)


def check_first(hello: exchange_pb2.Hello) -> None:
    """A stream central has never seen starts at its beginning."""
    if hello.head.seq and hello.oldest_seq > 1:
        raise Gap(
            f"batches before {hello.oldest_seq} are gone, and central has none of them",
            where=hello.stream,
            fix=way_out(hello.stream),
        )


def check_writer(known: Known, hello: exchange_pb2.Hello) -> None:
    """One process at a time speaks for a stream; the newer epoch wins.

    An older one with another past is a restored copy (E7), not a second process: nobody is there to be stopped.
    """
    if _emptied(known, hello):
        return  # Not a second process but a lost database; the heads tell.
    if (
        hello.epoch <= known.epoch
        and hello.incarnation != known.incarnation
        and _has_another_past(known, hello)
    ):
        what = f"batch {known.head.seq} at central is not the node's: its exchange database is an older copy"
        raise OlderCopy(what, where=known.stream, fix=way_out(known.stream))
    fence(known, hello.epoch, hello.incarnation, newer=True)


def fence(known: Known, epoch: int, incarnation: str, *, newer: bool = False) -> None:
    """Raise Fenced unless this is the process central knows, or, with *newer*, its successor."""
    if (epoch, incarnation) == (known.epoch, known.incarnation) or (newer and epoch > known.epoch):
        return
    raise Fenced(
        f"epoch {epoch} is not the writer's, central knows epoch {known.epoch} of another process",
        where=known.stream,
        fix=f"stop the other exchange-agent that works as {known.stream.partition('/')[0]}, then here: "
        f"exchange-agent resume; if there is no other: {way_out(known.stream)}",
    )


def check_frozen(known: Known) -> None:
    """A stream that was stopped stays so until a person releases it."""
    if known.state != State.RUNNING:
        raise _FROZEN[known.state](known.sentence, where=known.stream, fix=known.fix)


def check_heads(known: Known, hello: exchange_pb2.Hello) -> None:
    """Both ends have the same past, and what central lacks the node still has."""
    ours, theirs = known.head, hello.head
    if _emptied(known, hello):
        raise _diverged(known, f"the node is empty, but central has its batches up to {ours.seq}")
    if theirs.seq < ours.seq:
        raise _diverged(
            known, f"the node ends at {theirs.seq}, behind central's {ours.seq}: an older copy of it runs"
        )
    if theirs.seq == ours.seq and ours.seq and theirs.digest != ours.digest:
        raise _diverged(known, f"batch {ours.seq} has another digest at the node than at central")
    if theirs.seq > ours.seq and hello.oldest_seq > ours.seq + 1:
        gone = f"batches {ours.seq + 1} to {hello.oldest_seq - 1} are gone at the node and not at central"
        raise Gap(gone, where=known.stream, fix=way_out(known.stream))


def check_repeats(known: Known, repeats: list[SealedBatch], digests: dict[int, bytes]) -> None:
    """What comes again is what came before; a number that was pruned cannot be asked any more."""
    for batch in repeats:
        if digests.get(batch.seq, batch.digest) != batch.digest:
            raise _diverged(known, f"batch {batch.seq} came again with another digest")


def check_place(known: Known, previous: Head, batch: SealedBatch) -> None:
    """The batch is the stream's next one."""
    if batch.seq != previous.seq + 1:
        raise OutOfOrder(f"batch {batch.seq} came, {previous.seq + 1} is expected", where=known.stream)
    if batch.stream != known.stream or not previous.epoch <= batch.epoch <= known.epoch:
        raise BatchCorrupt("it belongs to another stream or epoch", where=f"{known.stream} {batch.seq}")


def _emptied(known: Known, hello: exchange_pb2.Hello) -> bool:
    return hello.head.seq == 0 < known.head.seq


def _has_another_past(known: Known, hello: exchange_pb2.Hello) -> bool:
    """Whether the node surely lacks what central has; of a longer past nobody can say."""
    ours, theirs = known.head, hello.head
    return theirs.seq < ours.seq or (theirs.seq == ours.seq and theirs.digest != ours.digest)


def _diverged(known: Known, what: str) -> Diverged:
    return Diverged(what, where=known.stream, fix=way_out(known.stream))
