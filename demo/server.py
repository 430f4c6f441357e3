"""The life of a real server of our own: in a directory, on a free port, gone when we are, whatever kind it is."""

from __future__ import annotations

import atexit
import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Final, Self

from demo.binaries import ServerFailed, account

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0
PORTS: Final = 5
"""How many to try when others are quicker."""


class PortTaken(ServerFailed):
    """Somebody else listens there."""


def free_port() -> int:
    """A port nobody listens on at this moment, and not one of those the system lends to whoever connects somewhere."""
    lent_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    lowest = max(1024, min(10_000, lent_from - 1000))
    while True:
        port = lowest + secrets.randbelow(lent_from - lowest)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(eq=False)
class EmbeddedServer(ABC):
    """A server in *home* (a temporary directory that goes with it when none is given); use it as a context manager."""

    home: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    fsync: bool = True
    port: int = field(default_factory=free_port)
    shelf: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    """Where a temporary directory is made."""

    WORD: ClassVar[str]
    """What its temporary directory is called after."""
    KEEPER: ClassVar[str]
    """A shell script that waits for the word "done"; when the pipe breaks instead, we died and it ends the server.

    It is told the server's process id, the directory, and whether that is temporary.
    """

    def __post_init__(self) -> None:
        self._temporary = self.home is None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        name = f"exchange-{self.WORD}-{secrets.token_hex(6)}"
        self.directory = self.home or self.shelf / name
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

    def start(self) -> None:
        """Start the server, making its directory first if need be; returns when it answers."""
        if self.running:
            return
        # Nobody knows the port of a server that never ran; afterwards it stays.
        tries = 1 if self.data.exists() else PORTS
        if not self.data.exists():
            self._prepare()
        for left in reversed(range(tries)):
            try:
                self._launch()
            except PortTaken:
                if not left:
                    raise
                self.port = free_port()
            else:
                return

    def kill(self) -> None:
        """Kill the server at once, as a power cut would."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._forget()

    def close(self) -> None:
        """Stop at once and, if the directory was ours, remove it."""
        atexit.unregister(self.close)
        if self._temporary:
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            self.stop()

    def _end(self, how: signal.Signals) -> None:
        """Stop the server with a signal of its own; the data stays."""
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"the server did not stop ({how.name}): {self._tail()}") from None
        self._forget()

    @abstractmethod
    def stop(self) -> None:
        """Stop the server cleanly; the data stays."""

    @abstractmethod
    def initialise(self, data: Path) -> None:
        """Make a new data directory."""

    @abstractmethod
    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start its program on our port; what it says goes to *log*."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it, and not a stranger, answers on our port; True in a moment or never, whatever listens there."""

    def _prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user := account():
            shutil.chown(self.directory, user)
        self.initialise(self.data)

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            self._process = self._spawn(log)
        self._keeper = self._keep(self._process.pid)
        atexit.unregister(self.close)
        atexit.register(self.close)
        self._wait_until_ready(self._process)

    def _keep(self, pid: int) -> subprocess.Popen[bytes]:
        arguments = (str(pid), str(self.directory), "temporary" if self._temporary else "kept")
        return subprocess.Popen(
            ["/bin/sh", "-c", self.KEEPER, *arguments],
            stdin=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )

    def _forget(self) -> None:
        """The server is gone by our own hand: send its keeper home."""
        if self._keeper is not None:
            with contextlib.suppress(BrokenPipeError):
                self._keeper.communicate(b"done\n")
        self._process = self._keeper = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(int(START_TIMEOUT_S / 0.05)):
            if self._answers():
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(0.05)
                self._forget()
                kind = PortTaken if "Address already in use" in self._tail() else ServerFailed
                raise kind(f"the server ended with {code}: {self._tail()}")
        self.kill()
        raise ServerFailed(f"the server did not answer within {START_TIMEOUT_S:.0f} s: {self._tail()}")

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
