"""What both ends of the wire agree on: mutual TLS, limits, deadlines, and errors that arrive as what they were."""

from proto.channel.limits import (
    CALL_DEADLINE_S,
    CLIENT_OPTIONS,
    HELLO_DEADLINE_S,
    MAX_MESSAGE_BYTES,
    MAX_PART_BYTES,
    PROGRESS_DEADLINE_S,
    PROTOCOL,
    SERVER_OPTIONS,
    parts,
)
from proto.channel.tls import (
    Identity,
    TlsFiles,
    channel,
    identity_of,
    identity_of_pem,
    preflight,
    probe,
    server_credentials,
)
from proto.channel.translation import error_status, from_rpc, was_said

__all__ = [
    "CALL_DEADLINE_S",
    "CLIENT_OPTIONS",
    "HELLO_DEADLINE_S",
    "MAX_MESSAGE_BYTES",
    "MAX_PART_BYTES",
    "PROGRESS_DEADLINE_S",
    "PROTOCOL",
    "SERVER_OPTIONS",
    "Identity",
    "TlsFiles",
    "channel",
    "error_status",
    "from_rpc",
    "identity_of",
    "identity_of_pem",
    "parts",
    "preflight",
    "probe",
    "server_credentials",
    "was_said",
]
