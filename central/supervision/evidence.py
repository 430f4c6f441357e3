"""What a case is measured by: the catalogue's authoritative source of a resource, and the batch that carries a correction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from central.catalogue.published import Published, published
from central.store.tables import LEDGER
from proto.errors import Refused


def source_of(connection: Connection, resource: str) -> dict[str, Any] | None:
    """Where the true values of *resource* come from, as the catalogue in force says (Art. 20); None when it holds it no more."""
    found = _published(connection, resource)
    if found is None:
        return None
    entry = found.entry
    return {
        "resource": entry.code,
        "name": entry.name,
        "provider": entry.provider,
        "provider_name": entry.provider_name,
        "stream": entry.binding.stream if entry.binding else "",
        "table": entry.binding.table if entry.binding else "",
        "made_from": list(entry.sources),
        "version": found.version,
        "release": found.release,
    }


def demand_source(connection: Connection, resource: str, stream: str) -> None:
    """Raise Refused unless *stream* carries *resource*: a correction is where the data comes from, or it is none."""
    found = _published(connection, resource)
    if found is not None and found.entry.binding is not None and found.entry.binding.stream != stream:
        raise Refused(
            "the resource does not come from this stream",
            where=stream[:80],
            fix=f"it is {found.entry.binding.stream}",
        )


def batch_digest(connection: Connection, stream: str, seq: int) -> str:
    """The batch's digest in the ledger, by which the link can be checked; "" when the platform does not hold it (now)."""
    query = select(LEDGER.c.digest).where(LEDGER.c.stream == stream, LEDGER.c.seq == seq)
    found = connection.execute(query).scalar_one_or_none()
    return bytes(found).hex() if found is not None else ""


def _published(connection: Connection, resource: str) -> Published | None:
    try:
        return published(connection, resource)
    except Refused:
        return None
