"""Checkpoints of the log, and the one way in which old records may leave it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

SCHEMA = "exchange_central"
_MAY_LEAVE = """EXISTS (SELECT 1 FROM {tombstones} t
    WHERE t.chain = OLD.chain AND OLD.n <= t.n AND OLD.at_us < t.before_us)"""
# A record leaves only under a tombstone, which two persons sign and nobody removes.
GUARDS = {
    "postgresql": (
        f"""CREATE OR REPLACE FUNCTION {SCHEMA}.central_audit_guard() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN
                IF TG_OP = 'DELETE' AND {_MAY_LEAVE.format(tombstones=f"{SCHEMA}.central_tombstones")} THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION 'the audit log is append-only';
            END$$""",
        f"""CREATE FUNCTION {SCHEMA}.central_tombstone_guard() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN RAISE EXCEPTION 'the audit log is append-only'; END$$""",
        f"""CREATE TRIGGER central_tombstone_rows BEFORE UPDATE OR DELETE ON {SCHEMA}.central_tombstones
            FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.central_tombstone_guard()""",
        f"""CREATE TRIGGER central_tombstone_whole BEFORE TRUNCATE ON {SCHEMA}.central_tombstones
            FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.central_tombstone_guard()""",
    ),
    "sqlite": (
        "DROP TRIGGER central_audit_delete",
        f"""CREATE TRIGGER central_audit_delete BEFORE DELETE ON central_audit
            WHEN NOT {_MAY_LEAVE.format(tombstones="central_tombstones")}
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
        """CREATE TRIGGER central_tombstone_update BEFORE UPDATE ON central_tombstones
           BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
        """CREATE TRIGGER central_tombstone_delete BEFORE DELETE ON central_tombstones
           BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    ),
}


def upgrade() -> None:
    """No checkpoint yet, nothing retired."""
    _checkpoints()
    _retired()
    _queried()
    for statement in GUARDS[op.get_bind().dialect.name]:
        op.execute(sa.text(statement))


def _checkpoints() -> None:
    op.create_table(
        "central_checkpoints",
        _key("n", number=True),
        *_numbers("at_us"),
        *_words("signer"),
        *_bytes("content", "digest", "signature"),
        schema=SCHEMA,
    )
    op.create_table("central_signers", _key("fingerprint"), *_words("certificate"), schema=SCHEMA)
    op.create_table(
        "central_checkpoint_moves",
        _key("checkpoint", number=True),
        _key("chain"),
        *_numbers("n"),
        *_bytes("digest"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_checkpoint_heads", _key("chain"), *_numbers("n"), *_bytes("digest"), schema=SCHEMA
    )


def _retired() -> None:
    op.create_table(
        "central_tombstones",
        _key("chain"),
        _key("n", number=True),
        *_bytes("digest"),
        *_numbers("before_us", "at_us"),
        *_words("asked_by", "confirmed_by", "export"),
        sa.CheckConstraint(
            "asked_by <> confirmed_by AND asked_by <> '' AND confirmed_by <> ''", name="two_persons"
        ),
        sa.CheckConstraint("before_us < at_us AND export <> ''", name="kept_and_exported"),
        schema=SCHEMA,
    )
    op.create_table(
        "central_retirements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        *_numbers("before_us", "asked_us"),
        *_words("export", "covered", "asked_by", "reason"),
        sa.Column("confirmed_by", sa.Text, nullable=False, server_default=""),
        sa.Column("confirmed_us", sa.BigInteger),
        schema=SCHEMA,
    )


def _queried() -> None:
    op.create_table(
        "central_queried",
        _key("record", number=True),
        *_numbers("at_us"),
        *_words("grant_id", "event", "key"),
        *_numbers("rows"),
        sa.Index("central_queried_grant", "grant_id", "key", "at_us"),
        schema=SCHEMA,
    )


def _key(name: str, *, number: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger if number else sa.Text, primary_key=True, autoincrement=False)


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _words(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _bytes(*names: str) -> list[sa.Column[bytes]]:
    return [sa.Column(name, sa.LargeBinary, nullable=False) for name in names]
