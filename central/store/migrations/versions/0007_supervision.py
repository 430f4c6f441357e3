"""Who is on time, what is disputed, what was fed back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

SCHEMA = "exchange_central"
_LATE = sa.text("late_us > 0")


def upgrade() -> None:
    """Nothing was seen yet."""
    _punctuality()
    _cases()


def _punctuality() -> None:
    op.create_table(
        "central_newest_reads",
        *_keys("stream", "table_name"),
        *_numbers("proven_us", "received_us", "skew_us"),
        *_words("fingerprint"),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("statement", "signature")),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
            for name in ("logged_us", "first_us")
        ),
        schema=SCHEMA,
    )
    op.create_table("central_read_signers", *_keys("node", "fingerprint"), *_numbers("record"), schema=SCHEMA)
    op.create_table(
        "central_reads",
        *_keys("stream", "table_name"),
        _number_key("proven_us"),
        *_numbers("received_us", "record", "limit_us", "before_us", "late_us"),
        sa.Index("central_reads_late", "received_us", sqlite_where=_LATE, postgresql_where=_LATE),
        schema=SCHEMA,
    )
    op.create_table("central_alive", _number_key("id"), *_numbers("at_us"), schema=SCHEMA)
    op.create_table("central_outages", _number_key("start_us"), *_numbers("end_us"), schema=SCHEMA)
    op.create_table(
        "central_maintenance",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        *_words("department", "reason", "agreed_by"),
        *_numbers("start_us", "end_us", "agreed_us"),
        sa.Index("central_maintenance_department", "department", "end_us"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_restrictions",
        *_keys("resource"),
        *_words("department", "state"),
        *_numbers("since_us"),
        sa.Column("confirmed_us", sa.BigInteger),
        *(sa.Column(name, sa.Text, nullable=False, server_default="") for name in _SAID),
        sa.Index("central_restrictions_department", "department", "state"),
        schema=SCHEMA,
    )


def _cases() -> None:
    op.create_table(
        "central_cases",
        _number_key("number"),
        *_words("kind", "resource"),
        sa.Column("grant_id", sa.Text, nullable=False, server_default=""),
        *_words("raiser", "handler", "state"),
        *_numbers("opened_us", "changed_us", "due_us"),
        sa.Column("escalated_us", sa.BigInteger),
        sa.Column("evidence", sa.Text, nullable=False, server_default=""),
        sa.Index("central_cases_raiser", "raiser", "number"),
        sa.Index("central_cases_handler", "handler", "number"),
        sa.Index("central_cases_state", "state", "due_us"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_case_events",
        *(_number_key(name) for name in ("number", "n")),
        *_numbers("at_us"),
        *_words("who", "department", "state", "text"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_feedback",
        *_keys("grant_id"),
        _number_key("n"),
        *_numbers("due_us"),
        *(sa.Column(f"{name}_us", sa.BigInteger) for name in _READ_AT),
        *(sa.Column(name, sa.Text, nullable=False, server_default="") for name in ("who", "text")),
        sa.Column("figures", sa.Text, nullable=False, server_default="{}"),
        sa.Index("central_feedback_due", "submitted_us", "due_us"),
        schema=SCHEMA,
    )


_READ_AT = ("told", "submitted", "read_by_authority", "read_by_provider")
_SAID = ("confirmed_by", "sentence", "evidence")


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _number_key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def _words(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]
