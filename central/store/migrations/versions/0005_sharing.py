"""Requests and grants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

SCHEMA = "exchange_central"
LIVE = sa.text("state IN ('pending', 'active', 'expiring', 'suspended')")


def upgrade() -> None:
    """Nothing is granted yet."""
    _make_grants()
    _make_requests()
    _make_steps()
    _make_books()


def _empty(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _make_grants() -> None:
    texts = ("state", "consumer", "department", "resource")
    op.create_table(
        "central_grants",
        sa.Column("grant_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("entry_version", "release")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("stream", "table_name", "mode", "terms")),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        *(sa.Column(f"{name}_us", sa.BigInteger, nullable=False) for name in ("valid_from", "valid_to")),
        *(sa.Column(f"{name}_us", sa.BigInteger, nullable=False) for name in ("created", "changed")),
        *(_empty(name) for name in ("request", "sentence", "held_by", "provider")),
        sa.Column("warned_days", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Index("central_grants_consumer", "consumer", "state"),
        sa.Index("central_grants_department", "department", "state"),
        sa.Index("central_grants_provider", "provider", "state"),
        sa.Index("central_grants_created", "created_us", "grant_id"),
        sa.Index("central_grants_ends", "state", "valid_to_us"),
        sa.Index("central_grants_resource", "resource", "state"),
        sa.Index("central_grants_stream", "stream", "table_name"),
        sa.Index(
            "central_grants_one_live",
            *("consumer", "resource", "mode"),
            unique=True,
            sqlite_where=LIVE,
            postgresql_where=LIVE,
        ),
        schema=SCHEMA,
    )
    op.create_table(
        "central_grant_history",
        sa.Column("grant_id", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("version", "at_us")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("state", "terms")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("valid_from_us", "valid_to_us")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("who", "reason")),
        schema=SCHEMA,
    )


def _make_requests() -> None:
    texts = ("state", "kind", "consumer", "department", "resource")
    op.create_table(
        "central_share_requests",
        sa.Column("request", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("entry_version", "release")),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("provider", "mode", "document", "created_by")
        ),
        *(sa.Column(f"{name}_us", sa.BigInteger, nullable=False) for name in ("created", "changed")),
        *(_empty(name) for name in ("renews", "granted", "sentence")),
        sa.Index("central_share_requests_n", "n"),
        sa.Index("central_share_requests_state", "state", "n"),
        sa.Index("central_share_requests_department", "department", "n"),
        sa.Index("central_share_requests_provider", "provider", "n"),
        sa.Index("central_share_requests_asked", "consumer", "resource"),
        schema=SCHEMA,
    )


def _make_steps() -> None:
    op.create_table(
        "central_share_steps",
        sa.Column("request", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "role", "department")),
        *(sa.Column(f"{name}_us", sa.BigInteger, nullable=False) for name in ("since", "due")),
        _empty("calendar"),
        *(sa.Column(f"{name}_us", sa.BigInteger) for name in ("escalated", "answered")),
        *(_empty(name) for name in ("answer", "who")),
        sa.Column("document", sa.Text, nullable=False, server_default="{}"),
        sa.Index("central_share_steps_waiting", "role", "department", "answered_us"),
        sa.Index("central_share_steps_due", "answered_us", "due_us"),
        schema=SCHEMA,
    )


def _make_books() -> None:
    op.create_table(
        "central_counters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "central_clock",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "central_query_use",
        sa.Column("grant_id", sa.Text, primary_key=True),
        sa.Column("hour_us", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("queries", "rows")),
        schema=SCHEMA,
    )
    op.create_table(
        "central_table_shapes",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("stream", "table_name")),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("fingerprint", "document")),
        schema=SCHEMA,
    )
