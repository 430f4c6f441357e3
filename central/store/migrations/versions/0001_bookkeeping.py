"""The first tables: nodes, streams, ledger, applied, gaps, audit."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SCHEMA = "exchange_central"

# Rows of the audit log are only ever added. Whoever owns the tables can remove these guards, but not repair the chain.
GUARDS = {
    "postgresql": (
        f"""CREATE FUNCTION {SCHEMA}.central_audit_guard() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN RAISE EXCEPTION 'the audit log is append-only'; END$$""",
        f"""CREATE TRIGGER central_audit_rows BEFORE UPDATE OR DELETE ON {SCHEMA}.central_audit
            FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.central_audit_guard()""",
        f"""CREATE TRIGGER central_audit_whole BEFORE TRUNCATE ON {SCHEMA}.central_audit
            FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.central_audit_guard()""",
    ),
    "sqlite": (
        """CREATE TRIGGER central_audit_update BEFORE UPDATE ON central_audit
           BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
        """CREATE TRIGGER central_audit_delete BEFORE DELETE ON central_audit
           BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    ),
}
# Batches are compressed already. The rows that change with every batch keep room for their next version.
STORAGE = {
    "postgresql": (
        f"ALTER TABLE {SCHEMA}.central_ledger ALTER header SET STORAGE EXTERNAL, ALTER payload SET STORAGE EXTERNAL",
        f"ALTER TABLE {SCHEMA}.central_evidence ALTER payload SET STORAGE EXTERNAL",
        f"ALTER TABLE {SCHEMA}.central_streams SET (fillfactor = 50)",
        f"ALTER TABLE {SCHEMA}.central_applied SET (fillfactor = 50)",
        f"ALTER TABLE {SCHEMA}.central_audit_heads SET (fillfactor = 50)",
    ),
    "sqlite": (),
}


def upgrade() -> None:
    """Make them."""
    for make in (_nodes, _streams, _batches, _audit):
        make()
    name = op.get_bind().dialect.name
    for statement in (*STORAGE[name], *GUARDS[name]):
        op.execute(sa.text(statement))


def _nodes() -> None:
    _table(
        "central_nodes",
        _key("node"),
        _number("added_us"),
        _maybe("revoked_us"),
        _maybe("last_seen_us"),
        _maybe("clock_skew_us"),
        sa.Column("report", sa.LargeBinary),
    )
    _table(
        "central_certificates",
        _key("fingerprint"),
        _text("role"),
        _text("name"),
        _number("not_after_us"),
        _number("added_us"),
        _maybe("revoked_us"),
    )
    _index("central_certificates_name", "central_certificates", ["role", "name"])
    _table(
        "central_commands",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        _text("node"),
        sa.Column("verb", sa.Integer, nullable=False),
        _text("stream"),
        _text("table_name"),
        _number("asked_us"),
        _text("asked_by"),
        _maybe("finished_us"),
        _text("outcome", ""),
    )
    _index("central_commands_node", "central_commands", ["node", "id"])


def _streams() -> None:
    _table(
        "central_streams",
        _key("stream"),
        _text("node"),
        _number("created_us"),
        _number("epoch"),
        _text("incarnation"),
        _number("head_epoch", 0),
        _number("head_seq", 0),
        _bytes("head_digest"),
        _number("accepted_at_us", 0),
        _number("batches", 0),
        _number("rows", 0),
        _number("bytes", 0),
        *_state(),
        _text("evidence", ""),
        sa.Column("adopts_next", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    _table(
        "central_applied",
        _key("stream"),
        _number("seq", 0),
        _number("epoch", 0),
        _bytes("digest"),
        _text("position", ""),
        _number("last_commit_us", 0),
        _number("applied_at_us", 0),
        _number("batches", 0),
        _number("rows", 0),
        _number("bytes", 0),
        _text("owner", ""),
        _number("token", 0),
        _number("expires_us", 0),
        *_state(),
        _number("held_seq", 0),
        _text("held_table", ""),
    )


def _batches() -> None:
    _table(
        "central_ledger",
        _key("stream"),
        _key("seq", number=True),
        _number("epoch"),
        _number("rows"),
        _number("bytes"),
        _number("accepted_at_us"),
        sa.Column("continues", sa.Boolean, nullable=False),
        _bytes("digest"),
        _bytes("header"),
        _bytes("payload"),
    )
    _table(
        "central_gaps",
        _key("stream"),
        _key("first_seq", number=True),
        _key("at_us", number=True),
        _number("last_seq"),
        _bytes("digest"),
        _text("who"),
        _text("reason"),
    )


def _audit() -> None:
    _table(
        "central_audit",
        _key("chain"),
        _key("n", number=True),
        _number("at_us"),
        _text("event"),
        _text("facts"),
        _bytes("digest"),
    )
    _table("central_audit_heads", _key("chain"), _number("n"), _bytes("digest"))
    _table("central_evidence", _key("chain"), _key("n", number=True), _bytes("header"), _bytes("payload"))


def _state() -> list[sa.Column[str]]:
    return [_text("state", "RUNNING"), _text("code", ""), _text("sentence", ""), _text("fix", "")]


def _table(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(name, *columns, schema=SCHEMA)


def _index(name: str, table: str, columns: list[str]) -> None:
    op.create_index(name, table, columns, schema=SCHEMA)


def _key(name: str, *, number: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger if number else sa.Text, primary_key=True, autoincrement=False)


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _number(name: str, default: int | None = None) -> sa.Column[int]:
    start = None if default is None else sa.text(str(default))
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=start)


def _maybe(name: str) -> sa.Column[int | None]:
    return sa.Column(name, sa.BigInteger)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)
