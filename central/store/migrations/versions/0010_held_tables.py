"""What belongs to one table holds that table alone; a gap may be one table's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

SCHEMA = "exchange_central"


def upgrade() -> None:
    """No table is held yet."""
    op.create_table(
        "central_table_holds",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("table_name", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("state", "code", "sentence", "fix")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("since_us", "held_seq", "after_seq")),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("held_digest", "after_digest")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("asked", "left_out", "broken_seq")),
        schema=SCHEMA,
    )
    # An altered table is not looked for through the translation of schemas.
    schema = SCHEMA if op.get_bind().dialect.name == "postgresql" else None
    op.add_column(
        "central_gaps", sa.Column("table_name", sa.Text, nullable=False, server_default=""), schema=schema
    )
    op.drop_column("central_applied", "held_table", schema=schema)
