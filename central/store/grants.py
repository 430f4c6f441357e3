"""Grants: the right of one node to read some columns and rows of one resource until a day."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Index, LargeBinary, Table, text

from central.store.columns import METADATA, key, number, words

LIVE_STATES: Final = ("pending", "active", "expiring", "suspended")
"""Of a grant that may let something through now or later."""
_IS_LIVE: Final = text("state IN ('pending', 'active', 'expiring', 'suspended')")
_LIVE: Final[dict[str, Any]] = {"sqlite_where": _IS_LIVE, "postgresql_where": _IS_LIVE}

GRANTS: Final = Table(
    "central_grants",
    METADATA,
    key("grant_id"),
    number("version"),
    words("state"),
    words("consumer"),
    words("department"),
    words("resource"),
    number("entry_version"),
    number("release"),
    words("stream"),
    words("table_name"),
    words("mode"),
    words("terms"),
    Column("secret", LargeBinary, nullable=False),
    number("valid_from_us"),
    number("valid_to_us"),
    number("created_us"),
    number("changed_us"),
    words("request", ""),
    words("sentence", ""),
    words("held_by", ""),
    words("provider", ""),
    number("warned_days", 0),
    Index("central_grants_consumer", "consumer", "state"),
    Index("central_grants_department", "department", "state"),
    Index("central_grants_provider", "provider", "state"),
    Index("central_grants_created", "created_us", "grant_id"),
    Index("central_grants_ends", "state", "valid_to_us"),
    Index("central_grants_resource", "resource", "state"),
    Index("central_grants_stream", "stream", "table_name"),
    Index("central_grants_one_live", "consumer", "resource", "mode", unique=True, **_LIVE),
)

# Never deleted: who had access last year can always be told.
GRANT_HISTORY: Final = Table(
    "central_grant_history",
    METADATA,
    key("grant_id"),
    key("n", is_number=True),
    number("version"),
    number("at_us"),
    words("state"),
    words("terms"),
    number("valid_from_us"),
    number("valid_to_us"),
    words("who"),
    words("reason"),
)
