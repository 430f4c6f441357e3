"""From when on live grants follow a version of an entry that a release brought."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

SCHEMA = "exchange_central"


def upgrade() -> None:
    """What is in force is followed already."""
    # ALTER TABLE is not translated to where SQLite has no schemas.
    schema = None if op.get_bind().dialect.name == "sqlite" else SCHEMA
    op.add_column("central_catalogue_released", sa.Column("contract_us", sa.BigInteger), schema=schema)
    op.create_index(
        "central_catalogue_released_contract", "central_catalogue_released", ["contract_us"], schema=schema
    )
