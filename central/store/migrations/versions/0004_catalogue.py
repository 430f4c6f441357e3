"""The catalogue: versions of entries, signed releases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

SCHEMA = "exchange_central"


def upgrade() -> None:
    """Nothing is registered yet."""
    texts = ("state", "provider", "name", "share_type", "stream", "table_name", "registrar")
    op.create_table(
        "central_catalogue_entries",
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("auditor", sa.Text, nullable=False, server_default=""),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("created_us", "changed_us")),
        sa.Column("document", sa.Text, nullable=False),
        sa.Index("central_catalogue_entries_provider", "provider", "state"),
        sa.Index("central_catalogue_entries_table", "stream", "table_name"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_catalogue_releases",
        sa.Column("release", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("who", "note")),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("document", "signature")),
        schema=SCHEMA,
    )
    op.create_table(
        "central_catalogue_released",
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("since_release", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("until_release", sa.BigInteger),
        schema=SCHEMA,
    )
