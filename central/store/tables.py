"""The tables of central's own bookkeeping. On PostgreSQL they live in a schema of their own, on SQLite beside the rest."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, false
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from central.store.columns import METADATA, key, maybe, number, words


class NowUs(FunctionElement[int]):
    """The database's clock inside a statement: microseconds since 1970, not the start of the transaction."""

    type = BigInteger()
    inherit_cache = True


@compiles(NowUs, "postgresql")
def _now_postgresql(_element: NowUs, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"


@compiles(NowUs, "sqlite")
def _now_sqlite(_element: NowUs, _compiler: SQLCompiler, **_options: Any) -> str:
    return "exchange_now_us()"


NODES: Final = Table(
    "central_nodes",
    METADATA,
    key("node"),
    number("added_us"),
    maybe("revoked_us"),
    maybe("last_seen_us"),
    maybe("clock_skew_us"),
    Column("report", LargeBinary),
)

CERTIFICATES: Final = Table(
    "central_certificates",
    METADATA,
    key("fingerprint"),
    words("role"),
    words("name"),
    number("not_after_us"),
    number("added_us"),
    maybe("revoked_us"),
    Index("central_certificates_name", "role", "name"),
)

COMMANDS: Final = Table(
    "central_commands",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    words("node"),
    Column("verb", Integer, nullable=False),
    words("stream"),
    words("table_name"),
    number("asked_us"),
    words("asked_by"),
    maybe("finished_us"),
    words("outcome", ""),
    Index("central_commands_node", "node", "id"),
)

STREAMS: Final = Table(
    "central_streams",
    METADATA,
    key("stream"),
    words("node"),
    number("created_us"),
    number("epoch"),
    words("incarnation"),
    number("head_epoch", 0),
    number("head_seq", 0),
    Column("head_digest", LargeBinary, nullable=False),
    number("accepted_at_us", 0),
    number("batches", 0),
    number("rows", 0),
    number("bytes", 0),
    words("state", "RUNNING"),
    words("code", ""),
    words("sentence", ""),
    words("fix", ""),
    words("evidence", ""),
    Column("adopts_next", Boolean, nullable=False, server_default=false()),
)

# The small columns come first: SQLite then reads them without touching the pages of the blobs.
LEDGER: Final = Table(
    "central_ledger",
    METADATA,
    key("stream"),
    key("seq", is_number=True),
    number("epoch"),
    number("rows"),
    number("bytes"),
    number("accepted_at_us"),
    Column("continues", Boolean, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

APPLIED: Final = Table(
    "central_applied",
    METADATA,
    key("stream"),
    number("seq", 0),
    number("epoch", 0),
    Column("digest", LargeBinary, nullable=False),
    words("position", ""),
    number("last_commit_us", 0),
    number("applied_at_us", 0),
    number("batches", 0),
    number("rows", 0),
    number("bytes", 0),
    words("owner", ""),
    number("token", 0),
    number("expires_us", 0),
    words("state", "RUNNING"),
    words("code", ""),
    words("sentence", ""),
    words("fix", ""),
    number("held_seq", 0),
)

# Tables left out of their stream's apply; RUNNING again when all that is left to know is where the ledger is broken.
TABLE_HOLDS: Final = Table(
    "central_table_holds",
    METADATA,
    key("stream"),
    key("table_name"),
    words("state"),
    words("code"),
    words("sentence"),
    words("fix"),
    number("since_us"),
    number("held_seq"),
    number("after_seq"),
    Column("held_digest", LargeBinary, nullable=False),
    Column("after_digest", LargeBinary, nullable=False),
    number("asked"),
    number("left_out"),
    number("broken_seq"),
)

GAPS: Final = Table(
    "central_gaps",
    METADATA,
    key("stream"),
    key("first_seq", is_number=True),
    key("at_us", is_number=True),
    number("last_seq"),
    Column("digest", LargeBinary, nullable=False),
    words("who"),
    words("reason"),
    words("table_name", ""),
)

AUDIT: Final = Table(
    "central_audit",
    METADATA,
    key("chain"),
    key("n", is_number=True),
    number("at_us"),
    words("event"),
    words("facts"),
    Column("digest", LargeBinary, nullable=False),
)

AUDIT_HEADS: Final = Table(
    "central_audit_heads",
    METADATA,
    key("chain"),
    number("n"),
    Column("digest", LargeBinary, nullable=False),
)

# Refusals that came again within a minute of one on record.
REFUSALS: Final = Table(
    "central_refusals",
    METADATA,
    key("chain"),
    key("node"),
    key("code"),
    number("since_us"),
    number("times"),
    words("facts"),
)

EVIDENCE: Final = Table(
    "central_evidence",
    METADATA,
    key("chain"),
    key("n", is_number=True),
    Column("header", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
