"""Who is on time, what is disputed, what was fed back."""

from __future__ import annotations

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Nothing was seen yet."""
