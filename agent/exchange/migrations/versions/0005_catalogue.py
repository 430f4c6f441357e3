"""What the platform's catalogue lets leave this department, as the platform signed it."""

import sqlalchemy as sa

from agent.exchange.migrations.steps import BLOB, NAME, make_table

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Nothing was heard yet."""
    make_table(
        "catalogue",
        sa.Column("node", NAME, primary_key=True, nullable=False),
        sa.Column("kept_us", sa.BigInteger, nullable=False, server_default="0"),
        *(sa.Column(name, BLOB, nullable=False) for name in ("document", "signature", "certificate")),
    )
