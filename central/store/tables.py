"""The tables of central's own bookkeeping. On PostgreSQL they live in a schema of their own, on SQLite beside the rest."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

SCHEMA: Final = "exchange_central"
METADATA: Final = MetaData(schema=SCHEMA)


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


def _text(name: str, default: str | None = None) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _number(name: str, default: int | None = None) -> Column[int]:
    start = None if default is None else text(str(default))
    return Column(name, BigInteger, nullable=False, server_default=start)


def _maybe(name: str) -> Column[int | None]:
    return Column(name, BigInteger)


def _key(name: str, *, number: bool = False) -> Column[Any]:
    return Column(name, BigInteger if number else Text, primary_key=True, autoincrement=False)


NODES: Final = Table(
    "central_nodes",
    METADATA,
    _key("node"),
    _number("added_us"),
    _maybe("revoked_us"),
    _maybe("last_seen_us"),
    _maybe("clock_skew_us"),
    Column("report", LargeBinary),
)

CERTIFICATES: Final = Table(
    "central_certificates",
    METADATA,
    _key("fingerprint"),
    _text("role"),
    _text("name"),
    _number("not_after_us"),
    _number("added_us"),
    _maybe("revoked_us"),
    Index("central_certificates_name", "role", "name"),
)

COMMANDS: Final = Table(
    "central_commands",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _text("node"),
    Column("verb", Integer, nullable=False),
    _text("stream"),
    _text("table_name"),
    _number("asked_us"),
    _text("asked_by"),
    _maybe("finished_us"),
    _text("outcome", ""),
    Index("central_commands_node", "node", "id"),
)

STREAMS: Final = Table(
    "central_streams",
    METADATA,
    _key("stream"),
    _text("node"),
    _number("created_us"),
    _number("epoch"),
    _text("incarnation"),
    _number("head_epoch", 0),
    _number("head_seq", 0),
    Column("head_digest", LargeBinary, nullable=False),
    _number("accepted_at_us", 0),
    _number("batches", 0),
    _number("rows", 0),
    _number("bytes", 0),
    _text("state", "RUNNING"),
    _text("code", ""),
    _text("sentence", ""),
    _text("fix", ""),
    _text("evidence", ""),
    Column("adopts_next", Boolean, nullable=False, server_default=false()),
)

# The small columns come first: SQLite then reads them without touching the pages of the blobs.
LEDGER: Final = Table(
    "central_ledger",
    METADATA,
    _key("stream"),
    _key("seq", number=True),
    _number("epoch"),
    _number("rows"),
    _number("bytes"),
    _number("accepted_at_us"),
    Column("continues", Boolean, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

APPLIED: Final = Table(
    "central_applied",
    METADATA,
    _key("stream"),
    _number("seq", 0),
    _number("epoch", 0),
    Column("digest", LargeBinary, nullable=False),
    _text("position", ""),
    _number("last_commit_us", 0),
    _number("applied_at_us", 0),
    _number("batches", 0),
    _number("rows", 0),
    _number("bytes", 0),
    _text("owner", ""),
    _number("token", 0),
    _number("expires_us", 0),
    _text("state", "RUNNING"),
    _text("code", ""),
    _text("sentence", ""),
    _text("fix", ""),
    _number("held_seq", 0),
    _text("held_table", ""),
)

GAPS: Final = Table(
    "central_gaps",
    METADATA,
    _key("stream"),
    _key("first_seq", number=True),
    _key("at_us", number=True),
    _number("last_seq"),
    Column("digest", LargeBinary, nullable=False),
    _text("who"),
    _text("reason"),
)

AUDIT: Final = Table(
    "central_audit",
    METADATA,
    _key("chain"),
    _key("n", number=True),
    _number("at_us"),
    _text("event"),
    _text("facts"),
    Column("digest", LargeBinary, nullable=False),
)

AUDIT_HEADS: Final = Table(
    "central_audit_heads",
    METADATA,
    _key("chain"),
    _number("n"),
    Column("digest", LargeBinary, nullable=False),
)

# Refusals that came again within a minute of one on record.
REFUSALS: Final = Table(
    "central_refusals",
    METADATA,
    _key("chain"),
    _key("node"),
    _key("code"),
    _number("since_us"),
    _number("times"),
    _text("facts"),
)

EVIDENCE: Final = Table(
    "central_evidence",
    METADATA,
    _key("chain"),
    _key("n", number=True),
    Column("header", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
