"""What was delivered to whom, and how far each grant has come."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

SCHEMA = "exchange_central"


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False, server_default="") for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in names]


def _bytes(*names: str) -> list[sa.Column[bytes]]:
    return [sa.Column(name, sa.LargeBinary, nullable=False) for name in names]


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _key(name: str, kind: type[sa.Text | sa.BigInteger | sa.LargeBinary] = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _place() -> list[sa.Column[Any]]:
    return [
        *_numbers("source_seq"),
        *_bytes("source_digest"),
        _flag("copying"),
        sa.Column("copy_key", sa.LargeBinary),
        *_numbers("copy_needs", "rows_copied"),
        _flag("is_open"),
    ]


def upgrade() -> None:
    """Nothing was delivered yet."""
    op.create_table(
        "central_pulls",
        _key("consumer"),
        *_numbers("token", "opened_us", "seen_us", "receipts"),
        *_texts("owner", "incarnation"),
        schema=SCHEMA,
    )
    _make_deliveries()
    _make_sent()
    op.create_table(
        "central_delivered_keys",
        _key("grant_id"),
        _key("digest", sa.LargeBinary),
        _key("since_seq", sa.BigInteger),
        *_numbers("gone_seq"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_recalls",
        _key("recall_id"),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("grant_id", "consumer", "who", "reason")),
        sa.Column("asked_us", sa.BigInteger, nullable=False),
        sa.Column("told_us", sa.BigInteger),
        sa.Column("finished_us", sa.BigInteger),
        *_numbers("rows"),
        sa.Index("central_recalls_grant", "grant_id"),
        schema=SCHEMA,
    )


def _make_deliveries() -> None:
    op.create_table(
        "central_deliveries",
        _key("grant_id"),
        sa.Column("consumer", sa.Text, nullable=False),
        *_numbers("generation", "seq"),
        *_bytes("digest"),
        *_place(),
        *_numbers("rows_expected"),
        *_bytes("fingerprint"),
        *_texts("reason"),
        *_numbers("acked_seq", "acked_us", "deliveries", "rows", "bytes", "delivered_us", "commit_us"),
        *_numbers("day", "day_rows", "since_us"),
        sa.Column("state", sa.Text, nullable=False, server_default="IDLE"),
        *_texts("code", "sentence", "fix", "hold_state", "hold_code", "hold_sentence", "hold_fix"),
        sa.Index("central_deliveries_consumer", "consumer"),
        schema=SCHEMA,
    )


def _make_sent() -> None:
    op.create_table(
        "central_sent",
        _key("grant_id"),
        _key("generation", sa.BigInteger),
        _key("seq", sa.BigInteger),
        *_bytes("digest"),
        *_place(),
        *_numbers("from_seq"),
        *_bytes("from_digest"),
        sa.Column("receipt", sa.Text, nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("rows", "bytes", "at_us", "grant_version", "release")
        ),
        *_bytes("fingerprint"),
        sa.Index("central_sent_at", "at_us"),
        schema=SCHEMA,
    )
