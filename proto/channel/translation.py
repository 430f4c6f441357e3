"""Errors that arrive as what they were: every class and field of ours, through the status of a call and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from grpc_status import rpc_status

from proto import errors
from proto.errors import ExchangeError, Refused, Transient
from proto.v1 import exchange_pb2

# First by code, then by family: a family's newer member reaches an older peer as the family.
_STATUS_BY_CODE: Final = {
    "NOT_ADMITTED": grpc.StatusCode.PERMISSION_DENIED,
    "BUSY": grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_STATUS_BY_FAMILY: Final[tuple[tuple[type[ExchangeError], grpc.StatusCode], ...]] = (
    (errors.Fenced, grpc.StatusCode.ABORTED),
    (errors.Credential, grpc.StatusCode.UNAUTHENTICATED),
    (errors.Gap, grpc.StatusCode.OUT_OF_RANGE),
    (errors.Diverged, grpc.StatusCode.DATA_LOSS),
    (errors.DiskBlocked, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Poisoned, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.TableHold, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Halt, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Transient, grpc.StatusCode.UNAVAILABLE),
    (errors.Refused, grpc.StatusCode.INVALID_ARGUMENT),
)
_CLASS_BY_CODE: Final[dict[str, type[ExchangeError]]] = {
    kind.code: kind
    for kind in (
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
    )
}
_CLASS_BY_STATUS: Final[dict[grpc.StatusCode, type[ExchangeError]]] = {
    grpc.StatusCode.ABORTED: errors.Fenced,
    grpc.StatusCode.UNAUTHENTICATED: errors.Credential,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotAdmitted,
    grpc.StatusCode.OUT_OF_RANGE: errors.Gap,
    grpc.StatusCode.DATA_LOSS: errors.Diverged,
    grpc.StatusCode.FAILED_PRECONDITION: errors.Poisoned,
    grpc.StatusCode.INVALID_ARGUMENT: errors.Refused,
    grpc.StatusCode.UNIMPLEMENTED: errors.Refused,
}
_WHAT_BYTES, _WHERE_BYTES, _FIX_BYTES, _MESSAGE_BYTES = 1500, 300, 1000, 300
"""Together below gRPC's 8 KiB for trailing metadata, where a larger error would arrive as none at all."""


def error_status(error: ExchangeError) -> grpc.Status:
    """What to end a call with so that :func:`from_rpc` makes the same error of it on the other side."""
    code = _STATUS_BY_CODE.get(error.code) or next(
        (status for family, status in _STATUS_BY_FAMILY if isinstance(error, family)), grpc.StatusCode.UNKNOWN
    )
    detail = exchange_pb2.ErrorDetail(
        code=error.code,
        what=_cut(error.what, _WHAT_BYTES),
        where=_cut(error.where, _WHERE_BYTES),
        fix=_cut(error.fix, _FIX_BYTES),
        retry_ms=int(error.retry_s * 1000) if isinstance(error, errors.Busy) else 0,
    )
    packed = Any()
    packed.Pack(detail)
    status: grpc.Status = rpc_status.to_status(
        Status(code=code.value[0], message=_cut(error.what, _MESSAGE_BYTES), details=[packed])
    )
    return status


def from_rpc(error: grpc.RpcError) -> ExchangeError:
    """The error the other side meant; what gRPC itself reports becomes Transient unless trying again cannot help.

    Use as ``raise from_rpc(error) from error``.
    """
    status: grpc.StatusCode = error.code()
    words: str = error.details() or ""
    detail = _detail(error)
    if detail is not None:
        return _restored(detail, status)
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in words:
        return Refused(f"a message is over the limit: {words}")
    kind = _CLASS_BY_STATUS.get(status, Transient)
    return kind(f"{_PLAIN.get(status, status.name.lower())}{': ' if words else ''}{words}")


def was_said(error: grpc.RpcError) -> bool:
    """Whether the other side raised it, and not gRPC on the way there."""
    return _detail(error) is not None


_PLAIN: Final = {
    grpc.StatusCode.UNAVAILABLE: "not reachable",
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time",
    grpc.StatusCode.CANCELLED: "the call was ended",
    grpc.StatusCode.UNKNOWN: "the other side failed in an unforeseen way, see its log",
    grpc.StatusCode.UNIMPLEMENTED: "the other side does not know this call, one of the two needs an upgrade",
}


def _detail(error: grpc.RpcError) -> exchange_pb2.ErrorDetail | None:
    # Read by hand: grpc_status insists on equal messages and takes only a finished call.
    # The stubs know only one of the two shapes that metadata has.
    metadata = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                packed = Status.FromString(value).details
                detail = exchange_pb2.ErrorDetail()
                if packed and packed[0].Unpack(detail):
                    return detail
            except DecodeError:
                return None
    return None


def _restored(detail: exchange_pb2.ErrorDetail, status: grpc.StatusCode) -> ExchangeError:
    kind = _CLASS_BY_CODE.get(detail.code)
    if kind is errors.Busy:
        return errors.Busy(detail.what, where=detail.where, fix=detail.fix, retry_s=detail.retry_ms / 1000)
    if kind is not None:
        return kind(detail.what, where=detail.where, fix=detail.fix)
    family = _CLASS_BY_STATUS.get(status, Transient)
    return family(f"{detail.code}: {detail.what}", where=detail.where, fix=detail.fix)


def _cut(text: str, limit: int) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "…"
