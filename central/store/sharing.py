"""Requests, the steps that wait for somebody, and how often a grant was queried."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, LargeBinary, Table

from central.store.columns import METADATA, key, maybe, number, words

# Numbers of requests and grants: without gaps, and readable over the telephone.
COUNTERS: Final = Table("central_counters", METADATA, key("name"), number("n"))

REQUESTS: Final = Table(
    "central_share_requests",
    METADATA,
    key("request"),
    number("n"),
    words("state"),
    words("kind"),
    words("consumer"),
    words("department"),
    words("resource"),
    number("entry_version"),
    number("release"),
    words("provider"),
    words("mode"),
    words("document"),
    words("created_by"),
    number("created_us"),
    number("changed_us"),
    words("renews", ""),
    words("granted", ""),
    words("sentence", ""),
    Index("central_share_requests_n", "n"),
    Index("central_share_requests_state", "state", "n"),
    Index("central_share_requests_department", "department", "n"),
    Index("central_share_requests_provider", "provider", "n"),
    Index("central_share_requests_asked", "consumer", "resource"),
)

# Each thing that somebody has to decide, with its clock. Steps are for a role of a department, never for a person:
# who leaves takes nothing along.
STEPS: Final = Table(
    "central_share_steps",
    METADATA,
    key("request"),
    key("n", is_number=True),
    words("kind"),
    words("role"),
    words("department"),
    number("since_us"),
    number("due_us"),
    words("calendar", ""),
    maybe("escalated_us"),
    maybe("answered_us"),
    words("answer", ""),
    words("who", ""),
    words("document", "{}"),
    Index("central_share_steps_waiting", "role", "department", "answered_us"),
    Index("central_share_steps_due", "answered_us", "due_us"),
)

# The latest time of the database's clock that was seen: should the clock go back, ended grants would live again.
CLOCK: Final = Table("central_clock", METADATA, key("name"), number("seen_us"))

# Per grant and hour of the database's clock.
QUERY_USE: Final = Table(
    "central_query_use",
    METADATA,
    key("grant_id"),
    key("hour_us", is_number=True),
    number("queries"),
    number("rows"),
)

# The shape of each of the platform's tables as its provider last sent it.
SHAPES: Final = Table(
    "central_table_shapes",
    METADATA,
    key("stream"),
    key("table_name"),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
