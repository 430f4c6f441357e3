"""The second department's node: it only receives. Its agent, and what lies in its exchange database."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from agent.exchange import open_exchange
from agent.local import LocalClient, NotRunning
from demo.system import (
    HEARTBEAT_S,
    LEAST_FREE_BYTES,
    SOCKET_BYTES,
    Daemon,
    System,
    command,
    merged,
    run,
)
from demo.town import CONSUMER
from proto.schema import TableSchema
from proto.v1 import node_pb2
from replica.opening import open_replica
from replica.replica import TableDigest

Row = tuple[Any, ...]


class Receiver:
    """Below the system's folder; its exchange database is one SQLite file."""

    def __init__(self, system: System) -> None:
        self.folder = system.home / CONSUMER
        self.config = self.folder / "agent.yaml"
        self.database = self.folder / "exchange.db"
        self.target = f"127.0.0.1:{system.port}"
        log = system.home / f"{CONSUMER}.log"
        self.daemon = Daemon((command("exchange-agent"), "run", "-c", str(self.config)), log)
        self.place = ""

    @property
    def joining(self) -> tuple[str, ...]:
        """How ``exchange-agent`` is told that this node only receives."""
        told = ("--receive-only", "--node", CONSUMER, "--central", self.target)
        return ("init", *told, "--certificates", str(self.folder), "--out", str(self.config))

    def join(self) -> None:
        """Write its settings as its people do, but with the pace of a demonstration."""
        run(command("exchange-agent"), *self.joining, "--socket", str(self.socket))
        settings = yaml.safe_load(self.config.read_text())
        paced = {
            "central": {"heartbeat_s": HEARTBEAT_S},
            "exchange": {"least_free_bytes": LEAST_FREE_BYTES},
        }
        self.config.write_text(yaml.safe_dump(merged(settings, paced), allow_unicode=True, sort_keys=False))

    @property
    def socket(self) -> Path:
        """As long as the kernel takes it, beside the settings."""
        usual = self.folder / "agent.sock"
        name = hashlib.sha256(str(usual).encode()).hexdigest()[:16]
        return usual if len(str(usual)) < SOCKET_BYTES else Path(tempfile.gettempdir(), f"{name}.sock")

    def report(self, grant: str) -> node_pb2.ReceivedReport | None:
        """What the running agent says of a grant; None when it is not there, or does not know it."""
        try:
            with LocalClient(self.socket) as agent:
                found = next((each for each in agent.status().received if each.grant == grant), None)
        except NotRunning:
            return None
        if found is not None and found.place:
            self.place = found.place
        return found

    def rows(self, columns: Sequence[str]) -> dict[Any, Row]:
        """The table as it lies there, by its first column; empty before the first copy."""
        with self._reading() as connection:
            if not self.place or not connection.execute(_THERE, (self.place,)).fetchall():
                return {}
            chosen = ", ".join(map(_name, columns))
            found = connection.execute(f"SELECT {chosen} FROM {_name(self.place)} ORDER BY 1")
            return {row[0]: row for row in found}

    def digest(self, schema: TableSchema) -> TableDigest:
        """The table whole, in a form that can be compared."""
        engine = open_exchange(f"sqlite:///{self.database}", CONSUMER)
        try:
            with engine.connect() as connection:
                room = self.place.rpartition(".")[0]
                return open_replica(engine, room).digest(connection, schema)
        finally:
            engine.dispose()

    def close(self) -> None:
        """End it."""
        if self.daemon.running:
            self.daemon.stop()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)
        try:
            yield connection
        finally:
            connection.close()


_THERE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
