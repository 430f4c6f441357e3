"""What a source wants to know again of a table when it opens: beside the table's state."""

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Nothing is remembered yet."""
    place = context.config.attributes["place"]
    column = sa.Column("mark", sa.Text, nullable=False, server_default="")
    op.add_column(f"{place.prefix}table_state", column, schema=place.schema)
