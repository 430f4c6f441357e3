"""The rows every stream has from its first word on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert

from central.store import now_us
from central.store.tables import APPLIED, STREAMS
from proto.batch import CHAIN_START


def begin_stream(connection: Connection, node: str, stream: str, writer: dict[str, Any]) -> None:
    """Make them: nothing accepted, nothing applied, *writer*'s epoch and incarnation."""
    now = now_us(connection)
    entry = {"stream": stream, "node": node, "created_us": now, "head_digest": CHAIN_START, **writer}
    connection.execute(insert(STREAMS), entry)
    connection.execute(insert(APPLIED), {"stream": stream, "digest": CHAIN_START})
