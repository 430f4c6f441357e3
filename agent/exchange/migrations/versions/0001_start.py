"""The first tables: checkpoint, outbox, table states, quarantine, audit."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from agent.exchange.migrations.steps import BLOB, NAME, ON_MYSQL, WORDS, make_append_only, make_table

revision = "0001"
down_revision = None

# Blobs are compressed already: EXTERNAL keeps the server from trying again. The audit only ever grows.
STATEMENTS: Final = {
    "postgresql": (
        "ALTER TABLE exchange_node.outbox ALTER header SET STORAGE EXTERNAL, ALTER payload SET STORAGE EXTERNAL",
        "ALTER TABLE exchange_node.quarantine ALTER payload SET STORAGE EXTERNAL",
        "CREATE FUNCTION exchange_node.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$",
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON exchange_node.audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION exchange_node.refuse()",
    ),
    "sqlite": (
        "CREATE TRIGGER exchange_audit_update BEFORE UPDATE ON exchange_audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
        "CREATE TRIGGER exchange_audit_delete BEFORE DELETE ON exchange_audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
    ),
}


def upgrade() -> None:
    """Make the tables."""
    _checkpoint()
    _outbox()
    _table_state()
    _quarantine()
    _audit()
    if (dialect := op.get_bind().dialect.name) in ON_MYSQL:
        make_append_only("exchange_audit")
    for statement in STATEMENTS.get(dialect, ()):
        op.execute(statement)


def _text(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, WORDS, nullable=False) for name in names]


def _number(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in names]


def _bytes(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, BLOB, nullable=False) for name in names]


def _flag(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Boolean, nullable=False) for name in names]


def _key(name: str, kind: Any = NAME) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False, nullable=False)


def _checkpoint() -> None:
    numbers = ("acknowledged_seq", "acknowledged_bytes", "bytes", "rows", "quarantine_id", "audit_id")
    make_table(
        "checkpoint",
        _key("stream"),
        *_text("position"),
        *_number("epoch"),
        *_text("incarnation"),
        *_number("head_epoch", "seq"),
        *_bytes("digest"),
        *_number(*numbers, "last_commit_us", "committed_us"),
    )


def _outbox() -> None:
    make_table(
        "outbox",
        _key("stream"),
        _key("seq", sa.BigInteger),
        *_number("epoch"),
        *_bytes("digest"),
        *_number("rows", "total_bytes", "created_us"),
        *_bytes("header", "payload"),
    )


def _table_state() -> None:
    make_table(
        "table_state",
        _key("stream"),
        _key("name"),
        *_text("state", "code", "sentence", "fix"),
        *_number("since_us"),
        *_bytes("schema"),
        *_number("generation"),
        *_flag("begun", "copied"),
        *_bytes("last_key"),
        *_number("rows_copied", "rows_expected", "ordered_us"),
    )


def _quarantine() -> None:
    make_table(
        "quarantine",
        _key("stream"),
        _key("id", sa.BigInteger),
        *_text("name", "status", "code", "what", "fix"),
        *_number("rows", "since_us"),
        *_text("position"),
        *_flag("continues"),
        *_bytes("header", "payload"),
    )


def _audit() -> None:
    make_table(
        "audit",
        _key("stream"),
        _key("id", sa.BigInteger),
        *_number("at_us"),
        *_text("event", "who", "name", "facts"),
    )
