"""Where a department's table has moved away from its entry in the catalogue (Art. 17)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Index, Table

from central.store.columns import METADATA, key, maybe, number, words

CHANGES: Final = Table(
    "central_change_notices",
    METADATA,
    key("code"),
    key("n", is_number=True),
    number("version"),
    words("provider"),
    words("stream"),
    words("table_name"),
    words("what"),
    number("since_us"),
    number("changed_us"),
    words("state"),
    words("who", ""),
    words("opinion", ""),
    maybe("ended_us"),
    Index("central_change_notices_state", "state", "code"),
)
