"""The bookkeeping tables of the exchange database, as every statement of this room sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects import mysql

_NONE: Final = "0"
# A key of MySQL's must have a length, and its TEXT and BLOB end at 64 KiB.
NAME: Final = Text().with_variant(mysql.VARCHAR(256, collation="utf8mb4_bin"), "mysql", "mariadb")
WORDS: Final = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
BLOB: Final = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


@dataclass(frozen=True, slots=True)
class Tables:
    """Where each fact lies. ``schema`` and ``prefix`` keep them apart from the mirror tables."""

    metadata: MetaData
    checkpoint: Table
    outbox: Table
    table_state: Table
    quarantine: Table
    audit: Table
    received: Table
    recalled: Table
    inbox: Table
    catalogue: Table
    witnessed: Table
    statements: Table


@cache
def tables(schema: str | None, prefix: str) -> Tables:
    """The tables under these names."""
    metadata = MetaData(schema=schema)
    return Tables(
        metadata,
        Table(f"{prefix}checkpoint", metadata, *_checkpoint()),
        Table(f"{prefix}outbox", metadata, *_outbox()),
        Table(f"{prefix}table_state", metadata, *_table_state()),
        Table(f"{prefix}quarantine", metadata, *_quarantine()),
        Table(f"{prefix}audit", metadata, *_audit()),
        Table(f"{prefix}received", metadata, *_received()),
        Table(f"{prefix}recalled", metadata, *_recalled()),
        Table(f"{prefix}inbox", metadata, *_inbox()),
        Table(f"{prefix}catalogue", metadata, *_catalogue()),
        Table(f"{prefix}witnessed", metadata, *_witnessed()),
        Table(f"{prefix}statements", metadata, _number("n", key=True), _bytes("content")),
    )


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, NAME if key else WORDS, primary_key=key, nullable=False)


def _number(name: str, *, key: bool = False) -> Column[int]:
    return Column(
        name,
        BigInteger,
        primary_key=key,
        autoincrement=False,
        nullable=False,
        server_default=None if key else _NONE,
    )


def _bytes(name: str) -> Column[bytes]:
    return Column(name, BLOB, nullable=False)


def _checkpoint() -> list[Column[str] | Column[int] | Column[bytes]]:
    return [
        _text("stream", key=True),
        _text("position"),
        _number("epoch"),
        _text("incarnation"),
        _number("head_epoch"),
        _number("seq"),
        _bytes("digest"),
        _number("acknowledged_seq"),
        _number("acknowledged_bytes"),
        _number("bytes"),
        _number("rows"),
        _number("quarantine_id"),
        _number("audit_id"),
        _number("last_commit_us"),
        _number("committed_us"),
        _text("paused_by"),
        _number("paused_us"),
        _text("settled"),
        _number("taken_seq"),
        _number("scrub_us"),
    ]


def _outbox() -> list[Column[str] | Column[int] | Column[bytes]]:
    # total_bytes counts from the stream's first batch to the end of this one: any range is one subtraction.
    return [
        _text("stream", key=True),
        _number("seq", key=True),
        _number("epoch"),
        _bytes("digest"),
        _number("rows"),
        _number("total_bytes"),
        _number("created_us"),
        _bytes("header"),
        _bytes("payload"),
    ]


def _table_state() -> list[Column[str] | Column[int] | Column[bytes] | Column[bool]]:
    return [
        _text("stream", key=True),
        _text("name", key=True),
        _text("state"),
        _text("code"),
        _text("sentence"),
        _text("fix"),
        _number("since_us"),
        _bytes("schema"),
        _number("generation"),
        Column("begun", Boolean, nullable=False),
        Column("copied", Boolean, nullable=False),
        _bytes("last_key"),
        _number("rows_copied"),
        _number("rows_expected"),
        _number("ordered_us"),
        _text("mark"),
    ]


def _quarantine() -> list[Column[str] | Column[int] | Column[bytes] | Column[bool]]:
    return [
        _text("stream", key=True),
        _number("id", key=True),
        _text("name"),
        _text("status"),
        _text("code"),
        _text("what"),
        _text("fix"),
        _number("rows"),
        _number("since_us"),
        _text("position"),
        Column("continues", Boolean, nullable=False),
        _bytes("header"),
        _bytes("payload"),
    ]


def _audit() -> list[Column[str] | Column[int]]:
    return [
        _text("stream", key=True),
        _number("id", key=True),
        _number("at_us"),
        _text("event"),
        _text("who"),
        _text("name"),
        _text("facts"),
    ]


def _received() -> list[Column[str] | Column[int] | Column[bytes] | Column[bool]]:
    return [
        _text("grant_id", key=True),
        *(_text(name) for name in ("said", "sentence", "resource", "resource_name", "stream", "name")),
        *(_text(name) for name in ("purpose", "receipt", "room", "place")),
        *(_text(name) for name in ("state", "code", "why", "fix")),
        *(_number(name) for name in ("version", "valid_to_us", "generation", "seq", "visible_seq")),
        *(_number(name) for name in ("source_seq", "rows", "size_bytes", "last_commit_us", "received_us")),
        *(_number(name) for name in ("proven_us", "rows_copied", "rows_expected", "emptied", "kept_bytes")),
        *(_number(name) for name in ("contract", "coming_us")),
        _text("coming"),
        Column("copying", Boolean, nullable=False),
        Column("over", Boolean, nullable=False),
        _bytes("digest"),
        _bytes("schema"),
    ]


def _recalled() -> list[Column[str] | Column[int]]:
    return [_text("grant_id", key=True), _text("recall", key=True), _number("rows"), _number("at_us")]


def _inbox() -> list[Column[str] | Column[int] | Column[bytes]]:
    return [
        _text("grant_id", key=True),
        _number("generation", key=True),
        _number("seq", key=True),
        _bytes("header"),
        _bytes("payload"),
    ]


def _catalogue() -> list[Column[str] | Column[int] | Column[bytes]]:
    return [
        _text("node", key=True),
        _number("kept_us"),
        *(_bytes(name) for name in ("document", "signature", "certificate")),
    ]


def _witnessed() -> list[Column[str] | Column[int] | Column[bytes]]:
    return [
        _number("n", key=True),
        _text("digest", key=True),
        _number("at_us"),
        Column("state", NAME, nullable=False),
        _bytes("content"),
        _bytes("signature"),
        _text("certificate"),
        _text("why"),
    ]
