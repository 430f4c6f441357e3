"""A whole system on one machine: one central, one department's agent, real processes, mutual TLS.

The demonstration, the end-to-end tests and the benchmark all run the two commands a user would run.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO, Any, Final, Protocol

import yaml

from demo.books import Books, Equality, compare
from demo.server import free_port
from proto.process.secrets import expand

NODE: Final = "population"
SOURCE: Final = "hr"
READY_S: Final = 60.0
STOP_S: Final = 15.0
HEARTBEAT_S: Final = 2
LEAST_FREE_BYTES: Final = 64 * 1024 * 1024
SOCKET_BYTES: Final = 100
BUNDLE: Final = {"ca": "ca.pem", "certificate": "node.pem", "key": "node.key"}
_pause = Event()


class CommandFailed(RuntimeError):
    """A command or process did not do as told; the message ends with what it said."""


def command(name: str) -> str:
    """The console script beside the running interpreter."""
    return str(Path(sys.executable).parent / name)


class Process(Protocol):
    """What was started, as :class:`subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def kill(self) -> None: ...


class Starter(Protocol):
    """How a command line becomes a process."""

    def start(self, args: tuple[str, ...], stdout: IO[bytes], stderr: IO[bytes]) -> Process:
        """Start it; it reads nothing, and says all to these files."""
        ...


class Executing:
    """As a shell does it."""

    def start(self, args: tuple[str, ...], stdout: IO[bytes], stderr: IO[bytes]) -> Process:
        """A new process from the program's file."""
        return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)


@dataclass(slots=True)
class _Start:
    """Where everything here is started; the tests put another one in."""

    by: Starter = field(default_factory=Executing)


STARTED: Final = _Start()


def attempt(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that end is."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        code = STARTED.by.start(arguments, out, errors).wait()
        for each in (out, errors):
            each.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read().decode(), errors.read().decode())


def run(*arguments: str) -> str:
    """Run a command that must succeed; what it printed."""
    done = attempt(*arguments)
    if done.returncode:
        raise CommandFailed(f"{' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


@dataclass(slots=True, eq=False)
class Daemon:
    """One of our processes, restarted with the same arguments as often as one likes."""

    arguments: tuple[str, ...]
    log: Path
    process: Process | None = None

    def start(self) -> None:
        """Start it; what it says goes to its log. It ends with us at the latest."""
        atexit.unregister(self.kill)
        atexit.register(self.kill)
        with self.log.open("ab") as log:
            self.process = STARTED.by.start(self.arguments, log, log)

    @property
    def pid(self) -> int:
        """Its process id while it runs."""
        if self.process is None:
            raise CommandFailed(f"{self.arguments[0]} is not running")
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it is alive."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """``kill -9``, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its exit code."""
        return self._end(signal.SIGTERM)

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise CommandFailed(
                f"{self.arguments[0]} did not stop in {STOP_S:.0f} s: {self.tail()}"
            ) from None
        self.process = None
        return code


@dataclass(slots=True)
class System:
    """Central and agent below *home*; ``""`` for a database means SQLite there."""

    home: Path
    business_dsn: str
    """A PostgreSQL; "" when *source_settings* say all."""
    tables: list[dict[str, Any]]
    exchange_url: str = ""
    central_url: str = ""
    central_address: str = ""
    """Where the agent believes central to be; a test puts a bad network there."""
    agent_settings: dict[str, Any] = field(default_factory=dict)
    source_settings: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    central: Daemon = field(init=False)
    agent: Daemon = field(init=False)

    def __post_init__(self) -> None:
        self.home = self.home.resolve()
        self.home.mkdir(parents=True, exist_ok=True)
        central = (command("exchange-central"), "serve", "-c", str(self.central_config))
        agent = (command("exchange-agent"), "run", "-c", str(self.agent_config))
        self.central = Daemon(central, self.home / "central.log")
        self.agent = Daemon(agent, self.home / "agent.log")

    @property
    def central_config(self) -> Path:
        """Central's YAML."""
        return self.home / "central" / "central.yaml"

    @property
    def agent_config(self) -> Path:
        """The agent's YAML."""
        return self.home / "agent" / "agent.yaml"

    @property
    def socket_path(self) -> Path:
        """Where the agent answers its own machine; the kernel takes no long paths for it."""
        usual = self.home / "agent" / "agent.sock"
        name = hashlib.sha256(str(self.home).encode()).hexdigest()[:16]
        return usual if len(str(usual)) < SOCKET_BYTES else Path(tempfile.gettempdir(), f"{name}.sock")

    @property
    def exchange_database(self) -> str:
        """The exchange database's URL."""
        return self.exchange_url or f"sqlite:///{self.home / 'agent' / 'exchange.db'}"

    @property
    def central_database(self) -> str:
        """Central's database URL."""
        return self.central_url or f"sqlite:///{self.home / 'central' / 'central.db'}"

    @property
    def stream(self) -> str:
        """The stream's name at central."""
        return f"{NODE}/{SOURCE}"

    @property
    def source(self) -> dict[str, Any]:
        """The business database's section in the agent's YAML."""
        usual = {"kind": "postgresql", "dsn": self.business_dsn} if self.business_dsn else {}
        return {"name": SOURCE, "tables": self.tables, **usual, **self.source_settings}

    def prepare(self) -> None:
        """Make configuration and certificates with the commands a user has."""
        self.prepare_central()
        self.central_command("node", "add", NODE, "--out", str(self.home / "agent"))
        self.prepare_agent()

    def prepare_central(self) -> None:
        """Central's settings, its trial authority and an operator's certificate; nothing is started."""
        where = ("--dir", str(self.central_config.parent), "--database", self.central_database)
        run(command("exchange-central"), "init", *where, "--name", "127.0.0.1", "--port", str(self.port))
        settings = yaml.safe_load(self.central_config.read_text())
        settings["listen"] = f"127.0.0.1:{self.port}"
        settings["heartbeat_s"] = HEARTBEAT_S
        settings["disk"]["least_free_bytes"] = LEAST_FREE_BYTES
        self.central_config.write_text(yaml.safe_dump(settings, allow_unicode=True))

    def prepare_agent(self) -> None:
        """The agent's settings, written as ``exchange-agent init`` would, but with the pace of a trial."""
        bundle = self.agent_config.parent
        settings = {
            "node": NODE,
            "central": {
                "address": self.central_address or f"127.0.0.1:{self.port}",
                **{word: str(bundle / name) for word, name in BUNDLE.items()},
                "heartbeat_s": HEARTBEAT_S,
            },
            "exchange": {
                "url": self.exchange_database,
                "least_free_bytes": LEAST_FREE_BYTES,
            },
            "sources": [self.source],
            "socket": str(self.socket_path),
        }
        text = yaml.safe_dump(merged(settings, self.agent_settings), allow_unicode=True, sort_keys=False)
        self.agent_config.write_text(text)
        self.agent_config.chmod(0o600)

    def start(self) -> None:
        """Start what is not running, central first."""
        for daemon in (self.central, self.agent):
            if not daemon.running:
                daemon.start()

    def wait_until_listening(self) -> None:
        """Return when central takes connections."""
        deadline = time.monotonic() + READY_S
        while not _answers(self.port):
            self.raise_if_ended()
            if time.monotonic() > deadline:
                raise CommandFailed(f"central does not listen after {READY_S:.0f} s: {self.central.tail()}")
            _pause.wait(0.05)

    def stop(self) -> None:
        """Ask both to end, the agent first."""
        self.agent.stop()
        self.central.stop()

    def agent_command(self, *arguments: str) -> str:
        """Run ``exchange-agent`` with its settings; what it printed."""
        return run(command("exchange-agent"), *arguments, "-c", str(self.agent_config))

    def central_command(self, *arguments: str) -> str:
        """Run ``exchange-central`` with its settings; what it printed."""
        return run(command("exchange-central"), *arguments, "-c", str(self.central_config))

    def status(self) -> dict[str, Any]:
        """What ``exchange-agent status --json`` says."""
        found: dict[str, Any] = json.loads(self.agent_command("status", "--json"))
        return found

    def wait_until_copied(self, timeout_s: float = READY_S) -> None:
        """Return when every table's first copy is visible at central."""
        deadline = time.monotonic() + timeout_s
        with self.books() as books:
            while not self.is_copied(books):
                self.raise_if_ended()
                if time.monotonic() > deadline:
                    raise CommandFailed(f"not copied within {timeout_s:.0f} s: {self.agent.tail()}")
                _pause.wait(0.05)

    def is_copied(self, books: Books) -> bool:
        """Whether central has caught up with an exchange database in which every table's first copy is done."""
        names = {table.get("name") or table["table"].rpartition(".")[2] for table in self.tables}
        return names <= books.copied() and 0 < books.captured_seq() <= books.applied_seq()

    def raise_if_ended(self) -> None:
        """A daemon that ended by itself is a failure."""
        for daemon in (self.central, self.agent):
            if daemon.process is not None and not daemon.running:
                raise CommandFailed(f"{daemon.arguments[0]} ended by itself: {daemon.tail()}")

    def books(self) -> Books:
        """Both databases, read beside the daemons."""
        return Books(self.exchange_database, self.central_database, self.stream)

    def compare(self) -> list[Equality]:
        """Every table in business, exchange and central database."""
        source = {name: expand(told) if isinstance(told, str) else told for name, told in self.source.items()}
        with self.books() as books:
            return compare(source, books)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def merged(settings: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """*more* laid over *settings*, section by section."""
    result = dict(settings)
    for name, value in more.items():
        known = result.get(name)
        result[name] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result
