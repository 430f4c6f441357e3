"""Errors cross the wire as what they were, whatever they say; batches are cut to fit it."""

from __future__ import annotations

import grpc
import pytest

from proto import errors
from proto.batch import Head
from proto.channel import MAX_PART_BYTES, error_status, from_rpc, parts
from proto.codec import seal
from proto.errors import BadRow, Busy, ExchangeError, Poisoned, Refused, SchemaHold, Transient
from proto.v1 import exchange_pb2

METADATA_BYTES = 8192
SAME = [
    errors.Refused,
    errors.NotAdmitted,
    errors.BatchCorrupt,
    errors.FrameCorrupt,
    errors.Transient,
    errors.Busy,
    errors.Halt,
    errors.Fenced,
    errors.Credential,
    errors.Gap,
    errors.Diverged,
    errors.DiskBlocked,
    errors.Poisoned,
]
STATUS = {
    errors.Refused: "INVALID_ARGUMENT",
    errors.NotAdmitted: "PERMISSION_DENIED",
    errors.Fenced: "ABORTED",
    errors.Credential: "UNAUTHENTICATED",
    errors.Gap: "OUT_OF_RANGE",
    errors.Diverged: "DATA_LOSS",
    errors.DiskBlocked: "RESOURCE_EXHAUSTED",
    errors.Busy: "RESOURCE_EXHAUSTED",
    errors.Poisoned: "FAILED_PRECONDITION",
    errors.Transient: "UNAVAILABLE",
}


class Ended(grpc.RpcError):
    """A call that ended, as gRPC's client shows it."""

    def __init__(
        self, code: grpc.StatusCode, details: str = "", metadata: tuple[tuple[str, str | bytes], ...] = ()
    ) -> None:
        self._code, self._details, self._metadata = code, details, metadata

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def details(self) -> str:
        """The message."""
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:  # type: ignore[override]
        """What came with it."""
        return self._metadata


def across(error: ExchangeError) -> ExchangeError:
    """*error* after its journey."""
    status = error_status(error)
    return from_rpc(Ended(status.code, status.details or "", tuple(status.trailing_metadata or ())))


@pytest.mark.parametrize("kind", SAME, ids=lambda kind: kind.__name__)
def test_an_error_arrives_as_what_it_was(kind: type[ExchangeError]) -> None:
    """Class, what, where and fix, in any script."""
    sent = kind("两端不一致", where="hr-node/hr 7", fix="ask 张三")
    got = across(sent)
    assert type(got) is kind
    assert (got.what, got.where, got.fix) == (sent.what, sent.where, sent.fix)


@pytest.mark.parametrize(("kind", "status"), STATUS.items(), ids=lambda each: getattr(each, "__name__", each))
def test_each_family_has_its_status(kind: type[ExchangeError], status: str) -> None:
    """For tools that know gRPC and not us."""
    assert error_status(kind("x")).code.name == status


@pytest.mark.parametrize("kind", [BadRow, SchemaHold])
def test_a_held_table_arrives_as_a_stream_that_cannot_go_on(kind: type[errors.TableHold]) -> None:
    """The other side has no table to hold, only a stream."""
    assert isinstance(across(kind("people", "does not fit")), Poisoned)


def test_a_code_from_the_future_arrives_as_its_family() -> None:
    """An older peer acts on what it knows and shows what it does not."""

    class Newer(Refused):
        code = "OUT_OF_ORDER"

    got = across(Newer("3 came, 2 is expected"))
    assert type(got) is Refused
    assert str(got) == "REFUSED: OUT_OF_ORDER: 3 came, 2 is expected"


def test_an_endless_message_still_fits_the_metadata() -> None:
    """Beyond 8 KiB gRPC would drop the whole error."""
    sent = errors.Diverged("冲" * 100_000, where="柜" * 10_000, fix="问" * 10_000)
    status = error_status(sent)
    size = sum(len(key) + len(value) * 4 // 3 for key, value in status.trailing_metadata or ())
    assert size + 3 * len((status.details or "").encode()) < METADATA_BYTES
    got = across(sent)
    assert type(got) is errors.Diverged
    assert got.what.startswith("冲冲")
    assert got.what.endswith("…")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("UNAVAILABLE", Transient),
        ("DEADLINE_EXCEEDED", Transient),
        ("CANCELLED", Transient),
        ("UNKNOWN", Transient),
        ("INTERNAL", Transient),
        ("UNIMPLEMENTED", Refused),
        ("PERMISSION_DENIED", errors.NotAdmitted),
    ],
)
def test_what_grpc_itself_reports_is_tried_again_unless_that_cannot_help(
    status: str, kind: type[ExchangeError]
) -> None:
    """Without details of ours."""
    assert type(from_rpc(Ended(grpc.StatusCode[status], "Socket closed"))) is kind


def test_a_message_over_the_limit_is_not_tried_again() -> None:
    """The same message would be as large tomorrow; being at a limit passes."""
    words = "SERVER: Received message larger than max (9 vs. 4)"
    assert type(from_rpc(Ended(grpc.StatusCode.RESOURCE_EXHAUSTED, words))) is Refused
    later = across(Busy("later", retry_s=2.5))
    assert isinstance(later, Busy) and later.retry_s == 2.5


def test_damaged_details_do_not_hide_the_status() -> None:
    """Whatever a middlebox made of them."""
    metadata: tuple[tuple[str, str | bytes], ...] = (("grpc-status-details-bin", b"\xff\xff"),)
    assert type(from_rpc(Ended(grpc.StatusCode.ABORTED, "x", metadata))) is errors.Fenced


@pytest.mark.parametrize("size", [0, 1, MAX_PART_BYTES, MAX_PART_BYTES + 1, 3 * MAX_PART_BYTES])
def test_parts_carry_the_whole_payload_once(size: int) -> None:
    """The first one describes the batch, none is over the limit."""
    batch = seal("n/s", 1, Head(), (b"header", bytes(size)))
    cut: list[exchange_pb2.BatchPart] = [request.part for request in parts(batch)]
    assert b"".join(part.payload for part in cut) == batch.payload
    assert max(len(part.payload) for part in cut) <= MAX_PART_BYTES
    assert [part.header for part in cut] == [b"header"] + [b""] * (len(cut) - 1)
    assert len(cut) == max(1, -(-size // MAX_PART_BYTES))
