"""Signed reads that central has not heard yet, which a restart must not lose."""

import sqlalchemy as sa

from agent.exchange.migrations.steps import BLOB, make_table

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """None waits yet."""
    make_table(
        "statements",
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("content", BLOB, nullable=False),
    )
