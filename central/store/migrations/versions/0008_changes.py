"""Where a department's table has moved away from its entry in the catalogue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

SCHEMA = "exchange_central"


def upgrade() -> None:
    """Nothing was compared yet."""
    op.create_table(
        "central_change_notices",
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("provider", "stream", "table_name", "what")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("since_us", "changed_us")),
        sa.Column("state", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False, server_default="") for name in ("who", "opinion")),
        sa.Column("ended_us", sa.BigInteger),
        sa.Index("central_change_notices_state", "state", "code"),
        schema=SCHEMA,
    )
