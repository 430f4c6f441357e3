"""Checkpoints of the platform's log, which this department keeps as a witness."""

import sqlalchemy as sa

from agent.exchange.migrations.steps import BLOB, NAME, WORDS, make_table

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """None is held yet."""
    make_table(
        "witnessed",
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("digest", NAME, primary_key=True, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("state", NAME, nullable=False),
        *(sa.Column(name, BLOB, nullable=False) for name in ("content", "signature")),
        *(sa.Column(name, WORDS, nullable=False) for name in ("certificate", "why")),
    )
