"""Who stopped a stream, and when: beside the checkpoint, so that a restart does not lift a pause."""

import sqlalchemy as sa

from agent.exchange.migrations.steps import WORDS, add_column, empty_words

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Nobody has stopped anything yet."""
    add_column("checkpoint", sa.Column("paused_by", WORDS, nullable=False, server_default=empty_words()))
    add_column("checkpoint", sa.Column("paused_us", sa.BigInteger, nullable=False, server_default="0"))
