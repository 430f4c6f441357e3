"""What was delivered to whom, and how far each grant has come."""

from __future__ import annotations

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Nothing was delivered yet."""
