"""Which rows each delivery and comparison brought, as digests of their keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

SCHEMA = "exchange_central"
_MAY_LEAVE = """EXISTS (SELECT 1 FROM {tombstones} t
    WHERE t.chain = OLD.chain AND OLD.n <= t.n AND OLD.at_us < t.before_us)"""
# A trace leaves together with its record: under a tombstone.
GUARDS = {
    "postgresql": (
        # Digests do not shrink; and one that is searched is then read without being unpacked.
        f"ALTER TABLE {SCHEMA}.central_traces ALTER COLUMN digests SET STORAGE EXTERNAL",
        f"""CREATE FUNCTION {SCHEMA}.central_trace_guard() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN
                IF TG_OP = 'DELETE' AND {_MAY_LEAVE.format(tombstones=f"{SCHEMA}.central_tombstones")} THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION 'the audit log is append-only';
            END$$""",
        f"""CREATE TRIGGER central_trace_rows BEFORE UPDATE OR DELETE ON {SCHEMA}.central_traces
            FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.central_trace_guard()""",
        f"""CREATE FUNCTION {SCHEMA}.central_trace_whole_guard() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN RAISE EXCEPTION 'the audit log is append-only'; END$$""",
        f"""CREATE TRIGGER central_trace_whole BEFORE TRUNCATE ON {SCHEMA}.central_traces
            FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.central_trace_whole_guard()""",
    ),
    "sqlite": (
        """CREATE TRIGGER central_trace_update BEFORE UPDATE ON central_traces
           BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
        f"""CREATE TRIGGER central_trace_delete BEFORE DELETE ON central_traces
            WHEN NOT {_MAY_LEAVE.format(tombstones="central_tombstones")}
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    ),
}


def upgrade() -> None:
    """What was delivered before is on record without its keys."""
    op.create_table(
        "central_traces",
        _key("grant_id"),
        _key("at_us", number=True),
        _key("n", number=True),
        sa.Column("chain", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("form", "rows", "traced")),
        sa.Column("digests", sa.LargeBinary, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "central_key_forms",
        _key("grant_id"),
        _key("form", number=True),
        sa.Column("document", sa.Text, nullable=False),
        schema=SCHEMA,
    )
    for statement in GUARDS[op.get_bind().dialect.name]:
        op.execute(sa.text(statement))


def _key(name: str, *, number: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger if number else sa.Text, primary_key=True, autoincrement=False)
