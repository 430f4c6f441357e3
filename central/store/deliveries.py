"""What was delivered under each grant, and how far it has come."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Index, LargeBinary, Table, false

from central.store.columns import METADATA, key, maybe, number, words


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _place() -> tuple[Column[int], Column[bytes], Column[bool], Column[bytes], Column[int], Column[int]]:
    """How far the ledger and the first copy have come; ``copy_key`` NULL = every page was sent."""
    return (
        number("source_seq", 0),
        _bytes("source_digest"),
        _flag("copying"),
        Column("copy_key", LargeBinary),
        number("copy_needs", 0),
        number("rows_copied", 0),
    )


# The newest open call of each consumer, and the number of its last receipt.
PULLS: Final = Table(
    "central_pulls",
    METADATA,
    key("consumer"),
    number("token", 0),
    words("owner", ""),
    words("incarnation", ""),
    number("opened_us", 0),
    number("seen_us", 0),
    number("receipts", 0),
)

DELIVERIES: Final = Table(
    "central_deliveries",
    METADATA,
    key("grant_id"),
    words("consumer"),
    number("generation", 0),
    number("seq", 0),
    _bytes("digest"),
    *_place(),
    _flag("is_open"),
    number("rows_expected", 0),
    _bytes("fingerprint"),
    words("reason", ""),
    number("acked_seq", 0),
    number("acked_us", 0),
    number("deliveries", 0),
    number("rows", 0),
    number("bytes", 0),
    number("delivered_us", 0),
    number("commit_us", 0),
    number("day", 0),
    number("day_rows", 0),
    words("state", "IDLE"),
    words("code", ""),
    words("sentence", ""),
    words("fix", ""),
    number("since_us", 0),
    words("hold_state", ""),
    words("hold_code", ""),
    words("hold_sentence", ""),
    words("hold_fix", ""),
    Index("central_deliveries_consumer", "consumer"),
)

SENT: Final = Table(
    "central_sent",
    METADATA,
    key("grant_id"),
    key("generation", is_number=True),
    key("seq", is_number=True),
    _bytes("digest"),
    *_place(),
    _flag("is_open"),
    # The ledger's place before it: between two deliveries there was nothing for this grant.
    number("from_seq", 0),
    _bytes("from_digest"),
    words("receipt"),
    number("rows"),
    number("bytes"),
    number("at_us"),
    number("grant_version"),
    number("release"),
    _bytes("fingerprint"),
    Index("central_sent_at", "at_us"),
)

# Of filtered grants: the keys their consumer has or had. gone_seq 0 = it has it.
DELIVERED_KEYS: Final = Table(
    "central_delivered_keys",
    METADATA,
    key("grant_id"),
    Column("digest", LargeBinary, primary_key=True),
    key("since_seq", is_number=True),
    number("gone_seq", 0),
)

RECALLS: Final = Table(
    "central_recalls",
    METADATA,
    key("recall_id"),
    words("grant_id"),
    words("consumer"),
    words("who"),
    words("reason"),
    number("asked_us"),
    maybe("told_us"),
    maybe("finished_us"),
    number("rows", 0),
    Index("central_recalls_grant", "grant_id"),
)
