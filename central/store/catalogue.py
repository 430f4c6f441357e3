"""The catalogue: every version of every entry, and the signed releases made of them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, LargeBinary, Table, Text

from central.store.columns import METADATA, key, maybe, number, words

# In the order of bytes on every server: pages go by it, and a release is signed in it.
ORDERED: Final = Text().with_variant(Text(collation="C"), "postgresql")


def _key(name: str) -> Column[str]:
    return Column(name, ORDERED, primary_key=True)


def _ordered(name: str, default: str | None = None) -> Column[str]:
    return Column(name, ORDERED, nullable=False, server_default=default)


ENTRIES: Final = Table(
    "central_catalogue_entries",
    METADATA,
    _key("code"),
    key("version", is_number=True),
    words("state"),
    _ordered("provider"),
    words("name"),
    words("share_type"),
    _ordered("stream"),
    _ordered("table_name"),
    words("registrar"),
    words("auditor", ""),
    number("created_us"),
    number("changed_us"),
    words("document"),
    # The newest version of its code: lists and checks go by it, a page at a time.
    number("newest", 0),
    _ordered("name_key", ""),
    words("provider_document", ""),
    words("adjusted_by", ""),
    words("verification", ""),
    words("registration_no", ""),
    words("dictionary", ""),
    maybe("effective_us"),
    Index("central_catalogue_entries_provider", "provider", "state"),
    Index("central_catalogue_entries_table", "stream", "table_name"),
    Index("central_catalogue_entries_newest", "newest", "code"),
    Index("central_catalogue_entries_state", "state", "newest", "code"),
    Index("central_catalogue_entries_owner", "provider", "newest", "code"),
    Index("central_catalogue_entries_name", "name_key"),
    Index("central_catalogue_entries_words", "code", "version", "name"),
)

# The items of the newest version of every entry: who has what already (Art. 18).
ITEMS: Final = Table(
    "central_catalogue_items",
    METADATA,
    _key("code"),
    _key("column_name"),
    _ordered("provider"),
    words("name"),
    _ordered("name_key"),
    _ordered("standard"),
    Index("central_catalogue_items_name", "name_key"),
    Index("central_catalogue_items_standard", "standard"),
)

# Every transition of every entry, with what changed in it.
HISTORY: Final = Table(
    "central_catalogue_history",
    METADATA,
    _key("code"),
    key("n", is_number=True),
    number("version"),
    number("at_us"),
    words("who"),
    words("role"),
    words("act"),
    words("before_state"),
    words("after_state"),
    words("opinion"),
    words("changes"),
)

# What a department is to know: an adjustment, a new version of what it receives, a withdrawal.
NOTICES: Final = Table(
    "central_catalogue_notices",
    METADATA,
    key("department"),
    key("n", is_number=True),
    number("at_us"),
    words("kind"),
    _ordered("code"),
    words("sentence"),
    maybe("seen_us"),
)

# Tables as they are in the departments' databases, as their nodes said last; structure only.
SHAPES: Final = Table(
    "central_catalogue_shapes",
    METADATA,
    _key("stream"),
    _key("table_name"),
    number("at_us"),
    Column("shape", LargeBinary, nullable=False),
)

# The reports of the checks that ran by the clock.
REPORTS: Final = Table(
    "central_catalogue_reports",
    METADATA,
    key("n", is_number=True),
    number("at_us"),
    number("entries"),
    number("errors"),
    number("warnings"),
    Column("document", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
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
    _key("code"),
    key("since_release", is_number=True),
    number("version"),
    maybe("until_release"),
    # Until then live grants follow the version before it; nothing = at once.
    maybe("contract_us"),
    Index("central_catalogue_released_until", "until_release"),
    Index("central_catalogue_released_contract", "contract_us"),
    Index("central_catalogue_released_since", "since_release"),
)
