"""What others share with this department: how far each grant has come, what was recalled, and what waits."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from agent.exchange.migrations.steps import BLOB, NAME, WORDS, make_table

revision = "0004"
down_revision = "0003"

WORD_COLUMNS: Final = (
    *("said", "sentence", "resource", "resource_name", "stream", "name", "purpose", "receipt"),
    *("room", "place", "state", "code", "why", "fix"),
)
NUMBER_COLUMNS: Final = (
    *("version", "valid_to_us", "generation", "seq", "visible_seq", "source_seq", "rows", "size_bytes"),
    *("last_commit_us", "received_us", "proven_us", "rows_copied", "rows_expected", "emptied", "kept_bytes"),
)


def upgrade() -> None:
    """Nothing has been granted yet."""
    make_table(
        "received",
        _key("grant_id"),
        *(sa.Column(name, WORDS, nullable=False) for name in WORD_COLUMNS),
        *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in NUMBER_COLUMNS),
        *(sa.Column(name, sa.Boolean, nullable=False) for name in ("copying", "over")),
        *(sa.Column(name, BLOB, nullable=False) for name in ("digest", "schema")),
    )
    make_table(
        "recalled",
        _key("grant_id"),
        _key("recall"),
        sa.Column("rows", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("at_us", sa.BigInteger, nullable=False, server_default="0"),
    )
    make_table(
        "inbox",
        _key("grant_id"),
        *(_number_key(name) for name in ("generation", "seq")),
        *(sa.Column(name, BLOB, nullable=False) for name in ("header", "payload")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Compressed already: EXTERNAL keeps the server from trying again.
        op.execute("ALTER TABLE exchange_node.inbox ALTER payload SET STORAGE EXTERNAL")


def _key(name: str) -> sa.Column[Any]:
    return sa.Column(name, NAME, primary_key=True, nullable=False)


def _number_key(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False, nullable=False)
