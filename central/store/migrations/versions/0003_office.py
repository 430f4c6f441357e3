"""Departments, and the people who decide for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SCHEMA = "exchange_central"


def upgrade() -> None:
    """Nobody is known yet."""
    op.create_table(
        "central_departments",
        sa.Column("department", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("name", "region", "level")),
        sa.Column("added_us", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "central_department_nodes",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("department", sa.Text, nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Index("central_department_nodes_department", "department"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_persons",
        sa.Column("person", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("name", "department")),
        sa.Column("office", sa.Text, nullable=False, server_default=""),
        sa.Column("added_us", sa.BigInteger, nullable=False),
        sa.Column("left_us", sa.BigInteger),
        sa.Index("central_persons_department", "department"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_person_roles",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("person", "role")),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
