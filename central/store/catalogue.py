"""The catalogue: every version of every entry, and the signed releases made of them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, LargeBinary, Table

from central.store.columns import METADATA, key, maybe, number, words

ENTRIES: Final = Table(
    "central_catalogue_entries",
    METADATA,
    key("code"),
    key("version", is_number=True),
    words("state"),
    words("provider"),
    words("name"),
    words("share_type"),
    words("stream"),
    words("table_name"),
    words("registrar"),
    words("auditor", ""),
    number("created_us"),
    number("changed_us"),
    words("document"),
    Index("central_catalogue_entries_provider", "provider", "state"),
    Index("central_catalogue_entries_table", "stream", "table_name"),
)

RELEASES: Final = Table(
    "central_catalogue_releases",
    METADATA,
    key("release", is_number=True),
    number("at_us"),
    words("who"),
    words("note"),
    Column("document", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

# Which version of an entry each release holds; what is in force is what the newest release says.
RELEASED: Final = Table(
    "central_catalogue_released",
    METADATA,
    key("code"),
    key("since_release", is_number=True),
    number("version"),
    maybe("until_release"),
)
