"""Proven reads, the platform's own outages, agreed maintenance, restrictions."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table

from central.store.columns import METADATA, key, maybe, number, words

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
    words("certificate"),
    Column("statement", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    number("logged_us", 0),
    # The certificate that the log knows already.
    words("introduced", ""),
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
    number("late_since_us", 0),
    maybe("confirmed_us"),
    words("confirmed_by", ""),
    words("sentence", ""),
    words("evidence", ""),
    Index("central_restrictions_department", "department", "state"),
)
