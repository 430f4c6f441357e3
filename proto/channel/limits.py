"""The limits and deadlines of the wire, and how a batch is cut to fit them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proto.batch import SealedBatch
from proto.codec import MAX_HEADER_BYTES
from proto.v1 import exchange_pb2

PROTOCOL: Final = 1
MAX_PART_BYTES: Final = 1024 * 1024
"""Of payload in one message."""
MAX_MESSAGE_BYTES: Final = MAX_HEADER_BYTES + MAX_PART_BYTES + 64 * 1024
CALL_DEADLINE_S: Final = 15.0
"""For every call that is not a stream."""
HELLO_DEADLINE_S: Final = 15.0
"""From opening a Push to its Welcome, on both sides."""
PROGRESS_DEADLINE_S: Final = 60.0
"""A batch that was begun brings its next part within this time."""
KEEPALIVE_S: Final = 30
KEEPALIVE_TIMEOUT_S: Final = 10
CONNECTION_AGE_S: Final = 30 * 60
CONNECTION_GRACE_S: Final = 30
MAX_RECONNECT_S: Final = 60

_KEEPALIVE: Final = (
    ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
_SIZES: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)
CLIENT_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    *_KEEPALIVE,
    *_SIZES,
    # Retrying is our own business: gRPC's would hide how long we have been trying.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_S * 1000),
    # A new channel is a new connection, with the certificates of now.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)
SERVER_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    *_KEEPALIVE,
    *_SIZES,
    ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_S * 1000 // 3),
    ("grpc.max_connection_age_ms", CONNECTION_AGE_S * 1000),
    ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE_S * 1000),
    # Without it a second central on the same port would silently share its connections.
    ("grpc.so_reuseport", 0),
)


def parts(batch: SealedBatch, part_bytes: int = MAX_PART_BYTES) -> Iterator[exchange_pb2.PushRequest]:
    """The messages that carry *batch*; the first one describes it, and its payload is never copied whole.

    A slow link gets smaller parts than MAX_PART_BYTES, so that it shows its progress.
    """
    payload = memoryview(batch.payload)
    yield exchange_pb2.PushRequest(
        part=exchange_pb2.BatchPart(
            seq=batch.seq,
            epoch=batch.epoch,
            digest=batch.digest,
            header=batch.header,
            payload_bytes=len(payload),
            payload=bytes(payload[:part_bytes]),
        )
    )
    for start in range(part_bytes, len(payload), part_bytes):
        piece = bytes(payload[start : start + part_bytes])
        yield exchange_pb2.PushRequest(
            part=exchange_pb2.BatchPart(seq=batch.seq, epoch=batch.epoch, payload=piece)
        )
