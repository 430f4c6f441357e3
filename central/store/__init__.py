"""Central's database: opened once, brought up to date at start, and entered only through a transaction.

A write is durable when :func:`writing` returns. When its commit fails nobody knows whether it happened: that is
Transient, and the caller reads again. Errors of the database leave here as errors of ours, without its texts.
"""

from central.store import (  # noqa: F401 - their tables belong to METADATA
    catalogue,
    deliveries,
    grants,
    log,
    office,
    sharing,
    supervision,
)
from central.store.columns import METADATA, SCHEMA
from central.store.engine import looking_back, now_us, open_store, reading, together, writing
from central.store.migration import migrate
from central.store.tables import NowUs

__all__ = [
    "METADATA",
    "SCHEMA",
    "NowUs",
    "looking_back",
    "migrate",
    "now_us",
    "open_store",
    "reading",
    "together",
    "writing",
]
