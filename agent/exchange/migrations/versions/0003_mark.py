"""What a source wants to know again of a table when it opens: beside the table's state."""

import sqlalchemy as sa

from agent.exchange.migrations.steps import WORDS, add_column, empty_words

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Nothing is remembered yet."""
    add_column("table_state", sa.Column("mark", WORDS, nullable=False, server_default=empty_words()))
