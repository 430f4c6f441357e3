"""Refusals that came again within a minute: counted here until one audit record tells how many there were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SCHEMA = "exchange_central"


def upgrade() -> None:
    """None were refused yet."""
    op.create_table(
        "central_refusals",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("chain", "node", "code")),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        schema=SCHEMA,
    )
