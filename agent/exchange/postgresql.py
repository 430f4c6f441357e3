"""An exchange database on a PostgreSQL server: bookkeeping in a schema of its own, mirrors in one schema per source."""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from agent.exchange.guard import SessionGuard
from proto.errors import Credential, DiskBlocked, ExchangeError, Fenced, Poisoned, Transient

LOCK_WAIT_S: Final = 5
"""How long a dead predecessor's session may take to disappear before we call it alive."""
_LOCK_SPACE: Final = 0x45584348
_CONNECT: Final[dict[str, object]] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "options": "-c synchronous_commit=on -c timezone=UTC",
}
_TRANSIENT_CLASSES: Final = frozenset({"08", "40", "53", "55", "57"})


class PostgresqlPlace:
    """PostgreSQL as the home of an exchange database."""

    schema: str | None = "exchange_node"
    prefix = ""

    def open(self, url: str, node: str) -> Engine:
        """An engine whose sessions name the node in pg_stat_activity."""
        return create_engine(
            url,
            connect_args=_CONNECT | {"application_name": f"exchange-agent {node}"},
            pool_size=8,
            # The last connection used is the next one used: its staging tables and caches are warm.
            pool_use_lifo=True,
            pool_pre_ping=False,
        )

    def guard(self, engine: Engine, stream: str) -> SessionGuard:
        """Take the advisory lock of the stream."""
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()
        try:
            connection.execute(text(f"SET lock_timeout = '{LOCK_WAIT_S}s'"))
            connection.execute(text("SELECT pg_advisory_lock(:space, :key)"), _lock_key(stream))
        except DBAPIError as error:
            connection.invalidate()
            connection.close()
            if _state(error) == "55P03":
                raise Fenced(
                    "another exchange-agent already works on this exchange database",
                    where=stream,
                    fix="stop the other exchange-agent, then resume the stream",
                ) from error
            raise
        return SessionGuard(connection)

    def lock_migrations(self, connection: Connection) -> None:
        """Wait for whoever migrates, then make the schema."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:space, 0)"), {"space": _LOCK_SPACE})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {self.schema}"))

    def free_and_total(self, engine: Engine) -> tuple[int, int] | None:
        """The server's volume is not ours to see; the outbox limit stands in for it."""
        return None

    def file(self, engine: Engine) -> None:
        """Its server's, perhaps on another machine."""

    def hold_still(self, connection: Connection) -> None:
        """For this transaction alone."""
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))

    def give_back(self, engine: Engine) -> None:
        """Autovacuum does it."""

    def scrub(self, engine: Engine) -> bool:
        """Its files are the server's: VACUUM FULL there rewrites them, and its log goes with its age."""
        return True

    def probe(self, connection: Connection) -> None:
        """Rolled back: that it would work is all we want to know."""
        connection.exec_driver_sql("CREATE SCHEMA exchange_check_probe")
        connection.rollback()

    def grant(self, url: URL) -> str:
        """What an administrator types so that the role may do that."""
        return f'GRANT CREATE, CONNECT ON DATABASE "{url.database}" TO "{url.username}"'

    def translate(self, error: DBAPIError, where: str) -> ExchangeError | None:
        """By SQLSTATE; a connection that broke has none."""
        state = _state(error)
        said = (
            f"the exchange database said: {str(error.orig).strip().splitlines()[0] if error.orig else error}"
        )
        if state in {"53100", "25006"}:
            return DiskBlocked(said, where=where, fix="free space on the server of the exchange database")
        if state.startswith("28"):
            return Credential(said, where=where, fix="check user and password of exchange.url")
        if state in {"XX001", "XX002"}:
            return Poisoned(said, where=where, fix="restore the exchange database, or copy the tables afresh")
        if not state or state[:2] in _TRANSIENT_CLASSES or error.connection_invalidated:
            return Transient(said, where=where)
        return None


def _state(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _lock_key(stream: str) -> dict[str, int]:
    number = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4], signed=True)
    return {"space": _LOCK_SPACE, "key": number or 1}
