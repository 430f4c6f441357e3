"""A real MariaDB server of our own: in a directory, on a free port, gone when we are.

No wheel on PyPI brings a MariaDB or MySQL server, so the binaries are those the system has; nothing of the system's own
server or of its configuration is read or touched. The administrator is ``root`` without a password, from this machine.
"""

from __future__ import annotations

import atexit
import contextlib
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import pymysql
from pymysql.connections import Connection

from demo.binaries import Install, PortTaken, ServerFailed, account, why
from demo.embedded import PORTS, free_port

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
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0
# Waits for the word "done"; when the pipe breaks instead, we died without stopping the server.
KEEPER: Final = """
read word && exit
if [ "$2" = temporary ]; then kill -KILL "$0"; sleep 0.2; rm -rf "$1"; else kill -TERM "$0"; fi
"""


@cache
def system_install() -> tuple[Install, Install]:
    """Where the server is, and where the programs around it are. Raises ServerFailed with what to install."""
    server = shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/bin:/usr/local/bin")
    maker = shutil.which("mariadb-install-db", path="/usr/bin:/usr/local/bin")
    if server is None or maker is None:
        raise ServerFailed("no MariaDB server is installed: apt-get install mariadb-server")
    return Install(Path(server).parent), Install(Path(maker).parent)


@dataclass(eq=False)
class EmbeddedMariadb:
    """A server in *home* (a temporary directory that goes with it when none is given); use it as a context manager."""

    home: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    fsync: bool = True
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self._temporary = self.home is None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self.directory = self.home or Path(tempfile.gettempdir(), f"exchange-mariadb-{secrets.token_hex(6)}")
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the server is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise ServerFailed("the server was not started")
        return self._process.pid

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

    def start(self) -> None:
        """Start the server, making its directory first if need be; returns when it answers."""
        if self.running:
            return
        is_new = not self.data.exists()
        if is_new:
            self._prepare()
        for _ in range(PORTS if is_new else 1):
            try:
                return self._launch()
            except PortTaken as taken:
                # Nobody knows the port of a server that never ran; afterwards it stays.
                last, self.port = taken, free_port() if is_new else self.port
        raise last

    def _launch(self) -> None:
        chosen = {**SETTINGS, **({} if self.fsync else UNSAFE), **self._places(), **self.settings}
        options = [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()]
        with self.log.open("ab") as log:
            self._process = system_install()[0].start(
                "mariadbd", "--no-defaults", *options, stdout=log, stderr=subprocess.STDOUT
            )
        self._keeper = self._keep(self._process.pid)
        atexit.register(self.close)
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Stop the server cleanly; the data stays."""
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"the server did not stop: {self._tail()}") from None
        self._forget()

    def kill(self) -> None:
        """Kill the server at once, as a power cut would."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._forget()

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop at once and, if the directory was ours, remove it."""
        atexit.unregister(self.close)
        if self._temporary:
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            self.stop()

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

    def _prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user := account():
            shutil.chown(self.directory, user)
        self.initialise(self.data)

    def _keep(self, pid: int) -> subprocess.Popen[bytes]:
        arguments = (str(pid), str(self.directory), "temporary" if self._temporary else "kept")
        return subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, *arguments], stdin=subprocess.PIPE, cwd="/", start_new_session=True
        )

    def _forget(self) -> None:
        """The server is gone by our own hand: send its keeper home."""
        if self._keeper is not None:
            with contextlib.suppress(BrokenPipeError):
                self._keeper.communicate(b"done\n")
        self._process = self._keeper = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(int(START_TIMEOUT_S / 0.05)):
            try:
                if self._is_ours():
                    return
            except pymysql.err.Error:
                # Nobody yet, or somebody else, of whatever kind.
                pass
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(0.05)
                self._forget()
                raise why(code, self._tail())
        self.kill()
        raise ServerFailed(f"the server did not answer within {START_TIMEOUT_S:.0f} s: {self._tail()}")

    def _is_ours(self) -> bool:
        """Whether it is us that answers on our port; a stranger may also take calls and say nothing."""
        asked = pymysql.connect(connect_timeout=10, read_timeout=10, **self.parameters())
        with contextlib.closing(asked) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@pid_file")
            row = cursor.fetchone()
        return row is not None and row[0] == self._places()["pid_file"]

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
