"""Requests and grants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

SCHEMA = "exchange_central"


def upgrade() -> None:
    """Nothing is granted yet."""
    texts = ("state", "consumer", "department", "resource")
    op.create_table(
        "central_grants",
        sa.Column("grant_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("entry_version", "release")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("stream", "table_name", "mode", "terms")),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        *(sa.Column(f"{name}_us", sa.BigInteger, nullable=False) for name in ("valid_from", "valid_to")),
        *(sa.Column(f"{name}_us", sa.BigInteger, nullable=False) for name in ("created", "changed")),
        *(sa.Column(name, sa.Text, nullable=False, server_default="") for name in ("request", "sentence")),
        sa.Index("central_grants_consumer", "consumer", "state"),
        sa.Index("central_grants_resource", "resource", "state"),
        sa.Index("central_grants_stream", "stream", "table_name"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_grant_history",
        sa.Column("grant_id", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("version", "at_us")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("state", "terms")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("valid_from_us", "valid_to_us")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("who", "reason")),
        schema=SCHEMA,
    )
