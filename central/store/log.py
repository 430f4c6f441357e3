"""Checkpoints of the log, and what was retired of it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, Table

from central.store.columns import METADATA, key, maybe, number, words

CHECKPOINTS: Final = Table(
    "central_checkpoints",
    METADATA,
    key("n", is_number=True),
    number("at_us"),
    words("signer"),
    Column("content", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

# Whose signatures those are; a certificate is long, and changes once in years.
SIGNERS: Final = Table("central_signers", METADATA, key("fingerprint"), words("certificate"))

# The chains that went on since the checkpoint before: together they give every chain's end at every checkpoint.
MOVES: Final = Table(
    "central_checkpoint_moves",
    METADATA,
    key("checkpoint", is_number=True),
    key("chain"),
    number("n"),
    Column("digest", LargeBinary, nullable=False),
)

# The end of every chain at the newest checkpoint.
MARKED: Final = Table(
    "central_checkpoint_heads",
    METADATA,
    key("chain"),
    number("n"),
    Column("digest", LargeBinary, nullable=False),
)

# What is left of records that were kept long enough: the chain goes on from here. The database lets a record go only
# under one of these.
TOMBSTONES: Final = Table(
    "central_tombstones",
    METADATA,
    key("chain"),
    key("n", is_number=True),
    Column("digest", LargeBinary, nullable=False),
    number("before_us"),
    number("at_us"),
    words("asked_by"),
    words("confirmed_by"),
    words("export"),
    CheckConstraint("asked_by <> confirmed_by AND asked_by <> '' AND confirmed_by <> ''", name="two_persons"),
    CheckConstraint("before_us < at_us AND export <> ''", name="kept_and_exported"),
)

RETIREMENTS: Final = Table(
    "central_retirements",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    number("before_us"),
    words("export"),
    words("covered"),
    words("asked_by"),
    number("asked_us"),
    words("reason"),
    words("confirmed_by", ""),
    maybe("confirmed_us"),
)

# Questions about single rows, by the keyed digest of the key they named; "" = a condition without a key. Written with
# the record itself, so that an answer does not depend on how long the log is.
QUERIED: Final = Table(
    "central_queried",
    METADATA,
    key("record", is_number=True),
    number("at_us"),
    words("grant_id"),
    words("event"),
    words("key"),
    number("rows"),
    Index("central_queried_grant", "grant_id", "key", "at_us"),
)
