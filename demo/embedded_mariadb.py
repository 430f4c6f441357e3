"""A real MariaDB server of our own: in a directory, on a free port, gone when we are.

No wheel on PyPI brings a MariaDB or MySQL server, so the binaries are those the system has; nothing of the system's own
server or of its configuration is read or touched. The administrator is ``root`` without a password, from this machine.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

import pymysql
from pymysql.connections import Connection

from demo.binaries import Install, ServerFailed
from demo.server import EmbeddedServer

ADMIN: Final = "root"
SETTINGS: Final = {
    "log_bin": "binlog",
    "server_id": "1",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_metadata": "FULL",
    "gtid_strict_mode": "ON",
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_general_ci",
    "default_time_zone": "+00:00",
    "skip_networking": "OFF",
    "bind_address": "127.0.0.1",
    "local_infile": "ON",
    "max_connections": "200",
    "max_allowed_packet": "64M",
    "innodb_buffer_pool_size": "64M",
    "innodb_log_file_size": "32M",
    "innodb_lock_wait_timeout": "10",
    "innodb_flush_log_at_trx_commit": "1",
    "sync_binlog": "1",
    "performance_schema": "OFF",
}
UNSAFE: Final = {"debug_no_sync": "ON", "innodb_doublewrite": "OFF"}
"""What makes commits quick where no power cut is to be survived; a killed server still loses none."""


@cache
def system_install() -> tuple[Install, Install]:
    """Where the server is, and where the programs around it are. Raises ServerFailed with what to install."""
    server = shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/bin:/usr/local/bin")
    maker = shutil.which("mariadb-install-db", path="/usr/bin:/usr/local/bin")
    if server is None or maker is None:
        raise ServerFailed("no MariaDB server is installed: apt-get install mariadb-server")
    return Install(Path(server).parent), Install(Path(maker).parent)


@dataclass(eq=False)
class EmbeddedMariadb(EmbeddedServer):
    """A MariaDB in *home* (a temporary directory that goes with it when none is given); use it as a context manager."""

    WORD = "mariadb"
    KEEPER = """
read word && exit
if [ "$2" = temporary ]; then kill -KILL "$0"; sleep 0.2; rm -rf "$1"; else kill -TERM "$0"; fi
"""

    def parameters(self, database: str = "") -> dict[str, Any]:
        """What PyMySQL's ``connect`` takes to reach *database* as the administrator."""
        return {"host": "127.0.0.1", "port": self.port, "user": ADMIN, "database": database or None}

    def dsn(self, database: str = "") -> str:
        """The attributes of an ODBC connection string, without its driver."""
        return f"SERVER=127.0.0.1;PORT={self.port};UID={ADMIN};DATABASE={database};CHARSET=utf8mb4"

    def url(self, database: str = "") -> str:
        """An SQLAlchemy URL."""
        return f"mysql+pymysql://{ADMIN}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def connect(self, database: str = "", autocommit: bool = True) -> Connection[Any]:
        """A PyMySQL connection as the administrator."""
        parameters = self.parameters(database)
        return pymysql.connect(charset="utf8mb4", connect_timeout=10, autocommit=autocommit, **parameters)

    def execute(self, *statements: str, database: str = "") -> None:
        """Run *statements* as the administrator, one after another."""
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def create_database(self, name: str) -> str:
        """Create an empty database and return its name."""
        self.execute("CREATE DATABASE `{}`".format(name.replace("`", "``")))
        return name

    def stop(self) -> None:
        """Stop the server cleanly; the data stays."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    def initialise(self, data: Path) -> None:
        """Make a new data directory."""
        arguments = (
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=32M",
            # In a shared one, every server that starts sweeps away the temporary tables of those being made beside it.
            f"--tmpdir={data.parent}",
        )
        system_install()[1].run("mariadb-install-db", "--no-defaults", f"--datadir={data}", *arguments)

    def _places(self) -> dict[str, str]:
        places = {
            "datadir": str(self.data),
            "socket": str(self.directory / "server.sock"),
            "pid_file": str(self.directory / "server.pid"),
            "tmpdir": str(self.directory),
            "secure_file_priv": str(self.directory),
        }
        return {**places, "port": str(self.port)}

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        chosen = {**SETTINGS, **({} if self.fsync else UNSAFE), **self._places(), **self.settings}
        options = [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()]
        return system_install()[0].start(
            "mariadbd", "--no-defaults", *options, stdout=log, stderr=subprocess.STDOUT
        )

    def _answers(self) -> bool:
        try:
            asked = pymysql.connect(connect_timeout=10, read_timeout=10, **self.parameters())
            with contextlib.closing(asked) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT @@pid_file")
                row = cursor.fetchone()
        except pymysql.err.Error:
            # Nobody yet, or somebody else, of whatever kind.
            return False
        return row is not None and row[0] == self._places()["pid_file"]
