"""Proven reads, the platform's own outages, agreed maintenance, restrictions."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, text

from central.store.columns import METADATA, key, maybe, number, words

_IS_LATE: Final = text("late_us > 0")
_LATE: Final[dict[str, Any]] = {"sqlite_where": _IS_LATE, "postgresql_where": _IS_LATE}

# The newest signed read of every table, logged or not.
NEWEST_READS: Final = Table(
    "central_newest_reads",
    METADATA,
    key("stream"),
    key("table_name"),
    number("proven_us"),
    number("received_us"),
    number("skew_us"),
    words("fingerprint"),
    Column("statement", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    # The newest on record: who is judged is judged by it.
    number("logged_us", 0),
    # The first on record: before it nothing was watched.
    number("first_us", 0),
)

# The certificates that stand in the log of a node's reads, before what they signed.
READ_SIGNERS: Final = Table(
    "central_read_signers", METADATA, key("node"), key("fingerprint"), number("record")
)

# Those on record, so that judging reads an index and not the log; the log alone gives the same.
READS: Final = Table(
    "central_reads",
    METADATA,
    key("stream"),
    key("table_name"),
    key("proven_us", is_number=True),
    number("received_us"),
    number("record"),
    # What was promised when it was read, and the read on record before it; 0 = it was the first.
    number("limit_us"),
    number("before_us"),
    # How long the one before it had been too old when this one came; excused time is not taken off.
    number("late_us"),
    Index("central_reads_late", "received_us", **_LATE),
)

ALIVE: Final = Table("central_alive", METADATA, key("id", is_number=True), number("at_us"))

OUTAGES: Final = Table("central_outages", METADATA, key("start_us", is_number=True), number("end_us"))

MAINTENANCE: Final = Table(
    "central_maintenance",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    words("department"),
    number("start_us"),
    number("end_us"),
    words("reason"),
    words("agreed_by"),
    number("agreed_us"),
    Index("central_maintenance_department", "department", "end_us"),
)

RESTRICTIONS: Final = Table(
    "central_restrictions",
    METADATA,
    key("resource"),
    words("department"),
    words("state"),
    number("since_us"),
    maybe("confirmed_us"),
    words("confirmed_by", ""),
    words("sentence", ""),
    words("evidence", ""),
    Index("central_restrictions_department", "department", "state"),
)

CASES: Final = Table(
    "central_cases",
    METADATA,
    key("number", is_number=True),
    words("kind"),
    words("resource"),
    words("grant_id", ""),
    words("raiser"),
    words("handler"),
    words("state"),
    number("opened_us"),
    number("changed_us"),
    number("due_us"),
    maybe("escalated_us"),
    words("evidence", ""),
    Index("central_cases_raiser", "raiser", "number"),
    Index("central_cases_handler", "handler", "number"),
    Index("central_cases_state", "state", "due_us"),
)

CASE_EVENTS: Final = Table(
    "central_case_events",
    METADATA,
    key("number", is_number=True),
    key("n", is_number=True),
    number("at_us"),
    words("who"),
    words("department"),
    words("state"),
    words("text"),
)

# What use was made of a grant, as its consumer says (Art. 36): one row for each time it is due.
FEEDBACK: Final = Table(
    "central_feedback",
    METADATA,
    key("grant_id"),
    key("n", is_number=True),
    number("due_us"),
    # When the log was told that it was overdue.
    maybe("told_us"),
    maybe("submitted_us"),
    words("who", ""),
    words("text", ""),
    words("figures", "{}"),
    maybe("read_by_authority_us"),
    maybe("read_by_provider_us"),
    Index("central_feedback_due", "submitted_us", "due_us"),
)
