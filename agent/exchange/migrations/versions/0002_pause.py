"""Who stopped a stream, and when: beside the checkpoint, so that a restart does not lift a pause."""

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Nobody has stopped anything yet."""
    place = context.config.attributes["place"]
    for column in (
        sa.Column("paused_by", sa.Text, nullable=False, server_default=""),
        sa.Column("paused_us", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column(f"{place.prefix}checkpoint", column, schema=place.schema)
