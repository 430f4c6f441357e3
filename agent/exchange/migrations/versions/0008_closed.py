"""What may leave, as it was settled here; how far something was taken out; and what a grant will become."""

import sqlalchemy as sa

from agent.exchange.migrations.steps import WORDS, add_column, empty_words

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Nothing was settled yet, so the next start looks through what waits."""
    add_column("checkpoint", sa.Column("settled", WORDS, nullable=False, server_default=empty_words()))
    for name in ("taken_seq", "scrub_us"):
        add_column("checkpoint", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    for name in ("contract", "coming_us"):
        add_column("received", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    add_column("received", sa.Column("coming", WORDS, nullable=False, server_default=empty_words()))
