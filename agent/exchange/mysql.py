"""An exchange database on a MariaDB or MySQL server: bookkeeping and mirrors in the one database the address names.

Nobody but the server's administrator can say there that commits wait for the disk, so we look that he did, and do not
begin where a power cut would take back what was confirmed to a source. DDL commits by itself there: each step of
a migration can be done twice.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any, Final

from pymysql.err import Error
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from agent.exchange.guard import SessionGuard
from proto.errors import ExchangeError, Fenced, Halt, Poisoned, Refused, TableHold, Transient
from replica import mysql_errors

LOCK_WAIT_S: Final = 5
"""How long a dead predecessor's session may take to disappear before we call it alive."""
MIGRATION_WAIT_S: Final = 60
LEAST_PACKET_BYTES: Final = 64 * 1024 * 1024
"""A batch is one value of one row; more than this must go into a statement."""
_CONNECT: Final[dict[str, object]] = {
    "charset": "utf8mb4",
    "connect_timeout": 10,
    "read_timeout": 3600,
    "write_timeout": 3600,
    "init_command": "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
    "wait_timeout = 86400, innodb_lock_wait_timeout = 50",
}
_MIGRATING: Final = "exchange_migrating"
_SAFETY: Final = text(
    "SELECT @@innodb_flush_log_at_trx_commit AS flush_log, @@log_bin AS binlog, @@sync_binlog AS sync_binlog, "
    "@@GLOBAL.max_allowed_packet AS packet"
)
_PACKET_TOO_LARGE: Final = 1153
_DAMAGED: Final = frozenset({1194, 1195, 1712, 1812, 1815, 1877})
_PROBE: Final = (
    "CREATE TABLE exchange_check_probe (id INT PRIMARY KEY) ENGINE=InnoDB",
    "ALTER TABLE exchange_check_probe ADD COLUMN probe INT",
    "INSERT INTO exchange_check_probe (id) VALUES (1)",
    "UPDATE exchange_check_probe SET probe = 1",
    "DELETE FROM exchange_check_probe",
    "CREATE TEMPORARY TABLE exchange_check_probed (id INT)",
    "DROP TEMPORARY TABLE exchange_check_probed",
    "DROP TABLE exchange_check_probe",
)


class MysqlPlace:
    """MariaDB or MySQL as the home of an exchange database."""

    schema: str | None = None
    prefix = "exchange_"

    def open(self, url: str, node: str) -> Engine:
        """An engine whose sessions name the node; each statement sees what is committed when it begins."""
        address = make_url(url).set(drivername="mysql+pymysql")
        if not address.database:
            raise Refused(
                "the address of the exchange database names no database",
                where=address.render_as_string(hide_password=True),
                fix="use mysql+pymysql://user:password@host/exchange",
            )
        engine = create_engine(
            address,
            connect_args=_CONNECT | {"program_name": f"exchange-agent {node}"},
            isolation_level="READ COMMITTED",
            pool_size=8,
            pool_recycle=3600,
            pool_use_lifo=True,
        )
        event.listen(engine, "checkin", _let_migrate)
        return engine

    def guard(self, engine: Engine, stream: str) -> SessionGuard:
        """Take the stream's named lock. Raises Transient while the server would not keep what it commits."""
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()
        try:
            _demand_safety(connection, stream)
            connection.execute(text("SET SESSION wait_timeout = 31536000"))
            if not _lock(connection, _lock_name(engine, stream), LOCK_WAIT_S):
                raise Fenced(
                    "another exchange-agent already works on this exchange database",
                    where=stream,
                    fix="stop the other exchange-agent, then resume the stream",
                )
        except (DBAPIError, ExchangeError):
            connection.invalidate()
            connection.close()
            raise
        return SessionGuard(connection)

    def lock_migrations(self, connection: Connection) -> None:
        """Wait for whoever migrates. A transaction ends with each DDL, so the lock goes with the connection's use."""
        if not _lock(connection, _lock_name(connection.engine, ""), MIGRATION_WAIT_S):
            raise Transient("another process migrates the exchange database", where="migration")
        connection.info[_MIGRATING] = True

    def free_and_total(self, engine: Engine) -> tuple[int, int] | None:
        """The server's volume is not ours to see; the outbox limit stands in for it."""
        return None

    def file(self, engine: Engine) -> None:
        """Its server's, perhaps on another machine."""

    def hold_still(self, connection: Connection) -> None:
        """For this transaction alone."""
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))

    def give_back(self, engine: Engine) -> None:
        """InnoDB uses the room again; its files do not shrink."""

    def scrub(self, engine: Engine) -> bool:
        """Its files are the server's: OPTIMIZE TABLE there rewrites them, and its log goes with its age."""
        return True

    def probe(self, connection: Connection) -> None:
        """Do once what will be done, and undo it. Raises what the server says, or that it does not keep commits."""
        connection.execute(text("DROP TABLE IF EXISTS exchange_check_probe"))
        for statement in _PROBE:
            connection.execute(text(statement))
        _demand_safety(connection, "exchange.url")

    def grant(self, url: URL) -> str:
        """What an administrator types so that the account may do all of that."""
        return f"GRANT ALL PRIVILEGES ON `{url.database}`.* TO '{url.username}'@'%'"

    def translate(self, error: DBAPIError, where: str) -> ExchangeError | None:
        """By the server's number; a connection that broke has one of the driver's."""
        if not isinstance(error.orig, Error):
            return (
                Transient("the database connection failed", where=where)
                if error.connection_invalidated
                else None
            )
        number = mysql_errors.number_of(error.orig)
        if number == _PACKET_TOO_LARGE:
            fix = "SET GLOBAL max_allowed_packet = 1073741824, and the same in the server's configuration"
            return Halt("a batch is larger than the server's max_allowed_packet", where=where, fix=fix)
        if number in _DAMAGED:
            what = f"the exchange database is damaged ({number})"
            return Poisoned(what, where=where, fix="restore the exchange database, or copy the tables afresh")
        known = mysql_errors.translate(error.orig, "", where)
        return None if isinstance(known, TableHold) else known


def _demand_safety(connection: Connection, where: str) -> None:
    found = connection.execute(_SAFETY).one()
    wanted = []
    if found.flush_log not in (1, 3):
        wanted.append("innodb_flush_log_at_trx_commit = 1")
    if found.binlog and found.sync_binlog != 1:
        wanted.append("sync_binlog = 1")
    if found.packet < LEAST_PACKET_BYTES:
        wanted.append("max_allowed_packet = 1073741824")
    if wanted:
        raise Transient(
            "the server would lose commits in a power cut, or takes no large batches",
            where=where,
            fix=f"SET GLOBAL {', GLOBAL '.join(wanted)}; and the same in the server's configuration",
        )


def _lock(connection: Connection, name: str, wait_s: int) -> bool:
    got = connection.execute(
        text("SELECT GET_LOCK(:name, :wait_s)"), {"name": name, "wait_s": wait_s}
    ).scalar()
    return got == 1


def _lock_name(engine: Engine, stream: str) -> str:
    """Names of locks are the whole server's, and at most 64 characters."""
    return "exchange-" + hashlib.sha256(f"{engine.url.database}\0{stream}".encode()).hexdigest()[:40]


def _let_migrate(driver: Any, entry: ConnectionPoolEntry) -> None:
    """After the commit, and after any death of the transaction."""
    if driver is not None and entry.info.pop(_MIGRATING, False):
        with suppress(Error), driver.cursor() as cursor:  # a broken connection has lost its locks already
            cursor.execute("DO RELEASE_ALL_LOCKS()")
