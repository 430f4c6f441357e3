"""The catalogue: versions of entries, their history, signed releases, and what is known of the tables behind them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

SCHEMA = "exchange_central"
# In the order of bytes on every server: pages go by it, and a release is signed in it.
ORDERED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_LATER = ("provider_document", "adjusted_by", "verification", "registration_no", "dictionary")


def upgrade() -> None:
    """Nothing is registered yet."""
    texts = ("state", "name", "share_type", "registrar")
    op.create_table(
        "central_catalogue_entries",
        sa.Column("code", ORDERED, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, ORDERED, nullable=False) for name in ("provider", "stream", "table_name")),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("auditor", sa.Text, nullable=False, server_default=""),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("created_us", "changed_us")),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("newest", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("name_key", ORDERED, nullable=False, server_default=""),
        *(sa.Column(name, sa.Text, nullable=False, server_default="") for name in _LATER),
        sa.Column("effective_us", sa.BigInteger),
        sa.Index("central_catalogue_entries_provider", "provider", "state"),
        sa.Index("central_catalogue_entries_table", "stream", "table_name"),
        sa.Index("central_catalogue_entries_newest", "newest", "code"),
        sa.Index("central_catalogue_entries_state", "state", "newest", "code"),
        sa.Index("central_catalogue_entries_owner", "provider", "newest", "code"),
        sa.Index("central_catalogue_entries_name", "name_key"),
        sa.Index("central_catalogue_entries_words", "code", "version", "name"),
        schema=SCHEMA,
    )
    _beside_entries()
    op.create_table(
        "central_catalogue_releases",
        sa.Column("release", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("who", "note")),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("document", "signature")),
        schema=SCHEMA,
    )
    op.create_table(
        "central_catalogue_released",
        sa.Column("code", ORDERED, primary_key=True),
        sa.Column("since_release", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("until_release", sa.BigInteger),
        sa.Index("central_catalogue_released_until", "until_release"),
        sa.Index("central_catalogue_released_since", "since_release"),
        schema=SCHEMA,
    )


def _beside_entries() -> None:
    op.create_table(
        "central_catalogue_items",
        *(sa.Column(name, ORDERED, primary_key=True) for name in ("code", "column_name")),
        *(sa.Column(name, ORDERED, nullable=False) for name in ("provider", "name_key", "standard")),
        sa.Column("name", sa.Text, nullable=False),
        sa.Index("central_catalogue_items_name", "name_key"),
        sa.Index("central_catalogue_items_standard", "standard"),
        schema=SCHEMA,
    )
    said = ("who", "role", "act", "before_state", "after_state", "opinion", "changes")
    op.create_table(
        "central_catalogue_history",
        sa.Column("code", ORDERED, primary_key=True),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("version", "at_us")),
        *(sa.Column(name, sa.Text, nullable=False) for name in said),
        schema=SCHEMA,
    )
    op.create_table(
        "central_catalogue_notices",
        sa.Column("department", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("code", ORDERED, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "sentence")),
        sa.Column("seen_us", sa.BigInteger),
        schema=SCHEMA,
    )
    op.create_table(
        "central_catalogue_shapes",
        *(sa.Column(name, ORDERED, primary_key=True) for name in ("stream", "table_name")),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("shape", sa.LargeBinary, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "central_catalogue_reports",
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("at_us", "entries", "errors", "warnings")
        ),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("document", "signature")),
        schema=SCHEMA,
    )
